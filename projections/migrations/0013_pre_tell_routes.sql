-- By which route a recording came to the log is told in a header of its record, so that a late
-- arrival can be told by it. What was folded does not hold it: all that is a function of the log is
-- emptied, and the processor folds it anew from the beginning.

TRUNCATE projection_position, producer, producer_anchor, producer_contact, producer_service,
    ledger_segment, ledger_boot, ledger_copy,
    held_record, quarantined_record, excluded_event, person, person_access, access_cell,
    cohort_entry, reference, verification_cell, denominator_cell, region_cell, coverage_cell,
    coverage_duplicate, coverage_month, coverage_year, publication_cell, recode_cell, cohort_cell,
    cohort_claim, record_decision, discarded_cell, projection_settings, verification_age,
    verification_turn, verification_suket, duplicate_case, duplicate_device;

ALTER TABLE ledger_segment ADD COLUMN route text NOT NULL;
COMMENT ON COLUMN ledger_segment.route IS
    'How its earliest copy came to the log: kafka, gateway, relay, usb; empty: nobody told. Signed by nobody.';

ALTER TABLE held_record ADD COLUMN route text NOT NULL;
COMMENT ON COLUMN held_record.route IS 'As in ledger_segment, for when it is released.';

ALTER TABLE coverage_cell ADD COLUMN route text NOT NULL,
    DROP CONSTRAINT coverage_cell_pkey,
    ADD CONSTRAINT coverage_cell_pkey
        PRIMARY KEY (desa, occurred_on, known_on, cause, producer, mode, route) INCLUDE (people);
COMMENT ON COLUMN coverage_cell.route IS
    'How the recording came to the log, as in ledger_segment; empty: nobody told, or it was no recording.';
