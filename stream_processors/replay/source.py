"""Read the log in bulk from its beginning, with plain aiokafka: no group, no commits."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from rekam.domain.errors import Corrupt, Unavailable
from rekam.domain.log import Chunk
from rekam.runtime.kafka import OPEN_NETWORK, consumer_options, log_record
from rekam.runtime.settings import KafkaSecurity

SILENCE_SECONDS_MAX: Final = 30.0
POLL_MS: Final = 500
CHUNK_RECORDS_MAX: Final = 2_000


async def read_log(
    bootstrap: str,
    topic: str,
    ends: Mapping[int, int],
    *,
    starts: Mapping[int, int] | None = None,
    security: KafkaSecurity = OPEN_NETWORK,
) -> AsyncIterator[Chunk]:
    """Yield all records below `ends` (next offset by partition), each partition in its order.

    From its beginning, or from `starts` where that names an offset.

    Raises Unavailable when Kafka does not answer, Corrupt when the log does not hold them all.
    """
    begin = starts or {}
    wanted = {
        TopicPartition(topic, number): end
        for number, end in ends.items()
        if end > begin.get(number, 0)
    }
    if not wanted:
        return
    options = consumer_options(bootstrap, security)
    consumer = AIOKafkaConsumer(group_id=None, **options)
    try:
        await consumer.start()
        consumer.assign(list(wanted))
        await _require(consumer, wanted)
        expected = {tp: begin.get(tp.partition, 0) for tp in wanted}
        for tp, first in expected.items():
            consumer.seek(tp, first)
        while any(expected[tp] < end for tp, end in wanted.items()):
            for tp, records in (await _next(consumer, topic)).items():
                first = expected[tp]
                below = [record for record in records if record.offset < wanted[tp]]
                if [record.offset for record in below] != list(range(first, first + len(below))):
                    raise Corrupt(
                        f"{topic}[{tp.partition}]: records are missing after offset {first - 1}. "
                        "Restore the topic from a replica."
                    )
                expected[tp] = first + len(below)
                if len(below) < len(records):
                    consumer.pause(tp)
                if below:
                    yield Chunk(
                        topic,
                        tp.partition,
                        tuple(log_record(tp.partition, record) for record in below),
                    )
    except KafkaError as error:
        raise Unavailable(
            f"Kafka at {bootstrap} fails us ({type(error).__name__}). Look at the broker, or "
            "correct REKAM_KAFKA."
        ) from error
    finally:
        await consumer.stop()


async def known_at(chunks: AsyncIterator[Chunk], moment_ms: int) -> AsyncIterator[Chunk]:
    """Yield of all chunks what the log had taken up to a moment, in ms since 1970, UTC."""
    async for chunk in chunks:
        known = tuple(record for record in chunk.records if record.append_ms <= moment_ms)
        if known:
            yield Chunk(chunk.topic, chunk.partition, known)


async def _next(consumer: AIOKafkaConsumer, topic: str) -> Mapping[TopicPartition, list]:  # type: ignore[type-arg]  # aiokafka ships no types
    deadline = asyncio.get_running_loop().time() + SILENCE_SECONDS_MAX
    while asyncio.get_running_loop().time() < deadline:
        found = await consumer.getmany(timeout_ms=POLL_MS, max_records=CHUNK_RECORDS_MAX)
        if found:
            return found  # type: ignore[no-any-return]  # aiokafka ships no types
    raise Unavailable(
        f"{topic} gave nothing for {SILENCE_SECONDS_MAX:.0f} s. Look at the broker and try again."
    )


async def _require(consumer: AIOKafkaConsumer, wanted: Mapping[TopicPartition, int]) -> None:
    first = await consumer.beginning_offsets(list(wanted))
    end = await consumer.end_offsets(list(wanted))
    for tp, needed in wanted.items():
        if first[tp] > 0 or end[tp] < needed:
            raise Corrupt(
                f"{tp.topic}[{tp.partition}] has offsets {first[tp]} to {end[tp] - 1}; wanted 0 to "
                f"{needed - 1}. Check that REKAM_KAFKA and REKAM_POSTGRES belong together."
            )
