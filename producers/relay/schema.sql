-- What a relay holds for others. The bytes of a segment never change once stored.

CREATE TABLE segment (
    place    INTEGER PRIMARY KEY,      -- order of arrival
    producer TEXT    NOT NULL,
    epoch    INTEGER NOT NULL,
    first    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    hash     TEXT    NOT NULL,         -- of its header: what receipts name
    prev     TEXT    NOT NULL,
    digest   BLOB    NOT NULL,         -- SHA-256 of all its bytes: a damaged copy must not stand for the whole one
    bytes    INTEGER NOT NULL,
    state    TEXT    NOT NULL CHECK (state IN ('waiting', 'forwarded', 'refused')),
    due_ms   INTEGER NOT NULL,         -- by this machine's wall clock; not forwarded before
    tries    INTEGER NOT NULL DEFAULT 0,
    route    TEXT,                     -- that took or refused it last: by another one next time
    UNIQUE (producer, epoch, first, hash, digest)
) STRICT;

CREATE INDEX segment_is_due ON segment (due_ms, place);
CREATE INDEX segment_of_producer_is_due ON segment (producer, due_ms, place);
CREATE INDEX segment_in_chain ON segment (producer, epoch, hash);

-- A table of its own: to note a try must not rewrite the bytes.
CREATE TABLE body (
    place INTEGER PRIMARY KEY REFERENCES segment (place),
    raw   BLOB    NOT NULL
) STRICT;

-- The newest receipt of each producer, as it was signed.
CREATE TABLE receipt (
    producer  TEXT    PRIMARY KEY,
    as_of_ms  INTEGER NOT NULL,
    raw       BLOB    NOT NULL
) STRICT;
