-- name: insert_segment
-- Take a segment unless exactly its bytes are here.
INSERT INTO segment (producer, epoch, first, last, hash, prev, digest, bytes, state, due_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'waiting', ?)
ON CONFLICT (producer, epoch, first, hash, digest) DO NOTHING
RETURNING place;

-- name: insert_body
-- Store its bytes.
INSERT INTO body (place, raw) VALUES (?, ?);

-- name: select_due_producer
-- Whose turn it is: the producer of the segment that is due for longest.
SELECT producer FROM segment
WHERE due_ms <= ? OR due_ms > ?
ORDER BY due_ms, place LIMIT 1;

-- name: select_due
-- What of a producer is due, in the order in which it came.
SELECT place, bytes, tries, state, route FROM segment
WHERE producer = ? AND (due_ms <= ? OR due_ms > ?)
ORDER BY due_ms, place LIMIT ?;

-- name: select_body
-- The bytes of one segment.
SELECT raw FROM body WHERE place = ?;

-- name: update_state
-- Remember what upstream said and by which route, and when to forward it again.
UPDATE segment SET state = ?, due_ms = ?, route = ?, tries = tries + 1 WHERE place = ?;

-- name: select_forwarded_producers
-- Producers with segments that upstream has taken and no receipt covers yet, after one of them.
SELECT DISTINCT producer FROM segment WHERE state <> 'waiting' AND producer > ?
ORDER BY producer LIMIT ?;

-- name: select_link
-- Copies of one segment, by its place in the chain.
SELECT place, first, last, prev, bytes, route FROM segment
WHERE producer = ? AND epoch = ? AND hash = ?;

-- name: delete_body
-- Drop the bytes of a segment that a receipt covers.
DELETE FROM body WHERE place = ?;

-- name: delete_segment
-- Drop the rest of it.
DELETE FROM segment WHERE place = ?;

-- name: upsert_receipt
-- Remember the newest receipt of a producer.
INSERT INTO receipt (producer, as_of_ms, raw) VALUES (?, ?, ?)
ON CONFLICT (producer) DO UPDATE SET as_of_ms = excluded.as_of_ms, raw = excluded.raw
WHERE receipt.as_of_ms <= excluded.as_of_ms;

-- name: select_receipts
-- All receipts.
SELECT raw FROM receipt;

-- name: select_status
-- How much is held: segments, of them not forwarded yet, bytes.
SELECT count(*), count(*) FILTER (WHERE state = 'waiting'), coalesce(sum(bytes), 0) FROM segment;

-- name: select_held
-- What is held of each producer, and of when its newest receipt is.
SELECT segment.producer, count(*), sum(last - first + 1), count(*) FILTER (WHERE state = 'waiting'),
    count(*) FILTER (WHERE state = 'refused'), sum(bytes), max(receipt.as_of_ms)
FROM segment LEFT JOIN receipt USING (producer)
GROUP BY segment.producer ORDER BY segment.producer;
