-- From version 2 of the outbox: how often a segment was taken and refused, and by whom last.

ALTER TABLE delivery ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN refused_by TEXT;
UPDATE delivery SET refused_by = route, refusals = 1 WHERE state = 'refused';

CREATE TABLE relay_anchor (
    boot      TEXT PRIMARY KEY,
    offset_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
