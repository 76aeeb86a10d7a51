-- name: insert_outbox
-- Name the producer whose outbox this is.
INSERT INTO outbox (id, producer) VALUES (1, ?);

-- name: select_outbox
-- Whose outbox this is.
SELECT producer FROM outbox;

-- name: insert_epoch
-- Open an epoch.
INSERT INTO epoch (epoch, base) VALUES (?, ?);

-- name: upsert_epoch
-- Give an epoch its base.
INSERT INTO epoch (epoch, base) VALUES (?, ?)
ON CONFLICT (epoch) DO UPDATE SET base = excluded.base;

-- name: select_open_epoch
-- The open epoch.
SELECT epoch, base, is_fork_suspected FROM epoch ORDER BY epoch DESC LIMIT 1;

-- name: select_epoch_base
-- Where the places of an epoch begin.
SELECT base FROM epoch WHERE epoch = ?;

-- name: select_epoch_heeded
-- As of when the gaps of an epoch were last heeded.
SELECT gaps_as_of_ms FROM epoch WHERE epoch = ?;

-- name: update_epoch_heeded
-- Remember as of when the gaps of an epoch were heeded.
UPDATE epoch SET gaps_as_of_ms = max(?, coalesce(gaps_as_of_ms, 0)) WHERE epoch = ?;

-- name: update_epoch_suspected
-- A receipt knows of segments in this epoch that are not ours.
UPDATE epoch SET is_fork_suspected = 1 WHERE epoch = ?;

-- name: update_epoch_seen
-- Remember an epoch that a receipt names.
UPDATE outbox SET epoch_seen = max(epoch_seen, ?);

-- name: select_epoch_seen
-- The highest epoch that a receipt has named.
SELECT epoch_seen FROM outbox;

-- name: select_last_seq
-- The last number that was given, wherever its event is now; 0 when there was none.
SELECT coalesce(
    (SELECT max(seq) FROM event),
    (SELECT last FROM segment ORDER BY place DESC LIMIT 1),
    0
);

-- name: select_pages
-- The pages in use.
SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count;

-- name: insert_event
-- Store one event.
INSERT INTO event (seq, crc, line) VALUES (?, ?, ?);

-- name: insert_zeros
-- Take up pages, in a transaction that is rolled back.
INSERT INTO event (seq, crc, line) VALUES (0, 0, zeroblob(?));

-- name: update_nothing
-- Write a page as it was.
UPDATE outbox SET producer = producer;

-- name: insert_boot
-- Remember a boot session at its first event.
INSERT INTO boot (boot, first_wall_ms) VALUES (?, ?) ON CONFLICT (boot) DO NOTHING;

-- name: upsert_health
-- Keep the latest line of a slot.
INSERT INTO health (slot, line) VALUES (?, ?) ON CONFLICT (slot) DO UPDATE SET line = excluded.line;

-- name: count_other_slots
-- How many other slots are in use.
SELECT count(*) FROM health WHERE slot <> ?;

-- name: insert_diagnostic
-- Keep a diagnostic line.
INSERT INTO diagnostic (line) VALUES (?);

-- name: delete_old_diagnostics
-- Drop the oldest diagnostics beyond a number of them.
DELETE FROM diagnostic WHERE id <= (SELECT max(id) FROM diagnostic) - ?;

-- name: update_diagnostics_dropped
-- Count what was dropped.
UPDATE outbox SET diagnostics_dropped = diagnostics_dropped + ?;

-- name: select_waiting_lines
-- Lines that get their seq now.
SELECT line FROM (
    SELECT line, 1 AS kind, slot AS place FROM health
    UNION ALL
    SELECT line, 2, id FROM diagnostic
) ORDER BY kind, place;

-- name: delete_health
-- The health lines have become events.
DELETE FROM health;

-- name: delete_diagnostics
-- The diagnostics have become events.
DELETE FROM diagnostic;

-- name: select_faults
-- Faults that no event has told.
SELECT fault, detail FROM fault ORDER BY id;

-- name: insert_fault
-- Note a fault that an event will tell.
INSERT INTO fault (fault, detail) VALUES (?, ?);

-- name: delete_faults
-- Events tell these faults now.
DELETE FROM fault;

-- name: select_events
-- Events to seal, oldest first.
SELECT seq, crc, line FROM event WHERE seq <= ? ORDER BY seq LIMIT ?;

-- name: delete_events
-- Remove events that a segment of the same transaction holds.
DELETE FROM event WHERE seq <= ?;

-- name: insert_damaged_line
-- Set a line aside whose bits have changed.
INSERT INTO damaged_line (epoch, seq, line) VALUES (?, ?, ?) ON CONFLICT (epoch, seq) DO NOTHING;

-- name: select_first_seq
-- The lowest number that is in no segment.
SELECT min(seq) FROM event;

-- name: update_seqs_aside
-- Make way for the numbers of another epoch.
UPDATE event SET seq = -seq;

-- name: update_seqs_back
-- Number what was made way for anew.
UPDATE event SET seq = -seq - ? WHERE seq < 0;

-- name: select_head
-- The last sealed segment, if it is of this epoch.
SELECT last, hash FROM segment
WHERE place = (SELECT max(place) FROM segment) AND epoch = ?;

-- name: insert_segment
-- Store a sealed segment.
INSERT INTO segment (place, epoch, first, last, hash, raw) VALUES (?, ?, ?, ?, ?, ?);

-- name: insert_delivery
-- Queue a segment.
INSERT INTO delivery (place, epoch, first, last, hash, bytes, wall_ms, is_critical)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: select_unsent
-- What to send, oldest first, without its bytes.
SELECT place, bytes FROM delivery
WHERE state = 'unsent' AND place > ? AND place <= ? ORDER BY place;

-- name: select_unsent_critical
-- What to send before the rest.
SELECT place, bytes FROM delivery
WHERE state = 'unsent' AND is_critical = 1 ORDER BY place;

-- name: select_unreceipted
-- What no receipt covers, oldest first. `+` keeps it on the primary key: no sorting.
SELECT place, bytes FROM delivery
WHERE +state IN ('unsent', 'taken', 'refused') AND place > ? ORDER BY place;

-- name: select_segment
-- One segment.
SELECT epoch, first, last, hash, raw,
    (SELECT refused_by FROM delivery WHERE delivery.place = segment.place)
FROM segment WHERE place = ?;

-- name: select_delivery
-- Where one segment should stand.
SELECT epoch, first, last FROM delivery WHERE place = ?;

-- name: update_taken
-- A route has taken this segment.
UPDATE delivery SET state = 'taken', route = ?, boot = ?, mono_ms = ?, code = NULL, tries = tries + 1
WHERE place = ? AND state IN ('unsent', 'refused');

-- name: update_refused
-- The other side will not take this segment as it is.
UPDATE delivery SET state = 'refused', route = ?1, refused_by = ?1, refusals = refusals + 1,
    code = ?2, boot = ?3, mono_ms = ?4
WHERE place = ?5 AND state IN ('unsent', 'taken');

-- name: update_refused_to_unsent
-- Try again all that was refused, as if for the first time. Who refused it is asked last.
UPDATE delivery SET state = 'unsent', route = NULL, boot = NULL, mono_ms = NULL, refusals = 0
WHERE state = 'refused'
RETURNING first, last, refused_by, code, epoch;

-- name: update_due_refused_to_unsent
-- Try again what was refused long enough ago for the number of its refusals. Of an earlier boot
-- session only the time since this one began is known: then the shortest wait must do, because
-- a device that is switched off each night would never have waited a day.
UPDATE delivery SET state = 'unsent', route = NULL, boot = NULL, mono_ms = NULL
WHERE state = 'refused' AND epoch = :epoch AND last >= :first AND place <= :through
  AND refusals < :refusals_max
  AND CASE boot
      WHEN :boot THEN :mono_ms - mono_ms >= min(
          :wait_ms << min(max(refusals, 1) - 1, :doublings_max), :wait_ms_max
      )
      ELSE :mono_ms >= :wait_ms
  END
RETURNING place;

-- name: select_refused_epochs
-- Epochs of which something was refused.
SELECT DISTINCT epoch FROM delivery WHERE state = 'refused';

-- name: update_damaged
-- The bytes of this segment are not what was sealed.
UPDATE delivery SET state = 'damaged' WHERE place = ? AND state IN ('unsent', 'taken', 'refused');

-- name: select_overdue
-- What a route took so long ago that there should be a receipt: twice as long ago for each time that
-- it was taken before, up to a limit. Of an earlier boot session at least the time since this one
-- began has passed, and the shortest wait must do: a device may be switched off each night.
SELECT place, epoch, first, last, route FROM delivery
WHERE state = 'taken' AND CASE boot
    WHEN ?1 THEN ?2 - mono_ms >= min(?3 << min(max(tries, 1) - 1, 20), max(?3, ?4))
    ELSE ?2 >= ?3
END
ORDER BY place;

-- name: update_taken_to_unsent
-- Queue a segment again.
UPDATE delivery SET state = 'unsent', route = NULL, boot = NULL, mono_ms = NULL
WHERE place = ? AND state = 'taken';

-- name: select_delivery_before
-- The segment that ends at or first begins before a place.
SELECT epoch, first, last, hash FROM delivery WHERE place <= ? ORDER BY place DESC LIMIT 1;

-- name: update_receipted
-- A receipt covers these segments. The route that had taken each stays with it.
UPDATE delivery SET state = 'receipted', as_of_ms = ?1, boot = ?2, mono_ms = ?3, code = NULL,
    route = CASE state WHEN 'taken' THEN route END
WHERE place BETWEEN ?4 AND ?5 AND last <= ?6
  AND state IN ('unsent', 'taken', 'refused', 'damaged')
RETURNING last - first + 1, route;

-- name: update_missing_to_unsent
-- The log lacks these segments: queue them again.
UPDATE delivery SET state = 'unsent', route = NULL, boot = NULL, mono_ms = NULL, as_of_ms = NULL
WHERE place <= ?1 AND epoch = ?2 AND last >= ?3
  AND (state = 'taken' OR state = 'receipted' AND as_of_ms < ?4)
RETURNING place;

-- name: select_receipt
-- The newest receipt.
SELECT raw, as_of_ms FROM receipt;

-- name: upsert_receipt
-- Keep a receipt unless there is a newer one.
INSERT INTO receipt (id, raw, as_of_ms) VALUES (1, ?, ?)
ON CONFLICT (id) DO UPDATE SET raw = excluded.raw, as_of_ms = excluded.as_of_ms
WHERE excluded.as_of_ms >= receipt.as_of_ms;

-- name: select_prunable
-- Receipted segments whose keep time has passed for certain: by the broker's time between two
-- receipts, or by our monotonic clock. The last segment stays: it is the head of the chain.
SELECT place, last - first + 1,
    coalesce((SELECT length(raw) FROM segment WHERE segment.place = delivery.place), 0)
FROM delivery
WHERE state = 'receipted'
  AND max(
      (SELECT as_of_ms FROM receipt) - as_of_ms,
      CASE boot WHEN ?1 THEN ?2 - mono_ms ELSE ?2 END
  ) >= ?3
  AND place < (SELECT max(place) FROM segment)
ORDER BY place LIMIT ?4;

-- name: update_pruned
-- This segment's bytes go.
UPDATE delivery SET state = 'pruned' WHERE place = ?;

-- name: delete_segment
-- Remove the bytes of a pruned segment.
DELETE FROM segment WHERE place = ?;

-- name: delete_pruned
-- Forget pruned segments before which nothing waits for a receipt any more.
DELETE FROM delivery WHERE state = 'pruned' AND place < coalesce(
    (SELECT min(place) FROM delivery WHERE state IN ('unsent', 'taken', 'refused', 'damaged')),
    (SELECT max(place) FROM segment)
);

-- name: select_outstanding
-- How many events of these places no receipt covers.
SELECT coalesce(sum(last - first + 1), 0) FROM delivery
WHERE place BETWEEN ? AND ? AND state IN ('unsent', 'taken', 'refused', 'damaged');

-- name: select_epochs
-- Where the places of each epoch begin and, but for the open one, end.
SELECT epoch, base, lead(base) OVER (ORDER BY epoch) FROM epoch ORDER BY epoch;

-- name: select_damaged
-- How many lines were set aside because their bits had changed; how many events in an epoch were,
-- sealed or not.
SELECT
    (SELECT count(*) FROM damaged_line),
    (SELECT count(*) FROM damaged_line WHERE epoch = ?1) + (
        SELECT coalesce(sum(last - first + 1), 0) FROM delivery
        WHERE state = 'damaged' AND epoch = ?1
    );

-- name: select_states
-- How many segments and events stand where, and the oldest of each.
SELECT state, count(*), sum(last - first + 1), min(place) FROM delivery GROUP BY state;

-- name: select_standing
-- The rest of a status.
SELECT
    (SELECT min(seq) FROM event),
    (SELECT max(seq) FROM event),
    (SELECT line FROM event ORDER BY seq LIMIT 1),
    (SELECT wall_ms FROM delivery WHERE state = 'unsent' ORDER BY place LIMIT 1),
    (SELECT count(*) FROM health) + (SELECT count(*) FROM diagnostic),
    (SELECT diagnostics_dropped FROM outbox),
    (SELECT as_of_ms FROM receipt);

-- name: select_first_in_states
-- The first seq of an epoch whose segment is not with a route, and the first without a receipt.
SELECT
    min(first) FILTER (WHERE state NOT IN ('taken', 'receipted', 'pruned')),
    min(first) FILTER (WHERE state NOT IN ('receipted', 'pruned'))
FROM delivery WHERE epoch = ? AND state IN ('unsent', 'taken', 'refused', 'damaged');

-- name: select_pending
-- How many events are in no segment (two look-ups; min and max in one SELECT would scan).
SELECT coalesce((SELECT max(seq) FROM event) - (SELECT min(seq) FROM event) + 1, 0);

-- name: select_boots
-- Boot sessions to anchor, the current one first, then those of which nobody has said anything.
SELECT boot.boot, boot.first_wall_ms, boot.offset_ms, relay_anchor.offset_ms
FROM boot LEFT JOIN relay_anchor ON relay_anchor.boot = boot.boot
WHERE boot.offset_ms IS NULL OR boot.boot = ?1
ORDER BY boot.boot <> ?1, relay_anchor.offset_ms IS NOT NULL, boot.boot LIMIT ?2;

-- name: update_boot
-- Remember the offset that was announced for a boot session.
UPDATE boot SET offset_ms = ? WHERE boot = ?;

-- name: upsert_relay_anchor
-- Remember what was announced for a boot session by a relay's word.
INSERT INTO relay_anchor (boot, offset_ms) VALUES (?, ?)
ON CONFLICT (boot) DO UPDATE SET offset_ms = excluded.offset_ms;
