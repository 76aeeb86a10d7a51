-- What the registrar decided of single records of the log, and the way from a place in the log to
-- the segment that lies there. No earlier software understood such a decision: whatever was stated
-- is held and is taken up when the processor starts, so nothing has to be folded anew.

CREATE TABLE record_decision (
    key bytea NOT NULL,
    facts bytea NOT NULL,
    CONSTRAINT record_decision_pkey PRIMARY KEY (key)
) WITH (fillfactor = 50);
COMMENT ON TABLE record_decision IS
    'Records of the log that the registrar spoke of, by place: partition (4 bytes) and offset (8 bytes).';
COMMENT ON COLUMN record_decision.facts IS
    'The set of facts (MessagePack, projections/quarantine/facts.py).';

CREATE TABLE discarded_cell (
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    decisions bigint NOT NULL,
    CONSTRAINT discarded_cell_pkey PRIMARY KEY (partition, log_offset, first, last)
);
COMMENT ON TABLE discarded_cell IS 'What never counts, by decision of the registrar.';
COMMENT ON COLUMN discarded_cell.first IS '0: all of the record.';

CREATE INDEX ledger_segment_place_idx ON ledger_segment (partition, log_offset);
