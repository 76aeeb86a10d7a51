-- Where people stand at the centre, and for how long: ages, turns and letters. A later migration of
-- the same version empties what is a function of the log, so these tables are filled with the rest.

CREATE TABLE verification_age (
    desa text COLLATE "C" NOT NULL,
    status text NOT NULL,
    since_on date NOT NULL,
    people bigint NOT NULL,
    CONSTRAINT verification_age_pkey PRIMARY KEY (desa, status, since_on)
) WITH (fillfactor = 50);
COMMENT ON TABLE verification_age IS
    'People of verification_cell whose status is one that ages, by the day since which the centre shows it.';

CREATE TABLE verification_turn (
    desa text COLLATE "C" NOT NULL,
    turn text NOT NULL,
    before_status text NOT NULL,
    after_status text NOT NULL,
    people bigint NOT NULL,
    CONSTRAINT verification_turn_pkey PRIMARY KEY (desa, turn, before_status, after_status)
) WITH (fillfactor = 50);
COMMENT ON TABLE verification_turn IS
    'People by what the centre showed of them, one after the other, that is not a step forward.';
COMMENT ON COLUMN verification_turn.turn IS 'reset, reprint, illegal_jump.';

CREATE TABLE verification_suket (
    desa text COLLATE "C" NOT NULL,
    issued_on date NOT NULL,
    people bigint NOT NULL,
    CONSTRAINT verification_suket_pkey PRIMARY KEY (desa, issued_on)
) WITH (fillfactor = 50);
COMMENT ON TABLE verification_suket IS
    'People by the day on which the latest letter in place of their card was issued.';

-- Ranges of codes are read in the order of their bytes, as in coverage.
ALTER TABLE verification_cell ALTER COLUMN desa TYPE text COLLATE "C";
