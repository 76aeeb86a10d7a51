"""Where the time of a fold goes: every step alone, one after the other, in this process.

The product's functions are called as the product calls them, with a clock around the store and the
connection. Live, opening runs beside the database's work, so a worker takes less than the sum.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from projections.rows import (
    AnchorKey,
    Changes,
    ExcludedRow,
    HeldRow,
    LedgerRow,
    ProducerRow,
    RecordId,
)
from projections.store import QUERIES, PostgresStore
from rekam.domain import events
from rekam.domain.ids import KeyId
from rekam.domain.log import Chunk, LogRecord
from rekam.domain.segment import open_body, parse, verify
from rekam.runtime.postgres import open_pool
from stream_processors.app import ProcessorOptions
from stream_processors.chunk_transport import split_into_chunks
from stream_processors.fold import fold_intakes
from stream_processors.folder import PostgresFolder, folding
from stream_processors.intake import Opened, Opener
from tests.benchmarks.machine import Machine, heap_left_alone
from tests.benchmarks.workload import Workload, enrolment
from tests.support.history import DAY_MS, READER, REGISTRAR_KEY, RULES, START_MS, new_opener
from tests.support.live import TOPIC

APPEND_MS: Final = START_MS + 200 * DAY_MS

STEPS: Final = (
    "parse and verify",
    "open (HPKE, zstd)",
    "decode",
    "fact",
    "lock and read producers, ledger",
    "lock and read entities",
    "judge, contributions",
    "write",
    "position and commit",
)


@dataclass(slots=True)
class Clock:
    """Adds up seconds by step; `database` is the part of a step in asyncpg and PostgreSQL."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    database: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _step: str = ""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what runs inside to this step, and to no step around it."""
        around, self._step = self._step, name
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - started
            self.seconds[name] += elapsed
            if around:
                self.seconds[around] -= elapsed
            self._step = around

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count what runs inside to the database's part of the running step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.database[self._step] += time.perf_counter() - started


@dataclass(frozen=True, slots=True)
class TimedConnection:
    """An asyncpg connection with a clock around what the store calls."""

    connection: Any
    clock: Clock

    async def execute(self, query: str, *arguments: object) -> Any:
        """Execute."""
        with self.clock.waiting():
            return await self.connection.execute(query, *arguments)

    async def fetch(self, query: str, *arguments: object) -> Any:
        """Fetch rows."""
        with self.clock.waiting():
            return await self.connection.fetch(query, *arguments)

    async def fetchval(self, query: str, *arguments: object) -> Any:
        """Fetch one value."""
        with self.clock.waiting():
            return await self.connection.fetchval(query, *arguments)


@dataclass(frozen=True, slots=True)
class TimedStore:
    """The PostgreSQL store with a clock around each of the port's methods."""

    store: PostgresStore
    clock: Clock

    async def lock_producers(self, producers: Sequence[str]) -> dict[str, ProducerRow]:
        """See the port."""
        with self.clock.step("lock and read producers, ledger"):
            return await self.store.lock_producers(producers)

    async def anchors_of(self, boots: Collection[AnchorKey]) -> dict[AnchorKey, bytes]:
        """See the port."""
        with self.clock.step("lock and read producers, ledger"):
            return await self.store.anchors_of(boots)

    async def ledger_overlaps(
        self, ranges: Collection[tuple[str, int, int, int]]
    ) -> list[LedgerRow]:
        """See the port."""
        with self.clock.step("lock and read producers, ledger"):
            return await self.store.ledger_overlaps(ranges)

    async def ledger_of(self, producers: Collection[str]) -> list[LedgerRow]:
        """See the port."""
        with self.clock.step("lock and read producers, ledger"):
            return await self.store.ledger_of(producers)

    async def ledger_of_boots(self, boots: Collection[AnchorKey]) -> list[LedgerRow]:
        """See the port."""
        with self.clock.step("lock and read producers, ledger"):
            return await self.store.ledger_of_boots(boots)

    async def held_of(self, producers: Collection[str]) -> list[HeldRow]:
        """See the port."""
        with self.clock.step("lock and read producers, ledger"):
            return await self.store.held_of(producers)

    async def lock_partitions(self, partitions: Sequence[int]) -> None:
        """See the port."""
        with self.clock.step("lock and read producers, ledger"):
            await self.store.lock_partitions(partitions)

    async def ledger_at(self, places: Collection[RecordId]) -> list[LedgerRow]:
        """See the port."""
        with self.clock.step("lock and read producers, ledger"):
            return await self.store.ledger_at(places)

    async def claimed_by(self, places: Collection[RecordId]) -> set[str]:
        """See the port."""
        with self.clock.step("lock and read producers, ledger"):
            return await self.store.claimed_by(places)

    async def excluded_in(self, ranges: Collection[tuple[str, int, int, int]]) -> list[ExcludedRow]:
        """See the port."""
        with self.clock.step("lock and read producers, ledger"):
            return await self.store.excluded_in(ranges)

    async def decisions(self, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """See the port."""
        with self.clock.step("lock and read producers, ledger"):
            return await self.store.decisions(keys)

    async def lock_entities(self, kind: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """See the port."""
        with self.clock.step("lock and read entities"):
            return await self.store.lock_entities(kind, keys)

    async def write(self, changes: Changes) -> None:
        """See the port."""
        with self.clock.step("write"):
            await self.store.write(changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Microseconds an event by step, and how much of it in asyncpg and PostgreSQL."""

    events_per_segment: int
    events: int
    chunks: int
    us_per_event: Mapping[str, float]
    database_us_per_event: Mapping[str, float]


async def measure_steps(machine: Machine, workload: Workload, *, events_per_segment: int) -> Steps:
    """Fold a log without Kafka into a fresh database, step by step."""
    chunks = _chunks(workload, events_per_segment, machine.folder)
    clock = Clock()
    with heap_left_alone():
        async with machine.database() as dsn:
            pool = await open_pool(dsn, connections_max=1)
            try:
                opener = new_opener()
                folder = PostgresFolder(pool, TOPIC, RULES, REGISTRAR_KEY.public, opener)
                first = Chunk(TOPIC, 0, (LogRecord(0, 0, APPEND_MS, enrolment()),))
                await folder.fold(first, folder.prepare(first))
                for chunk in chunks:
                    opened = [_open(record, opener, clock) for record in chunk.records]
                    async with pool.acquire() as connection:
                        await _fold(connection, chunk, opened, opener, clock)
            finally:
                await pool.close()
    return Steps(
        events_per_segment=events_per_segment,
        events=workload.events,
        chunks=len(chunks),
        us_per_event={name: clock.seconds[name] * 1e6 / workload.events for name in STEPS},
        database_us_per_event={
            name: clock.database[name] * 1e6 / workload.events for name in STEPS
        },
    )


def _chunks(workload: Workload, events_per_segment: int, folder: Path) -> list[Chunk]:
    """Cut the log as the processor's transport does when all of it is there."""
    options = ProcessorOptions(bootstrap="", data_dir=folder)
    partitions: dict[int, list[LogRecord]] = defaultdict(list)
    for number, segment in enumerate(workload.segments(events_per_segment)):
        found = partitions[segment.partition]
        offset = len(found) + (segment.partition == 0)  # behind the enrolments
        append_ms = APPEND_MS + number
        found.append(LogRecord(segment.partition, offset, append_ms, segment.value, "kafka"))
    return [
        chunk
        for _, found in sorted(partitions.items())
        for chunk in split_into_chunks(
            found,
            topic=TOPIC,
            records_max=options.chunk_records_max,
            bytes_max=options.chunk_bytes_max,
        )
    ]


def _open(record: LogRecord, opener: Opener, clock: Clock) -> Opened:
    """Do what `Opener.open_record` does to a record that is in order."""
    with clock.step("parse and verify"):
        segment = parse(record.value)
        header = segment.header
        verify(segment, opener._known_keys[KeyId(header.key)])
    with clock.step("open (HPKE, zstd)"):
        lines = open_body(segment, READER)
    with clock.step("decode"):
        decoded = [events.decode(line) for line in lines]
    with clock.step("fact"):
        facts = tuple(
            opener._fact(header.producer, seq, event)
            for seq, event in enumerate(decoded, start=header.first)
        )
        return Opened(record, header, bytes.fromhex(segment.hash), facts, ())


async def _fold(
    connection: Any, chunk: Chunk, opened: Sequence[Opened], opener: Opener, clock: Clock
) -> None:
    """Do what `PostgresFolder.fold` does to a chunk at its position."""
    timed = TimedConnection(connection, clock)
    with clock.step("position and commit"):
        place = (TOPIC, chunk.partition)
        async with folding(connection):
            if await timed.fetchval(QUERIES["lock_position"], *place) is None:
                await timed.execute(QUERIES["make_position"], *place)
            with clock.step("judge, contributions"):
                await fold_intakes(
                    TimedStore(PostgresStore(timed), clock),
                    opened,
                    rules=RULES,
                    root=REGISTRAR_KEY.public,
                    opener=opener,
                )
            await timed.execute(QUERIES["move_position"], *place, chunk.next_offset)
