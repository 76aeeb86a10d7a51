-- Which segments say something of an entity, so that they can be judged again.

-- name: read_facts_of_person
SELECT facts FROM person WHERE key = $1;

-- name: read_facts_of_cohort_entry
SELECT facts FROM cohort_entry WHERE key = $1;

-- name: read_facts_of_reference
SELECT facts FROM reference WHERE key = $1;

-- name: read_facts_of_person_access
SELECT facts FROM person_access WHERE key = $1;

-- name: read_facts_of_record_decision
SELECT facts FROM record_decision WHERE key = $1;

-- name: read_facts_of_producer
-- With the anchors of its boot sessions.
SELECT facts FROM producer WHERE producer = $1
UNION ALL
SELECT facts FROM producer_anchor WHERE producer = $1;

-- name: list_people
-- At most $2 people behind the token $1, by token.
SELECT key, facts FROM person WHERE key > $1 ORDER BY key LIMIT $2;

-- name: find_segments
-- Where the segments lie that hold the events ($1 producer, $2 epoch, $3 seq); no segment holds more
-- than $4 events.
SELECT DISTINCT segment.partition, segment.log_offset
FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS fact (producer, epoch, seq)
JOIN ledger_segment AS segment ON segment.producer = fact.producer
    AND segment.epoch = fact.epoch
    AND segment.first BETWEEN fact.seq - $4::integer + 1 AND fact.seq
    AND segment.last >= fact.seq;

-- name: list_segments_of_producer
-- Where a producer's own segments lie.
SELECT partition, log_offset FROM ledger_segment WHERE producer = $1;

-- name: list_segments
-- At most $3 segments behind the place ($1 partition, $2 offset), by place.
SELECT partition, log_offset, contents FROM ledger_segment
WHERE (partition, log_offset) > ($1, $2)
ORDER BY partition, log_offset
LIMIT $3;

-- name: read_contents
-- Of whom the segments at some places speak.
SELECT segment.contents FROM unnest($1::integer[], $2::bigint[]) AS given (partition, log_offset)
JOIN ledger_segment AS segment USING (partition, log_offset);

-- name: count_told_of_person
-- How many of some keys have facts (an empty set is one byte, or none); so for every kind.
SELECT count(*) FROM person WHERE key = ANY ($1::bytea[]) AND length(facts) > 1;

-- name: count_told_of_cohort_entry
SELECT count(*) FROM cohort_entry WHERE key = ANY ($1::bytea[]) AND length(facts) > 1;

-- name: count_told_of_reference
SELECT count(*) FROM reference WHERE key = ANY ($1::bytea[]) AND length(facts) > 1;

-- name: count_told_of_person_access
SELECT count(*) FROM person_access WHERE key = ANY ($1::bytea[]) AND length(facts) > 1;

-- name: count_told_of_record_decision
SELECT count(*) FROM record_decision WHERE key = ANY ($1::bytea[]) AND length(facts) > 1;
