-- Up to when every recorder has reported is part of every answer: it is looked up by the day of
-- knowledge, and no longer made of the whole ledger and of what the registry remembers of everybody.
-- Who was in service is in facts that only a fold reads, so the processor folds the log anew.

TRUNCATE projection_position, producer, producer_anchor, ledger_segment, ledger_boot, ledger_copy,
    held_record, quarantined_record, excluded_event, person, person_access, access_cell,
    cohort_entry, reference, verification_cell, denominator_cell, region_cell, coverage_cell,
    coverage_duplicate, coverage_month, coverage_year, publication_cell, recode_cell, cohort_cell,
    cohort_claim, record_decision, discarded_cell, projection_settings, verification_age,
    verification_turn, verification_suket, duplicate_case, duplicate_device;

CREATE TABLE producer_contact (
    producer text NOT NULL,
    known_on date NOT NULL,
    until_on date NOT NULL,
    contact_ms bigint NOT NULL,
    CONSTRAINT producer_contact_pkey PRIMARY KEY (producer, known_on),
    CONSTRAINT producer_contact_until_on_check CHECK (until_on > known_on)
) WITH (fillfactor = 50);
CREATE INDEX producer_contact_known_idx
    ON producer_contact USING gist (daterange(known_on, until_on));
COMMENT ON TABLE producer_contact IS
    'When the log last heard of a producer, by the day by whose end that was known.';
COMMENT ON COLUMN producer_contact.until_on IS
    'The next day on which it was heard, when this was no longer its last contact; infinity: it still is.';
COMMENT ON COLUMN producer_contact.contact_ms IS
    'Append time of the latest of its records of the day known_on.';

CREATE TABLE producer_service (
    producer text NOT NULL,
    known_on date NOT NULL,
    until_on date NOT NULL,
    CONSTRAINT producer_service_pkey PRIMARY KEY (producer, known_on),
    CONSTRAINT producer_service_until_on_check CHECK (until_on > known_on)
);
COMMENT ON TABLE producer_service IS
    'From which day on, and before which, a producer was known as a recorder that should report: enrolled and not revoked.';
COMMENT ON COLUMN producer_service.until_on IS 'infinity: it still is.';

-- What re-codes the places in, below or above a region is looked up by the beginnings of its code.
CREATE INDEX recode_cell_new_code_idx ON recode_cell (new_code COLLATE "C", old_code COLLATE "C");
CREATE INDEX recode_cell_old_code_idx ON recode_cell (old_code COLLATE "C");
