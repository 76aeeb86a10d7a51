-- What an answer says of its own state. Parameters are named in reads.py.

-- name: list_positions
-- How far the projections have folded a topic ($1).
SELECT partition, next_offset
FROM projection_position
WHERE topic = $1
ORDER BY partition;

-- name: list_positions_and_rules
-- The same, and under which rules and keys the tables are folded: one row at least, without a
-- partition before the first record, and without rules before the first processor.
SELECT settings.rules, position.partition, position.next_offset
FROM (SELECT (SELECT rules FROM projection_settings) AS rules) AS settings
LEFT JOIN projection_position AS position ON position.topic = $1
ORDER BY position.partition;

-- name: find_migrations
-- Whether this database was ever migrated.
SELECT to_regclass('public.schema_migration') IS NOT NULL AS is_migrated;

-- name: list_migrations
-- The migrations that this database has.
SELECT name
FROM public.schema_migration
ORDER BY name;

-- name: find_rules
-- Under which rules and keys the tables are folded; no row before the first processor.
SELECT rules
FROM projection_settings;
