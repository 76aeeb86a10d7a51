-- name: look_up
-- Have the transaction find by indexes what it names by key. A plan is kept; one that was made when a
-- table was known to be empty would read all of it, until the table is analyzed again. PostgreSQL
-- before 18 says so by a price, at which it would compile the few statements that must read a table.
SET LOCAL enable_seqscan = off;
SET LOCAL jit = off;

-- name: make_position
-- Make sure that a partition has a position; one that is there stays.
INSERT INTO projection_position (topic, partition, next_offset) VALUES ($1, $2, 0)
ON CONFLICT DO NOTHING;

-- name: lock_position
-- The first lock of every fold: whoever holds it is the one who folds the partition now.
SELECT next_offset FROM projection_position WHERE topic = $1 AND partition = $2 FOR UPDATE;

-- name: move_position
-- Move past a chunk.
UPDATE projection_position SET next_offset = $3 WHERE topic = $1 AND partition = $2;

-- name: list_positions
-- The next offset of each partition that has one.
SELECT partition, next_offset FROM projection_position WHERE topic = $1;

-- name: make_settings
-- Say under which rules the tables are folded; once anything is folded, what was said stays.
INSERT INTO projection_settings (rules) VALUES ($1)
ON CONFLICT (is_only) DO UPDATE SET rules = excluded.rules
WHERE NOT EXISTS (SELECT FROM projection_position WHERE next_offset > 0);

-- name: read_settings
-- The rules under which the tables are folded.
SELECT rules FROM projection_settings;

-- name: make_positions
-- Make sure that partitions have positions, in the given order.
INSERT INTO projection_position (topic, partition, next_offset)
SELECT topic, partition, 0 FROM unnest($1::text[], $2::integer[]) AS given (topic, partition)
ON CONFLICT DO NOTHING;

-- name: lock_positions
-- Nobody else folds these partitions until the transaction ends.
SELECT partition, next_offset FROM projection_position
WHERE topic = $1 AND partition = ANY ($2::integer[]) ORDER BY partition FOR UPDATE;

-- name: make_producers
-- Make missing rows, in the given order, so that the next statement has something to lock.
INSERT INTO producer (producer, facts, contact_ms)
SELECT name, ''::bytea, 0 FROM unnest($1::text[]) AS given (name)
ON CONFLICT DO NOTHING;

-- name: lock_producers
-- Lock in the one order that everybody takes.
SELECT producer, facts, contact_ms FROM producer
WHERE producer = ANY ($1::text[]) ORDER BY producer COLLATE "C" FOR UPDATE;

-- name: list_producers
-- Every producer of which something is known: their keys are met at the start of a worker.
SELECT producer, facts FROM producer WHERE facts <> ''::bytea;

-- name: write_producers
-- The rows are there: they were locked. See close_contacts.
INSERT INTO producer (producer, facts, contact_ms)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[])
ON CONFLICT (producer) DO UPDATE SET facts = excluded.facts, contact_ms = excluded.contact_ms;

-- name: find_anchors
-- What some boot sessions are anchored by. OFFSET 0 has each looked up by itself: a plan that was
-- made when the table was small and is kept would read all of it.
SELECT stored.* FROM unnest($1::text[], $2::text[]) AS given (producer, boot)
CROSS JOIN LATERAL (
    SELECT producer, boot, facts FROM producer_anchor AS anchor
    WHERE anchor.producer = given.producer AND anchor.boot = given.boot
    OFFSET 0
) AS stored;

-- name: write_anchors
-- The whole set of a session's facts: whoever writes has read it under the producer's lock.
INSERT INTO producer_anchor (producer, boot, facts)
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[])
ON CONFLICT (producer, boot) DO UPDATE SET facts = excluded.facts;

-- name: write_contacts
-- Last contacts by day: of two of one day the later. A new one stands until the next that is known,
-- stored or given here, or else while its producer is in service; OFFSET 0: see find_anchors.
INSERT INTO producer_contact AS stored (producer, known_on, until_on, contact_ms)
SELECT given.producer, given.known_on,
    coalesce(
        least(
            lead(given.known_on) OVER (PARTITION BY given.producer ORDER BY given.known_on),
            later.known_on
        ),
        greatest(service.until_on, given.known_on + 1)
    ),
    given.contact_ms
FROM unnest($1::text[], $2::date[], $3::bigint[]) AS given (producer, known_on, contact_ms)
LEFT JOIN LATERAL (
    SELECT contact.known_on FROM producer_contact AS contact
    WHERE contact.producer = given.producer AND contact.known_on > given.known_on
    ORDER BY contact.known_on
    LIMIT 1 OFFSET 0
) AS later ON true
LEFT JOIN LATERAL (
    SELECT service.until_on FROM producer_service AS service
    WHERE service.producer = given.producer
    ORDER BY service.known_on DESC
    LIMIT 1 OFFSET 0
) AS service ON true
ORDER BY given.producer COLLATE "C", given.known_on
ON CONFLICT (producer, known_on) DO UPDATE SET contact_ms = excluded.contact_ms
WHERE excluded.contact_ms > stored.contact_ms;

-- name: close_contacts
-- A contact that was the last one is so no longer once a later one is there: those before the given
-- ones, which are stored by now. All are there, so this inserts nothing; a conflict is found by the
-- key, where an update might join the whole table.
INSERT INTO producer_contact AS stored (producer, known_on, until_on, contact_ms)
SELECT former.producer, former.known_on, given.known_on, former.contact_ms
FROM unnest($1::text[], $2::date[]) AS given (producer, known_on)
CROSS JOIN LATERAL (
    SELECT * FROM producer_contact AS contact
    WHERE contact.producer = given.producer AND contact.known_on < given.known_on
    ORDER BY contact.known_on DESC
    LIMIT 1 OFFSET 0
) AS former
WHERE former.until_on <> given.known_on
ON CONFLICT (producer, known_on) DO UPDATE SET until_on = excluded.until_on;

-- name: hear_services
-- The first day on which the log heard of a producer is an earlier one than was known. The rows are
-- there: see close_contacts.
INSERT INTO producer_service AS stored (producer, known_on, until_on, heard_on)
SELECT service.producer, service.known_on, service.until_on, given.known_on
FROM (
    SELECT producer, min(known_on) AS known_on
    FROM unnest($1::text[], $2::date[]) AS contact (producer, known_on)
    GROUP BY producer
) AS given
CROSS JOIN LATERAL (
    SELECT * FROM producer_service AS service
    WHERE service.producer = given.producer AND service.heard_on > given.known_on
    OFFSET 0
) AS service
ON CONFLICT (producer, known_on) DO UPDATE SET heard_on = excluded.heard_on;

-- name: delete_services
-- When a producer was in service is said anew as a whole.
DELETE FROM producer_service WHERE producer = ANY ($1::text[]);

-- name: write_services
-- The times in which producers are known to be in service, and since when the log has heard of them.
INSERT INTO producer_service (producer, known_on, until_on, heard_on)
SELECT given.producer, given.known_on, given.until_on, coalesce(first.known_on, 'infinity')
FROM unnest($1::text[], $2::date[], $3::date[]) AS given (producer, known_on, until_on)
LEFT JOIN LATERAL (
    SELECT contact.known_on FROM producer_contact AS contact
    WHERE contact.producer = given.producer
    ORDER BY contact.known_on
    LIMIT 1 OFFSET 0
) AS first ON true;

-- name: end_contacts
-- The last contacts of producers stand while these are in service, which was said anew: as in
-- write_contacts. The rows are there: see close_contacts.
INSERT INTO producer_contact AS stored (producer, known_on, until_on, contact_ms)
SELECT last.producer, last.known_on, greatest(service.until_on, last.known_on + 1), last.contact_ms
FROM unnest($1::text[]) AS given (producer)
CROSS JOIN LATERAL (
    SELECT * FROM producer_contact AS contact
    WHERE contact.producer = given.producer
    ORDER BY contact.known_on DESC
    LIMIT 1 OFFSET 0
) AS last
LEFT JOIN LATERAL (
    SELECT service.until_on FROM producer_service AS service
    WHERE service.producer = given.producer
    ORDER BY service.known_on DESC
    LIMIT 1 OFFSET 0
) AS service ON true
ON CONFLICT (producer, known_on) DO UPDATE SET until_on = excluded.until_on
WHERE excluded.until_on <> stored.until_on;

-- name: find_overlaps
-- Segments that hold a seq of the ranges, once for each; a segment begins at most 499 before the
-- first of them. OFFSET 0: see find_anchors.
SELECT stored.* FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[])
    AS given (producer, epoch, first, last)
CROSS JOIN LATERAL (
    SELECT * FROM ledger_segment AS segment
    WHERE segment.producer = given.producer AND segment.epoch = given.epoch
        AND segment.first BETWEEN given.first - 499 AND given.last
        AND segment.last >= given.first
    OFFSET 0
) AS stored;

-- name: list_segments_of
-- Every segment of some producers.
SELECT * FROM ledger_segment WHERE producer = ANY ($1::text[]);

-- name: list_segments_of_boots
-- Segments of each epoch between the first and the last that name a boot session of a producer, once
-- for each session. OFFSET 0: see find_anchors.
SELECT stored.* FROM unnest($1::text[], $2::text[]) AS given (producer, boot)
CROSS JOIN LATERAL (
    SELECT producer, epoch, first, last FROM ledger_boot AS boot
    WHERE boot.producer = given.producer AND boot.boot = given.boot
    OFFSET 0
) AS named
CROSS JOIN LATERAL (
    SELECT * FROM ledger_segment AS segment
    WHERE segment.producer = named.producer AND segment.epoch = named.epoch
        AND segment.first BETWEEN named.first AND named.last
    OFFSET 0
) AS stored;

-- name: list_segments_at
-- Segments by the places of their earliest copies. OFFSET 0: see find_anchors.
SELECT stored.* FROM unnest($1::integer[], $2::bigint[]) AS given (partition, log_offset)
CROSS JOIN LATERAL (
    SELECT * FROM ledger_segment AS segment
    WHERE segment.partition = given.partition AND segment.log_offset = given.log_offset
    OFFSET 0
) AS stored;

-- name: list_claims_at
-- Whom the held records at some places claim to be of. OFFSET 0: see find_anchors.
SELECT DISTINCT stored.producer FROM unnest($1::integer[], $2::bigint[])
    AS given (partition, log_offset)
CROSS JOIN LATERAL (
    SELECT producer FROM held_record AS held
    WHERE held.partition = given.partition AND held.log_offset = given.log_offset
    OFFSET 0
) AS stored
WHERE stored.producer IS NOT NULL;

-- name: list_excluded_in
-- Events of some ranges that do not count. OFFSET 0: see find_anchors.
SELECT stored.* FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[])
    AS given (producer, epoch, first, last)
CROSS JOIN LATERAL (
    SELECT * FROM excluded_event AS event
    WHERE event.producer = given.producer AND event.epoch = given.epoch
        AND event.seq BETWEEN given.first AND given.last
    OFFSET 0
) AS stored;

-- name: list_decisions
-- What was ever decided of some records; their partitions' positions and producers are the locks.
SELECT key, facts FROM record_decision WHERE key = ANY ($1::bytea[]);

-- name: list_held_of
-- Every held record that claims to be of some producers.
SELECT * FROM held_record WHERE producer = ANY ($1::text[]);

-- name: write_segments
-- Place, time, route and forks of a segment can change, and its contents when more of them is understood.
INSERT INTO ledger_segment
    (producer, epoch, first, hash, last, prev, partition, log_offset, append_ms, sealed_ms, lost,
     contents, route)
SELECT producer, epoch, first, hash, last, prev, partition, log_offset, append_ms, sealed_ms,
    lost::bigint[], contents, route
FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bytea[],
    $7::integer[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::bytea[],
    $13::text[])
    AS given (producer, epoch, first, hash, last, prev, partition, log_offset, append_ms,
        sealed_ms, lost, contents, route)
ON CONFLICT (producer, epoch, first, hash) DO UPDATE
SET partition = excluded.partition, log_offset = excluded.log_offset,
    append_ms = excluded.append_ms, lost = excluded.lost, contents = excluded.contents,
    route = excluded.route;

-- name: write_boots
-- Between which seqs a boot session is named; a row that holds them already is not touched.
INSERT INTO ledger_boot AS stored (producer, boot, epoch, first, last)
SELECT * FROM unnest($1::text[], $2::text[], $3::integer[], $4::bigint[], $5::bigint[])
ON CONFLICT (producer, boot, epoch) DO UPDATE
SET first = least(stored.first, excluded.first), last = greatest(stored.last, excluded.last)
WHERE excluded.first < stored.first OR excluded.last > stored.last;

-- name: write_copies
-- The same record read again changes nothing.
INSERT INTO ledger_copy (partition, log_offset, append_ms, producer, epoch, first, hash)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[],
    $6::bigint[], $7::bytea[])
ON CONFLICT DO NOTHING;

-- name: mark_receipts_due
-- Owe these producers a new receipt, in the given order. Touches no index when the mark is there.
INSERT INTO receipt_due AS due (producer, generation)
SELECT name, 1 FROM unnest($1::text[]) AS given (name)
ON CONFLICT (producer) DO UPDATE SET generation = due.generation + 1;

-- name: delete_held
-- What was held and has been decided. By place, found by key; OFFSET 0: see find_anchors.
DELETE FROM held_record WHERE ctid = ANY (ARRAY(
    SELECT found.ctid FROM unnest($1::integer[], $2::bigint[]) AS given (partition, log_offset)
    CROSS JOIN LATERAL (
        SELECT ctid FROM held_record AS stored
        WHERE stored.partition = given.partition AND stored.log_offset = given.log_offset
        OFFSET 0
    ) AS found
));

-- name: write_held
-- A held record may come to wait for something else.
INSERT INTO held_record
    (partition, log_offset, append_ms, producer, epoch, first, last, reason, detail, value, route)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[],
    $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::bytea[], $11::text[])
ON CONFLICT (partition, log_offset) DO UPDATE
SET reason = excluded.reason, detail = excluded.detail;

-- name: delete_quarantined
-- What was refused and is decided again. By place, found by key; OFFSET 0: see find_anchors.
DELETE FROM quarantined_record WHERE ctid = ANY (ARRAY(
    SELECT found.ctid FROM unnest($1::integer[], $2::bigint[]) AS given (partition, log_offset)
    CROSS JOIN LATERAL (
        SELECT ctid FROM quarantined_record AS stored
        WHERE stored.partition = given.partition AND stored.log_offset = given.log_offset
        OFFSET 0
    ) AS found
));

-- name: write_quarantined
-- Wrong for ever: the first word stands.
INSERT INTO quarantined_record
    (partition, log_offset, append_ms, producer, epoch, first, last, reason, detail)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[],
    $6::bigint[], $7::bigint[], $8::text[], $9::text[])
ON CONFLICT DO NOTHING;

-- name: delete_excluded
-- Events that count after all. By place, found by key; OFFSET 0: see find_anchors.
DELETE FROM excluded_event WHERE ctid = ANY (ARRAY(
    SELECT found.ctid FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bytea[])
        AS given (producer, epoch, seq, hash)
    CROSS JOIN LATERAL (
        SELECT ctid FROM excluded_event AS stored
        WHERE stored.producer = given.producer AND stored.epoch = given.epoch
            AND stored.seq = given.seq AND stored.hash = given.hash
        OFFSET 0
    ) AS found
));

-- name: write_excluded
-- An event may come to be excluded for another reason.
INSERT INTO excluded_event (producer, epoch, seq, hash, verdict, reason, detail)
SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bytea[], $5::text[], $6::text[],
    $7::text[])
ON CONFLICT (producer, epoch, seq, hash) DO UPDATE
SET verdict = excluded.verdict, reason = excluded.reason, detail = excluded.detail;

-- name: make_person
-- Make missing rows, in the given order.
INSERT INTO person (key, facts) SELECT key, ''::bytea FROM unnest($1::bytea[]) AS given (key)
ON CONFLICT DO NOTHING;

-- name: lock_person
-- Lock in the one order that everybody takes.
SELECT key, facts FROM person WHERE key = ANY ($1::bytea[]) ORDER BY key FOR UPDATE;

-- name: write_person
-- The rows are there: they were locked. See close_contacts. Their NIKs stay.
INSERT INTO person (key, facts) SELECT * FROM unnest($1::bytea[], $2::bytea[])
ON CONFLICT (key) DO UPDATE SET facts = excluded.facts;

-- name: write_person_and_nik
-- Of those who are new or erased: as write_person.
INSERT INTO person (key, facts, nik) SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[])
ON CONFLICT (key) DO UPDATE SET facts = excluded.facts, nik = excluded.nik;

-- name: make_person_access
-- Make missing rows, in the given order.
INSERT INTO person_access (key, facts)
SELECT key, ''::bytea FROM unnest($1::bytea[]) AS given (key)
ON CONFLICT DO NOTHING;

-- name: lock_person_access
-- Lock in the one order that everybody takes.
SELECT key, facts FROM person_access WHERE key = ANY ($1::bytea[]) ORDER BY key FOR UPDATE;

-- name: write_person_access
-- The rows are there: they were locked. See close_contacts.
INSERT INTO person_access (key, facts) SELECT * FROM unnest($1::bytea[], $2::bytea[])
ON CONFLICT (key) DO UPDATE SET facts = excluded.facts;

-- name: make_record_decision
-- Make missing rows, in the given order.
INSERT INTO record_decision (key, facts)
SELECT key, ''::bytea FROM unnest($1::bytea[]) AS given (key)
ON CONFLICT DO NOTHING;

-- name: lock_record_decision
-- Lock in the one order that everybody takes.
SELECT key, facts FROM record_decision WHERE key = ANY ($1::bytea[]) ORDER BY key FOR UPDATE;

-- name: write_record_decision
-- The rows are there: they were locked. See close_contacts.
INSERT INTO record_decision (key, facts) SELECT * FROM unnest($1::bytea[], $2::bytea[])
ON CONFLICT (key) DO UPDATE SET facts = excluded.facts;

-- name: make_cohort_entry
-- Make missing rows, in the given order.
INSERT INTO cohort_entry (key, facts) SELECT key, ''::bytea FROM unnest($1::bytea[]) AS given (key)
ON CONFLICT DO NOTHING;

-- name: lock_cohort_entry
-- Lock in the one order that everybody takes.
SELECT key, facts FROM cohort_entry WHERE key = ANY ($1::bytea[]) ORDER BY key FOR UPDATE;

-- name: write_cohort_entry
-- The rows are there: they were locked. See close_contacts.
INSERT INTO cohort_entry (key, facts) SELECT * FROM unnest($1::bytea[], $2::bytea[])
ON CONFLICT (key) DO UPDATE SET facts = excluded.facts;

-- name: make_reference
-- Make missing rows, in the given order.
INSERT INTO reference (key, facts) SELECT key, ''::bytea FROM unnest($1::bytea[]) AS given (key)
ON CONFLICT DO NOTHING;

-- name: lock_reference
-- Lock in the one order that everybody takes.
SELECT key, facts FROM reference WHERE key = ANY ($1::bytea[]) ORDER BY key FOR UPDATE;

-- name: write_reference
-- The rows are there: they were locked. See close_contacts.
INSERT INTO reference (key, facts) SELECT * FROM unnest($1::bytea[], $2::bytea[])
ON CONFLICT (key) DO UPDATE SET facts = excluded.facts;

-- name: add_access_cell
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO access_cell AS stored (caller, call, accessed_on, known_on, accesses)
    SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::date[], $5::bigint[])
    ON CONFLICT (caller, call, accessed_on, known_on) DO UPDATE
    SET accesses = stored.accesses + excluded.accesses
    RETURNING stored.ctid, stored.accesses
)
SELECT ctid::text FROM added WHERE accesses = 0;

-- name: add_coverage_cell
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO coverage_cell AS stored
        (desa, occurred_on, known_on, cause, producer, mode, route, people)
    SELECT * FROM unnest($1::text[], $2::date[], $3::date[], $4::text[], $5::text[], $6::text[],
        $7::text[], $8::bigint[])
    ON CONFLICT (desa, occurred_on, known_on, cause, producer, mode, route) DO UPDATE
    SET people = stored.people + excluded.people
    RETURNING stored.ctid, stored.people
)
SELECT ctid::text FROM added WHERE people = 0;

-- name: add_coverage_duplicate
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO coverage_duplicate AS stored (desa, occurred_on, known_on, people)
    SELECT * FROM unnest($1::text[], $2::date[], $3::date[], $4::bigint[])
    ON CONFLICT (desa, occurred_on, known_on) DO UPDATE SET people = stored.people + excluded.people
    RETURNING stored.ctid, stored.people
)
SELECT ctid::text FROM added WHERE people = 0;

-- name: add_coverage_month
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO coverage_month AS stored (desa, occurred_month, known_month, people)
    SELECT * FROM unnest($1::text[], $2::date[], $3::date[], $4::bigint[])
    ON CONFLICT (desa, occurred_month, known_month) DO UPDATE
    SET people = stored.people + excluded.people
    RETURNING stored.ctid, stored.people
)
SELECT ctid::text FROM added WHERE people = 0;

-- name: add_coverage_year
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO coverage_year AS stored (desa, occurred_year, known_year, people)
    SELECT * FROM unnest($1::text[], $2::date[], $3::date[], $4::bigint[])
    ON CONFLICT (desa, occurred_year, known_year) DO UPDATE
    SET people = stored.people + excluded.people
    RETURNING stored.ctid, stored.people
)
SELECT ctid::text FROM added WHERE people = 0;

-- name: add_discarded_cell
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO discarded_cell AS stored (partition, log_offset, first, last, decisions)
    SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
    ON CONFLICT (partition, log_offset, first, last) DO UPDATE
    SET decisions = stored.decisions + excluded.decisions
    RETURNING stored.ctid, stored.decisions
)
SELECT ctid::text FROM added WHERE decisions = 0;

-- name: add_verification_cell
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO verification_cell AS stored (desa, status, people)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
    ON CONFLICT (desa, status) DO UPDATE SET people = stored.people + excluded.people
    RETURNING stored.ctid, stored.people
)
SELECT ctid::text FROM added WHERE people = 0;

-- name: add_verification_age
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO verification_age AS stored (desa, status, since_on, people)
    SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::bigint[])
    ON CONFLICT (desa, status, since_on) DO UPDATE SET people = stored.people + excluded.people
    RETURNING stored.ctid, stored.people
)
SELECT ctid::text FROM added WHERE people = 0;

-- name: add_verification_suket
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO verification_suket AS stored (desa, issued_on, replaced_on, people)
    SELECT * FROM unnest($1::text[], $2::date[], $3::date[], $4::bigint[])
    ON CONFLICT (desa, issued_on, replaced_on) DO UPDATE
    SET people = stored.people + excluded.people
    RETURNING stored.ctid, stored.people
)
SELECT ctid::text FROM added WHERE people = 0;

-- name: add_verification_turn
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO verification_turn AS stored (desa, turn, before_status, after_status, people)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
    ON CONFLICT (desa, turn, before_status, after_status) DO UPDATE
    SET people = stored.people + excluded.people
    RETURNING stored.ctid, stored.people
)
SELECT ctid::text FROM added WHERE people = 0;

-- name: add_duplicate_case
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO duplicate_case AS stored
        (case_id, kind, state, outcome, desa, since_on, token, people)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
        $6::date[], $7::bytea[], $8::bigint[])
    ON CONFLICT (case_id, kind, state, outcome, desa, since_on, token) DO UPDATE
    SET people = stored.people + excluded.people
    RETURNING stored.ctid, stored.people
)
SELECT ctid::text FROM added WHERE people = 0;

-- name: add_duplicate_device
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO duplicate_device AS stored (producer, case_id, recordings)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
    ON CONFLICT (producer, case_id) DO UPDATE
    SET recordings = stored.recordings + excluded.recordings
    RETURNING stored.ctid, stored.recordings
)
SELECT ctid::text FROM added WHERE recordings = 0;

-- name: add_cohort_cell
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO cohort_cell AS stored
        (cohort, version, bucket, code, is_disputed, stated_on, known_on, entries)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::date[],
        $7::date[], $8::bigint[])
    ON CONFLICT (cohort, version, bucket, code, is_disputed, stated_on, known_on) DO UPDATE
    SET entries = stored.entries + excluded.entries
    RETURNING stored.ctid, stored.entries
)
SELECT ctid::text FROM added WHERE entries = 0;

-- name: add_cohort_claim
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO cohort_claim AS stored
        (cohort, version, source, bucket, stated_on, known_on, entries)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::date[], $6::date[],
        $7::bigint[])
    ON CONFLICT (cohort, version, source, bucket, stated_on, known_on) DO UPDATE
    SET entries = stored.entries + excluded.entries
    RETURNING stored.ctid, stored.entries
)
SELECT ctid::text FROM added WHERE entries = 0;

-- name: add_denominator_cell
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO denominator_cell AS stored (version, basis, valid_from, known_on, desa, wajib)
    SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::date[], $5::text[], $6::bigint[])
    ON CONFLICT (version, basis, valid_from, known_on, desa) DO UPDATE
    SET wajib = stored.wajib + excluded.wajib
    RETURNING stored.ctid, stored.wajib
)
SELECT ctid::text FROM added WHERE wajib = 0;

-- name: add_region_cell
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO region_cell AS stored (version, valid_from, known_on, code, name, is_listed)
    SELECT * FROM unnest($1::text[], $2::date[], $3::date[], $4::text[], $5::text[], $6::bigint[])
    ON CONFLICT (version, valid_from, known_on, code, name) DO UPDATE
    SET is_listed = stored.is_listed + excluded.is_listed
    RETURNING stored.ctid, stored.is_listed
)
SELECT ctid::text FROM added WHERE is_listed = 0;

-- name: add_publication_cell
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO publication_cell AS stored
        (kind, regency, valid_from, version, basis, known_on, entries)
    SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::text[], $5::text[], $6::date[],
        $7::bigint[])
    ON CONFLICT (kind, regency, valid_from, version, basis, known_on) DO UPDATE
    SET entries = stored.entries + excluded.entries
    RETURNING stored.ctid, stored.entries
)
SELECT ctid::text FROM added WHERE entries = 0;

-- name: add_recode_cell
-- Add differences in the given order. Returns where the cells are that have come to nothing.
WITH added AS (
    INSERT INTO recode_cell AS stored (version, valid_from, known_on, old_code, new_code, is_mapped)
    SELECT * FROM unnest($1::text[], $2::date[], $3::date[], $4::text[], $5::text[], $6::bigint[])
    ON CONFLICT (version, valid_from, known_on, old_code, new_code) DO UPDATE
    SET is_mapped = stored.is_mapped + excluded.is_mapped
    RETURNING stored.ctid, stored.is_mapped
)
SELECT ctid::text FROM added WHERE is_mapped = 0;
