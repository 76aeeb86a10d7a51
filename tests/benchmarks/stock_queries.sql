-- What the stock Faust agent writes. Its tables hold what ours do, a column for each thing.

-- name: create_tables
-- Facts, people, devices and cells: the first five, and behind them what came when the fold did.
CREATE TABLE stock_fact (
    producer text NOT NULL, epoch integer NOT NULL, seq bigint NOT NULL,
    type text NOT NULL, wall_ms bigint NOT NULL, person bytea, data text NOT NULL,
    PRIMARY KEY (producer, epoch, seq)
);
CREATE TABLE stock_person (
    key bytea PRIMARY KEY, domicile text, occurred_on date, recorder text, status text,
    observed_ms bigint
) WITH (fillfactor = 50);
CREATE TABLE stock_device (producer text PRIMARY KEY, wall_ms bigint NOT NULL, data text NOT NULL)
    WITH (fillfactor = 50);
CREATE TABLE stock_coverage_cell (
    desa text NOT NULL, occurred_on date NOT NULL, people bigint NOT NULL,
    PRIMARY KEY (desa, occurred_on)
) WITH (fillfactor = 50);
CREATE TABLE stock_verification_cell (
    desa text NOT NULL, status text NOT NULL, people bigint NOT NULL,
    PRIMARY KEY (desa, status)
) WITH (fillfactor = 50);
CREATE TABLE stock_coverage_month (
    desa text NOT NULL, occurred_month date NOT NULL, people bigint NOT NULL,
    PRIMARY KEY (desa, occurred_month)
) WITH (fillfactor = 50);
CREATE TABLE stock_coverage_year (
    desa text NOT NULL, occurred_year date NOT NULL, people bigint NOT NULL,
    PRIMARY KEY (desa, occurred_year)
) WITH (fillfactor = 50);
CREATE TABLE stock_coverage_duplicate (
    desa text NOT NULL, occurred_on date NOT NULL, people bigint NOT NULL,
    PRIMARY KEY (desa, occurred_on)
) WITH (fillfactor = 50);
CREATE TABLE stock_verification_age (
    desa text NOT NULL, status text NOT NULL, since_on date NOT NULL, people bigint NOT NULL,
    PRIMARY KEY (desa, status, since_on)
) WITH (fillfactor = 50);
CREATE TABLE stock_duplicate_case (
    person bytea PRIMARY KEY, desa text NOT NULL, since_on date NOT NULL, recorder text
) WITH (fillfactor = 50);
CREATE TABLE stock_contact (
    producer text NOT NULL, known_on date NOT NULL, wall_ms bigint NOT NULL,
    PRIMARY KEY (producer, known_on)
) WITH (fillfactor = 50);

-- name: insert_fact
-- Store an event; one that is there already changes nothing.
INSERT INTO stock_fact (producer, epoch, seq, type, wall_ms, person, data)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING;

-- name: upsert_recording
-- A person was recorded; return what was known of them before.
WITH before AS (SELECT * FROM stock_person WHERE key = $1)
INSERT INTO stock_person AS stored (key, domicile, occurred_on, recorder) VALUES ($1, $2, $3, $4)
ON CONFLICT (key) DO UPDATE SET domicile = excluded.domicile, recorder = excluded.recorder,
    occurred_on = least(stored.occurred_on, excluded.occurred_on)
RETURNING (SELECT domicile FROM before) AS domicile, (SELECT occurred_on FROM before) AS occurred_on,
    (SELECT recorder FROM before) AS recorder, (SELECT status FROM before) AS status,
    (SELECT observed_ms FROM before) AS observed_ms;

-- name: upsert_status
-- The centre showed a status; return what was known of the person before.
WITH before AS (SELECT * FROM stock_person WHERE key = $1)
INSERT INTO stock_person (key, status, observed_ms) VALUES ($1, $2, $3)
ON CONFLICT (key) DO UPDATE SET status = excluded.status, observed_ms = excluded.observed_ms
RETURNING (SELECT domicile FROM before) AS domicile, (SELECT occurred_on FROM before) AS occurred_on,
    (SELECT recorder FROM before) AS recorder, (SELECT status FROM before) AS status,
    (SELECT observed_ms FROM before) AS observed_ms;

-- name: upsert_device
-- What a device said of itself last.
INSERT INTO stock_device (producer, wall_ms, data) VALUES ($1, $2, $3)
ON CONFLICT (producer) DO UPDATE SET wall_ms = excluded.wall_ms, data = excluded.data;

-- name: add_coverage
-- Count a person.
INSERT INTO stock_coverage_cell AS stored (desa, occurred_on, people) VALUES ($1, $2, 1)
ON CONFLICT (desa, occurred_on) DO UPDATE SET people = stored.people + 1;

-- name: move_verification
-- Count a person under another status: one statement for both cells.
INSERT INTO stock_verification_cell AS stored (desa, status, people)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
ON CONFLICT (desa, status) DO UPDATE SET people = stored.people + excluded.people;

-- name: add_coverage_month
-- Count a person by month.
INSERT INTO stock_coverage_month AS stored (desa, occurred_month, people)
VALUES ($1, date_trunc('month', $2::date), 1)
ON CONFLICT (desa, occurred_month) DO UPDATE SET people = stored.people + 1;

-- name: add_coverage_year
-- Count a person by year.
INSERT INTO stock_coverage_year AS stored (desa, occurred_year, people)
VALUES ($1, date_trunc('year', $2::date), 1)
ON CONFLICT (desa, occurred_year) DO UPDATE SET people = stored.people + 1;

-- name: move_ages
-- Count a person by since when they have a status that ages: one statement for both cells.
INSERT INTO stock_verification_age AS stored (desa, status, since_on, people)
SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::bigint[])
ON CONFLICT (desa, status, since_on) DO UPDATE SET people = stored.people + excluded.people;

-- name: move_duplicates
-- Count a recorded person who is shown as a duplicate: one statement for both cells.
INSERT INTO stock_coverage_duplicate AS stored (desa, occurred_on, people)
SELECT * FROM unnest($1::text[], $2::date[], $3::bigint[])
ON CONFLICT (desa, occurred_on) DO UPDATE SET people = stored.people + excluded.people;

-- name: upsert_case
-- A person is a case: which device recorded them, if any did yet.
INSERT INTO stock_duplicate_case (person, desa, since_on, recorder) VALUES ($1, $2, $3, $4)
ON CONFLICT (person) DO UPDATE SET desa = excluded.desa, since_on = excluded.since_on,
    recorder = excluded.recorder;

-- name: close_case
-- A person is none any more.
DELETE FROM stock_duplicate_case WHERE person = $1;

-- name: upsert_contact
-- A producer was heard on a day.
INSERT INTO stock_contact AS stored (producer, known_on, wall_ms) VALUES ($1, $2, $3)
ON CONFLICT (producer, known_on) DO UPDATE SET wall_ms = greatest(stored.wall_ms, excluded.wall_ms);
