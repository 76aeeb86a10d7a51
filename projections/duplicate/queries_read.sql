-- Cases of duplicates, by case id: the order of the primary key, so that a page starts anywhere.

-- name: list_cases
-- Up to $7 cases after $6, of desa within the ranges $1..$2, of state $3, kind $4 and with a
-- recording by producer $5, each if it is not null.
SELECT case_id, kind, outcome, desa, since_on
FROM duplicate_case
WHERE case_id > $6
    AND EXISTS (
        SELECT FROM unnest($1::text[], $2::text[]) AS wanted (low, high)
        WHERE desa BETWEEN low AND high
    )
    AND ($3::text IS NULL OR state = $3)
    AND ($4::text IS NULL OR kind = $4)
    AND ($5::text IS NULL OR case_id IN (
        SELECT device.case_id FROM duplicate_device AS device WHERE device.producer = $5
    ))
ORDER BY case_id
LIMIT $7;

-- name: count_cases
-- Cases of desa within the ranges $1..$2, by kind and state.
SELECT kind, state, sum(people)::bigint AS cases
FROM duplicate_case
WHERE EXISTS (
    SELECT FROM unnest($1::text[], $2::text[]) AS wanted (low, high) WHERE desa BETWEEN low AND high
)
GROUP BY kind, state
HAVING sum(people) <> 0;

-- name: list_case_devices
-- Whose recordings stand in the cases $1.
SELECT case_id, producer, recordings
FROM duplicate_device
WHERE case_id = ANY ($1::text[])
ORDER BY case_id, producer;

-- name: count_pairs
-- The $3 pairs of producers that most cases of desa within the ranges $1..$2 name.
SELECT one.producer, other.producer AS other, count(*) AS cases
FROM duplicate_case AS found
    JOIN duplicate_device AS one USING (case_id)
    JOIN duplicate_device AS other USING (case_id)
WHERE one.producer < other.producer
    AND EXISTS (
        SELECT FROM unnest($1::text[], $2::text[]) AS wanted (low, high)
        WHERE found.desa BETWEEN low AND high
    )
GROUP BY one.producer, other.producer
ORDER BY cases DESC, one.producer, other
LIMIT $3;

-- name: find_case
SELECT kind, outcome, desa, since_on, token FROM duplicate_case WHERE case_id = $1;
