-- From version 1 of the outbox: what stood in `segment` and not in `unsent` had been taken by Kafka.

DROP TRIGGER segment_is_sealed_once;
ALTER TABLE outbox RENAME TO outbox_1;
ALTER TABLE event RENAME TO event_1;
ALTER TABLE segment RENAME TO segment_1;
ALTER TABLE unsent RENAME TO unsent_1;
ALTER TABLE boot RENAME TO boot_1;
