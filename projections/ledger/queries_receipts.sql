-- What receipts are made of, and who is owed one.

-- name: notice_loss
-- A leader that the network has cut off must not keep its post for hours: PostgreSQL looks for it.
SELECT
    set_config('tcp_keepalives_idle', '10', false),
    set_config('tcp_keepalives_interval', '5', false),
    set_config('tcp_keepalives_count', '3', false);

-- name: try_lead
-- Take the post ($1) for as long as this session lives, if nobody has it.
SELECT pg_try_advisory_lock($1);

-- name: list_due
-- At most $2 producers behind $1 that are owed a receipt, by id.
SELECT producer, generation
FROM receipt_due
WHERE producer > $1
ORDER BY producer
LIMIT $2;

-- name: mark_all_due
-- Owe every producer of which something is known a receipt; those who are owed one already stay.
INSERT INTO receipt_due (producer, generation)
SELECT producer, 1
FROM producer
WHERE facts <> ''::bytea OR contact_ms > 0
ORDER BY producer COLLATE "C"
ON CONFLICT DO NOTHING;

-- name: delete_due
-- Who got a receipt, unless more has changed since it was read. One that a fold holds has changed,
-- so it is passed over: neither waits for the other.
DELETE FROM receipt_due AS due
USING (
    SELECT stored.producer
    FROM receipt_due AS stored
    JOIN unnest($1::text[], $2::bigint[]) AS given (producer, generation)
        ON stored.producer = given.producer AND stored.generation = given.generation
    FOR UPDATE OF stored SKIP LOCKED
) AS published
WHERE due.producer = published.producer;

-- name: list_producers_of
-- The producers $1 with their facts.
SELECT producer, facts, contact_ms
FROM producer
WHERE producer = ANY ($1::text[]);

-- name: list_chain_ends
-- First and last segments of each stretch of chained segments of the producers $1, in order. A
-- stretch ends where several segments begin with one seq: only there can a chain branch.
SELECT producer, epoch, first, last, prev, hash, begins, ends
FROM (
    SELECT *, coalesce(lead(begins) OVER life, true) AS ends
    FROM (
        SELECT
            producer, epoch, first, last, prev, hash,
            (
                first = lag(last) OVER life + 1
                AND prev = lag(hash) OVER life
                AND first IS DISTINCT FROM lead(first) OVER life
            ) IS NOT TRUE AS begins
        FROM ledger_segment
        WHERE producer = ANY ($1::text[])
        WINDOW life AS (PARTITION BY producer, epoch ORDER BY first, hash)
    ) AS segment
    WINDOW life AS (PARTITION BY producer, epoch ORDER BY first, hash)
) AS stretch
WHERE begins OR ends
ORDER BY producer, epoch, first, hash;
