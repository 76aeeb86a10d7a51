"""What an event costs as the tables grow: one database, from 10^5 to 10^7 events and beyond.

`python -m tests.benchmarks.growth --events 10000000`. A made-up province goes on recording: every
working day each recorder boots, anchors its clock and records some people, of whom the centre shows
statuses for two weeks. Its log is folded day after day as the processor folds it, without Kafka;
making and sealing the events is not counted. All else is: opening, judging, PostgreSQL, the commit.

The seconds of a run on a shared machine say little, and even an event's processor time (of this
process and of the database's) depends on what else the machine does. So at every mark a second
database, as large as the first mark says, is folded into in turn with the grown one: *flat* means
that an event costs in both the same.
"""

import gc
import heapq
import os
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import click
import uvloop
from rich.console import Console
from rich.table import Table

from rekam.domain.events import (
    Event,
    EventData,
    Heartbeat,
    RecordingCaptured,
    StatusObserved,
    encode,
)
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.log import Chunk, LogRecord
from rekam.domain.topics import SEGMENTS
from rekam.embedded.postgres import EmbeddedPostgres
from rekam.runtime.postgres import migrate, open_pool
from stream_processors.folder import PostgresFolder
from tests.support.history import (
    DAY_MS,
    REGISTRAR,
    REGISTRAR_KEY,
    RULES,
    START_MS,
    Life,
    anchored,
    new_opener,
)
from tests.support.live import TOPIC

RECORDERS: Final = 48
FEEDS: Final = 4
PEOPLE_A_DAY: Final = 24
"""Whom one recorder records on a day: about 5,200 events a day over all, 10^7 in five years."""
DESA_PER_RECORDER: Final = 8
EVENTS_PER_SEGMENT: Final = 64
DAYS_PER_TURN: Final = 4
"""How many days are sealed and then folded: about 1,700 events a partition and chunk."""
WINDOW_EVENTS: Final = 100_000
"""How many events about each mark are measured, at least: fifteen turns."""
MARKS: Final = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
FLAT_WITHIN: Final = 0.10

_PATHS: Final = (
    ("SENT_FOR_ENROLLMENT", "RECEIVED_AT_CENTRAL", "PRINT_READY_RECORD"),
    ("SENT_FOR_ENROLLMENT", "PRINT_READY_RECORD", "SENT_FOR_CARD_PRINTING", "CARD_PRINTED"),
    ("PROCESSING", "SENT_FOR_ENROLLMENT", "PRINT_READY_RECORD"),
    ("SENT_FOR_ENROLLMENT", "DUPLICATE_RECORD"),
)
_MORNING_MS: Final = 8 * 3_600_000
_WORKING_DAY_MS: Final = 7 * 3_600_000


@dataclass
class Province:
    """Recorders and feeds that go on for ever; the same ones in every run."""

    choose: random.Random = field(default_factory=lambda: random.Random(11))
    day: int = 0
    people: int = 0
    lives: list[Life] = field(default_factory=list)
    due: list[tuple[int, int, str, str]] = field(default_factory=list)
    """Statuses to come: when, a number that makes them unique, of whom, which."""
    waiting: list[list[bytes]] = field(default_factory=list)
    ends: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        names = [f"recorder-{number + 1:03}" for number in range(RECORDERS)]
        names += [f"centre-feed-{number + 1}" for number in range(FEEDS)]
        for number, name in enumerate(names, start=1):
            kind = "recorder" if number <= RECORDERS else "centre"
            key = SigningKey.from_seed(number.to_bytes(2, "big") * 16)
            self.lives.append(Life(ProducerId(name), key, kind=kind))
            self.waiting.append([])

    def enrolment(self) -> Chunk:
        """Return the registrar's word on all of them."""
        registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
        events = [registrar.event(life.enrolment()) for life in self.lives]
        return self._chunk(0, [registrar.seal(*events)], START_MS)

    def turn(self) -> tuple[list[Chunk], int]:
        """Return what comes to the log in the next days, and how many events that are."""
        events = 0
        sealed: defaultdict[int, list[bytes]] = defaultdict(list)
        for _ in range(DAYS_PER_TURN):
            for producer, wall_ms, data in self._day():
                life = self.lives[producer]
                lines = self.waiting[producer]
                lines.append(encode(Event(wall_ms, wall_ms - START_MS, life.boot, data)))
                if len(lines) == EVENTS_PER_SEGMENT:
                    sealed[producer % SEGMENTS.partitions].append(self._seal(producer))
                    events += EVENTS_PER_SEGMENT
        now_ms = START_MS + self.day * DAY_MS
        chunks = [self._chunk(partition, raws, now_ms) for partition, raws in sealed.items()]
        return chunks, events

    def _day(self) -> Iterator[tuple[int, int, EventData]]:
        """Give a day's events, each producer's in the order in which they happen."""
        start_ms = START_MS + self.day * DAY_MS + _MORNING_MS
        self.day += 1
        for number in range(RECORDERS):
            self.lives[number].boot = f"boot-{number:03}-{self.day:05}"
            yield number, start_ms, anchored(self.lives[number].boot)
            for turn in range(PEOPLE_A_DAY):
                wall_ms = start_ms + 1 + turn * _WORKING_DAY_MS // PEOPLE_A_DAY
                yield number, wall_ms, self._recording(number, wall_ms)
                if turn % 3 == 0:
                    beat = Heartbeat(queue_events=turn, route="kafka", software="1.0.0")
                    yield number, wall_ms + 1, beat
        while self.due and self.due[0][0] < start_ms + _WORKING_DAY_MS:
            moment_ms, number, nik, status = heapq.heappop(self.due)
            observed = StatusObserved(nik=nik, status=status, observed_ms=moment_ms, source="siak")
            yield RECORDERS + number % FEEDS, moment_ms, observed

    def _recording(self, recorder: int, wall_ms: int) -> RecordingCaptured:
        choose = self.choose
        self.people += 1
        place = f"64.{recorder // 12 + 1:02}.{recorder % 12 + 1:02}"
        nik = f"64{recorder:04}{self.people:010}"
        moment_ms = wall_ms
        for step, status in enumerate(choose.choice(_PATHS)):
            moment_ms += choose.randrange(DAY_MS, 5 * DAY_MS)
            heapq.heappush(self.due, (moment_ms, self.people * 8 + step, nik, status))
        return RecordingCaptured(
            recording=f"{recorder:03}-{self.people:010}",
            nik=nik,
            domicile=f"{place}.{2001 + choose.randrange(DESA_PER_RECORDER)}",
            place=place,
            mode="online" if choose.random() < 0.5 else "offline",
            components={"fingerprint_scanner": f"FS-{recorder:04}"},
            quality={"fingers": choose.randrange(55, 100), "iris": choose.randrange(55, 100)},
            operator=f"op-{recorder % 5}",
        )

    def _seal(self, producer: int) -> bytes:
        lines, self.waiting[producer] = self.waiting[producer], []
        return self.lives[producer].seal(lines=lines)

    def _chunk(self, partition: int, raws: Sequence[bytes], now_ms: int) -> Chunk:
        first = self.ends[partition]
        self.ends[partition] += len(raws)
        return Chunk(
            TOPIC,
            partition,
            tuple(
                LogRecord(partition, first + number, now_ms + number, raw)
                for number, raw in enumerate(raws)
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What so many events took, in all."""

    events: int = 0
    seconds: float = 0.0
    client_seconds: float = 0.0
    """Processor time of the folding process."""
    database_seconds: float = 0.0
    """Processor time of PostgreSQL, its background processes included."""
    wal_bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            events=self.events + other.events,
            seconds=self.seconds + other.seconds,
            client_seconds=self.client_seconds + other.client_seconds,
            database_seconds=self.database_seconds + other.database_seconds,
            wal_bytes=self.wal_bytes + other.wal_bytes,
        )

    @property
    def processor_us(self) -> float:
        """Return the processor time an event, of both sides."""
        return (self.client_seconds + self.database_seconds) * 1e6 / self.events


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What an event cost when there were so many, and beside it in a young database."""

    events: int
    days: int
    cost: Cost
    young: Cost
    ratios: Sequence[float]
    """Of each turn to the young database's turn after it."""
    database_bytes: int

    @property
    def grown(self) -> float:
        """Return by which part an event costs more than in the young database, by the median turn.

        What the machine does besides lasts longer than a turn, or disturbs few of them.
        """
        return median(self.ratios) - 1


@dataclass(frozen=True, slots=True)
class Meter:
    """Measures what a fold takes of this process and of the database's."""

    pool: Any
    postmaster: int

    async def read(self, events: int) -> Cost:
        """Return what has been taken so far."""
        wal = await self.pool.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return Cost(
            events=events,
            seconds=time.perf_counter(),
            client_seconds=time.process_time(),
            database_seconds=_processor_seconds(self.postmaster),
            wal_bytes=int(wal),
        )


def _processor_seconds(postmaster: int) -> float:
    """Return the processor time of a postmaster, of its children, and of those that have ended."""
    ticks = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
            if int(fields[1]) == postmaster or int(folder.name) == postmaster:
                ticks += int(fields[11]) + int(fields[12])
            if int(folder.name) == postmaster:
                ticks += int(fields[13]) + int(fields[14])
    return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Line:
    """One database that is folded into day after day."""

    pool: Any
    meter: Meter
    folder: PostgresFolder
    province: Province = field(default_factory=Province)
    folded: int = 0

    @classmethod
    @asynccontextmanager
    async def opened(cls, server: EmbeddedPostgres, name: str) -> AsyncIterator["Line"]:
        """Give it with all producers enrolled.

        It stays when it is done with: to drop one is a checkpoint, after which every page that is
        changed is written whole once, and that would be measured.
        """
        await server.create_database(name)
        await migrate(server.dsn(name), "projections.migrations")
        pool = await open_pool(server.dsn(name), connections_max=1)
        try:
            assert server.pid is not None, "it has been started"
            folder = PostgresFolder(pool, TOPIC, RULES, REGISTRAR_KEY.public, new_opener())
            line = cls(pool, Meter(pool, server.pid), folder)
            await line._fold([line.province.enrolment()])
            yield line
            await _check(pool, line.folded)
        finally:
            await pool.close()

    async def turn(self) -> Cost:
        """Fold some days; return what that took."""
        chunks, events = self.province.turn()
        gc.collect()  # of what was made, not of what is measured
        before = await self.meter.read(0)
        await self._fold(chunks)
        after = await self.meter.read(events)
        self.folded += events
        return Cost(
            events=events,
            seconds=after.seconds - before.seconds,
            client_seconds=after.client_seconds - before.client_seconds,
            database_seconds=after.database_seconds - before.database_seconds,
            wal_bytes=after.wal_bytes - before.wal_bytes,
        )

    async def fold_until(self, events: int) -> None:
        """Fold until there are so many."""
        while self.folded < events:
            await self.turn()

    async def _fold(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            await self.folder.fold(chunk, self.folder.prepare(chunk))


async def measure_growth(
    folder: Path, *, events_max: int, window: int, repeats: int = 1
) -> list[Mark]:
    """Fold until there are so many events; return a mark at each of MARKS, and at the end.

    The end is measured so many times, each beside a young database of its own.
    """
    marks = sorted(mark for mark in MARKS if mark < events_max) + [events_max] * repeats
    found: list[Mark] = []
    async with (
        EmbeddedPostgres(state_dir=folder / "pg") as server,
        Line.opened(server, "grown") as line,
    ):
        for number, mark in enumerate(marks, start=1):
            await line.fold_until(mark - window // 2)
            end = line.folded + window
            measured, beside = Cost(), Cost()
            ratios: list[float] = []
            async with Line.opened(server, f"young_{number}") as young:
                await young.fold_until(marks[0] - window // 2)
                while line.folded < end or not ratios:
                    one, other = await line.turn(), await young.turn()
                    measured, beside = measured + one, beside + other
                    ratios.append(one.processor_us / other.processor_us)
            found.append(
                Mark(
                    events=line.folded,
                    days=line.province.day,
                    cost=measured,
                    young=beside,
                    ratios=ratios,
                    database_bytes=await line.pool.fetchval(
                        "SELECT pg_database_size(current_database())"
                    ),
                )
            )
            _say(found[-1])
    return found


async def _check(pool: Any, folded: int) -> None:
    """Raise unless every event is in the ledger and none was refused."""
    rows = await pool.fetchrow(
        "SELECT (SELECT sum(last - first + 1) FROM ledger_segment)::bigint AS events,"
        " (SELECT count(*) FROM held_record) + (SELECT count(*) FROM quarantined_record)"
        " + (SELECT count(*) FROM excluded_event) AS refused"
    )
    enrolled = RECORDERS + FEEDS
    if (rows["events"], rows["refused"]) != (folded + enrolled, 0):
        raise AssertionError(f"{dict(rows)}; wanted {folded + enrolled} events, none refused")


def growth_of(marks: Sequence[Mark], *, repeats: int = 1) -> float:
    """Return by which part an event costs more at the end than in a young database."""
    return median(mark.grown for mark in marks[-repeats:])


def table_of(marks: Sequence[Mark]) -> Table:
    """Return a table of the marks."""
    title = f"What an event costs as the tables grow (wanted: at most {FLAT_WITHIN:.0%} more)"
    table = Table(title=title, title_justify="left")
    for column in ("events", "days", "µs an event", "PostgreSQL", "young: µs", "PostgreSQL",
                   "grown", "WAL bytes", "MB"):  # fmt: skip
        table.add_column(column, justify="right", no_wrap=True)
    for mark in marks:
        cost, young = mark.cost, mark.young
        table.add_row(
            f"{mark.events:,}",
            f"{mark.days:,}",
            f"{cost.processor_us:.1f}",
            f"{cost.database_seconds * 1e6 / cost.events:.1f}",
            f"{young.processor_us:.1f}",
            f"{young.database_seconds * 1e6 / young.events:.1f}",
            f"{mark.grown:+.1%}",
            f"{cost.wal_bytes / cost.events:,.0f}",
            f"{mark.database_bytes / 1e6:,.0f}",
        )
    return table


def _say(mark: Mark) -> None:
    click.echo(
        f"measured: {mark.events:,} events, {mark.cost.processor_us:.1f} µs an event, "
        f"{mark.grown:+.1%}",
        err=True,
    )


@click.command()
@click.option("--events", default=1_000_000, show_default=True, help="How many to fold.")
@click.option("--window", default=WINDOW_EVENTS, show_default=True, help="Measured about a mark.")
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many times to measure the end; its median counts.",
)
def main(*, events: int, window: int, repeats: int) -> None:
    """Measure what an event costs as the tables grow."""
    with tempfile.TemporaryDirectory(prefix="rekam-growth-") as name:
        marks = uvloop.run(
            measure_growth(Path(name), events_max=events, window=window, repeats=repeats)
        )
    console = Console(width=100)
    console.print(table_of(marks))
    grown = growth_of(marks, repeats=repeats)
    verdict = "reached" if grown <= FLAT_WITHIN else "MISSED"
    console.print(f"wanted: at most {FLAT_WITHIN:.0%} more at the last: {verdict}: {grown:+.1%}")


if __name__ == "__main__":
    main()
