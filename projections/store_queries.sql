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
-- The rows are there: they were locked.
UPDATE producer AS stored
SET facts = given.facts, contact_ms = given.contact_ms
FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS given (producer, facts, contact_ms)
WHERE stored.producer = given.producer;

-- name: find_overlaps
-- Segments that hold a seq of the ranges; a segment begins at most 499 before the first of them.
SELECT DISTINCT stored.* FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[])
    AS given (producer, epoch, first, last)
CROSS JOIN LATERAL (
    SELECT * FROM ledger_segment AS segment
    WHERE segment.producer = given.producer AND segment.epoch = given.epoch
        AND segment.first BETWEEN given.first - 499 AND given.last
        AND segment.last >= given.first
) AS stored;

-- name: list_segments_of
-- Every segment of some producers.
SELECT * FROM ledger_segment WHERE producer = ANY ($1::text[]);

-- name: list_held_of
-- Every held record that claims to be of some producers.
SELECT * FROM held_record WHERE producer = ANY ($1::text[]);

-- name: write_segments
-- Only place, time and forks of a segment can change.
INSERT INTO ledger_segment
    (producer, epoch, first, hash, last, prev, partition, log_offset, append_ms, sealed_ms, lost,
     contents)
SELECT producer, epoch, first, hash, last, prev, partition, log_offset, append_ms, sealed_ms,
    lost::bigint[], contents
FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bytea[],
    $7::integer[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::bytea[])
    AS given (producer, epoch, first, hash, last, prev, partition, log_offset, append_ms,
        sealed_ms, lost, contents)
ON CONFLICT (producer, epoch, first, hash) DO UPDATE
SET partition = excluded.partition, log_offset = excluded.log_offset,
    append_ms = excluded.append_ms, lost = excluded.lost;

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
-- What was held and has been decided.
DELETE FROM held_record AS stored
USING unnest($1::integer[], $2::bigint[]) AS given (partition, log_offset)
WHERE (stored.partition, stored.log_offset) = (given.partition, given.log_offset);

-- name: write_held
-- A held record may come to wait for something else.
INSERT INTO held_record
    (partition, log_offset, append_ms, producer, epoch, first, last, reason, detail, value)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[],
    $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::bytea[])
ON CONFLICT (partition, log_offset) DO UPDATE
SET reason = excluded.reason, detail = excluded.detail;

-- name: write_quarantined
-- Wrong for ever: the first word stands.
INSERT INTO quarantined_record
    (partition, log_offset, append_ms, producer, epoch, first, last, reason, detail)
SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[],
    $6::bigint[], $7::bigint[], $8::text[], $9::text[])
ON CONFLICT DO NOTHING;

-- name: delete_excluded
-- Events that count after all.
DELETE FROM excluded_event AS stored
USING unnest($1::text[], $2::integer[], $3::bigint[], $4::bytea[])
    AS given (producer, epoch, seq, hash)
WHERE (stored.producer, stored.epoch, stored.seq, stored.hash)
    = (given.producer, given.epoch, given.seq, given.hash);

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
-- The rows are there: they were locked.
UPDATE person AS stored SET facts = given.facts
FROM unnest($1::bytea[], $2::bytea[]) AS given (key, facts) WHERE stored.key = given.key;

-- name: make_cohort_entry
-- Make missing rows, in the given order.
INSERT INTO cohort_entry (key, facts) SELECT key, ''::bytea FROM unnest($1::bytea[]) AS given (key)
ON CONFLICT DO NOTHING;

-- name: lock_cohort_entry
-- Lock in the one order that everybody takes.
SELECT key, facts FROM cohort_entry WHERE key = ANY ($1::bytea[]) ORDER BY key FOR UPDATE;

-- name: write_cohort_entry
-- The rows are there: they were locked.
UPDATE cohort_entry AS stored SET facts = given.facts
FROM unnest($1::bytea[], $2::bytea[]) AS given (key, facts) WHERE stored.key = given.key;

-- name: make_reference
-- Make missing rows, in the given order.
INSERT INTO reference (key, facts) SELECT key, ''::bytea FROM unnest($1::bytea[]) AS given (key)
ON CONFLICT DO NOTHING;

-- name: lock_reference
-- Lock in the one order that everybody takes.
SELECT key, facts FROM reference WHERE key = ANY ($1::bytea[]) ORDER BY key FOR UPDATE;

-- name: write_reference
-- The rows are there: they were locked.
UPDATE reference AS stored SET facts = given.facts
FROM unnest($1::bytea[], $2::bytea[]) AS given (key, facts) WHERE stored.key = given.key;

-- name: add_coverage_cell
-- Add differences in the given order. Returns the cells that have come to nothing.
WITH added AS (
    INSERT INTO coverage_cell AS stored
        (desa, occurred_on, known_on, cause, producer, mode, people)
    SELECT * FROM unnest($1::text[], $2::date[], $3::date[], $4::text[], $5::text[], $6::text[],
        $7::bigint[])
    ON CONFLICT (desa, occurred_on, known_on, cause, producer, mode) DO UPDATE
    SET people = stored.people + excluded.people
    RETURNING stored.*
)
SELECT desa, occurred_on, known_on, cause, producer, mode FROM added WHERE people = 0;

-- name: drop_coverage_cell
-- A cell that has come to nothing is no row.
DELETE FROM coverage_cell AS stored
USING unnest($1::text[], $2::date[], $3::date[], $4::text[], $5::text[], $6::text[])
    AS given (desa, occurred_on, known_on, cause, producer, mode)
WHERE (stored.desa, stored.occurred_on, stored.known_on, stored.cause, stored.producer, stored.mode)
    = (given.desa, given.occurred_on, given.known_on, given.cause, given.producer, given.mode)
    AND stored.people = 0;

-- name: add_coverage_duplicate
-- Add differences in the given order. Returns the cells that have come to nothing.
WITH added AS (
    INSERT INTO coverage_duplicate AS stored (desa, occurred_on, known_on, people)
    SELECT * FROM unnest($1::text[], $2::date[], $3::date[], $4::bigint[])
    ON CONFLICT (desa, occurred_on, known_on) DO UPDATE SET people = stored.people + excluded.people
    RETURNING stored.*
)
SELECT desa, occurred_on, known_on FROM added WHERE people = 0;

-- name: drop_coverage_duplicate
-- A cell that has come to nothing is no row.
DELETE FROM coverage_duplicate AS stored
USING unnest($1::text[], $2::date[], $3::date[]) AS given (desa, occurred_on, known_on)
WHERE (stored.desa, stored.occurred_on, stored.known_on)
    = (given.desa, given.occurred_on, given.known_on) AND stored.people = 0;

-- name: add_coverage_month
-- Add differences in the given order. Returns the cells that have come to nothing.
WITH added AS (
    INSERT INTO coverage_month AS stored (desa, occurred_month, known_month, people)
    SELECT * FROM unnest($1::text[], $2::date[], $3::date[], $4::bigint[])
    ON CONFLICT (desa, occurred_month, known_month) DO UPDATE
    SET people = stored.people + excluded.people
    RETURNING stored.*
)
SELECT desa, occurred_month, known_month FROM added WHERE people = 0;

-- name: drop_coverage_month
-- A cell that has come to nothing is no row.
DELETE FROM coverage_month AS stored
USING unnest($1::text[], $2::date[], $3::date[]) AS given (desa, occurred_month, known_month)
WHERE (stored.desa, stored.occurred_month, stored.known_month)
    = (given.desa, given.occurred_month, given.known_month) AND stored.people = 0;

-- name: add_coverage_year
-- Add differences in the given order. Returns the cells that have come to nothing.
WITH added AS (
    INSERT INTO coverage_year AS stored (desa, occurred_year, known_year, people)
    SELECT * FROM unnest($1::text[], $2::date[], $3::date[], $4::bigint[])
    ON CONFLICT (desa, occurred_year, known_year) DO UPDATE
    SET people = stored.people + excluded.people
    RETURNING stored.*
)
SELECT desa, occurred_year, known_year FROM added WHERE people = 0;

-- name: drop_coverage_year
-- A cell that has come to nothing is no row.
DELETE FROM coverage_year AS stored
USING unnest($1::text[], $2::date[], $3::date[]) AS given (desa, occurred_year, known_year)
WHERE (stored.desa, stored.occurred_year, stored.known_year)
    = (given.desa, given.occurred_year, given.known_year) AND stored.people = 0;

-- name: add_verification_cell
-- Add differences in the given order. Returns the cells that have come to nothing.
WITH added AS (
    INSERT INTO verification_cell AS stored (desa, status, people)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
    ON CONFLICT (desa, status) DO UPDATE SET people = stored.people + excluded.people
    RETURNING stored.*
)
SELECT desa, status FROM added WHERE people = 0;

-- name: drop_verification_cell
-- A cell that has come to nothing is no row.
DELETE FROM verification_cell AS stored
USING unnest($1::text[], $2::text[]) AS given (desa, status)
WHERE (stored.desa, stored.status) = (given.desa, given.status) AND stored.people = 0;

-- name: add_cohort_cell
-- Add differences in the given order. Returns the cells that have come to nothing.
WITH added AS (
    INSERT INTO cohort_cell AS stored
        (cohort, version, bucket, code, is_disputed, stated_on, known_on, entries)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::date[],
        $7::date[], $8::bigint[])
    ON CONFLICT (cohort, version, bucket, code, is_disputed, stated_on, known_on) DO UPDATE
    SET entries = stored.entries + excluded.entries
    RETURNING stored.*
)
SELECT cohort, version, bucket, code, is_disputed, stated_on, known_on FROM added
WHERE entries = 0;

-- name: drop_cohort_cell
-- A cell that has come to nothing is no row.
DELETE FROM cohort_cell AS stored
USING unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::date[], $7::date[])
    AS given (cohort, version, bucket, code, is_disputed, stated_on, known_on)
WHERE (stored.cohort, stored.version, stored.bucket, stored.code, stored.is_disputed,
    stored.stated_on, stored.known_on)
    = (given.cohort, given.version, given.bucket, given.code, given.is_disputed,
    given.stated_on, given.known_on) AND stored.entries = 0;

-- name: add_cohort_claim
-- Add differences in the given order. Returns the cells that have come to nothing.
WITH added AS (
    INSERT INTO cohort_claim AS stored
        (cohort, version, source, bucket, stated_on, known_on, entries)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::date[], $6::date[],
        $7::bigint[])
    ON CONFLICT (cohort, version, source, bucket, stated_on, known_on) DO UPDATE
    SET entries = stored.entries + excluded.entries
    RETURNING stored.*
)
SELECT cohort, version, source, bucket, stated_on, known_on FROM added WHERE entries = 0;

-- name: drop_cohort_claim
-- A cell that has come to nothing is no row.
DELETE FROM cohort_claim AS stored
USING unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::date[], $6::date[])
    AS given (cohort, version, source, bucket, stated_on, known_on)
WHERE (stored.cohort, stored.version, stored.source, stored.bucket, stored.stated_on,
    stored.known_on)
    = (given.cohort, given.version, given.source, given.bucket, given.stated_on, given.known_on)
    AND stored.entries = 0;

-- name: add_denominator_cell
-- Add differences in the given order. Returns the cells that have come to nothing.
WITH added AS (
    INSERT INTO denominator_cell AS stored (version, basis, valid_from, known_on, desa, wajib)
    SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::date[], $5::text[], $6::bigint[])
    ON CONFLICT (version, basis, valid_from, known_on, desa) DO UPDATE
    SET wajib = stored.wajib + excluded.wajib
    RETURNING stored.*
)
SELECT version, basis, valid_from, known_on, desa FROM added WHERE wajib = 0;

-- name: drop_denominator_cell
-- A cell that has come to nothing is no row.
DELETE FROM denominator_cell AS stored
USING unnest($1::text[], $2::text[], $3::date[], $4::date[], $5::text[])
    AS given (version, basis, valid_from, known_on, desa)
WHERE (stored.version, stored.basis, stored.valid_from, stored.known_on, stored.desa)
    = (given.version, given.basis, given.valid_from, given.known_on, given.desa)
    AND stored.wajib = 0;

-- name: add_region_cell
-- Add differences in the given order. Returns the cells that have come to nothing.
WITH added AS (
    INSERT INTO region_cell AS stored (version, valid_from, known_on, code, name, is_listed)
    SELECT * FROM unnest($1::text[], $2::date[], $3::date[], $4::text[], $5::text[], $6::bigint[])
    ON CONFLICT (version, valid_from, known_on, code, name) DO UPDATE
    SET is_listed = stored.is_listed + excluded.is_listed
    RETURNING stored.*
)
SELECT version, valid_from, known_on, code, name FROM added WHERE is_listed = 0;

-- name: drop_region_cell
-- A cell that has come to nothing is no row.
DELETE FROM region_cell AS stored
USING unnest($1::text[], $2::date[], $3::date[], $4::text[], $5::text[])
    AS given (version, valid_from, known_on, code, name)
WHERE (stored.version, stored.valid_from, stored.known_on, stored.code, stored.name)
    = (given.version, given.valid_from, given.known_on, given.code, given.name)
    AND stored.is_listed = 0;

-- name: add_publication_cell
-- Add differences in the given order. Returns the cells that have come to nothing.
WITH added AS (
    INSERT INTO publication_cell AS stored
        (kind, regency, valid_from, version, basis, known_on, entries)
    SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::text[], $5::text[], $6::date[],
        $7::bigint[])
    ON CONFLICT (kind, regency, valid_from, version, basis, known_on) DO UPDATE
    SET entries = stored.entries + excluded.entries
    RETURNING stored.*
)
SELECT kind, regency, valid_from, version, basis, known_on FROM added WHERE entries = 0;

-- name: drop_publication_cell
-- A cell that has come to nothing is no row.
DELETE FROM publication_cell AS stored
USING unnest($1::text[], $2::text[], $3::date[], $4::text[], $5::text[], $6::date[])
    AS given (kind, regency, valid_from, version, basis, known_on)
WHERE (stored.kind, stored.regency, stored.valid_from, stored.version, stored.basis,
        stored.known_on)
    = (given.kind, given.regency, given.valid_from, given.version, given.basis, given.known_on)
    AND stored.entries = 0;

-- name: add_recode_cell
-- Add differences in the given order. Returns the cells that have come to nothing.
WITH added AS (
    INSERT INTO recode_cell AS stored (version, valid_from, known_on, old_code, new_code, is_mapped)
    SELECT * FROM unnest($1::text[], $2::date[], $3::date[], $4::text[], $5::text[], $6::bigint[])
    ON CONFLICT (version, valid_from, known_on, old_code, new_code) DO UPDATE
    SET is_mapped = stored.is_mapped + excluded.is_mapped
    RETURNING stored.*
)
SELECT version, valid_from, known_on, old_code, new_code FROM added WHERE is_mapped = 0;

-- name: drop_recode_cell
-- A cell that has come to nothing is no row.
DELETE FROM recode_cell AS stored
USING unnest($1::text[], $2::date[], $3::date[], $4::text[], $5::text[])
    AS given (version, valid_from, known_on, old_code, new_code)
WHERE (stored.version, stored.valid_from, stored.known_on, stored.old_code, stored.new_code)
    = (given.version, given.valid_from, given.known_on, given.old_code, given.new_code)
    AND stored.is_mapped = 0;
