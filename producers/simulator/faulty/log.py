"""Read a run's records back from Kafka: from where the log ended before it to where it ends now."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from rekam.domain.errors import Unavailable
from rekam.domain.log import LogRecord
from rekam.domain.topics import SEGMENTS
from rekam.runtime.kafka import OPEN_NETWORK, consumer_options, log_record
from rekam.runtime.settings import KafkaSecurity

POLL_MS: Final = 500
SILENCE_SECONDS_MAX: Final = 30.0
CHUNK_RECORDS_MAX: Final = 2_000

Offsets = Mapping[int, int]
"""Next offset by partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlace:
    """Which topic of which cluster is the log."""

    bootstrap: str
    security: KafkaSecurity = OPEN_NETWORK
    topic: str = SEGMENTS.name
    partitions: int = SEGMENTS.partitions

    async def ends(self) -> Offsets:
        """Return the offsets that the next records will get. Raises Unavailable."""
        async with self._consumer() as consumer:
            return await self._ends(consumer)

    async def read(self, starts: Offsets) -> AsyncIterator[LogRecord]:
        """Yield every record from `starts` up to where the log ends now. Raises Unavailable."""
        async with self._consumer() as consumer:
            ends = await self._ends(consumer)
            left = {number: end for number, end in ends.items() if end > starts.get(number, 0)}
            for number in range(self.partitions):
                consumer.seek(TopicPartition(self.topic, number), starts.get(number, 0))
            heard_at = asyncio.get_running_loop().time()
            while left:
                found = await consumer.getmany(timeout_ms=POLL_MS, max_records=CHUNK_RECORDS_MAX)
                now = asyncio.get_running_loop().time()
                if found:
                    heard_at = now
                elif now - heard_at > SILENCE_SECONDS_MAX:
                    raise Unavailable(
                        f"{self.topic} gave nothing for {SILENCE_SECONDS_MAX:.0f} s. Look at the "
                        "broker; what was sent is in the log or in its outbox"
                    )
                for partition, records in found.items():
                    number = partition.partition
                    for record in records:
                        if record.offset < ends[number]:
                            yield log_record(number, record)
                        if record.offset + 1 >= ends[number]:
                            left.pop(number, None)

    async def _ends(self, consumer: Any) -> dict[int, int]:
        found = await consumer.end_offsets(
            [TopicPartition(self.topic, number) for number in range(self.partitions)]
        )
        return {partition.partition: end for partition, end in found.items()}

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[Any]:
        consumer = AIOKafkaConsumer(**consumer_options(self.bootstrap, self.security))
        # Assigned first: without an assignment, aiokafka 0.14 cannot stop.
        consumer.assign([TopicPartition(self.topic, n) for n in range(self.partitions)])
        try:
            await consumer.start()
            yield consumer
        except KafkaError as error:
            raise Unavailable(
                f"Kafka at {self.bootstrap} does not answer ({type(error).__name__}). Start it, or "
                "correct REKAM_KAFKA"
            ) from error
        finally:
            await consumer.stop()
