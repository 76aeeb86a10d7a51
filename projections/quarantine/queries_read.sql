-- What does not count, and why. A list gives whole records first, by their place in the log, then
-- single events, by their identity: the orders of the primary keys, so that a page starts anywhere.

-- name: list_quarantined_records
-- At most $3 refused records behind the place ($1 partition, $2 offset).
SELECT partition, log_offset, append_ms, producer, epoch, first, last, reason, detail
FROM quarantined_record
WHERE (partition, log_offset) > ($1, $2)
ORDER BY partition, log_offset
LIMIT $3;

-- name: list_held_records
-- At most $3 waiting records behind the place ($1 partition, $2 offset).
SELECT partition, log_offset, append_ms, producer, epoch, first, last, reason, detail
FROM held_record
WHERE (partition, log_offset) > ($1, $2)
ORDER BY partition, log_offset
LIMIT $3;

-- name: list_excluded_events
-- At most $6 events with verdict $1 behind the identity ($2 producer, $3 epoch, $4 seq, $5 hash);
-- place and time are those of the segment that carried them.
SELECT
    event.producer, event.epoch, event.seq, event.hash, event.reason, event.detail,
    segment.partition, segment.log_offset, segment.append_ms
FROM (
    SELECT producer, epoch, seq, hash, reason, detail
    FROM excluded_event
    WHERE verdict = $1 AND (producer, epoch, seq, hash) > ($2, $3, $4, $5)
    ORDER BY producer, epoch, seq, hash
    LIMIT $6
) AS event
LEFT JOIN LATERAL (
    -- A segment holds 500 events or fewer.
    SELECT partition, log_offset, append_ms
    FROM ledger_segment
    WHERE producer = event.producer
        AND epoch = event.epoch
        AND first BETWEEN event.seq - 499 AND event.seq
        AND last >= event.seq
        AND substring(hash FOR 8) = substring(event.hash FOR 8)
    LIMIT 1
) AS segment ON true
ORDER BY event.producer, event.epoch, event.seq, event.hash;

-- name: count_quarantined
-- Records and events that were refused, by reason.
SELECT reason, count(*) AS entries
FROM (
    SELECT reason FROM quarantined_record
    UNION ALL
    SELECT reason FROM excluded_event WHERE verdict = 'quarantined'
) AS refused
GROUP BY reason
ORDER BY reason;

-- name: count_held
-- Records and events that wait, by reason.
SELECT reason, count(*) AS entries
FROM (
    SELECT reason FROM held_record
    UNION ALL
    SELECT reason FROM excluded_event WHERE verdict = 'held'
) AS waiting
GROUP BY reason
ORDER BY reason;
