-- What offices have published, as of a day and as known at a day. Every regency publishes its own
-- versions; one that was published again takes its former cells back, so they sum to nothing.

-- name: sum_denominators
-- Wajib by region, from each regency's latest version valid at $2 as known at $1. Regencies have
-- desa between $3 and $4; regions, with codes of $7 characters, have desa between $5 and $6.
-- A version that has nobody in these regions is a row without a region.
WITH known AS MATERIALIZED (
    SELECT left(desa, 5) AS regency, version, basis, valid_from, desa, sum(wajib)::bigint AS wajib
    FROM denominator_cell
    WHERE known_on <= $1 AND valid_from <= $2 AND desa BETWEEN $3 AND $4
    GROUP BY version, basis, valid_from, desa
    HAVING sum(wajib) <> 0
), chosen AS (
    SELECT DISTINCT ON (regency) regency, version, basis, valid_from
    FROM known
    ORDER BY regency, valid_from DESC, version COLLATE "C" DESC, basis COLLATE "C" DESC
)
SELECT
    chosen.regency, chosen.version, chosen.basis, chosen.valid_from,
    left(known.desa, $7) AS region,
    coalesce(sum(known.wajib), 0)::bigint AS wajib
FROM chosen
LEFT JOIN known
    ON (known.regency, known.version, known.basis, known.valid_from)
        = (chosen.regency, chosen.version, chosen.basis, chosen.valid_from)
    AND known.desa BETWEEN $5 AND $6
GROUP BY chosen.regency, chosen.version, chosen.basis, chosen.valid_from, left(known.desa, $7)
ORDER BY chosen.regency, region;

-- name: list_names
-- Codes of $5 characters with their names, from each regency's latest tree valid at $2 as known at
-- $1; regencies have codes between $3 and $4.
WITH known AS MATERIALIZED (
    SELECT left(code, 5) AS regency, version, valid_from, code, name
    FROM region_cell
    WHERE known_on <= $1 AND valid_from <= $2
        AND length(code) >= 5 AND left(code, 5) BETWEEN $3 AND $4
    GROUP BY version, valid_from, code, name
    HAVING sum(is_listed) > 0
), chosen AS (
    SELECT DISTINCT ON (regency) regency, version, valid_from
    FROM known
    ORDER BY regency, valid_from DESC, version COLLATE "C" DESC
)
SELECT known.code, min(known.name COLLATE "C") AS name
FROM known
JOIN chosen USING (regency, version, valid_from)
WHERE length(known.code) = $5
GROUP BY known.code
ORDER BY known.code;

-- name: list_references
-- Published versions with keys from $1 up to, and without, $2.
SELECT key, facts
FROM reference
WHERE key >= $1 AND key < $2
ORDER BY key;
