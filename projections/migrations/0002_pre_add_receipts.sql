-- Which producers are owed a new receipt. Operational: it says what is still to be done, so it is
-- part of no projection, no digest and no replay.

CREATE TABLE receipt_due (
    producer text NOT NULL,
    generation bigint NOT NULL,
    CONSTRAINT receipt_due_pkey PRIMARY KEY (producer)
) WITH (fillfactor = 50);
COMMENT ON TABLE receipt_due IS
    'Producers whose ledger or registry changed after their last published receipt; marked in the transaction that changed them.';
COMMENT ON COLUMN receipt_due.generation IS
    'Grows with every mark: the publisher removes only the row that it has read, so no lock is held while it publishes.';

-- Nobody has a receipt yet.
INSERT INTO receipt_due (producer, generation)
SELECT producer, 1 FROM producer WHERE facts <> ''::bytea OR contact_ms > 0;
