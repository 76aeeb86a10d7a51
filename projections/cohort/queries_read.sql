-- Lists of people, by what became of them. What is said of every version stands under the version
-- ''; the cells of a version are what it adds to that, so that both are summed.

-- name: list_versions
-- The versions that entries of the lists $3 (all of them: null) name, with the day of the latest
-- word, as of $1 as known at $2. Of a version that was discarded nothing stands.
SELECT cohort, version, max(stated_on) AS stated_on
FROM (
    SELECT cohort, version, max(stated_on) AS stated_on
    FROM cohort_cell
    WHERE stated_on <= $1 AND known_on <= $2 AND ($3::text IS NULL OR cohort = $3)
    GROUP BY cohort, version, bucket, code, is_disputed
    HAVING sum(entries) <> 0
) AS standing
GROUP BY cohort, version
ORDER BY cohort COLLATE "C", version COLLATE "C";

-- name: sum_buckets
-- Entries by bucket, code and dispute, as of $1 as known at $2, of version $4 of list $3.
SELECT bucket, code, is_disputed, sum(entries)::bigint AS entries
FROM cohort_cell
WHERE cohort = $3 AND version = ANY (ARRAY['', $4]) AND stated_on <= $1 AND known_on <= $2
GROUP BY bucket, code, is_disputed
HAVING sum(entries) <> 0
ORDER BY bucket COLLATE "C", code COLLATE "C", is_disputed;

-- name: sum_claims
-- Entries by source and what it says of them, as of $1 as known at $2, of version $4 of list $3.
SELECT source, bucket, sum(entries)::bigint AS entries
FROM cohort_claim
WHERE cohort = $3 AND version = ANY (ARRAY['', $4]) AND stated_on <= $1 AND known_on <= $2
GROUP BY source, bucket
HAVING sum(entries) <> 0
ORDER BY source COLLATE "C", bucket COLLATE "C";

-- name: list_entries
-- Entries with keys from $1 up to, and without, $2, after the key $3, at most $4, by number: the
-- keys of one list differ in it alone.
SELECT key, facts
FROM cohort_entry
WHERE key >= $1 AND key < $2 AND facts <> ''::bytea
    AND (length(key), key) > (length($3::bytea), $3::bytea)
ORDER BY length(key), key
LIMIT $4;
