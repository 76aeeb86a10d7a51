-- The outbox. Events are numbered without gaps; a segment's bytes never change once stored.

CREATE TABLE outbox (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    producer TEXT    NOT NULL,
    epoch    INTEGER NOT NULL CHECK (epoch >= 1)
) STRICT;

-- Events that are in no segment yet: one JSON line each, as it will be sealed.
CREATE TABLE event (
    seq  INTEGER PRIMARY KEY CHECK (seq >= 1),
    line BLOB NOT NULL
) STRICT;

-- Sealed segments, for ever (only a signed receipt may remove one). `raw` stands last, so that
-- reading the rest does not walk its pages.
CREATE TABLE segment (
    first   INTEGER PRIMARY KEY CHECK (first >= 1),
    last    INTEGER NOT NULL,
    hash    TEXT    NOT NULL,
    raw     BLOB    NOT NULL,
    CHECK (last >= first)
) STRICT;

CREATE TRIGGER segment_is_sealed_once BEFORE UPDATE ON segment
BEGIN
    SELECT raise(ABORT, 'a sealed segment never changes');
END;

-- Segments that no route has taken yet. A table of its own: taking a segment must not rewrite it.
CREATE TABLE unsent (
    first   INTEGER PRIMARY KEY REFERENCES segment (first),
    last    INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL  -- of its first event, as the producer's clock showed it
) STRICT;

-- Boot sessions of the events, and the clock offset that was last announced for each.
CREATE TABLE boot (
    boot          TEXT PRIMARY KEY,
    first_wall_ms INTEGER NOT NULL,
    offset_ms     INTEGER
) STRICT, WITHOUT ROWID;
