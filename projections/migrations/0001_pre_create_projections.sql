-- Everything here is a function of the log: it can be dropped and made again by a replay.
-- Columns named *_ms are Unix time in milliseconds, UTC. Counts are whole numbers: sums of floats
-- depend on their order. Tables that are rewritten leave room in their pages, so that an update
-- stays on its page and touches no index.

CREATE TABLE projection_position (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    CONSTRAINT projection_position_pkey PRIMARY KEY (topic, partition),
    CONSTRAINT projection_position_next_offset_check CHECK (next_offset >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE projection_position IS
    'How far into each partition the projections have folded; moves in the same transaction as they do.';

-- Registry ----------------------------------------------------------------------------------------

CREATE TABLE producer (
    producer text NOT NULL,
    facts bytea NOT NULL,
    contact_ms bigint NOT NULL,
    CONSTRAINT producer_pkey PRIMARY KEY (producer)
) WITH (fillfactor = 50);
COMMENT ON TABLE producer IS
    'Every producer that the log names; its row is the lock that all rules about it meet in.';
COMMENT ON COLUMN producer.facts IS 'Its set of facts (MessagePack, projections/registry/facts.py); empty: none yet.';
COMMENT ON COLUMN producer.contact_ms IS 'Append time of its latest admitted record; 0 before the first.';

-- Ledger ------------------------------------------------------------------------------------------

CREATE TABLE ledger_segment (
    producer text NOT NULL,
    epoch integer NOT NULL,
    first bigint NOT NULL,
    hash bytea NOT NULL,
    last bigint NOT NULL,
    prev bytea NOT NULL,
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    append_ms bigint NOT NULL,
    sealed_ms bigint NOT NULL,
    lost bigint[] NOT NULL,
    contents bytea NOT NULL,
    CONSTRAINT ledger_segment_pkey PRIMARY KEY (producer, epoch, first, hash),
    CONSTRAINT ledger_segment_range_check CHECK (first >= 1 AND last >= first)
);
COMMENT ON TABLE ledger_segment IS
    'Admitted segments, each once; place and time are those of its earliest copy in the log.';
COMMENT ON COLUMN ledger_segment.hash IS 'SHA-256 of the header bytes: the identity of the segment.';
COMMENT ON COLUMN ledger_segment.lost IS
    'Seqs that count from another segment of the same range: first, last, first, last, …; empty but in a fork.';
COMMENT ON COLUMN ledger_segment.contents IS
    'Whom its events touch and which boot sessions they name (MessagePack), so that they can be judged again.';

CREATE TABLE ledger_copy (
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    append_ms bigint NOT NULL,
    producer text NOT NULL,
    epoch integer NOT NULL,
    first bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT ledger_copy_pkey PRIMARY KEY (partition, log_offset)
);
CREATE INDEX ledger_copy_producer_idx ON ledger_copy (producer, epoch, first);
COMMENT ON TABLE ledger_copy IS 'Further copies of admitted segments: they arrived, they are counted, they change nothing.';

-- What does not count, and why --------------------------------------------------------------------

CREATE TABLE held_record (
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    append_ms bigint NOT NULL,
    producer text,
    epoch integer,
    first bigint,
    last bigint,
    reason text NOT NULL,
    detail text NOT NULL,
    value bytea NOT NULL,
    CONSTRAINT held_record_pkey PRIMARY KEY (partition, log_offset)
);
CREATE INDEX held_record_producer_idx ON held_record (producer);
COMMENT ON TABLE held_record IS 'Records that may count later, whole; they are taken when what they wait for arrives.';
COMMENT ON COLUMN held_record.producer IS 'As the header claims: nobody has proved it.';

CREATE TABLE quarantined_record (
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    append_ms bigint NOT NULL,
    producer text,
    epoch integer,
    first bigint,
    last bigint,
    reason text NOT NULL,
    detail text NOT NULL,
    CONSTRAINT quarantined_record_pkey PRIMARY KEY (partition, log_offset)
);
COMMENT ON TABLE quarantined_record IS 'Records that are wrong for ever; their bytes are in the log at this position.';
COMMENT ON COLUMN quarantined_record.producer IS 'As the header claims: nobody has proved it.';

CREATE TABLE excluded_event (
    producer text NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    verdict text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    CONSTRAINT excluded_event_pkey PRIMARY KEY (producer, epoch, seq, hash),
    CONSTRAINT excluded_event_verdict_check CHECK (verdict IN ('held', 'quarantined'))
);
COMMENT ON TABLE excluded_event IS 'Single events of admitted segments that do not count; the others of the segment do.';
COMMENT ON COLUMN excluded_event.hash IS 'First 8 bytes of the hash of the segment that carried it.';

-- Entities: one row holds the whole set of facts, so that a fold reads and writes one row ---------

CREATE TABLE person (
    key bytea NOT NULL,
    facts bytea NOT NULL,
    CONSTRAINT person_pkey PRIMARY KEY (key)
) WITH (fillfactor = 50);
COMMENT ON TABLE person IS 'People by token (keyed BLAKE2b of the NIK): no NIK, no name.';
COMMENT ON COLUMN person.facts IS 'The set of facts (MessagePack, projections/person/facts.py).';

CREATE TABLE cohort_entry (
    key bytea NOT NULL,
    facts bytea NOT NULL,
    CONSTRAINT cohort_entry_pkey PRIMARY KEY (key)
) WITH (fillfactor = 50);
COMMENT ON TABLE cohort_entry IS 'Entries of lists such as the election commission''s, by `cohort/number`.';

CREATE TABLE reference (
    key bytea NOT NULL,
    facts bytea NOT NULL,
    CONSTRAINT reference_pkey PRIMARY KEY (key)
);
COMMENT ON TABLE reference IS 'What offices publish, by `kind/version`: region trees, denominators, heads of lists.';

-- Cells: sums of contributions --------------------------------------------------------------------

CREATE TABLE coverage_cell (
    desa text NOT NULL,
    occurred_on date NOT NULL,
    known_on date NOT NULL,
    people bigint NOT NULL,
    CONSTRAINT coverage_cell_pkey PRIMARY KEY (desa, occurred_on, known_on)
) WITH (fillfactor = 50);
COMMENT ON TABLE coverage_cell IS
    'People recorded in a desa as of D, as known at K: the sum over occurred_on <= D and known_on <= K.';
COMMENT ON COLUMN coverage_cell.occurred_on IS 'infinity: the date is unknown.';

CREATE TABLE verification_cell (
    desa text NOT NULL,
    status text NOT NULL,
    people bigint NOT NULL,
    CONSTRAINT verification_cell_pkey PRIMARY KEY (desa, status)
) WITH (fillfactor = 50);
COMMENT ON TABLE verification_cell IS 'People by domicile (`-`: no recording of them is known) and raw status.';

CREATE TABLE cohort_cell (
    cohort text NOT NULL,
    bucket text NOT NULL,
    entries bigint NOT NULL,
    CONSTRAINT cohort_cell_pkey PRIMARY KEY (cohort, bucket)
) WITH (fillfactor = 50);
COMMENT ON TABLE cohort_cell IS 'Entries of a list by bucket; buckets sum to the list.';

CREATE TABLE denominator_cell (
    version text NOT NULL,
    basis text NOT NULL,
    valid_from date NOT NULL,
    known_on date NOT NULL,
    desa text NOT NULL,
    wajib bigint NOT NULL,
    CONSTRAINT denominator_cell_pkey PRIMARY KEY (version, basis, valid_from, known_on, desa)
);
COMMENT ON TABLE denominator_cell IS 'Wajib KTP per desa by version, as known at K: the sum over known_on <= K.';

CREATE TABLE region_cell (
    version text NOT NULL,
    valid_from date NOT NULL,
    known_on date NOT NULL,
    code text NOT NULL,
    name text NOT NULL,
    is_listed bigint NOT NULL,
    CONSTRAINT region_cell_pkey PRIMARY KEY (version, valid_from, known_on, code, name)
);
COMMENT ON TABLE region_cell IS 'Regions by version of the tree, as known at K: listed when the sum over known_on <= K is 1.';
