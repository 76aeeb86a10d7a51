-- What is held for a reason that other software or other key files may lift, in the order of the
-- primary keys, so that a turn goes on where the one before ended.

-- name: list_liftable_records
-- At most $4 records held for the reasons $1, behind the place ($2 partition, $3 offset).
SELECT partition, log_offset, append_ms, reason, detail, value, route FROM held_record
WHERE reason = ANY ($1::text[]) AND (partition, log_offset) > ($2, $3)
ORDER BY partition, log_offset
LIMIT $4;

-- name: list_liftable_segments
-- At most $6 segments with events held for the reasons $1, behind ($2 producer, $3 epoch, $4 first,
-- $5 hash): where each lies, and which of its events wait for what.
SELECT segment.producer, segment.epoch, segment.first, segment.hash,
    segment.partition, segment.log_offset,
    array_agg(event.seq ORDER BY event.seq) AS seqs,
    array_agg(event.reason ORDER BY event.seq) AS reasons,
    array_agg(event.detail ORDER BY event.seq) AS details
FROM excluded_event AS event
JOIN ledger_segment AS segment ON segment.producer = event.producer
    AND segment.epoch = event.epoch
    AND segment.first BETWEEN event.seq - 499 AND event.seq
    AND segment.last >= event.seq
    AND substring(segment.hash FOR 8) = event.hash
WHERE event.verdict = 'held' AND event.reason = ANY ($1::text[])
    AND (segment.producer, segment.epoch, segment.first, segment.hash) > ($2, $3, $4, $5)
GROUP BY segment.producer, segment.epoch, segment.first, segment.hash
ORDER BY segment.producer, segment.epoch, segment.first, segment.hash
LIMIT $6;
