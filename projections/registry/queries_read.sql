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

-- name: find_earliest_contact
-- The earliest of the last contacts of the recorders in service, all as known at the end of $1; 0 if
-- one of them was never heard by then. No row's value if there are none.
SELECT min(coalesce(contact.contact_ms, 0)) AS contact_ms
FROM producer_service AS service
LEFT JOIN producer_contact AS contact
    ON contact.producer = service.producer
    AND daterange(contact.known_on, contact.until_on) @> $1::date
WHERE service.known_on <= $1 AND service.until_on > $1;
