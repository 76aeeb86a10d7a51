-- The same, after the tables of the present version were made.

INSERT INTO outbox (id, producer) SELECT 1, producer FROM outbox_1;
INSERT INTO epoch (epoch, base) SELECT epoch, 0 FROM outbox_1;
INSERT INTO event (seq, crc, line) SELECT seq, crc32(line), line FROM event_1;
INSERT INTO boot (boot, first_wall_ms, offset_ms)
SELECT boot, first_wall_ms, offset_ms FROM boot_1;
INSERT INTO segment (place, epoch, first, last, hash, raw)
SELECT first, (SELECT epoch FROM outbox_1), first, last, hash, raw FROM segment_1;
INSERT INTO delivery (place, epoch, first, last, hash, bytes, wall_ms, is_critical, state, route)
SELECT
    s.first, s.epoch, s.first, s.last, s.hash, length(s.raw), coalesce(u.wall_ms, 0), 0,
    iif(u.first IS NULL, 'taken', 'unsent'),
    iif(u.first IS NULL, 'kafka', NULL)
FROM segment AS s LEFT JOIN unsent_1 AS u ON u.first = s.first;

DROP TABLE unsent_1;
DROP TABLE segment_1;
DROP TABLE event_1;
DROP TABLE boot_1;
DROP TABLE outbox_1;
