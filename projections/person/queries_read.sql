-- One person, by token.

-- name: find_person
-- The set of facts of the person with token $1.
SELECT facts
FROM person
WHERE key = $1;

-- name: find_niks
-- The sealed NIKs of the people with tokens $1; empty: erased.
SELECT key, nik
FROM person
WHERE key = ANY ($1::bytea[]);
