-- name: read_producer
-- Rows that only lock a name which nothing admitted has spoken of are no part of the projection.
SELECT producer, facts, contact_ms FROM producer WHERE facts <> ''::bytea OR contact_ms > 0;

-- name: read_producer_anchor
-- All rows.
SELECT producer, boot, facts FROM producer_anchor;

-- name: read_producer_contact
-- All rows.
SELECT producer, known_on, until_on, contact_ms FROM producer_contact;

-- name: read_producer_service
-- All rows.
SELECT producer, known_on, until_on, heard_on FROM producer_service;

-- name: read_ledger_segment
-- All rows.
SELECT producer, epoch, first, hash, last, prev, partition, log_offset, append_ms, sealed_ms, lost,
    contents, route FROM ledger_segment;

-- name: read_ledger_boot
-- All rows.
SELECT producer, boot, epoch, first, last FROM ledger_boot;

-- name: read_ledger_copy
-- All rows.
SELECT partition, log_offset, append_ms, producer, epoch, first, hash FROM ledger_copy;

-- name: read_held_record
-- All rows.
SELECT partition, log_offset, append_ms, producer, epoch, first, last, reason, detail, value,
    route
FROM held_record;

-- name: read_quarantined_record
-- All rows.
SELECT partition, log_offset, append_ms, producer, epoch, first, last, reason, detail
FROM quarantined_record;

-- name: read_excluded_event
-- All rows.
SELECT producer, epoch, seq, hash, verdict, reason, detail FROM excluded_event;

-- name: read_record_decision
-- All rows.
SELECT key, facts FROM record_decision;

-- name: read_discarded_cell
-- All rows.
SELECT partition, log_offset, first, last, decisions FROM discarded_cell;

-- name: read_person
-- All rows.
SELECT key, facts, nik FROM person;

-- name: read_person_access
-- All rows.
SELECT key, facts FROM person_access;

-- name: read_access_cell
-- All rows.
SELECT caller, call, accessed_on, known_on, accesses FROM access_cell;

-- name: read_cohort_entry
-- All rows.
SELECT key, facts FROM cohort_entry;

-- name: read_reference
-- All rows.
SELECT key, facts FROM reference;

-- name: read_coverage_cell
-- All rows.
SELECT desa, occurred_on, known_on, cause, producer, mode, route, people FROM coverage_cell;

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

-- name: read_verification_age
-- All rows.
SELECT desa, status, since_on, people FROM verification_age;

-- name: read_verification_suket
-- All rows.
SELECT desa, issued_on, replaced_on, people FROM verification_suket;

-- name: read_verification_turn
-- All rows.
SELECT desa, turn, before_status, after_status, people FROM verification_turn;

-- name: read_duplicate_case
-- All rows.
SELECT case_id, kind, state, outcome, desa, since_on, token, people FROM duplicate_case;

-- name: read_duplicate_device
-- All rows.
SELECT producer, case_id, recordings FROM duplicate_device;

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
