-- What offices have published, as of a day and as known at a day. Every regency publishes its own
-- versions; one that was published again takes its former cells back, so they sum to nothing.

-- name: list_publications
-- Trees and denominators valid at $1 as known at $2, of the regencies $3; the oldest first.
SELECT kind, regency, valid_from, version, basis
FROM publication_cell
WHERE kind IN ('tree', 'denominator') AND regency = ANY ($3::text[])
    AND valid_from <= $1 AND known_on <= $2
GROUP BY kind, regency, valid_from, version, basis
HAVING sum(entries) > 0
ORDER BY kind, regency, valid_from, version COLLATE "C", basis COLLATE "C";

-- name: list_regencies
-- Regencies with codes between $1 and $2 that have published anything, one probe of the index each.
WITH RECURSIVE found AS (
    SELECT min(regency) AS regency FROM publication_cell
    WHERE kind = 'tree' AND regency BETWEEN $1 AND $2
    UNION ALL
    SELECT (
        SELECT min(regency) FROM publication_cell
        WHERE kind = 'tree' AND regency > found.regency AND regency <= $2
    )
    FROM found WHERE found.regency IS NOT NULL
), based AS (
    SELECT min(regency) AS regency FROM publication_cell
    WHERE kind = 'denominator' AND regency BETWEEN $1 AND $2
    UNION ALL
    SELECT (
        SELECT min(regency) FROM publication_cell
        WHERE kind = 'denominator' AND regency > based.regency AND regency <= $2
    )
    FROM based WHERE based.regency IS NOT NULL
)
SELECT regency FROM found WHERE regency IS NOT NULL
UNION
SELECT regency FROM based WHERE regency IS NOT NULL;

-- name: list_recodes
-- What trees valid at $1 as known at $2 re-code, the oldest tree first: those that may move somebody
-- into, out of or within $3, step by step. Codes of a level are of one length, so a beginning is a
-- region above, and what lies within a region stands between its code with `.` and with `/` behind.
-- OFFSET 0 has each looked up by itself: the planner cannot tell how few of them there are.
WITH RECURSIVE concerned (code) AS (
    SELECT $3::text
    UNION
    SELECT former.old_code FROM concerned CROSS JOIN LATERAL (
        (
            SELECT old_code FROM recode_cell
            WHERE new_code COLLATE "C" > concerned.code || '.'
                AND new_code COLLATE "C" < concerned.code || '/'
            OFFSET 0
        )
        UNION ALL
        (
            SELECT old_code FROM recode_cell
            WHERE new_code COLLATE "C" = ANY (ARRAY[
                concerned.code, left(concerned.code, 8), left(concerned.code, 5),
                left(concerned.code, 2)])
            OFFSET 0
        )
    ) AS former
), moved (code) AS (
    SELECT within.old_code FROM concerned CROSS JOIN LATERAL (
        SELECT old_code FROM recode_cell
        WHERE old_code COLLATE "C" > concerned.code || '.'
            AND old_code COLLATE "C" < concerned.code || '/'
        OFFSET 0
    ) AS within
    UNION
    SELECT above.old_code FROM concerned CROSS JOIN LATERAL (
        SELECT old_code FROM recode_cell
        WHERE old_code COLLATE "C" = ANY (ARRAY[
            concerned.code, left(concerned.code, 8), left(concerned.code, 5),
            left(concerned.code, 2)])
        OFFSET 0
    ) AS above
)
SELECT recode.valid_from, recode.version, recode.old_code, recode.new_code
FROM moved CROSS JOIN LATERAL (
    SELECT * FROM recode_cell
    WHERE old_code COLLATE "C" = moved.code AND valid_from <= $1 AND known_on <= $2
    OFFSET 0
) AS recode
GROUP BY recode.valid_from, recode.version, recode.old_code, recode.new_code
HAVING sum(recode.is_mapped) > 0
ORDER BY recode.valid_from, recode.version COLLATE "C", recode.old_code, recode.new_code;

-- name: sum_denominators
-- Wajib by desa, as known at $1, from one version a regency: regency, version, basis, first day.
SELECT cell.desa, sum(cell.wajib)::bigint AS wajib
FROM unnest($2::text[], $3::text[], $4::text[], $5::date[])
    AS chosen (regency, version, basis, valid_from)
JOIN denominator_cell AS cell
    ON (cell.version, cell.basis, cell.valid_from)
        = (chosen.version, chosen.basis, chosen.valid_from)
    AND left(cell.desa, 5) = chosen.regency
WHERE cell.known_on <= $1
GROUP BY cell.desa
HAVING sum(cell.wajib) <> 0;

-- name: list_codes
-- Codes with their names, as known at $1, from one tree a regency: regency, version, first day.
SELECT named.code, min(named.name COLLATE "C") AS name
FROM (
    SELECT cell.code, cell.name
    FROM unnest($2::text[], $3::text[], $4::date[]) AS chosen (regency, version, valid_from)
    JOIN region_cell AS cell
        ON (cell.version, cell.valid_from) = (chosen.version, chosen.valid_from)
        AND left(cell.code, 5) = chosen.regency
    WHERE cell.known_on <= $1
    GROUP BY cell.code, cell.name
    HAVING sum(cell.is_listed) > 0
) AS named
GROUP BY named.code;

-- name: list_references
-- Published versions with keys from $1 up to, and without, $2.
SELECT key, facts
FROM reference
WHERE key >= $1 AND key < $2
ORDER BY key;
