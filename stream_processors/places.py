"""Read records by their places in the log, in bulk, with plain aiokafka: no group, no commits."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from rekam.domain.errors import Corrupt, Unavailable
from rekam.domain.log import LogRecord
from rekam.runtime.kafka import OPEN_NETWORK, consumer_options, log_record
from rekam.runtime.settings import KafkaSecurity

RECORD_SECONDS_MAX: Final = 30.0

Place = tuple[int, int]
"""(partition, offset)"""


class RecordReader:
    """Reads single records of one topic. One reading at a time; made by `open_reader`."""

    def __init__(self, consumer: Any, topic: str, partitions: Collection[int]) -> None:
        self._consumer = consumer
        self._topic = topic
        self._partitions = partitions

    async def read(self, places: Iterable[Place]) -> list[LogRecord]:
        """Return the records at these places, sorted by place; each place once.

        Neighbours are read in one go. Raises Unavailable when Kafka does not answer, Corrupt when
        the log does not hold one of them.
        """
        wanted: defaultdict[int, set[int]] = defaultdict(set)
        for partition, offset in places:
            wanted[partition].add(offset)
        found: list[LogRecord] = []
        try:
            for partition in sorted(wanted):
                found += await self._read_partition(partition, sorted(wanted[partition]))
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(
                f"Kafka does not give records of {self._topic} ({type(error).__name__}). Look at "
                "the broker and try again."
            ) from error
        return found

    async def _read_partition(self, partition: int, offsets: list[int]) -> list[LogRecord]:
        place = TopicPartition(self._topic, partition)
        if partition not in self._partitions:  # a client would wait for it to appear
            raise _absent(place, offsets[0])
        self._consumer.assign([place])
        begin = (await self._consumer.beginning_offsets([place]))[place]
        end = (await self._consumer.end_offsets([place]))[place]
        outside = [offset for offset in offsets if not begin <= offset < end]
        if outside:
            raise _absent(place, outside[0])
        found: list[LogRecord] = []
        following = -1
        for offset in offsets:
            if offset != following:
                self._consumer.seek(place, offset)
            async with asyncio.timeout(RECORD_SECONDS_MAX):
                record = await self._consumer.getone(place)
            if record.offset != offset:
                raise _absent(place, offset)
            found.append(log_record(partition, record))
            following = offset + 1
        return found


def _absent(place: TopicPartition, offset: int) -> Corrupt:
    return Corrupt(
        f"{place.topic}[{place.partition}] has no record at offset {offset}. Check the place, and "
        "that REKAM_KAFKA and REKAM_POSTGRES belong together."
    )


@asynccontextmanager
async def open_reader(
    bootstrap: str, topic: str, *, security: KafkaSecurity = OPEN_NETWORK
) -> AsyncIterator[RecordReader]:
    """Give a reader. Raises Unavailable when Kafka does not answer."""
    consumer = AIOKafkaConsumer(group_id=None, **consumer_options(bootstrap, security))
    try:
        try:
            await consumer.start()
            # `partitions_for_topic` knows only of topics that were read before.
            cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - see above
            partitions = cluster.partitions_for_topic(topic) or frozenset()
        except KafkaError as error:
            raise Unavailable(
                f"Kafka at {bootstrap} fails us ({type(error).__name__}). Look at the broker, or "
                "correct REKAM_KAFKA."
            ) from error
        yield RecordReader(consumer, topic, partitions)
    finally:
        await consumer.stop()
