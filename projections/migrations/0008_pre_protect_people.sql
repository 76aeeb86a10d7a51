-- NIKs sealed, who read of whom, and people who were erased. All of it comes from the log alone: so
-- everything that is a function of the log is emptied, and the processor folds it anew from the
-- beginning; until it is through, figures are incomplete and `position` says how far it is.

TRUNCATE projection_position, producer, ledger_segment, ledger_copy, held_record,
    quarantined_record, excluded_event, person, cohort_entry, reference, verification_cell,
    denominator_cell, region_cell, coverage_cell, coverage_duplicate, coverage_month,
    coverage_year, publication_cell, recode_cell, cohort_cell, cohort_claim, record_decision,
    discarded_cell, verification_age, verification_turn, verification_suket, duplicate_case,
    duplicate_device;

ALTER TABLE person ADD COLUMN nik bytea NOT NULL DEFAULT ''::bytea;
COMMENT ON COLUMN person.nik IS
    'The NIK, sealed with nik_key (projections/person/niks.py); empty: the person was erased.';
COMMENT ON TABLE person IS
    'People by token (keyed BLAKE2b of the NIK): no name, and no NIK but sealed. Of who was erased, what sums rest on.';

CREATE TABLE person_access (
    key bytea NOT NULL,
    facts bytea NOT NULL,
    CONSTRAINT person_access_pkey PRIMARY KEY (key)
) WITH (fillfactor = 50);
COMMENT ON TABLE person_access IS 'Who read what is known of a person, and why: by the person''s token.';
COMMENT ON COLUMN person_access.facts IS 'The set of facts (MessagePack, projections/access/facts.py).';

CREATE TABLE access_cell (
    caller text NOT NULL,
    call text NOT NULL,
    accessed_on date NOT NULL,
    known_on date NOT NULL,
    accesses bigint NOT NULL,
    CONSTRAINT access_cell_pkey PRIMARY KEY (caller, call, accessed_on, known_on)
) WITH (fillfactor = 50);
CREATE INDEX access_cell_accessed_idx ON access_cell (accessed_on);
COMMENT ON TABLE access_cell IS
    'Readings of people by who read, by which call and on which day, as known at K: the sum over known_on <= K.';
COMMENT ON COLUMN access_cell.accessed_on IS 'infinity: the date is unknown.';

CREATE TABLE projection_settings (
    is_only boolean NOT NULL DEFAULT true,
    rules text NOT NULL,
    CONSTRAINT projection_settings_pkey PRIMARY KEY (is_only),
    CONSTRAINT projection_settings_is_only_check CHECK (is_only)
);
COMMENT ON TABLE projection_settings IS
    'Under which rules and keys (by id) the tables are folded; a processor with others refuses to start.';
