-- Cases of duplicates, by case id: the order of the primary key, so that a page starts anywhere.

-- name: list_cases
-- Up to $6 cases after $5, of the desa $1, of state $2, kind $3 and with a recording by producer $4,
-- each if it is not null.
SELECT case_id, kind, outcome, desa, since_on
FROM duplicate_case
WHERE case_id > $5
    AND desa = ANY ($1::text[])
    AND ($2::text IS NULL OR state = $2)
    AND ($3::text IS NULL OR kind = $3)
    AND ($4::text IS NULL OR case_id IN (
        SELECT device.case_id FROM duplicate_device AS device WHERE device.producer = $4
    ))
ORDER BY case_id
LIMIT $6;

-- name: count_cases
-- Cases of desa within the ranges $1..$2, by desa, kind and state.
SELECT desa, kind, state, sum(people)::bigint AS cases
FROM duplicate_case
WHERE EXISTS (
    SELECT FROM unnest($1::text[], $2::text[]) AS wanted (low, high) WHERE desa BETWEEN low AND high
)
GROUP BY desa, kind, state
HAVING sum(people) <> 0;

-- name: list_case_devices
-- Whose recordings stand in the cases $1.
SELECT case_id, producer, recordings
FROM duplicate_device
WHERE case_id = ANY ($1::text[])
ORDER BY case_id, producer;

-- name: count_pairs
-- The $2 pairs of producers that recorded most people of the desa $1 both. Each of these people is
-- one case of this kind, and may be one of the centre's besides.
SELECT one.producer, other.producer AS other, count(*) AS cases
FROM duplicate_case AS found
    JOIN duplicate_device AS one USING (case_id)
    JOIN duplicate_device AS other USING (case_id)
WHERE one.producer < other.producer
    AND found.kind = 'two_recordings'
    AND found.desa = ANY ($1::text[])
GROUP BY one.producer, other.producer
ORDER BY cases DESC, one.producer, other
LIMIT $2;

-- name: find_case
SELECT kind, outcome, desa, since_on, token FROM duplicate_case WHERE case_id = $1;
