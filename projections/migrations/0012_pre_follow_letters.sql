-- Who had which letter on an earlier day cannot be told from the latest one alone: each letter is the
-- latest of its person from one day to another. All that is a function of the log is emptied, and the
-- processor folds it anew from the beginning; events that tell a NIK where none belongs are left out.

TRUNCATE projection_position, producer, producer_anchor, producer_contact, producer_service,
    ledger_segment, ledger_boot, ledger_copy,
    held_record, quarantined_record, excluded_event, person, person_access, access_cell,
    cohort_entry, reference, verification_cell, denominator_cell, region_cell, coverage_cell,
    coverage_duplicate, coverage_month, coverage_year, publication_cell, recode_cell, cohort_cell,
    cohort_claim, record_decision, discarded_cell, projection_settings, verification_age,
    verification_turn, duplicate_case, duplicate_device;

DROP TABLE verification_suket;
CREATE TABLE verification_suket (
    desa text COLLATE "C" NOT NULL,
    issued_on date NOT NULL,
    replaced_on date NOT NULL,
    people bigint NOT NULL,
    CONSTRAINT verification_suket_pkey PRIMARY KEY (desa, issued_on, replaced_on)
) WITH (fillfactor = 50);
COMMENT ON TABLE verification_suket IS
    'People by the days from which to which a letter was the latest one in place of their card.';
COMMENT ON COLUMN verification_suket.replaced_on IS
    'The day on which a later letter was issued; infinity: none was.';
