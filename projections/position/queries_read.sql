-- What an answer says of its own state. Parameters are named in reads.py.

-- name: list_positions
-- How far the projections have folded a topic ($1).
SELECT partition, next_offset
FROM projection_position
WHERE topic = $1
ORDER BY partition;

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
