-- What the centre says of the people recorded. Desa between $1 and $2, as they were recorded.

-- name: list_statuses
-- People by desa and status.
SELECT desa, status, people FROM verification_cell WHERE desa BETWEEN $1 AND $2;

-- name: list_ages
-- People by desa and how long ($3: as of) their status stands, in the order of the days in $4: 0 up
-- to the first of them, and so on; -1: only after that day.
SELECT desa, status,
    CASE WHEN since_on > $3 THEN -1 ELSE width_bucket($3::date - since_on - 1, $4::integer[]) END
        AS bucket,
    min(since_on) AS oldest, sum(people)::bigint AS people
FROM verification_age
WHERE desa BETWEEN $1 AND $2
GROUP BY desa, status, bucket
HAVING sum(people) <> 0;

-- name: list_turns
-- People by desa and what was no step forward.
SELECT desa, turn, before_status, after_status, people
FROM verification_turn WHERE desa BETWEEN $1 AND $2;

-- name: list_sukets
-- People with a letter on $3 by desa, and whether the latest one by then was issued after $4.
SELECT desa, issued_on > $4 AS is_valid, sum(people)::bigint AS people
FROM verification_suket
WHERE desa BETWEEN $1 AND $2 AND issued_on <= $3 AND replaced_on > $3
GROUP BY desa, is_valid
HAVING sum(people) <> 0;
