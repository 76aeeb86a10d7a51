"""The chunk transport on a real broker: order, positions, retries, rebalances, alarms."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import cast, get_args

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from faust.types import TP

from rekam.domain.errors import Corrupt, Unavailable
from rekam.domain.log import ArrivalRoute, Chunk, LogRecord, route_headers
from rekam.domain.topics import Topic
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import client_options, producer_options
from stream_processors.app import ProcessorOptions, build_app, run_processor
from stream_processors.chunk_transport import ChunkConsumer, split_into_chunks
from stream_processors.worker import CHUNKS_IN_MEMORY, ChunkWorker, Hooks, PositionMoved
from tests.support.broker import Topics

WAIT_SECONDS_MAX = 60.0
PARTITIONS = 3


@dataclass
class Store:
    """What PostgreSQL is to the real folder: the records and the positions, moved together."""

    positions: dict[int, int] = field(default_factory=dict)
    records: dict[int, list[LogRecord]] = field(default_factory=lambda: defaultdict(list))
    chunks: list[Chunk] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def count(self) -> int:
        """Return how many records were folded."""
        return sum(len(records) for records in self.records.values())

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when `holds` is true after a fold or an attempt; fail after a deadline."""
        async with asyncio.timeout(WAIT_SECONDS_MAX), self.changed:
            await self.changed.wait_for(holds)


class MemoryFolder:
    """Folds into a store with the real folder's guard; fails on request."""

    def __init__(
        self,
        store: Store,
        *,
        failures: Sequence[Exception] = (),
        positions_failures: Sequence[Exception] = (),
    ) -> None:
        self.store = store
        self.failures = list(failures)
        self.positions_failures = list(positions_failures)
        self.asked = asyncio.Event()
        self.attempts: list[Chunk] = []
        self.prepared: list[Chunk] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = False

    def prepare(self, chunk: Chunk) -> tuple[LogRecord, ...]:
        """Remember that it was asked for."""
        self.prepared.append(chunk)
        return chunk.records

    async def fold(self, chunk: Chunk, prepared: tuple[LogRecord, ...]) -> None:
        """Fail, or fold what lies at or behind the position."""
        self.attempts.append(chunk)
        async with self.store.changed:
            self.store.changed.notify_all()
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        async with self.store.changed:
            position = self.store.positions.get(chunk.partition, 0)
            if chunk.first_offset > position:
                raise PositionMoved
            fresh = [record for record in prepared if record.offset >= position]
            if not fresh:
                return
            self.store.records[chunk.partition].extend(fresh)
            self.store.positions[chunk.partition] = chunk.next_offset
            self.store.chunks.append(chunk)
            self.store.changed.notify_all()

    async def positions(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """Fail, or return the store's positions."""
        assert topic
        self.asked.set()
        if self.positions_failures:
            raise self.positions_failures.pop(0)
        return {
            partition: offset
            for partition, offset in self.store.positions.items()
            if partition in partitions
        }

    async def close(self) -> None:
        """Remember it."""
        self.closed = True


class Running:
    """A processor in the test's loop."""

    def __init__(self, options: ProcessorOptions, folder: MemoryFolder, hooks: Hooks) -> None:
        self.folder = folder
        self.stopping, self.ready = asyncio.Event(), asyncio.Event()

        async def open_folder() -> MemoryFolder:
            return folder

        self.task = asyncio.create_task(
            run_processor(options, open_folder, self.stopping, hooks=hooks, ready=self.ready)
        )

    async def outcome(self) -> None:
        """Return when the processor has ended; raise what it raised."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            await asyncio.shield(self.task)


@asynccontextmanager
async def processing(
    options: ProcessorOptions, folder: MemoryFolder, hooks: Hooks | None = None
) -> AsyncIterator[Running]:
    """Run a processor, and stop it in order at the end if it has not ended by then."""
    running = Running(options, folder, hooks or Hooks())
    try:
        yield running
    finally:
        running.stopping.set()
        await asyncio.wait([running.task], timeout=WAIT_SECONDS_MAX)
        assert running.task.done()
    await running.task


async def produce(
    bootstrap: str, topic: Topic, count: int, *, first: int = 0
) -> dict[int, list[LogRecord]]:
    """Write `count` small records round robin and return them as the broker stamped them."""
    written: dict[int, list[LogRecord]] = defaultdict(list)
    producer = AIOKafkaProducer(**producer_options(bootstrap))
    await producer.start()
    try:
        values = [b"record %d" % number for number in range(first, first + count)]
        routes = [*islice(cycle(get_args(ArrivalRoute)), count)]
        sent = [
            await producer.send(
                topic.name,
                value,
                partition=number % topic.partitions,
                headers=[("other", b"usb"), *route_headers(routes[number])],
            )
            for number, value in enumerate(values)
        ]
        stamped = await asyncio.gather(*sent)
        for value, route, metadata in zip(values, routes, stamped, strict=True):
            written[metadata.partition].append(
                LogRecord(metadata.partition, metadata.offset, metadata.timestamp, value, route)
            )
    finally:
        await producer.stop()
    return written


async def committed(bootstrap: str, group: str) -> dict[int, int]:
    """Return the offsets that the group has committed to Kafka."""
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {tp.partition: found.offset for tp, found in offsets.items()}


@pytest.fixture
async def topic(topics: Topics) -> Topic:
    return await topics.make(partitions=PARTITIONS)


@pytest.fixture
def options(kafka: EmbeddedKafka, topic: Topic, tmp_path: Path) -> ProcessorOptions:
    return options_for(kafka, topic, tmp_path)


def options_for(kafka: EmbeddedKafka, topic: Topic, folder: Path) -> ProcessorOptions:
    return ProcessorOptions(
        bootstrap=kafka.bootstrap,
        data_dir=folder / "faust",
        group=f"group-{topic.name}",
        topic=topic.name,
        chunk_records_max=100,
    )


async def test_records_arrive_in_order_in_chunks_with_the_brokers_append_time(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    written = await produce(kafka.bootstrap, topic, 3_000)
    store = Store()
    async with processing(options, MemoryFolder(store)):
        await store.until(lambda: store.count() == 3_000)
    assert store.records == written
    assert max(len(chunk.records) for chunk in store.chunks) == 100
    assert len(store.chunks) <= 45


async def test_a_restart_resumes_at_the_stored_positions_whatever_kafka_has_committed(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    written = await produce(kafka.bootstrap, topic, 300)
    store = Store()
    async with processing(options, MemoryFolder(store)):
        await store.until(lambda: store.count() == 300)
    assert await committed(kafka.bootstrap, options.group) == {0: 100, 1: 100, 2: 100}

    rewound = Store(positions={0: 40, 1: 100})
    async with processing(options, MemoryFolder(rewound)):
        await rewound.until(lambda: rewound.count() == 160)
    assert rewound.records == {0: written[0][40:], 2: written[2]}


async def test_a_chunk_is_tried_again_until_the_store_is_back(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    written = await produce(kafka.bootstrap, topic, 900)
    store = Store()
    away: list[Exception] = [Unavailable("away"), ConnectionResetError(), TimeoutError()]
    folder = MemoryFolder(store, failures=away)
    retried: list[Chunk] = []
    async with processing(options, folder, Hooks(retried=retried.append)):
        await store.until(lambda: store.count() == 900)
    assert store.records == written
    assert folder.attempts[:4] == [folder.attempts[0]] * 4
    assert retried == folder.attempts[:3]


async def test_a_store_that_is_away_holds_no_more_than_two_chunks(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    await produce(kafka.bootstrap, topic, 3_000)
    store = Store()
    folder = MemoryFolder(store, failures=[Unavailable("away")] * 4)
    async with processing(options, folder):
        await store.until(lambda: len(folder.attempts) >= 4)
        assert len(folder.prepared) <= CHUNKS_IN_MEMORY
        await store.until(lambda: store.count() == 3_000)


async def test_an_unknown_error_ends_the_run_and_acknowledges_nothing(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    await produce(kafka.bootstrap, topic, 300)
    folder = MemoryFolder(Store(), failures=[ZeroDivisionError("a bug")])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        async with processing(options, folder) as running:
            await running.outcome()
    assert await committed(kafka.bootstrap, options.group) == {}
    assert folder.closed


async def test_a_stop_folds_what_is_taken_and_commits_it(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    await produce(kafka.bootstrap, topic, 3_000)
    store = Store()
    folder = MemoryFolder(store)
    folder.gate.clear()
    async with processing(options, folder) as running:
        await store.until(lambda: bool(folder.attempts))
        running.stopping.set()
        folder.gate.set()
        await running.outcome()
    assert 0 < store.count() <= CHUNKS_IN_MEMORY * 100
    assert await committed(kafka.bootstrap, options.group) == store.positions


async def test_a_second_worker_takes_over_partitions_and_no_record_counts_twice(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    store = Store()
    first, second = MemoryFolder(store), MemoryFolder(store)
    written = await produce(kafka.bootstrap, topic, 3_000)
    async with processing(options, first):
        await store.until(lambda: store.count() > 500)
        async with processing(options, second) as joining:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await joining.ready.wait()
            later = await produce(kafka.bootstrap, topic, 3_000, first=3_000)
            await store.until(lambda: store.count() == 6_000)
            assert second.attempts
        last = await produce(kafka.bootstrap, topic, 300, first=6_000)
        await store.until(lambda: store.count() == 6_300)
    assert store.records == {
        partition: written[partition] + later[partition] + last[partition] for partition in written
    }


async def test_positions_moved_back_by_somebody_are_read_from_again(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    await produce(kafka.bootstrap, topic, 900)
    store = Store()
    async with processing(options, MemoryFolder(store)):
        await store.until(lambda: store.count() == 900)
        store.positions[1] = 250
        await produce(kafka.bootstrap, topic, 300, first=900)
        await store.until(lambda: store.count() == 1_250)
    assert [record.offset for record in store.records[1]] == [*range(300), *range(250, 400)]


async def test_a_position_beyond_the_log_is_an_alarm_and_a_stop(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    await produce(kafka.bootstrap, topic, 30)
    alarms: list[str] = []
    folder = MemoryFolder(Store(positions={1: 11}))
    with pytest.raises(Corrupt, match="stored position is 11, and the log has offsets 0 to 9"):
        async with processing(options, folder, Hooks(alarmed=alarms.append)) as running:
            await running.outcome()
    assert alarms == ["position_out_of_range"]
    assert folder.attempts == []


async def test_a_log_that_lost_its_beginning_is_an_alarm_and_a_stop(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    await produce(kafka.bootstrap, topic, 30)
    await delete_before(kafka.bootstrap, topic, partition=2, offset=5)
    with pytest.raises(Corrupt, match="stored position is 0, and the log has offsets 5 to 9"):
        async with processing(options, MemoryFolder(Store())) as running:
            await running.outcome()


async def test_records_deleted_ahead_of_a_running_reader_are_an_alarm_and_a_stop(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    await produce(kafka.bootstrap, topic, 30)
    store = Store()

    async def lose_what_must_be_read_again() -> None:
        async with processing(options, MemoryFolder(store)) as running:
            await store.until(lambda: store.count() == 30)
            await delete_before(kafka.bootstrap, topic, partition=0, offset=10)
            store.positions[0] = 5
            await produce(kafka.bootstrap, topic, 3)
            await running.outcome()

    with pytest.raises(Corrupt, match="stored position is 5, and the log has offsets 10 to 10"):
        await lose_what_must_be_read_again()


async def test_a_client_that_has_run_ahead_is_sent_back_and_no_record_is_lost(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    """A fetch on its way during a seek moves the client on after it."""
    store = Store()
    folder = MemoryFolder(store)
    worker = ChunkWorker(folder)
    app = build_app(options, positions=folder.positions, take=worker.take)
    folding = asyncio.create_task(worker.run())
    try:
        await app.start()
        await produce(kafka.bootstrap, topic, 30)
        await store.until(lambda: store.count() == 30)
        consumer = cast("ChunkConsumer", app.consumer)
        await consumer._thread.seek_now({TP(topic.name, 1): 15})
        written = await produce(kafka.bootstrap, topic, 30, first=30)
        await store.until(lambda: store.count() == 60)
    finally:
        worker.stop_taking()
        await folding
        await app.stop()
        worker.close()
    assert store.records[1][10:] == written[1]


async def test_a_hole_in_the_log_is_an_alarm_and_a_stop_after_what_is_before_it(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    """A transaction's marker takes an offset, as a lost record would leave one."""
    await produce(kafka.bootstrap, topic, 30)
    producer = AIOKafkaProducer(
        **producer_options(kafka.bootstrap), transactional_id=f"transaction-{topic.name}"
    )
    async with producer:
        for _ in range(2):
            async with producer.transaction():
                await producer.send_and_wait(topic.name, b"in a transaction", partition=0)
    store, alarms = Store(), list[str]()
    with pytest.raises(Corrupt, match=r"offset 12 follows 10\. Records are missing"):
        async with processing(
            options, MemoryFolder(store), Hooks(alarmed=alarms.append)
        ) as running:
            await running.outcome()
    assert alarms == ["log_hole"]
    assert store.positions.get(0) in {None, 11}


async def test_the_worker_goes_on_by_itself_after_the_broker_was_killed(
    breakable_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    topic = await Topics(breakable_kafka.bootstrap).make(partitions=PARTITIONS)
    written = await produce(breakable_kafka.bootstrap, topic, 300)
    store = Store()
    async with processing(options_for(breakable_kafka, topic, tmp_path), MemoryFolder(store)):
        await store.until(lambda: store.count() == 300)
        await breakable_kafka.kill()
        await breakable_kafka.start()
        later = await produce(breakable_kafka.bootstrap, topic, 300, first=300)
        await store.until(lambda: store.count() == 600)
    assert store.records == {number: written[number] + later[number] for number in written}


async def test_a_stop_while_the_broker_is_away_ends_without_an_error(
    breakable_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    topic = await Topics(breakable_kafka.bootstrap).make(partitions=PARTITIONS)
    await produce(breakable_kafka.bootstrap, topic, 300)
    store = Store()
    async with processing(options_for(breakable_kafka, topic, tmp_path), MemoryFolder(store)):
        await store.until(lambda: store.count() == 300)
        await breakable_kafka.kill()


async def test_positions_are_waited_for_when_the_store_is_away_at_the_start(
    kafka: EmbeddedKafka, topic: Topic, options: ProcessorOptions
) -> None:
    written = await produce(kafka.bootstrap, topic, 300)
    store = Store()
    folder = MemoryFolder(store, positions_failures=[Unavailable("away"), OSError()])
    async with processing(options, folder):
        await store.until(lambda: store.count() == 300)
    assert store.records == written


async def test_a_stop_before_the_positions_are_known_ends_without_an_error(
    options: ProcessorOptions,
) -> None:
    folder = MemoryFolder(Store(), positions_failures=[Unavailable("away")] * 1_000)
    async with processing(options, folder), asyncio.timeout(WAIT_SECONDS_MAX):
        await folder.asked.wait()
    assert folder.closed


async def test_a_broker_that_is_not_there_is_unavailable(
    options: ProcessorOptions,
) -> None:
    nobody = ProcessorOptions(bootstrap="127.0.0.1:1", data_dir=options.data_dir)
    with pytest.raises(Unavailable, match="does not answer"):
        async with processing(nobody, MemoryFolder(Store())) as running:
            await running.outcome()


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([1, 1, 1], [2, 1]),
        ([6, 6], [1, 1]),
        ([5, 5, 1], [2, 1]),
        ([99, 1], [1, 1]),
    ],
)
def test_chunks_keep_both_limits_and_every_record(sizes: list[int], expected: list[int]) -> None:
    records = [LogRecord(0, offset, 0, b"x" * size) for offset, size in enumerate(sizes)]
    chunks = list(split_into_chunks(records, topic="t", records_max=2, bytes_max=10))
    assert [len(chunk.records) for chunk in chunks] == expected
    assert [record for chunk in chunks for record in chunk.records] == records


async def delete_before(bootstrap: str, topic: Topic, *, partition: int, offset: int) -> None:
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(topic.name, partition): RecordsToDelete(before_offset=offset)}
        )
    finally:
        await admin.close()
