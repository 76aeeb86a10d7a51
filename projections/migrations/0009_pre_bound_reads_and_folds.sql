-- Reads and folds that take as long in tables of ten years as in those of a month. Which segments
-- name a boot session is in their contents alone, so it can be had from the log: all that is a
-- function of the log is emptied, and the processor folds it anew from the beginning.

TRUNCATE projection_position, producer, ledger_segment, ledger_copy, held_record,
    quarantined_record, excluded_event, person, person_access, access_cell, cohort_entry, reference,
    verification_cell, denominator_cell, region_cell, coverage_cell, coverage_duplicate,
    coverage_month, coverage_year, publication_cell, recode_cell, cohort_cell, cohort_claim,
    record_decision, discarded_cell, projection_settings, verification_age, verification_turn,
    verification_suket, duplicate_case, duplicate_device;

CREATE TABLE producer_anchor (
    producer text NOT NULL,
    boot text NOT NULL,
    facts bytea NOT NULL,
    CONSTRAINT producer_anchor_pkey PRIMARY KEY (producer, boot)
);
COMMENT ON TABLE producer_anchor IS
    'By what the clock of each boot session is anchored: a device has thousands in its life, a fold needs few.';
COMMENT ON COLUMN producer_anchor.facts IS
    'The set of facts (MessagePack, projections/registry/facts.py); its lock is the producer''s.';

CREATE TABLE ledger_boot (
    producer text NOT NULL,
    boot text NOT NULL,
    epoch integer NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    CONSTRAINT ledger_boot_pkey PRIMARY KEY (producer, boot, epoch),
    CONSTRAINT ledger_boot_range_check CHECK (first >= 1 AND last >= first)
) WITH (fillfactor = 50);
COMMENT ON TABLE ledger_boot IS
    'Between which seqs all segments lie that name a boot session: when its clock is anchored, their events are judged again.';

-- Coverage is summed from the index alone: a sum of some thousand cells meets as many pages of the
-- table, but few of the index. No update of a count can stay on its page then, so none keeps room;
-- vacuum, which marks the pages that need not be looked at, comes after a twentieth and not a fifth.
ALTER TABLE coverage_cell DROP CONSTRAINT coverage_cell_pkey,
    ADD CONSTRAINT coverage_cell_pkey
        PRIMARY KEY (desa, occurred_on, known_on, cause, producer, mode) INCLUDE (people),
    SET (fillfactor = 100, autovacuum_vacuum_scale_factor = 0.05,
        autovacuum_vacuum_insert_scale_factor = 0.05);
ALTER TABLE coverage_duplicate DROP CONSTRAINT coverage_duplicate_pkey,
    ADD CONSTRAINT coverage_duplicate_pkey
        PRIMARY KEY (desa, occurred_on, known_on) INCLUDE (people),
    SET (fillfactor = 100, autovacuum_vacuum_scale_factor = 0.05,
        autovacuum_vacuum_insert_scale_factor = 0.05);
ALTER TABLE coverage_month DROP CONSTRAINT coverage_month_pkey,
    ADD CONSTRAINT coverage_month_pkey
        PRIMARY KEY (desa, occurred_month, known_month) INCLUDE (people),
    SET (fillfactor = 100, autovacuum_vacuum_scale_factor = 0.05,
        autovacuum_vacuum_insert_scale_factor = 0.05);
ALTER TABLE coverage_year DROP CONSTRAINT coverage_year_pkey,
    ADD CONSTRAINT coverage_year_pkey
        PRIMARY KEY (desa, occurred_year, known_year) INCLUDE (people),
    SET (fillfactor = 100, autovacuum_vacuum_scale_factor = 0.05,
        autovacuum_vacuum_insert_scale_factor = 0.05);

-- What was known later than its day, and what has no day, have indexes of just that instead of those
-- of all cells by the day of knowledge. `+ 0` keeps the planner from taking them where the primary
-- key is ten times faster, and the primary key from being taken here.
DROP INDEX coverage_cell_known_idx, coverage_month_known_idx;
CREATE INDEX coverage_cell_late_idx ON coverage_cell (desa, known_on, (occurred_on + 0))
    WHERE occurred_on < known_on;
CREATE INDEX coverage_cell_undated_idx ON coverage_cell (desa, known_on)
    WHERE occurred_on = 'infinity';
CREATE INDEX coverage_month_late_idx ON coverage_month (desa, known_month, (occurred_month + 0))
    WHERE occurred_month < known_month;
CREATE INDEX coverage_month_undated_idx ON coverage_month (desa, known_month)
    WHERE occurred_month = 'infinity';
