-- Lists of people as of any day, as known at any day, by version, with what each source says. Their
-- facts are there, their cells can be had from the log alone: everything that is a function of the
-- log is emptied, and the processor folds it anew from the beginning.

TRUNCATE projection_position, producer, ledger_segment, ledger_copy, held_record,
    quarantined_record, excluded_event, person, cohort_entry, reference, verification_cell,
    denominator_cell, region_cell, coverage_cell, coverage_duplicate, coverage_month,
    coverage_year, publication_cell, recode_cell;

DROP TABLE cohort_cell;
CREATE TABLE cohort_cell (
    cohort text NOT NULL,
    version text NOT NULL,
    bucket text NOT NULL,
    code text NOT NULL,
    is_disputed bigint NOT NULL,
    stated_on date NOT NULL,
    known_on date NOT NULL,
    entries bigint NOT NULL,
    CONSTRAINT cohort_cell_pkey
        PRIMARY KEY (cohort, version, bucket, code, is_disputed, stated_on, known_on),
    CONSTRAINT cohort_cell_is_disputed_check CHECK (is_disputed IN (0, 1))
) WITH (fillfactor = 50);
COMMENT ON TABLE cohort_cell IS
    'Entries of a list by bucket as of D, as known at K: the sum over stated_on <= D and known_on <= K; buckets sum to the list.';
COMMENT ON COLUMN cohort_cell.version IS
    'Empty: what is said of every version. A version is the sum of that and its own cells, which may be negative.';
COMMENT ON COLUMN cohort_cell.code IS 'The election commission''s code, raw; empty: the list has none.';
COMMENT ON COLUMN cohort_cell.is_disputed IS '1: sources name different buckets.';

CREATE TABLE cohort_claim (
    cohort text NOT NULL,
    version text NOT NULL,
    source text NOT NULL,
    bucket text NOT NULL,
    stated_on date NOT NULL,
    known_on date NOT NULL,
    entries bigint NOT NULL,
    CONSTRAINT cohort_claim_pkey
        PRIMARY KEY (cohort, version, source, bucket, stated_on, known_on)
) WITH (fillfactor = 50);
COMMENT ON TABLE cohort_claim IS
    'Entries by what a source says of them, whether it decides or not: summed as cohort_cell is.';
