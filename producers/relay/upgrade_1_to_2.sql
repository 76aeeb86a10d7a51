-- From version 1 of the store: which route took or refused a segment last.

ALTER TABLE segment ADD COLUMN route TEXT;
