-- People of whom two recordings stand, and those whom the centre calls duplicates, as cases. A later
-- migration of the same version empties what is a function of the log, so these tables are filled
-- with the rest.

CREATE TABLE duplicate_case (
    case_id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    outcome text NOT NULL,
    desa text COLLATE "C" NOT NULL,
    since_on date NOT NULL,
    token bytea NOT NULL,
    people bigint NOT NULL,
    CONSTRAINT duplicate_case_pkey
        PRIMARY KEY (case_id, kind, state, outcome, desa, since_on, token)
) WITH (fillfactor = 50);
CREATE INDEX duplicate_case_desa_idx ON duplicate_case (desa);
COMMENT ON TABLE duplicate_case IS
    'Cases of duplicates, one row each: a sum like every cell, so that it can be taken back.';
COMMENT ON COLUMN duplicate_case.outcome IS 'Of the resolution that settles it; empty while it is open.';
COMMENT ON COLUMN duplicate_case.desa IS 'Where the person counts; `-`: no recording stands.';

CREATE TABLE duplicate_device (
    producer text COLLATE "C" NOT NULL,
    case_id text COLLATE "C" NOT NULL,
    recordings bigint NOT NULL,
    CONSTRAINT duplicate_device_pkey PRIMARY KEY (producer, case_id)
) WITH (fillfactor = 50);
CREATE INDEX duplicate_device_case_idx ON duplicate_device (case_id);
COMMENT ON TABLE duplicate_device IS 'Standing recordings of each case by the producer that made them.';
