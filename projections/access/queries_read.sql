-- Who read what is known of people.

-- name: find_accesses
-- The set of facts of the readings of the person with token $1.
SELECT facts
FROM person_access
WHERE key = $1;

-- name: list_accesses
-- People whose tokens follow $1, at most $2, by token.
SELECT key, facts
FROM person_access
WHERE key > $1 AND facts <> ''::bytea
ORDER BY key
LIMIT $2;

-- name: count_accesses
-- Readings by caller, call and day, from $1 to $2.
SELECT caller, call, accessed_on, sum(accesses)::bigint AS accesses
FROM access_cell
WHERE accessed_on BETWEEN $1 AND $2
GROUP BY caller, call, accessed_on
HAVING sum(accesses) <> 0
ORDER BY accessed_on, caller COLLATE "C", call COLLATE "C";
