"""Read a device's segments back from a real log, and check that they are one whole chain."""

from collections.abc import Sequence
from itertools import pairwise

from aiokafka import AIOKafkaConsumer, TopicPartition

from producers.device.home import ProducerHome
from rekam.domain.ids import Epoch
from rekam.domain.segment import Segment, open_body, opening_hash, parse, verify
from rekam.domain.topics import Topic
from rekam.runtime.kafka import consumer_options
from stream_processors.replay.source import read_log
from tests.support.device import READER


async def log_ends(bootstrap: str, topic: Topic) -> dict[int, int]:
    """Return the next offset of each partition of a topic."""
    partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    consumer = AIOKafkaConsumer(**consumer_options(bootstrap))
    await consumer.start()
    try:
        consumer.assign(partitions)  # without one, aiokafka cannot stop
        ends = await consumer.end_offsets(partitions)
    finally:
        await consumer.stop()
    return {tp.partition: end for tp, end in ends.items()}


async def in_the_log(bootstrap: str, topic: Topic) -> list[bytes]:
    """Return all records of a topic."""
    ends = await log_ends(bootstrap, topic)
    return [
        record.value
        async for chunk in read_log(bootstrap, topic.name, ends)
        for record in chunk.records
    ]


def chained(raws: Sequence[bytes], home: ProducerHome) -> list[bytes]:
    """Return the events of distinct segments, which must be whole, authentic and without a gap."""
    segments: dict[int, Segment] = {}
    for raw in raws:
        segment = parse(raw)
        verify(segment, home.signing_key.public)
        assert segments.setdefault(segment.header.first, segment).hash == segment.hash
    if not segments:
        return []
    ordered = [segments[first] for first in sorted(segments)]
    assert ordered[0].header.prev == opening_hash(home.producer, Epoch(1))
    for one, following in pairwise(ordered):
        assert (following.header.first, following.header.prev) == (one.header.last + 1, one.hash)
    return [line for segment in ordered for line in open_body(segment, READER)]
