-- name: read_producer
-- Rows that only lock a name which nothing admitted has spoken of are no part of the projection.
SELECT producer, facts, contact_ms FROM producer WHERE facts <> ''::bytea OR contact_ms > 0;

-- name: read_ledger_segment
-- All rows.
SELECT producer, epoch, first, hash, last, prev, partition, log_offset, append_ms, sealed_ms, lost,
    contents FROM ledger_segment;

-- name: read_ledger_copy
-- All rows.
SELECT partition, log_offset, append_ms, producer, epoch, first, hash FROM ledger_copy;

-- name: read_held_record
-- All rows.
SELECT partition, log_offset, append_ms, producer, epoch, first, last, reason, detail, value
FROM held_record;

-- name: read_quarantined_record
-- All rows.
SELECT partition, log_offset, append_ms, producer, epoch, first, last, reason, detail
FROM quarantined_record;

-- name: read_excluded_event
-- All rows.
SELECT producer, epoch, seq, hash, verdict, reason, detail FROM excluded_event;

-- name: read_person
-- All rows.
SELECT key, facts FROM person;

-- name: read_cohort_entry
-- All rows.
SELECT key, facts FROM cohort_entry;

-- name: read_reference
-- All rows.
SELECT key, facts FROM reference;

-- name: read_coverage_cell
-- All rows.
SELECT desa, occurred_on, known_on, cause, producer, mode, people FROM coverage_cell;

-- name: read_coverage_duplicate
-- All rows.
SELECT desa, occurred_on, known_on, people FROM coverage_duplicate;

-- name: read_coverage_month
-- All rows.
SELECT desa, occurred_month, known_month, people FROM coverage_month;

-- name: read_coverage_year
-- All rows.
SELECT desa, occurred_year, known_year, people FROM coverage_year;

-- name: read_verification_cell
-- All rows.
SELECT desa, status, people FROM verification_cell;

-- name: read_cohort_cell
-- All rows.
SELECT cohort, version, bucket, code, is_disputed, stated_on, known_on, entries FROM cohort_cell;

-- name: read_cohort_claim
-- All rows.
SELECT cohort, version, source, bucket, stated_on, known_on, entries FROM cohort_claim;

-- name: read_denominator_cell
-- All rows.
SELECT version, basis, valid_from, known_on, desa, wajib FROM denominator_cell;

-- name: read_region_cell
-- All rows.
SELECT version, valid_from, known_on, code, name, is_listed FROM region_cell;

-- name: read_publication_cell
-- All rows.
SELECT kind, regency, valid_from, version, basis, known_on, entries FROM publication_cell;

-- name: read_recode_cell
-- All rows.
SELECT version, valid_from, known_on, old_code, new_code, is_mapped FROM recode_cell;
