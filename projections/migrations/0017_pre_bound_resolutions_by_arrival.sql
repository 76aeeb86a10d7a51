-- A resolution is not later than its arrival, of several words of one time the one that was known last
-- stands, and one of a time that had not come excludes nobody. What was folded says otherwise: all that
-- is a function of the log is emptied, and the processor folds it anew from the beginning.

TRUNCATE projection_position, producer, producer_anchor, producer_contact, producer_service,
    ledger_segment, ledger_boot, ledger_copy,
    held_record, quarantined_record, excluded_event, person, person_access, access_cell,
    cohort_entry, reference, verification_cell, denominator_cell, region_cell, coverage_cell,
    coverage_duplicate, coverage_month, coverage_year, publication_cell, recode_cell, cohort_cell,
    cohort_claim, record_decision, discarded_cell, projection_settings, verification_age,
    verification_turn, verification_suket, duplicate_case, duplicate_device;
