"""Read Kafka in chunks under Faust, from the positions that PostgreSQL holds.

Faust stays the shell: membership in the consumer group, rebalances, lifecycle, supervision. Its
way of one message at a time costs 70-200 µs a record, and its own offsets would be a second truth
beside the projections' positions. So this driver hands Faust one message per chunk of a partition,
seeks to the projections' positions after every assignment, and commits to Kafka for lag tools only.

It overrides names that are not Faust's public API and is right for FAUST_VERSION only;
tests/contract/test_faust_version.py fails when the version or one of those names changes.
Source: docs/adr/0002-read-kafka-in-chunks-under-faust.md
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

import aiokafka
import structlog
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP, AppT, ConsumerMessage
from yarl import URL

from rekam.domain.errors import Corrupt, Misconfigured
from rekam.domain.log import Chunk, LogRecord
from rekam.runtime.kafka import log_record

FAUST_VERSION: Final = "0.15.3"
COMMIT_SECONDS_MAX: Final = 3.0
LEAVE_SECONDS_MAX: Final = 3.0
SEEK_RETRY_SECONDS: Final = 0.5
LOG_APPEND_TIME: Final = 1

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Positions(Protocol):
    """The stored positions: the next offset per partition; a partition without one is left out."""

    async def __call__(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """Return positions as last committed. Waits while the store is away."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSource:
    """What the transport needs to know of the world. `alarm` gets a stable code before a stop."""

    consumer_options: Mapping[str, Any]
    positions: Positions
    records_max: int
    bytes_max: int
    alarm: Callable[[str], None] = field(default=lambda _code: None)
    log_end: Callable[[int, int], None] = field(default=lambda _partition, _next_offset: None)


class ChunkMessage(ConsumerMessage):
    """One Faust message whose value is a chunk; its offset is the chunk's last one.

    `seek` numbers the seek that the chunk was read after: a later seek makes the chunk stale.
    """

    __slots__ = ("seek",)

    def __init__(self, chunk: Chunk, *, tp: TP, generation_id: int, seek: int) -> None:
        last = chunk.records[-1]
        super().__init__(
            chunk.topic,
            chunk.partition,
            last.offset,
            last.append_ms / 1000,
            LOG_APPEND_TIME,
            [],
            None,
            cast("bytes", chunk),  # the raw codec passes any object through
            None,
            tp=tp,
            generation_id=generation_id,
        )
        self.seek = seek


def split_into_chunks(
    records: Sequence[LogRecord], *, topic: str, records_max: int, bytes_max: int
) -> Iterator[Chunk]:
    """Cut consecutive records of one partition into chunks within both limits.

    A record larger than `bytes_max` is a chunk of its own.
    """
    start = size = 0
    for index, record in enumerate(records):
        full = index - start >= records_max or size + len(record.value) > bytes_max
        if full and index > start:
            yield Chunk(topic, record.partition, tuple(records[start:index]))
            start, size = index, 0
        size += len(record.value)
    if start < len(records):
        yield Chunk(topic, records[start].partition, tuple(records[start:]))


class ChunkConsumerThread(AIOKafkaConsumerThread):
    """The thread that owns the aiokafka client."""

    consumer: "ChunkConsumer"

    def _create_worker_consumer(self, transport: Transport) -> Any:
        source = cast("ChunkTransport", transport).source
        return aiokafka.AIOKafkaConsumer(
            client_id=self.app.conf.broker_client_id,
            group_id=self.app.conf.id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            max_poll_records=None,
            **source.consumer_options,
        )

    async def on_thread_stop(self) -> None:
        """Leave the group if the broker answers; without it the session's end will tell."""
        await super(AIOKafkaConsumerThread, self).on_thread_stop()
        if self._consumer is None:
            return
        # Waited for as a task: aiokafka lets the cancellation of its own tasks out of `stop`.
        leaving = asyncio.ensure_future(self._consumer.stop())
        _done, late = await asyncio.wait([leaving], timeout=LEAVE_SECONDS_MAX)
        if late:
            leaving.cancel()
        if late or leaving.cancelled() or leaving.exception() is not None:
            log.warning("group_not_left", seconds_max=LEAVE_SECONDS_MAX)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit for lag tools. Never read back, so a failure is a log line and no crash."""
        assigned = self.assignment()
        try:
            async with asyncio.timeout(COMMIT_SECONDS_MAX):
                await self._ensure_consumer().commit(
                    {
                        TopicPartition(*tp): OffsetAndMetadata(offset, "")
                        for tp, offset in offsets.items()
                        if tp in assigned
                    }
                )
        except (KafkaError, TimeoutError) as error:
            log.warning("kafka_commit_postponed", error=type(error).__name__)
            return False
        return True

    async def log_bounds(self, partitions: Collection[TP]) -> dict[TP, tuple[int, int]]:
        """Return the first and the next offset that each partition of the log has now."""
        wanted = [TopicPartition(*tp) for tp in partitions]
        bounds: dict[TP, tuple[int, int]] = await self.call_thread(self._log_bounds, wanted)
        return bounds

    async def _log_bounds(self, partitions: list[TopicPartition]) -> dict[TP, tuple[int, int]]:
        consumer = self._ensure_consumer()
        first = await consumer.beginning_offsets(partitions)
        end = await consumer.end_offsets(partitions)
        return {TP(*tp): (first[tp], end[tp]) for tp in partitions}

    async def seek_now(self, offsets: Mapping[TP, int]) -> None:
        """Seek in the client's own thread; what it has fetched from elsewhere is dropped."""
        await self.call_thread(self._seek_now, offsets)

    async def _seek_now(self, offsets: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        for tp, offset in offsets.items():
            consumer.seek(TopicPartition(*tp), offset)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Say nothing: Faust would call a worker slow that waits for PostgreSQL."""


class ChunkConsumer(Consumer):
    """Yields chunks in offset order without a hole, from the stored positions on.

    `_next_offsets` is what makes that sure: it is written by a seek and by each chunk yielded, and
    nothing is yielded that does not continue it, whatever a fetch in flight brought back.
    """

    _thread: ChunkConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._next_offsets: dict[TP, int] = {}
        self._seeks = 0
        self._seek_of: dict[TP, int] = {}
        self._holes: dict[TP, int] = {}
        super().__init__(*args, **kwargs)

    @property
    def _source(self) -> ChunkSource:
        return cast("ChunkTransport", self.transport).source

    def _new_consumer_thread(self) -> ChunkConsumerThread:
        return ChunkConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def is_current(self, message: ChunkMessage) -> bool:
        """Return whether no rebalance and no seek has made the chunk stale since it was read."""
        return (
            message.generation_id == self.app.consumer_generation_id
            and self._seek_of.get(message.tp) == message.seek
        )

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """Yield one message per chunk of what has been fetched."""
        fetched, _active = await self._wait_next_records(timeout)
        for tp, found in (fetched or {}).items():
            for message in await self._messages(TP(*tp), found):
                # Flow stops at a rebalance; a seek follows before it goes on.
                if self.should_stop or not self.flow_active or not self.is_current(message):
                    return
                self._next_offsets[message.tp] = message.offset + 1
                yield message.tp, message

    async def _messages(self, tp: TP, found: Sequence[Any]) -> list[ChunkMessage]:
        expected, seek = self._next_offsets.get(tp), self._seek_of.get(tp)
        generation_id = self.app.consumer_generation_id
        if expected is None or seek is None:
            return []  # revoked while the fetch was on its way
        records = _log_records(tp, [record for record in found if record.offset >= expected])
        if not records:
            return []
        dense = _count_dense(records, expected)
        if dense:
            self._holes.pop(tp, None)
        if dense < len(records):
            await self._read_again(tp, expected + dense, records[dense].offset)
            records = records[:dense]
        if not records:
            return []
        # The client's thread may learn this instant that the partition is not ours any more.
        with suppress(AssertionError):
            self._source.log_end(tp.partition, self.highwater(tp) or records[-1].offset + 1)
        source = self._source
        return [
            ChunkMessage(chunk, tp=tp, generation_id=generation_id, seek=seek)
            for chunk in split_into_chunks(
                records,
                topic=tp.topic,
                records_max=source.records_max,
                bytes_max=source.bytes_max,
            )
        ]

    async def _read_again(self, tp: TP, expected: int, found: int) -> None:
        """Read again from `expected`; raise Corrupt when the log itself has a hole there."""
        if self._holes.get(tp) == expected:
            raise self._alarm(
                "log_hole",
                f"{tp.topic}[{tp.partition}]: offset {found} follows {expected - 1}. Records are "
                "missing from the log. Restore the topic from a replica, and look for who writes "
                "transactions to it or has turned on compaction.",
            )
        # A fetch in flight during a seek was dropped after it had moved the client on.
        self._holes[tp] = expected
        with suppress(IllegalStateError):  # revoked meanwhile
            await self._thread.seek_now({tp: expected})

    async def perform_seek(self) -> None:
        """Seek every assigned partition to its stored position; Kafka's offsets play no part.

        Waits while Kafka or the store is away (a rebalance or a stop ends the waiting).
        Raises Corrupt when a position lies outside the log.
        """
        await self._seek_to_positions(self.assignment())

    async def seek_again(self, tp: TP) -> None:
        """Go back to the stored position of one partition; chunks read before become stale."""
        if tp in self.assignment():
            with suppress(IllegalStateError):  # revoked meanwhile
                await self._seek_to_positions({tp})

    async def _seek_to_positions(self, partitions: Collection[TP]) -> None:
        for tp in partitions:
            self._next_offsets.pop(tp, None)
            self._seek_of.pop(tp, None)
        offsets: dict[TP, int] = {}
        for topic in {tp.topic for tp in partitions}:
            wanted = {tp.partition for tp in partitions if tp.topic == topic}
            stored = await self._source.positions(topic, wanted)
            offsets |= {TP(topic, number): stored.get(number, 0) for number in wanted}
        self._check(offsets, await self._bounds(partitions))
        await self._thread.seek_now(offsets)
        self._seeks += 1
        for tp, offset in offsets.items():
            # Faust writes "nothing yet" as None.
            self._read_offset[tp] = self._committed_offset[tp] = offset or None
            self._acked[tp].clear()
            self._acked_index[tp].clear()
            self._next_offsets[tp] = offset
            self._seek_of[tp] = self._seeks
        log.info(
            "positions_taken",
            partitions={tp.partition: offset for tp, offset in sorted(offsets.items())},
        )

    async def _bounds(self, partitions: Collection[TP]) -> dict[TP, tuple[int, int]]:
        while True:
            try:
                return await self._thread.log_bounds(partitions)
            except IllegalStateError:
                raise  # another rebalance has begun; Faust waits for it
            except (KafkaError, TimeoutError) as error:
                if self.should_stop:
                    raise IllegalStateError("stopping") from error  # Faust's way to give it up
                log.warning("log_bounds_unknown", error=type(error).__name__)
                await self.sleep(SEEK_RETRY_SECONDS)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        try:
            return await super()._getmany(active_partitions, timeout)
        except (NoOffsetForPartitionError, OffsetOutOfRangeError):
            # aiokafka looks up the group's offsets at assignment, before we seek. That they are
            # missing or out of range says nothing; whether *our* position is, the log's bounds do.
            # The next fetch meets the same again, so Kafka being away now loses nothing.
            reading = dict(self._next_offsets)
            with suppress(IllegalStateError):
                self._check(reading, await self._bounds(reading))
            return {}

    def _check(self, offsets: Mapping[TP, int], bounds: Mapping[TP, tuple[int, int]]) -> None:
        for tp, offset in sorted(offsets.items()):
            first, end = bounds[tp]
            if not first <= offset <= end:
                raise self._alarm(
                    "position_out_of_range",
                    f"{tp.topic}[{tp.partition}]: the stored position is {offset}, and the log has "
                    f"offsets {first} to {end - 1}. Records that were folded or must be folded are "
                    "gone from the log. Check that REKAM_KAFKA and REKAM_POSTGRES belong together "
                    "and that retention.ms is -1; restore the log, or rebuild with another group.",
                )

    def _alarm(self, code: str, message: str) -> Corrupt:
        log.error("processor_alarmed", code=code)
        self._source.alarm(code)
        return Corrupt(message)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget the partitions; chunks of them that wait are stale from now on."""
        for tp in revoked:
            self._next_offsets.pop(tp, None)
            self._holes.pop(tp, None)
        await super().on_partitions_revoked(revoked)

    def _new_offset(self, tp: TP) -> int | None:
        # Chunks of a partition are acknowledged in order, so the last one stands for all before
        # it. Faust would list every offset between two chunks.
        acked = self._acked[tp]
        if not acked:
            return None
        offset = max(acked) + 1
        acked.clear()
        self._acked_index[tp].clear()
        return offset

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Keep no gaps: a message's offset is its chunk's last one, so all others look like one."""

    def on_buffer_full(self, tp: TP) -> None:
        """Change nothing: the full queue itself holds the fetcher, without Faust's 1 s sleep."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Change nothing, as in `on_buffer_full`."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Say nothing; see the thread's."""


class ChunkTransport(Transport):
    """Faust's aiokafka transport with the consumer above."""

    Consumer = ChunkConsumer

    def __init__(self, url: list[URL], app: AppT, source: ChunkSource) -> None:
        super().__init__(url, app)
        self.source = source


def _count_dense(records: Sequence[LogRecord], expected: int) -> int:
    """Return how many of the records continue `expected` without a hole."""
    if records[-1].offset - expected == len(records) - 1:
        return len(records)  # offsets rise, so the ends tell whether all between are there
    return sum(record.offset == expected + index for index, record in enumerate(records))


def _log_records(tp: TP, found: Sequence[Any]) -> list[LogRecord]:
    """Return records as the folds see them. Raises Misconfigured without the broker's times."""
    if any(record.timestamp_type != LOG_APPEND_TIME for record in found):
        raise Misconfigured(
            [f"{tp.topic}: wanted message.timestamp.type=LogAppendTime; run `rekam topics apply`"]
        )
    return [log_record(tp.partition, record) for record in found]
