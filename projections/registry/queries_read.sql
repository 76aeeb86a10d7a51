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
-- Of contacts that stood about equally long, a step of producer_contact_oldest_idx that says for fewer
-- than how many days, the first that stood on that day is found by walking up from the first that can
-- have; days are in the order of their contacts. The last step has no bound. OFFSET 0: whether its
-- producer is in service is looked up for the few that are met, and is no join with everybody.
SELECT CASE
    WHEN EXISTS (
        SELECT FROM producer_service AS service
        WHERE service.heard_on > service.known_on
            AND daterange(service.known_on, least(service.until_on, service.heard_on)) @> $1::date
    ) THEN 0
    ELSE (
        SELECT min(oldest.contact_ms)
        FROM unnest(
            '{2,3,4,6,8,12,16,24,32,48,64,96,128,192,256,384,512,768,1024,NULL}'::integer[]
        ) WITH ORDINALITY AS step (days, number)
        CROSS JOIN LATERAL (
            SELECT contact.contact_ms FROM producer_contact AS contact
            WHERE width_bucket(
                    least(contact.until_on, contact.known_on + 1024) - contact.known_on,
                    '{2,3,4,6,8,12,16,24,32,48,64,96,128,192,256,384,512,768,1024}'::integer[]
                ) = step.number - 1
                AND contact.known_on > coalesce($1 - step.days + 1, '-infinity')
                AND contact.known_on <= $1
                AND contact.until_on > $1
                AND EXISTS (
                    SELECT FROM producer_service AS service
                    WHERE service.producer = contact.producer
                        AND service.known_on <= $1 AND service.until_on > $1
                    OFFSET 0
                )
            ORDER BY contact.known_on, contact.contact_ms
            LIMIT 1
        ) AS oldest
    )
END AS contact_ms;
