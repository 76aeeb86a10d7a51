-- Producers and what is remembered of them.

-- name: list_producers
-- At most $2 producers behind $1, by id.
SELECT producer, facts, contact_ms
FROM producer
WHERE producer > $1
ORDER BY producer
LIMIT $2;

-- name: find_producer
-- One producer.
SELECT producer, facts, contact_ms
FROM producer
WHERE producer = $1;

-- name: list_contacts
-- Last contact of every producer that has facts.
SELECT producer, facts, contact_ms
FROM producer
WHERE facts <> ''
ORDER BY producer;

-- name: list_contacts_before
-- The last contact before a moment ($1) of every producer, from the ledger: every copy counts.
SELECT producer, max(append_ms) AS contact_ms
FROM (
    SELECT producer, append_ms FROM ledger_segment WHERE append_ms < $1
    UNION ALL
    SELECT producer, append_ms FROM ledger_copy WHERE append_ms < $1
) AS contact
GROUP BY producer;
