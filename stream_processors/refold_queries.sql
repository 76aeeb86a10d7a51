-- Which segments say something of an entity, so that they can be judged again.

-- name: read_facts_of_person
SELECT facts FROM person WHERE key = $1;

-- name: read_facts_of_cohort_entry
SELECT facts FROM cohort_entry WHERE key = $1;

-- name: read_facts_of_reference
SELECT facts FROM reference WHERE key = $1;

-- name: read_facts_of_producer
-- With the anchors of its boot sessions.
SELECT facts FROM producer WHERE producer = $1
UNION ALL
SELECT facts FROM producer_anchor WHERE producer = $1;

-- name: find_segments
-- Where the segments lie that hold the events ($1 producer, $2 epoch, $3 seq); no segment holds more
-- than $4 events.
SELECT DISTINCT segment.partition, segment.log_offset
FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS fact (producer, epoch, seq)
JOIN ledger_segment AS segment ON segment.producer = fact.producer
    AND segment.epoch = fact.epoch
    AND segment.first BETWEEN fact.seq - $4::integer + 1 AND fact.seq
    AND segment.last >= fact.seq;

-- name: list_segments
-- At most $3 segments behind the place ($1 partition, $2 offset), by place.
SELECT partition, log_offset FROM ledger_segment
WHERE (partition, log_offset) > ($1, $2)
ORDER BY partition, log_offset
LIMIT $3;
