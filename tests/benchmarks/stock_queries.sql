-- What the stock Faust agent writes. Its tables hold what ours do, a column for each thing.

-- name: create_tables
-- Facts, people, devices and the two tables of counted cells.
CREATE TABLE stock_fact (
    producer text NOT NULL, epoch integer NOT NULL, seq bigint NOT NULL,
    type text NOT NULL, wall_ms bigint NOT NULL, person bytea, data text NOT NULL,
    PRIMARY KEY (producer, epoch, seq)
);
CREATE TABLE stock_person (
    key bytea PRIMARY KEY, domicile text, occurred_on date, status text, observed_ms bigint
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

-- name: insert_fact
-- Store an event; one that is there already changes nothing.
INSERT INTO stock_fact (producer, epoch, seq, type, wall_ms, person, data)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING;

-- name: upsert_recording
-- A person was recorded; return what was known of them before.
WITH before AS (SELECT domicile, status FROM stock_person WHERE key = $1)
INSERT INTO stock_person AS stored (key, domicile, occurred_on) VALUES ($1, $2, $3)
ON CONFLICT (key) DO UPDATE SET domicile = excluded.domicile,
    occurred_on = least(stored.occurred_on, excluded.occurred_on)
RETURNING (SELECT domicile FROM before), (SELECT status FROM before);

-- name: upsert_status
-- The centre showed a status; return what was known of the person before.
WITH before AS (SELECT domicile, status FROM stock_person WHERE key = $1)
INSERT INTO stock_person (key, status, observed_ms) VALUES ($1, $2, $3)
ON CONFLICT (key) DO UPDATE SET status = excluded.status, observed_ms = excluded.observed_ms
RETURNING (SELECT domicile FROM before), (SELECT status FROM before);

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
