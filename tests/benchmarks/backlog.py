"""A stick that comes a month late: what 15,600 events do to months that are closed, and to memory.

`python -m tests.benchmarks.backlog`. A regency has recorded for seven weeks and published. Then one
device's whole queue arrives from a stick, in segments of 500: recordings of those weeks in forty
boot sessions. The anchors of all their clocks come last, in a chunk of their own, so that all of it
is counted twice: as of unknown date, and then, judged again in one transaction, on its day.

The fold runs in a process of its own that finds both ready in a file. What it held before the stick
came is taken from the most that it ever held.
"""

import asyncio
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

import click
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from rekam.domain.events import RecordingCaptured
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.log import Chunk, LogRecord
from rekam.embedded.postgres import EmbeddedPostgres
from rekam.runtime.collection import collect_rarely
from rekam.runtime.postgres import migrate, open_pool
from stream_processors.app import ProcessorOptions
from stream_processors.chunk_transport import split_into_chunks
from tests.benchmarks.waiting import peak_bytes
from tests.support.history import (
    DAY_MS,
    REGISTRAR,
    REGISTRAR_KEY,
    START_MS,
    Life,
    anchored,
)
from tests.support.live import TOPIC, fold_partition, new_folder

EVENTS: Final = 15_600
"""As many as once never reached the centre, and were carried there by hand."""
BOOTS: Final = 40
RECORDINGS: Final = EVENTS - BOOTS
DAYS: Final = 45
"""On so many days from START_MS on, recordings are made."""
DAYS_LATE: Final = 80
"""So long after START_MS the stick arrives: a month after what is published was closed."""
REGULAR_RECORDERS: Final = 4
PEOPLE_A_DAY: Final = 30
EVENTS_PER_SEGMENT: Final = 500
DESA: Final = 40

STICK: Final = ProducerId("stick-1")
AS_OF: Final = date(2017, 8, 27)
PUBLISHED_ON: Final = date(2017, 9, 5)
EXPLAINED_ON: Final = date(2017, 10, 10)

MEMORY_BYTES_MAX: Final = 48 * 1024 * 1024
"""How much memory the processor may take for the backlog: about 3 KB for each of its events, all of
which are judged in one transaction when their clock is anchored."""


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """What the folding process says on its standard output."""

    events: int
    seconds: float
    held_before_bytes: int
    peak_bytes: int

    @property
    def taken_bytes(self) -> int:
        """Return how much memory it took at most beyond what it held before."""
        return self.peak_bytes - self.held_before_bytes


def regular_chunks() -> list[Chunk]:
    """Return what arrived day by day, in partition 0."""
    registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
    lives = [_life(f"recorder-{number}", number) for number in range(REGULAR_RECORDERS)]
    raws = [
        (START_MS, registrar.seal(*[registrar.event(life.enrolment()) for life in _all(lives)]))
    ]
    person = 0
    for day in range(DAYS):
        for life in lives:
            life.boot = f"boot-{day}"
            happened = [life.event(anchored(life.boot), wall_ms=START_MS + day * DAY_MS)]
            for _ in range(PEOPLE_A_DAY):
                recording = _recording(life.producer, f"64{person:014}", person)
                happened.append(life.event(recording, wall_ms=START_MS + day * DAY_MS + person))
                person += 1
            raws.append((START_MS + day * DAY_MS + DAY_MS // 2, life.seal(*happened)))
    return _chunks(0, raws, route="kafka")


def stick_chunks() -> list[Chunk]:
    """Return the device's queue, in partition 1: recordings first, what anchors them last."""
    life = _life(STICK, REGULAR_RECORDERS)
    happened = []
    for number in range(RECORDINGS):
        life.boot = f"boot-{number * BOOTS // RECORDINGS}"
        wall_ms = START_MS + number * DAYS // RECORDINGS * DAY_MS + number
        recording = _recording(STICK, f"65{number:014}", number)
        happened.append(life.event(recording, wall_ms=wall_ms))
    late_ms = START_MS + DAYS_LATE * DAY_MS
    raws = [
        (late_ms, life.seal(*happened[first : first + EVENTS_PER_SEGMENT]))
        for first in range(0, RECORDINGS, EVENTS_PER_SEGMENT)
    ]
    anchors = [life.event(anchored(f"boot-{number}"), wall_ms=late_ms) for number in range(BOOTS)]
    found = _chunks(1, [*raws, (late_ms, life.seal(*anchors))], route="usb")
    return [
        Chunk(TOPIC, 1, part)
        for chunk in found
        for part in (chunk.records[:-1], chunk.records[-1:])
        if part
    ]


def _all(lives: Sequence[Life]) -> list[Life]:
    return [*lives, _life(STICK, REGULAR_RECORDERS)]


def _life(name: str, number: int) -> Life:
    return Life(ProducerId(name), SigningKey.from_seed(bytes([40 + number]) * 32))


def _recording(producer: str, nik: str, number: int) -> RecordingCaptured:
    desa = f"64.08.{number % DESA // 8 + 1:02}.{2001 + number % 8}"
    return RecordingCaptured(
        recording=f"{producer}-{number}", nik=nik, domicile=desa, place=desa[:8], mode="offline"
    )


def _chunks(partition: int, raws: Sequence[tuple[int, bytes]], *, route: str) -> list[Chunk]:
    options = ProcessorOptions(bootstrap="", data_dir=Path())
    return list(
        split_into_chunks(
            [
                LogRecord(partition, offset, append_ms + offset, raw, route)
                for offset, (append_ms, raw) in enumerate(raws)
            ],
            topic=TOPIC,
            records_max=options.chunk_records_max,
            bytes_max=options.chunk_bytes_max,
        )
    )


async def fold_late(dsn: str, log: bytes) -> Folded:
    """Fold what came in time, then the stick; the process is this one alone."""
    regular, late = msgspec.msgpack.decode(log, type=tuple[list[Chunk], list[Chunk]])
    collect_rarely()  # as the processor does
    pool = await open_pool(dsn, connections_max=1)
    try:
        folder = new_folder(pool)
        await fold_partition(folder, regular)
        before, started = _held_bytes(), time.perf_counter()
        await fold_partition(folder, late)
        seconds = time.perf_counter() - started
    finally:
        await pool.close()
    return Folded(
        events=EVENTS,
        seconds=seconds,
        held_before_bytes=before,
        peak_bytes=peak_bytes(os.getpid()),
    )


def _held_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def measure_backlog(dsn: str) -> Folded:
    """Fold into a migrated, empty database in a process of its own."""
    with tempfile.NamedTemporaryFile(prefix="rekam-backlog-", suffix=".log") as log:
        log.write(msgspec.msgpack.encode((regular_chunks(), stick_chunks())))
        log.flush()
        return await _fold_apart(dsn, log.name)


async def _fold_apart(dsn: str, log: str) -> Folded:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks.backlog",
        "--dsn",
        dsn,
        "--log",
        log,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    printed, _ = await process.communicate()
    if process.returncode != 0:
        raise AssertionError(f"folding the backlog ended with {process.returncode}")
    return msgspec.json.decode(printed, type=Folded)


def table_of(found: Folded) -> Table:
    """Return what was measured as a table."""
    table = Table(title="A stick a month late, one device", title_justify="left")
    for column in ("events", "seconds", "events/s", "held before, MB", "taken, MB", "wanted"):
        table.add_column(column, justify="right", no_wrap=True)
    is_kept = found.taken_bytes <= MEMORY_BYTES_MAX
    table.add_row(
        f"{found.events:,}",
        f"{found.seconds:.1f}",
        f"{found.events / found.seconds:,.0f}",
        f"{found.held_before_bytes / 1e6:.0f}",
        f"{found.taken_bytes / 1e6:.0f}",
        f"<= {MEMORY_BYTES_MAX / 1e6:.0f}: {'reached' if is_kept else 'MISSED'}",
    )
    return table


async def _measure_alone() -> Folded:
    with tempfile.TemporaryDirectory(prefix="rekam-backlog-") as folder:
        async with EmbeddedPostgres(state_dir=Path(folder)) as server:
            await server.create_database("backlog")
            await migrate(server.dsn("backlog"), "projections.migrations")
            return await measure_backlog(server.dsn("backlog"))


@click.command()
@click.option("--dsn", help="Fold into this database, in this process, and print JSON.")
@click.option("--log", type=click.Path(path_type=Path), help="What to fold then.")
def main(*, dsn: str | None, log: Path | None) -> None:
    """Measure a late backlog."""
    if dsn is not None and log is not None:
        click.echo(msgspec.json.encode(uvloop.run(fold_late(dsn, log.read_bytes()))))
        return
    Console(width=110).print(table_of(uvloop.run(_measure_alone())))


if __name__ == "__main__":
    main()
