-- Up to when every recorder has reported is part of every answer. It was made of the last contacts of
-- all of them; now those that stood longest are looked for, oldest first, and most are never met.
-- Changes the tables in place, to what a fold would make of them, and empties nothing.

ALTER TABLE producer_service ADD COLUMN heard_on date;
UPDATE producer_service AS service SET heard_on = coalesce(
    (SELECT min(contact.known_on) FROM producer_contact AS contact
        WHERE contact.producer = service.producer),
    'infinity'
);
ALTER TABLE producer_service ALTER COLUMN heard_on SET NOT NULL;
COMMENT ON COLUMN producer_service.heard_on IS
    'The first day on which the log heard of the producer; infinity: it has not yet.';
CREATE INDEX producer_service_unheard_idx
    ON producer_service USING gist (daterange(known_on, least(until_on, heard_on)))
    WHERE heard_on > known_on;

-- Who is out of service for good is nobody's oldest contact: otherwise every device that was ever
-- revoked would be met first, for ever.
DROP INDEX producer_contact_known_idx;
UPDATE producer_contact AS contact
SET until_on = greatest(
    (SELECT max(service.until_on) FROM producer_service AS service
        WHERE service.producer = contact.producer),
    contact.known_on + 1
)
WHERE contact.until_on = 'infinity' AND NOT EXISTS (
    SELECT FROM producer_service AS service
    WHERE service.producer = contact.producer AND service.until_on = 'infinity'
);
COMMENT ON COLUMN producer_contact.until_on IS
    'The next day on which it was heard. Of its last contact the end of its service, at least the day after known_on; infinity: it is in service.';

-- In steps of how many days a contact stood; the last one is open. Of a step only contacts of as many
-- days before a day can stand on it, and most of these do, so that few are passed over until the first
-- in service. find_earliest_contact names the same steps. When one was heard is part of the order, so
-- no update stays on its page, and none keeps room for that.
CREATE INDEX producer_contact_oldest_idx ON producer_contact (
    (width_bucket(least(until_on, known_on + 1024) - known_on,
        '{2,3,4,6,8,12,16,24,32,48,64,96,128,192,256,384,512,768,1024}'::integer[])),
    known_on,
    contact_ms
) INCLUDE (until_on, producer);
ALTER TABLE producer_contact
    SET (fillfactor = 100, autovacuum_vacuum_scale_factor = 0.05,
        autovacuum_vacuum_insert_scale_factor = 0.05);
