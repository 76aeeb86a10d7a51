"""The floor: a plain aiokafka loop that decodes plain events and COPYs them into one table.

No cryptography, no deduplication, no index, no figures. Ends after `events` events and says how
long it took.
"""

import sys
import time
from typing import Any, Final

import msgspec
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from rekam.domain.topics import SEGMENTS
from rekam.runtime.kafka import consumer_options
from rekam.runtime.postgres import connect
from tests.benchmarks.machine import Timing

POLL_MS: Final = 200
TABLE: Final = "plain_event"
COLUMNS: Final = ("producer", "epoch", "seq", "type", "wall_ms", "boot", "nik", "desa", "status")


async def _run(dsn: str, bootstrap: str, topic: str, events: str) -> None:
    connection = await connect(dsn)
    await connection.execute(
        "CREATE TABLE plain_event (producer text, epoch integer, seq bigint, type text, "
        "wall_ms bigint, boot text, nik text, desa text, status text)"
    )
    wanted, count = int(events), 0
    consumer = AIOKafkaConsumer(**consumer_options(bootstrap))
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(SEGMENTS.partitions)]
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        started = time.monotonic()
        while count < wanted:
            fetched = await consumer.getmany(timeout_ms=POLL_MS)
            rows = [_row(record.value) for found in fetched.values() for record in found]
            if rows:
                await connection.copy_records_to_table(TABLE, records=rows, columns=COLUMNS)
            count += len(rows)
        timing = Timing(count, time.monotonic() - started)
    finally:
        await consumer.stop()
        await connection.close()
    sys.stdout.buffer.write(msgspec.json.encode(timing))


def _row(value: bytes) -> tuple[Any, ...]:
    event = orjson.loads(value)
    data = event["data"]
    return (
        event["producer"],
        event["epoch"],
        event["seq"],
        event["type"],
        event["wall_ms"],
        event["boot"],
        data.get("nik"),
        data.get("domicile"),
        data.get("status"),
    )


if __name__ == "__main__":
    uvloop.run(_run(*sys.argv[1:]))
