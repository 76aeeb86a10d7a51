-- name: insert_outbox
-- Name the producer whose outbox this is.
INSERT INTO outbox (id, producer, epoch) VALUES (1, ?, ?);

-- name: select_outbox
-- Whose outbox this is.
SELECT producer, epoch FROM outbox;

-- name: select_last_seq
-- The last number that was given, wherever its event is now; 0 when there was none.
SELECT coalesce(
    (SELECT max(seq) FROM event),
    (SELECT last FROM segment ORDER BY first DESC LIMIT 1),
    0
);

-- name: insert_event
-- Store one event.
INSERT INTO event (seq, line) VALUES (?, ?);

-- name: insert_boot
-- Remember a boot session at its first event.
INSERT INTO boot (boot, first_wall_ms) VALUES (?, ?) ON CONFLICT (boot) DO NOTHING;

-- name: select_events
-- Events to seal, oldest first.
SELECT seq, line FROM event WHERE seq <= ? ORDER BY seq LIMIT ?;

-- name: delete_events
-- Remove events that a segment of the same transaction holds.
DELETE FROM event WHERE seq <= ?;

-- name: select_head
-- The last sealed segment.
SELECT last, hash FROM segment ORDER BY first DESC LIMIT 1;

-- name: insert_segment
-- Store a sealed segment.
INSERT INTO segment (first, last, hash, raw) VALUES (?, ?, ?, ?);

-- name: insert_unsent
-- Queue a segment for sending.
INSERT INTO unsent (first, last, bytes, wall_ms) VALUES (?, ?, ?, ?);

-- name: select_unsent
-- What to send, oldest first, without its bytes.
SELECT first, last, bytes FROM unsent WHERE first > ? ORDER BY first;

-- name: select_raw
-- The bytes of one segment.
SELECT raw FROM segment WHERE first = ?;

-- name: delete_unsent
-- A route has taken this segment.
DELETE FROM unsent WHERE first = ?;

-- name: select_status
-- Everything that a status says, from one snapshot.
SELECT
    coalesce(
        (SELECT max(seq) FROM event),
        (SELECT last FROM segment ORDER BY first DESC LIMIT 1),
        0
    ) + 1,
    coalesce((SELECT max(seq) FROM event) - (SELECT min(seq) FROM event) + 1, 0),
    (SELECT count(*) FROM unsent),
    (SELECT coalesce(sum(last - first + 1), 0) FROM unsent),
    (SELECT first FROM unsent ORDER BY first LIMIT 1),
    (SELECT wall_ms FROM unsent ORDER BY first LIMIT 1),
    coalesce((SELECT last FROM segment ORDER BY first DESC LIMIT 1), 0),
    (SELECT line FROM event ORDER BY seq LIMIT 1);

-- name: select_pending
-- How many events are in no segment (two look-ups; min and max in one SELECT would scan).
SELECT coalesce((SELECT max(seq) FROM event) - (SELECT min(seq) FROM event) + 1, 0);

-- name: select_boots
-- Boot sessions to anchor, and the current one.
SELECT boot, first_wall_ms, offset_ms FROM boot
WHERE offset_ms IS NULL OR boot = ?
ORDER BY boot LIMIT ?;

-- name: update_boot
-- Remember the offset that was announced for a boot session.
UPDATE boot SET offset_ms = ? WHERE boot = ?;
