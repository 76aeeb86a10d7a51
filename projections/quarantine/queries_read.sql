-- What does not count, and why. A list gives whole records first, by their place in the log, then
-- single events, by their identity: the orders of the primary keys, so that a page starts anywhere.
-- What the registrar discarded is in none of them.

-- name: list_quarantined_records
-- At most $3 refused records behind the place ($1 partition, $2 offset): of the producer $4, for the
-- reason $5, appended before $6; null: any.
SELECT partition, log_offset, append_ms, producer, epoch, first, last, reason, detail,
    NULL::integer AS bytes
FROM quarantined_record
WHERE (partition, log_offset) > ($1, $2)
    AND ($4::text IS NULL OR producer = $4)
    AND ($5::text IS NULL OR reason = $5)
    AND ($6::bigint IS NULL OR append_ms < $6)
    AND NOT EXISTS (
        SELECT FROM discarded_cell AS discarded
        WHERE discarded.partition = quarantined_record.partition
            AND discarded.log_offset = quarantined_record.log_offset AND discarded.first = 0
    )
ORDER BY partition, log_offset
LIMIT $3;

-- name: list_held_records
-- At most $3 waiting records behind the place ($1 partition, $2 offset): of the producer $4, for the
-- reason $5, appended before $6; null: any.
SELECT partition, log_offset, append_ms, producer, epoch, first, last, reason, detail,
    length(value) AS bytes
FROM held_record
WHERE (partition, log_offset) > ($1, $2)
    AND ($4::text IS NULL OR producer = $4)
    AND ($5::text IS NULL OR reason = $5)
    AND ($6::bigint IS NULL OR append_ms < $6)
    AND NOT EXISTS (
        SELECT FROM discarded_cell AS discarded
        WHERE discarded.partition = held_record.partition
            AND discarded.log_offset = held_record.log_offset AND discarded.first = 0
    )
ORDER BY partition, log_offset
LIMIT $3;

-- name: list_excluded_events
-- At most $6 events with verdict $1 behind the identity ($2 producer, $3 epoch, $4 seq, $5 hash): of
-- the producer $7, for the reason $8, appended before $9; null: any. Place and time are those of the
-- segment that carried them.
SELECT
    event.producer, event.epoch, event.seq, event.hash, event.reason, event.detail,
    segment.partition, segment.log_offset, segment.append_ms
FROM excluded_event AS event
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
WHERE event.verdict = $1
    AND (event.producer, event.epoch, event.seq, event.hash) > ($2, $3, $4, $5)
    AND ($7::text IS NULL OR event.producer = $7)
    AND ($8::text IS NULL OR event.reason = $8)
    AND ($9::bigint IS NULL OR segment.append_ms < $9)
    AND NOT EXISTS (
        SELECT FROM discarded_cell AS discarded
        WHERE discarded.partition = segment.partition
            AND discarded.log_offset = segment.log_offset
            AND event.seq BETWEEN discarded.first AND discarded.last
    )
ORDER BY event.producer, event.epoch, event.seq, event.hash
LIMIT $6;

-- name: find_quarantined_record
-- The refused record at a place.
SELECT partition, log_offset, append_ms, producer, epoch, first, last, reason, detail,
    NULL::integer AS bytes
FROM quarantined_record WHERE partition = $1 AND log_offset = $2;

-- name: find_held_record
-- The waiting record at a place.
SELECT partition, log_offset, append_ms, producer, epoch, first, last, reason, detail,
    length(value) AS bytes
FROM held_record WHERE partition = $1 AND log_offset = $2;

-- name: find_excluded_events
-- What does not count of the segment whose earliest copy lies at a place; 500 events at most.
SELECT
    event.producer, event.epoch, event.seq, event.hash, event.verdict, event.reason, event.detail,
    segment.partition, segment.log_offset, segment.append_ms
FROM ledger_segment AS segment
JOIN excluded_event AS event ON event.producer = segment.producer
    AND event.epoch = segment.epoch
    AND event.seq BETWEEN segment.first AND segment.last
    AND substring(event.hash FOR 8) = substring(segment.hash FOR 8)
WHERE segment.partition = $1 AND segment.log_offset = $2
ORDER BY event.seq;

-- name: list_decisions
-- At most $2 records that the registrar spoke of, behind the key $1.
SELECT key, facts FROM record_decision WHERE key > $1 ORDER BY key LIMIT $2;

-- name: find_decisions
-- What the registrar said of one record.
SELECT key, facts FROM record_decision WHERE key = $1;

-- name: count_quarantined
-- Records and events that were refused, by reason; without what was discarded.
SELECT reason, count(*) AS entries
FROM (
    SELECT reason FROM quarantined_record AS record
    WHERE NOT EXISTS (
        SELECT FROM discarded_cell AS discarded
        WHERE discarded.partition = record.partition
            AND discarded.log_offset = record.log_offset AND discarded.first = 0
    )
    UNION ALL
    SELECT reason FROM excluded_event AS event WHERE verdict = 'quarantined' AND NOT EXISTS (
        SELECT FROM discarded_cell AS discarded
        JOIN ledger_segment AS segment USING (partition, log_offset)
        WHERE segment.producer = event.producer AND segment.epoch = event.epoch
            AND substring(segment.hash FOR 8) = substring(event.hash FOR 8)
            AND event.seq BETWEEN segment.first AND segment.last
            AND event.seq BETWEEN discarded.first AND discarded.last
    )
) AS refused
GROUP BY reason
ORDER BY reason;

-- name: count_held
-- Records and events that wait, by reason; without what was discarded.
SELECT reason, count(*) AS entries
FROM (
    SELECT reason FROM held_record AS record
    WHERE NOT EXISTS (
        SELECT FROM discarded_cell AS discarded
        WHERE discarded.partition = record.partition
            AND discarded.log_offset = record.log_offset AND discarded.first = 0
    )
    UNION ALL
    SELECT reason FROM excluded_event AS event WHERE verdict = 'held' AND NOT EXISTS (
        SELECT FROM discarded_cell AS discarded
        JOIN ledger_segment AS segment USING (partition, log_offset)
        WHERE segment.producer = event.producer AND segment.epoch = event.epoch
            AND substring(segment.hash FOR 8) = substring(event.hash FOR 8)
            AND event.seq BETWEEN segment.first AND segment.last
            AND event.seq BETWEEN discarded.first AND discarded.last
    )
) AS waiting
GROUP BY reason
ORDER BY reason;
