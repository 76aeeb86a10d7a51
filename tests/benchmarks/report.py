"""What a run came to: tables for people, one JSON object for programs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.benchmarks.appends import AppendRates
from tests.benchmarks.backlog import MEMORY_BYTES_MAX, Folded
from tests.benchmarks.backlog import table_of as backlog_table
from tests.benchmarks.comparison import StockRate
from tests.benchmarks.coverage_reads import WANTED_P99_MS, Reads
from tests.benchmarks.coverage_reads import table_of as reads_table
from tests.benchmarks.gateway import GatewayRate
from tests.benchmarks.growth import FLAT_WITHIN, Mark, growth_of
from tests.benchmarks.growth import table_of as growth_table
from tests.benchmarks.java_fold import JavaRate
from tests.benchmarks.live_fold import WORKERS, FoldRate
from tests.benchmarks.machine import Timing
from tests.benchmarks.running import Running
from tests.benchmarks.steps import STEPS, Steps
from tests.benchmarks.waiting import RSS_BYTES_MAX, START_SECONDS_MAX, Waiting
from tests.benchmarks.wire import WireSize

STOCK_RATIO_WANTED: Final = {1: 4.0, 64: 30.0}
"""How many times faster than the stock agent that keeps all tables, by events a segment."""
JAVA_RATIO_WANTED: Final = {64: 1.0}
"""How many times faster than the faster of the Java consumer's modes, by events a segment."""
WIRE_BYTES_WANTED: Final = {256: 40.0}
"""Bytes an event at most, by events a segment."""
APPEND_SHARE_WANTED: Final = 0.90
"""Of the bare write-and-fsync loop."""
GATEWAY_SHARE_WANTED: Final = 0.40
"""Of a bare handler that opens the same segments and decodes their events."""
GATEWAY_CORE_WANTED: Final = 100_000
"""Events a second of a gateway's own processor time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that one run measured. Only the ratios mean anything on another machine."""

    machine: dict[str, Any]
    folds: Sequence[FoldRate]
    stock: Sequence[StockRate]
    java: Sequence[JavaRate]
    floor: Timing
    wire: Sequence[WireSize]
    appends: AppendRates
    waiting: Sequence[Waiting]
    running: Sequence[Running]
    gateway: Sequence[GatewayRate]
    steps: Sequence[Steps]
    backlog: Folded
    growth: Sequence[Mark]
    reads: Reads

    def stock_per_second(self, tables: str) -> float:
        """Return the rate of the faster of the stock agent's modes that keep these tables."""
        return max(rate.timing.per_second for rate in self.stock if rate.tables == tables)

    def times_java(self, rate: JavaRate, *, workers: int) -> float | None:
        """Return how many times as fast as this so many workers fold the same segments."""
        size = rate.events_per_segment
        return next(
            (
                fold.timing.per_second / rate.timing.per_second
                for fold in self.folds
                if (fold.events_per_segment, fold.workers) == (size, workers)
            ),
            None,
        )

    def as_json(self) -> dict[str, Any]:
        """Return numbers with their units in the names."""
        best, floor = self.stock_per_second("all"), self.floor.per_second
        return {
            "machine": self.machine,
            "fold": [
                {
                    "events_per_segment": fold.events_per_segment,
                    "workers": fold.workers,
                    "segments": fold.segments,
                    "events": fold.timing.events,
                    "seconds": fold.timing.seconds,
                    "events_per_second": fold.timing.per_second,
                    "times_stock": fold.timing.per_second / best,
                    "times_stock_wanted": STOCK_RATIO_WANTED.get(fold.events_per_segment),
                    "times_stock_of_five_tables": fold.timing.per_second
                    / self.stock_per_second("five"),
                    "share_of_floor": fold.timing.per_second / floor,
                }
                for fold in self.folds
            ],
            "stock": [
                {
                    "commits_by": rate.mode,
                    "tables": rate.tables,
                    "events": rate.timing.events,
                    "seconds": rate.timing.seconds,
                    "events_per_second": rate.timing.per_second,
                }
                for rate in self.stock
            ],
            "java": [
                {
                    "events_per_segment": rate.events_per_segment,
                    "mode": rate.mode,
                    "events": rate.timing.events,
                    "seconds": rate.timing.seconds,
                    "events_per_second": rate.timing.per_second,
                    "times_java_of_one_worker": self.times_java(rate, workers=1),
                    "times_java": self.times_java(rate, workers=WORKERS),
                    "times_java_wanted": JAVA_RATIO_WANTED.get(rate.events_per_segment),
                }
                for rate in self.java
            ],
            "floor": {
                "events": self.floor.events,
                "seconds": self.floor.seconds,
                "events_per_second": floor,
            },
            "wire": [
                {
                    "events_per_segment": size.events_per_segment,
                    "events": size.events,
                    "segment_bytes_per_event": size.segment_bytes_per_event,
                    "log_bytes_per_event": size.log_bytes_per_event,
                    "bytes_per_event_wanted": WIRE_BYTES_WANTED.get(size.events_per_segment),
                }
                for size in self.wire
            ],
            "appends": {
                "appends": self.appends.appends,
                "record_bytes": self.appends.record_bytes,
                "outbox_per_second": self.appends.outbox_per_second,
                "floor_per_second": self.appends.floor_per_second,
                "share_of_floor": self.appends.share,
                "outbox_p99_ms": self.appends.outbox_p99_ms,
                "floor_p99_ms": self.appends.floor_p99_ms,
                "share_of_floor_wanted": APPEND_SHARE_WANTED,
            },
            "waiting": [
                {
                    "shape": found.shape,
                    "events": found.events,
                    "file_bytes": found.file_bytes,
                    "start_seconds": found.start_seconds,
                    "start_seconds_wanted": START_SECONDS_MAX,
                    "rss_bytes": found.rss_bytes,
                    "rss_bytes_wanted": RSS_BYTES_MAX,
                }
                for found in self.waiting
            ],
            "running": [
                {
                    "route": found.route,
                    "listens": found.listens,
                    "events": found.events,
                    "rss_bytes": found.rss_bytes,
                    "rss_bytes_wanted": RSS_BYTES_MAX,
                }
                for found in self.running
            ],
            "gateway": [
                {
                    "segments_per_request": rate.segments_per_request,
                    "events": rate.events,
                    "events_per_second": rate.per_second,
                    "events_per_core_second": rate.per_core_second,
                    "events_per_core_second_wanted": GATEWAY_CORE_WANTED,
                    "share_of_decoding": rate.share_of_decoding,
                    "share_of_decoding_wanted": GATEWAY_SHARE_WANTED,
                    "share_of_framing": rate.share_of_framing,
                }
                for rate in self.gateway
            ],
            "steps": [
                {
                    "events_per_segment": steps.events_per_segment,
                    "events": steps.events,
                    "chunks": steps.chunks,
                    "us_per_event": dict(steps.us_per_event),
                    "database_us_per_event": dict(steps.database_us_per_event),
                }
                for steps in self.steps
            ],
            "backlog": {
                "events": self.backlog.events,
                "seconds": self.backlog.seconds,
                "taken_bytes": self.backlog.taken_bytes,
                "taken_bytes_wanted": MEMORY_BYTES_MAX,
            },
            "growth": {
                "grown": growth_of(self.growth),
                "grown_wanted": FLAT_WITHIN,
                "marks": [
                    {
                        "events": mark.events,
                        "days": mark.days,
                        "events_per_second": mark.cost.events / mark.cost.seconds,
                        "processor_us_per_event": mark.cost.processor_us,
                        "young_processor_us_per_event": mark.young.processor_us,
                        "grown": mark.grown,
                        "wal_bytes_per_event": mark.cost.wal_bytes / mark.cost.events,
                        "database_bytes": mark.database_bytes,
                    }
                    for mark in self.growth
                ],
            },
            "reads": {
                "rows": dict(self.reads.counts),
                "p99_ms_wanted": WANTED_P99_MS,
                "questions": [
                    {
                        "question": one.title,
                        "asked": len(one.times_ms),
                        "p50_ms": one.at(0.5),
                        "p99_ms": one.at(0.99),
                    }
                    for one in self.reads.measured
                ],
            },
        }


def print_report(results: Results, console: Console) -> None:
    """Print a table for each question."""
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    console.print(f"Only ratios mean anything elsewhere. {machine}")
    for table in (
        _rates(results),
        _java(results),
        _wire(results.wire),
        _appends(results.appends),
        _waiting(results.waiting),
        _running(results.running),
        _gateway(results.gateway),
        *map(_steps, results.steps),
        backlog_table(results.backlog),
        growth_table(results.growth),
        reads_table(results.reads),
    ):
        console.print()
        console.print(table)


def _rates(results: Results) -> Table:
    floor = results.floor.per_second
    every, five = results.stock_per_second("all"), results.stock_per_second("five")

    def row(name: str, timing: Timing, wanted: str = "") -> tuple[str, ...]:
        rate = timing.per_second
        times = (f"{rate / every:.1f}x", f"{rate / five:.1f}x", f"{rate / floor:.3f}x")
        return (name, *_rate(timing), *times, wanted)

    rows = []
    for fold in results.folds:
        workers = "one worker" if fold.workers == 1 else f"{fold.workers} workers"
        wanted = STOCK_RATIO_WANTED.get(fold.events_per_segment)
        is_reached = wanted is not None and fold.timing.per_second / every >= wanted
        rows.append(
            row(
                f"fold, {fold.events_per_segment} a segment, {workers}",
                fold.timing,
                "" if wanted is None else _reached(f">= {wanted:g}x (a)", is_reached),
            )
        )
    rows += [
        row(
            f"{'(a)' if rate.tables == 'all' else '(5)'} stock agent, {rate.tables} tables, "
            f"by {rate.mode}",
            rate.timing,
        )
        for rate in results.stock
    ]
    rows.append(row("(b) floor: decode and COPY", results.floor))
    return _table("Live", ("", "events", "events/s", "to (a)", "to (5)", "to (b)", "wanted"), rows)


def _java(results: Results) -> Table:
    rows = []
    for rate in results.java:
        times = [results.times_java(rate, workers=workers) for workers in (1, WORKERS)]
        wanted = JAVA_RATIO_WANTED.get(rate.events_per_segment)
        rows.append(
            (
                f"Java {rate.mode}, {rate.events_per_segment} a segment",
                *_rate(rate.timing),
                *("" if one is None else f"{one:.2f}x" for one in times),
                ""
                if wanted is None or times[1] is None
                else _reached(f">= {wanted:g}x", times[1] >= wanted),
            )
        )
    return _table(
        "The same fold in Java with JDBC batches",
        ("", "events", "events/s", "one worker to it", f"{WORKERS} workers to it", "wanted"),
        rows,
    )


def _rate(timing: Timing) -> tuple[str, str]:
    return f"{timing.events:,}", f"{timing.per_second:,.0f}"


def _wire(sizes: Iterable[WireSize]) -> Table:
    rows = []
    for size in sizes:
        wanted = WIRE_BYTES_WANTED.get(size.events_per_segment)
        rows.append(
            (
                f"{size.events_per_segment} a segment",
                f"{size.segment_bytes_per_event:.1f}",
                f"{size.log_bytes_per_event:.1f}",
                ""
                if wanted is None
                else _reached(f"<= {wanted:g}", size.log_bytes_per_event <= wanted),
            )
        )
    return _table("Bytes an event", ("", "segments", "broker's log", "wanted"), rows)


def _appends(rates: AppendRates) -> Table:
    return _table(
        f"Durable appends, {rates.record_bytes:.0f} bytes each",
        ("", "appends/s", "p99, ms", "to the floor", "wanted"),
        [
            (
                "Outbox.append, one event",
                f"{rates.outbox_per_second:,.0f}",
                f"{rates.outbox_p99_ms:.2f}",
                f"{rates.share:.0%}",
                _reached(f">= {APPEND_SHARE_WANTED:.0%}", rates.share >= APPEND_SHARE_WANTED),
            ),
            (
                "floor: write and fsync",
                f"{rates.floor_per_second:,.0f}",
                f"{rates.floor_p99_ms:.2f}",
                "100%",
                "",
            ),
        ],
    )


def _waiting(found: Iterable[Waiting]) -> Table:
    return _table(
        "A device that finds events waiting",
        ("", "events", "start, ms", "wanted", "memory, MB", "wanted"),
        [
            (
                one.shape,
                f"{one.events:,}",
                f"{1000 * one.start_seconds:.0f}",
                _reached(
                    f"<= {1000 * START_SECONDS_MAX:.0f}", one.start_seconds <= START_SECONDS_MAX
                ),
                f"{one.rss_bytes / 1e6:.1f}",
                _reached(f"<= {RSS_BYTES_MAX / 1e6:.0f}", one.rss_bytes <= RSS_BYTES_MAX),
            )
            for one in found
        ],
    )


def _running(found: Iterable[Running]) -> Table:
    return _table(
        "A whole `rekam device run` that brings them to the log",
        ("", "events", "memory, MB", "wanted"),
        [
            (
                f"by {one.route}, {'with' if one.listens else 'without'} --listen",
                f"{one.events:,}",
                f"{one.rss_bytes / 1e6:.1f}",
                _reached(f"<= {RSS_BYTES_MAX / 1e6:.0f}", one.rss_bytes <= RSS_BYTES_MAX),
            )
            for one in found
        ],
    )


def _gateway(rates: Iterable[GatewayRate]) -> Table:
    rows = []
    for rate in rates:
        share, core = rate.share_of_decoding, rate.per_core_second
        rows.append(
            (
                f"{rate.segments_per_request} a request",
                f"{rate.per_second:,.0f}",
                f"{core:,.0f}",
                _reached(f">= {GATEWAY_CORE_WANTED:,}", core >= GATEWAY_CORE_WANTED),
                f"{rate.share_of_framing:.0%}",
                f"{share:.0%}",
                _reached(f">= {GATEWAY_SHARE_WANTED:.0%}", share >= GATEWAY_SHARE_WANTED),
            )
        )
    return _table(
        "Gateway to acks=all, segments of 500 events",
        ("segments", "events/s", "a core", "wanted", "to cutting", "to decoding", "wanted"),
        rows,
    )


def _steps(steps: Steps) -> Table:
    rows = [
        (name, f"{steps.us_per_event[name]:.2f}", f"{steps.database_us_per_event[name]:.2f}")
        for name in STEPS
    ]
    rows.append(
        (
            "sum",
            f"{sum(steps.us_per_event.values()):.2f}",
            f"{sum(steps.database_us_per_event.values()):.2f}",
        )
    )
    return _table(
        f"Where the time goes, {steps.events_per_segment} a segment, nothing beside another",
        ("", "µs an event", "of it asyncpg and PostgreSQL"),
        rows,
    )


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _reached(wanted: str, is_reached: bool) -> str:  # noqa: FBT001 - the answer itself
    return f"{wanted}: {'reached' if is_reached else 'MISSED'}"
