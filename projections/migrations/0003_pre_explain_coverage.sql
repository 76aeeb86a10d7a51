-- Coverage that can be explained: who made it so, what it was by months, who is a duplicate, which
-- tree re-codes what. These tables cannot be had from those that are there, only from the log. So
-- everything that is a function of the log is emptied here, and the processor folds it anew from
-- the beginning; until it is through, figures are incomplete and `position` says how far it is.

TRUNCATE projection_position, producer, ledger_segment, ledger_copy, held_record,
    quarantined_record, excluded_event, person, cohort_entry, reference, verification_cell,
    cohort_cell, denominator_cell, region_cell;

DROP TABLE coverage_cell;
CREATE TABLE coverage_cell (
    desa text COLLATE "C" NOT NULL,
    occurred_on date NOT NULL,
    known_on date NOT NULL,
    cause text NOT NULL,
    producer text NOT NULL,
    mode text NOT NULL,
    people bigint NOT NULL,
    CONSTRAINT coverage_cell_pkey PRIMARY KEY (desa, occurred_on, known_on, cause, producer, mode)
) WITH (fillfactor = 50);
-- Without occurred_on: an index with both would be taken where the primary key is ten times faster.
CREATE INDEX coverage_cell_known_idx ON coverage_cell (desa, known_on);
COMMENT ON TABLE coverage_cell IS
    'People recorded in a desa as of D, as known at K: the sum over occurred_on <= D and known_on <= K.';
COMMENT ON COLUMN coverage_cell.occurred_on IS 'infinity: the date is unknown.';
COMMENT ON COLUMN coverage_cell.cause IS
    'What made them come or go on known_on: arrived, withdrawn, redated, revoked, fork_lost, authority.';
COMMENT ON COLUMN coverage_cell.producer IS 'Whose event did.';
COMMENT ON COLUMN coverage_cell.mode IS 'How the recording was made: online, offline; empty: it was no recording.';

CREATE TABLE coverage_duplicate (
    desa text COLLATE "C" NOT NULL,
    occurred_on date NOT NULL,
    known_on date NOT NULL,
    people bigint NOT NULL,
    CONSTRAINT coverage_duplicate_pkey PRIMARY KEY (desa, occurred_on, known_on)
) WITH (fillfactor = 50);
COMMENT ON TABLE coverage_duplicate IS
    'Of the people of coverage_cell, those whose latest status observed by D is DUPLICATE_RECORD: summed in the same way.';

CREATE TABLE coverage_month (
    desa text COLLATE "C" NOT NULL,
    occurred_month date NOT NULL,
    known_month date NOT NULL,
    people bigint NOT NULL,
    CONSTRAINT coverage_month_pkey PRIMARY KEY (desa, occurred_month, known_month)
) WITH (fillfactor = 50);
CREATE INDEX coverage_month_known_idx ON coverage_month (desa, known_month);
COMMENT ON TABLE coverage_month IS
    'coverage_cell by months, each named by its first day; infinity: the date is unknown.';

CREATE TABLE coverage_year (
    desa text COLLATE "C" NOT NULL,
    occurred_year date NOT NULL,
    known_year date NOT NULL,
    people bigint NOT NULL,
    CONSTRAINT coverage_year_pkey PRIMARY KEY (desa, occurred_year, known_year)
) WITH (fillfactor = 50);
COMMENT ON TABLE coverage_year IS
    'coverage_cell by years, each named by its first day; infinity: the date is unknown.';

CREATE TABLE publication_cell (
    kind text NOT NULL,
    regency text NOT NULL,
    valid_from date NOT NULL,
    version text NOT NULL,
    basis text NOT NULL,
    known_on date NOT NULL,
    entries bigint NOT NULL,
    CONSTRAINT publication_cell_pkey PRIMARY KEY (kind, regency, valid_from, version, basis, known_on),
    CONSTRAINT publication_cell_kind_check CHECK (kind IN ('tree', 'denominator'))
);
COMMENT ON TABLE publication_cell IS
    'Which versions each regency has, as known at K: those whose sum over known_on <= K is above 0.';

CREATE TABLE recode_cell (
    version text NOT NULL,
    valid_from date NOT NULL,
    known_on date NOT NULL,
    old_code text NOT NULL,
    new_code text NOT NULL,
    is_mapped bigint NOT NULL,
    CONSTRAINT recode_cell_pkey PRIMARY KEY (version, valid_from, known_on, old_code, new_code)
);
COMMENT ON TABLE recode_cell IS
    'What each version of the tree re-codes, as known at K: mapped when the sum over known_on <= K is 1.';
