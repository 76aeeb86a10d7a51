-- One person, by token.

-- name: find_person
-- The set of facts of the person with token $1.
SELECT facts
FROM person
WHERE key = $1;
