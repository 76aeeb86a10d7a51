"""`make bench`: measure everything in one run, print tables, write a JSON file."""

import asyncio
import functools
import itertools
import logging
import os
import platform
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec
import uvloop
from rich.console import Console

from rekam.domain.errors import Misconfigured
from rekam.embedded.machine import require_commands
from rekam.runtime.logging import configure_logging
from rekam.runtime.postgres import connect
from tests.benchmarks.appends import APPENDS_PER_TURN, measure_appends
from tests.benchmarks.backlog import measure_backlog
from tests.benchmarks.comparison import (
    STOCK_MODES,
    STOCK_TABLES,
    StockRate,
    measure_floor,
    measure_stock,
)
from tests.benchmarks.coverage_reads import FULL as NATION
from tests.benchmarks.coverage_reads import QUICK as SMALL_NATION
from tests.benchmarks.coverage_reads import Size as NationSize
from tests.benchmarks.coverage_reads import measure_reads
from tests.benchmarks.gateway import measure_gateway
from tests.benchmarks.growth import WINDOW_EVENTS, measure_growth
from tests.benchmarks.java_fold import (
    COMMANDS,
    JAVA_MODES,
    JavaConsumer,
    JavaRate,
    measure_java,
)
from tests.benchmarks.live_fold import WORKERS, FoldRate, measure_fold
from tests.benchmarks.machine import Machine, Timing
from tests.benchmarks.report import Results, print_report
from tests.benchmarks.running import RUNS, measure_running
from tests.benchmarks.steps import measure_steps
from tests.benchmarks.waiting import SHAPES, measure_waiting
from tests.benchmarks.wire import measure_wire
from tests.benchmarks.workload import Workload, people_for

Run = TypeVar("Run", FoldRate, StockRate, JavaRate)

DEFAULT_OUT: Final = Path("build/bench.json")
WIDTH_ELSEWHERE: Final = 120
"""Columns where there is no terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many events each measurement takes, about."""

    rounds: int
    """How often the rates are measured; the fastest run of each stands."""
    fold: dict[int, int]
    """By events a segment."""
    stock: int
    floor: int
    wire: int
    append_turns: int
    waiting: int
    gateway: int
    steps: dict[int, int]
    """By events a segment."""
    growth: int
    nation: NationSize


FULL: Final = Sizes(
    rounds=2,
    fold={1: 30_000, 16: 150_000, 64: 300_000, 500: 300_000},
    stock=8_000,
    floor=300_000,
    wire=40_000,
    append_turns=100,
    waiting=1_000_000,
    gateway=600_000,
    steps={1: 15_000, 64: 150_000, 500: 150_000},
    growth=1_000_000,
    nation=NATION,
)
QUICK: Final = Sizes(
    rounds=1,
    fold={1: 1_000, 16: 4_000, 64: 8_000, 500: 8_000},
    stock=400,
    floor=4_000,
    wire=12_000,
    append_turns=5,
    waiting=5_000,
    gateway=16_000,
    steps={1: 500, 64: 6_000, 500: 6_000},
    growth=1_000,
    nation=SMALL_NATION,
)
"""Enough to see that everything works, too little for the numbers to mean anything."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What one round came to."""

    folds: list[FoldRate]
    stock: list[StockRate]
    java: list[JavaRate]
    floor: Timing


@click.command()
@click.option("--quick", is_flag=True, help="A small run that shows that all of it works.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_OUT,
    show_default=True,
    help="Where the JSON file goes.",
)
def bench(*, quick: bool, out: Path) -> None:
    """Measure the live fold, the wire, the outbox, and where the time goes."""
    # A busy machine hurts the fold, which needs all cores, more than what it is held against.
    load = round(os.getloadavg()[0], 2)
    try:
        require_commands(*COMMANDS)  # now, and not after minutes
    except Misconfigured as error:
        raise click.ClickException(str(error)) from error
    configure_logging(level=logging.ERROR)  # a fresh topic's first request may meet no leader
    results = uvloop.run(_measure(QUICK if quick else FULL, load=load, is_quick=quick))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(results.as_json()), indent=2) + b"\n")
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_ELSEWHERE)
    print_report(results, console)
    console.print(f"\nWritten to {out}")


async def _measure(sizes: Sizes, *, load: float, is_quick: bool) -> Results:
    with tempfile.TemporaryDirectory(prefix="rekam-bench-") as name:
        folder = Path(name)
        _say("compiling the Java consumer")
        consumer = await JavaConsumer.compiled(folder / "classes")
        _say("starting Kafka and PostgreSQL")
        async with Machine.started(folder) as machine:
            rounds = [
                await _measure_rates(machine, consumer, sizes, number=number + 1)
                for number in range(sizes.rounds)
            ]
            _say("bytes an event")
            wire = await measure_wire(machine, _workload(sizes.wire))
            _say("durable appends")
            appends = await asyncio.to_thread(
                measure_appends,
                folder / "appends",
                _workload(2 * sizes.append_turns * APPENDS_PER_TURN),
                turns=sizes.append_turns,
            )
            _say("a device with events waiting")
            waiting = [
                await asyncio.to_thread(
                    measure_waiting, folder / f"waiting-{shape}", shape, events=sizes.waiting
                )
                for shape in SHAPES
            ]
            _say("a device that sends what waits")
            running = [
                await measure_running(machine, route, listens=listens, events=sizes.waiting)
                for route, listens in RUNS
            ]
            _say("the gateway")
            gateway = await measure_gateway(machine, _workload(sizes.gateway))
            _say("where the time goes")
            steps = [
                await measure_steps(
                    machine, _workload(events), events_per_segment=events_per_segment
                )
                for events_per_segment, events in sizes.steps.items()
            ]
            _say("a stick a month late")
            async with machine.database() as dsn:
                backlog = await measure_backlog(dsn)
            described = await _described(machine)
        _say("an event's cost as the tables grow")
        growth = await measure_growth(
            folder / "growth", events_max=sizes.growth, window=WINDOW_EVENTS
        )
        _say("coverage of a nation")
        reads = await measure_reads(folder / "nation", sizes.nation)
    return Results(
        machine=described | {"load_at_start": load, "quick": is_quick},
        folds=[_fastest(runs) for runs in zip(*(found.folds for found in rounds), strict=True)],
        stock=[_fastest(runs) for runs in zip(*(found.stock for found in rounds), strict=True)],
        java=[_fastest(runs) for runs in zip(*(found.java for found in rounds), strict=True)],
        floor=max((found.floor for found in rounds), key=lambda timing: timing.per_second),
        wire=wire,
        appends=appends,
        waiting=waiting,
        running=running,
        gateway=gateway,
        steps=steps,
        backlog=backlog,
        growth=growth,
        reads=reads,
    )


async def _measure_rates(
    machine: Machine, consumer: JavaConsumer, sizes: Sizes, *, number: int
) -> Rates:
    """Measure the fold and what it is held against, one after the other."""

    def say(what: str) -> None:
        _say(f"{what} (round {number} of {sizes.rounds})")

    stock, folds, java = [], [], []
    for tables, mode in itertools.product(STOCK_TABLES, STOCK_MODES):
        say(f"a stock agent, {tables} tables, commits by {mode}")
        stock.append(await measure_stock(machine, _workload(sizes.stock), mode=mode, tables=tables))
    for events_per_segment, events in sizes.fold.items():
        say(f"the fold at {events_per_segment} a segment")
        fold = await measure_fold(machine, _workload(events), events_per_segment=events_per_segment)
        folds.append(fold)
        if JAVA_MODES.get(events_per_segment) and WORKERS > 1:
            say(f"the fold at {events_per_segment} a segment, {WORKERS} workers")
            folds.append(
                await measure_fold(
                    machine,
                    _workload(events),
                    events_per_segment=events_per_segment,
                    workers=WORKERS,
                )
            )
        for mode in JAVA_MODES.get(events_per_segment, ()):
            say(f"the same in Java {mode}")
            java.append(
                await measure_java(
                    machine,
                    consumer,
                    _workload(events),
                    events_per_segment=events_per_segment,
                    mode=mode,
                    wanted=fold.figures,
                )
            )
    say("(b) the floor")
    return Rates(folds, stock, java, await measure_floor(machine, _workload(sizes.floor)))


def _fastest(runs: Iterable[Run]) -> Run:
    """Return the run that was disturbed least: everything is measured as often, so it is fair."""
    return max(runs, key=lambda run: run.timing.per_second)


@functools.cache
def _workload(events: int) -> Workload:
    return Workload(people_for(events))


async def _described(machine: Machine) -> dict[str, Any]:
    connection = await connect(machine.server.dsn())
    try:
        version = await connection.fetchval("SHOW server_version")
        fsync = await connection.fetchval("SHOW fsync")
        commit = await connection.fetchval("SHOW synchronous_commit")
    finally:
        await connection.close()
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "postgres": version,
        "fsync": fsync,
        "synchronous_commit": commit,
    }


def _say(what: str) -> None:
    click.echo(f"measuring: {what}", err=True)


if __name__ == "__main__":
    bench()
