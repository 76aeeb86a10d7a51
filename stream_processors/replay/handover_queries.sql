-- What a rebuild hands over from the tables that it replaces to those that take their place.
-- $1 is the schema of the replaced tables, $2 that of the new ones; each statement is one to execute.

-- name: list_owner_changes
-- Tables of which the new one belongs to somebody else.
SELECT format('ALTER TABLE %I.%I OWNER TO %I', $2::text, old.relname, pg_get_userbyid(old.relowner))
FROM pg_class AS old
JOIN pg_class AS new ON new.relname = old.relname AND new.relnamespace = to_regnamespace($2::text)
WHERE old.relnamespace = to_regnamespace($1::text) AND old.relkind = 'r' AND new.relkind = 'r'
    AND new.relowner <> old.relowner
ORDER BY old.relname;

-- name: list_revokes
-- What the new tables allow whom, where it is not what the old ones do (default privileges, say).
SELECT DISTINCT format(
    'REVOKE ALL ON %I.%I FROM %s', $2::text, new.relname,
    CASE allowed.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(allowed.grantee)) END
) AS statement
FROM pg_class AS old
JOIN pg_class AS new ON new.relname = old.relname AND new.relnamespace = to_regnamespace($2::text)
CROSS JOIN LATERAL aclexplode(new.relacl) AS allowed
WHERE old.relnamespace = to_regnamespace($1::text) AND old.relkind = 'r' AND new.relkind = 'r'
    AND new.relacl IS DISTINCT FROM old.relacl
ORDER BY statement;

-- name: list_grants
-- What the old tables allow whom, and of which columns; as granted by the owner.
SELECT DISTINCT format(
    'GRANT %s%s ON %I.%I TO %s%s', allowed.privilege_type, allowed.columns, $2::text, allowed.relname,
    CASE allowed.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(allowed.grantee)) END,
    CASE WHEN allowed.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
) AS statement
FROM (
    SELECT old.relname, '' AS columns, granted.*
    FROM pg_class AS old
    JOIN pg_class AS new ON new.relname = old.relname
        AND new.relnamespace = to_regnamespace($2::text)
    CROSS JOIN LATERAL
        aclexplode(coalesce(old.relacl, acldefault('r', old.relowner))) AS granted
    WHERE old.relnamespace = to_regnamespace($1::text) AND old.relkind = 'r'
        AND new.relacl IS DISTINCT FROM old.relacl
    UNION ALL
    SELECT old.relname, format(' (%I)', part.attname), granted.*
    FROM pg_class AS old
    JOIN pg_attribute AS part ON part.attrelid = old.oid AND NOT part.attisdropped
    CROSS JOIN LATERAL aclexplode(part.attacl) AS granted
    WHERE old.relnamespace = to_regnamespace($1::text) AND old.relkind = 'r'
) AS allowed
ORDER BY statement;

-- name: list_comments
-- Where an old table or a column of it is described in other words than the new one.
SELECT CASE WHEN part.attnum IS NULL
    THEN format('COMMENT ON TABLE %I.%I IS %L', $2::text, old.relname, said.words)
    ELSE format(
        'COMMENT ON COLUMN %I.%I.%I IS %L', $2::text, old.relname, part.attname, said.words
    ) END
FROM pg_class AS old
JOIN pg_class AS new ON new.relname = old.relname AND new.relnamespace = to_regnamespace($2::text)
JOIN LATERAL (
    SELECT objsubid, description AS words FROM pg_description
    WHERE objoid = old.oid AND classoid = 'pg_class'::regclass
) AS said ON true
LEFT JOIN pg_attribute AS part ON part.attrelid = old.oid AND part.attnum = said.objsubid
    AND said.objsubid > 0
LEFT JOIN pg_attribute AS new_part ON new_part.attrelid = new.oid AND new_part.attname = part.attname
WHERE old.relnamespace = to_regnamespace($1::text) AND old.relkind = 'r' AND new.relkind = 'r'
    AND said.words IS DISTINCT FROM
        CASE WHEN part.attnum IS NULL THEN obj_description(new.oid, 'pg_class')
        ELSE col_description(new.oid, new_part.attnum) END
ORDER BY old.relname, said.objsubid;

-- name: list_dependants
-- Views that read a table which is to be replaced: they would be dropped together with it.
SELECT DISTINCT format('%s reads %s', rule.ev_class::regclass, read.relname)
FROM pg_class AS read
JOIN pg_class AS new ON new.relname = read.relname AND new.relnamespace = to_regnamespace($2::text)
JOIN pg_depend AS use ON use.refobjid = read.oid AND use.refclassid = 'pg_class'::regclass
    AND use.classid = 'pg_rewrite'::regclass
JOIN pg_rewrite AS rule ON rule.oid = use.objid AND rule.ev_class <> read.oid
WHERE read.relnamespace = to_regnamespace($1::text) AND read.relkind = 'r'
ORDER BY 1;
