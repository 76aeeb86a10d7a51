-- The outbox, version 3. Events are numbered without gaps within an epoch; a segment's bytes never
-- change once stored.
--
-- A `place` is a seq counted on through all epochs of this file: the `base` of its epoch + seq. It
-- is the order in which things are sent, and the same number as the seq while there is one epoch.

CREATE TABLE outbox (
    id                  INTEGER PRIMARY KEY CHECK (id = 1),
    producer            TEXT    NOT NULL,
    diagnostics_dropped INTEGER NOT NULL DEFAULT 0,
    -- The highest epoch of this producer that a receipt has named, ours or not.
    epoch_seen          INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The epochs that this file holds something of; the highest one is open.
CREATE TABLE epoch (
    epoch             INTEGER PRIMARY KEY CHECK (epoch >= 1),
    base              INTEGER NOT NULL CHECK (base >= 0),
    -- As of when the last receipt spoke whose gaps were heeded.
    gaps_as_of_ms     INTEGER,
    -- A receipt knows seqs of this epoch that are not ours: this home or its double is a copy.
    is_fork_suspected INTEGER NOT NULL DEFAULT 0 CHECK (is_fork_suspected IN (0, 1))
) STRICT;

-- Events of the open epoch that are in no segment yet: one JSON line each, as it will be sealed,
-- with its CRC-32: a line is in clear, so a bit that the disk flips would pass for another number.
CREATE TABLE event (
    seq  INTEGER PRIMARY KEY,
    crc  INTEGER NOT NULL,
    line BLOB    NOT NULL
) STRICT;

-- Events that get their seq when they are sealed, because they may be replaced or dropped before.
CREATE TABLE health (
    slot TEXT PRIMARY KEY,
    line BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE diagnostic (
    id   INTEGER PRIMARY KEY,
    line BLOB NOT NULL
) STRICT;

-- Sealed segments (only a signed receipt may remove one). `raw` stands last, so that reading the
-- rest does not walk its pages.
CREATE TABLE segment (
    place INTEGER PRIMARY KEY CHECK (place >= 1),
    epoch INTEGER NOT NULL REFERENCES epoch (epoch),
    first INTEGER NOT NULL CHECK (first >= 1),
    last  INTEGER NOT NULL,
    hash  TEXT    NOT NULL,
    raw   BLOB    NOT NULL,
    CHECK (last >= first)
) STRICT;

CREATE TRIGGER segment_is_sealed_once BEFORE UPDATE ON segment
BEGIN
    SELECT raise(ABORT, 'a sealed segment never changes');
END;

-- Where each segment stands. A table of its own: moving a segment on must not rewrite its bytes.
--     unsent -> taken (a route took it) -> receipted (a signed receipt covers it) -> pruned
--     refused: set aside, because a server said that it is wrong as it is; offered again, ever
--              more rarely, while no receipt covers it
--     damaged: set aside, because its bytes here are not what was sealed
-- A pruned one stays as its hash alone while one before it still waits for a receipt.
CREATE TABLE delivery (
    place         INTEGER PRIMARY KEY,
    epoch         INTEGER NOT NULL,
    first         INTEGER NOT NULL,
    last          INTEGER NOT NULL,
    hash          TEXT    NOT NULL,
    bytes         INTEGER NOT NULL,
    wall_ms       INTEGER NOT NULL,  -- of its first event, as the producer's clock showed it
    is_critical   INTEGER NOT NULL,
    state         TEXT    NOT NULL DEFAULT 'unsent',
    route         TEXT,
    boot          TEXT,              -- when it came into this state, by this machine's clocks
    mono_ms       INTEGER,
    code          TEXT,              -- why it was refused
    as_of_ms      INTEGER,           -- of the receipt that covers it
    tries         INTEGER NOT NULL DEFAULT 0,  -- how often a route has taken it
    refusals      INTEGER NOT NULL DEFAULT 0,  -- since it was queued, or a person began anew
    refused_by    TEXT,              -- the route that refused it last: another is asked first
    CONSTRAINT state_is_known
        CHECK (state IN ('unsent', 'taken', 'refused', 'receipted', 'damaged', 'pruned')),
    CONSTRAINT taken_by_a_route CHECK (state <> 'taken' OR route IS NOT NULL),
    CONSTRAINT refused_for_a_reason CHECK (state <> 'refused' OR code IS NOT NULL),
    CONSTRAINT gone_by_a_receipt
        CHECK (state NOT IN ('receipted', 'pruned') OR as_of_ms IS NOT NULL)
) STRICT;

CREATE INDEX delivery_by_state ON delivery (state, place);
CREATE INDEX delivery_critical ON delivery (place) WHERE state = 'unsent' AND is_critical = 1;

-- Only what a receipt covers leaves.
CREATE TRIGGER segment_leaves_by_receipt BEFORE DELETE ON segment
WHEN coalesce((SELECT state FROM delivery WHERE place = old.place), '') <> 'pruned'
BEGIN
    SELECT raise(ABORT, 'no receipt covers this segment');
END;

-- The newest receipt, as it was signed.
CREATE TABLE receipt (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    raw      BLOB    NOT NULL,
    as_of_ms INTEGER NOT NULL
) STRICT;

-- Faults of this file that no event has told yet.
CREATE TABLE fault (
    id     INTEGER PRIMARY KEY,
    fault  TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

-- Lines whose CRC-32 was wrong when they should be sealed; an event tells so under their seq.
CREATE TABLE damaged_line (
    epoch INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    line  BLOB    NOT NULL,
    PRIMARY KEY (epoch, seq)
) STRICT, WITHOUT ROWID;

-- What a relay said of boot sessions' clocks, as it was last announced. It is kept apart: a contact
-- with the log still has to say its own.
CREATE TABLE relay_anchor (
    boot      TEXT PRIMARY KEY,
    offset_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Boot sessions of the events, and the clock offset that was last announced for each.
CREATE TABLE boot (
    boot          TEXT PRIMARY KEY,
    first_wall_ms INTEGER NOT NULL,
    offset_ms     INTEGER
) STRICT, WITHOUT ROWID;
