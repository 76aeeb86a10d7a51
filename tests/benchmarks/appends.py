"""How many events a second become durable, beside a loop that writes and fsyncs the same bytes."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from producers.device.outbox import Outbox
from rekam.domain.ids import ProducerId
from tests.benchmarks.workload import Workload

APPENDS_PER_TURN: Final = 100
"""The two take turns, so that a moment in which the disk is slow is no one's fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendRates:
    """Single appends a second, and the floor."""

    appends: int
    record_bytes: float
    outbox_per_second: float
    floor_per_second: float
    outbox_p99_ms: float
    """99 of 100 appends were durable within that time."""
    floor_p99_ms: float

    @property
    def share(self) -> float:
        """Return how much of the floor the outbox reaches."""
        return self.outbox_per_second / self.floor_per_second


def measure_appends(folder: Path, workload: Workload, *, turns: int) -> AppendRates:
    """Append events one by one, each durable before the next, in turns with the floor."""
    folder.mkdir()
    lines = [line.text for line in workload.lines[: turns * APPENDS_PER_TURN]]
    if len(lines) < turns * APPENDS_PER_TURN:
        raise ValueError(f"{len(lines)} events; wanted {turns * APPENDS_PER_TURN}")
    outbox_seconds: list[float] = []
    floor_seconds: list[float] = []
    descriptor = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(line: bytes) -> None:
        os.write(descriptor, line)
        os.fsync(descriptor)

    try:
        with Outbox.create(folder / "outbox.db", producer=ProducerId("recorder-01")) as outbox:
            outbox.make_ready()  # as `rekam device run` does
            for turn in range(turns):
                taken = lines[turn * APPENDS_PER_TURN : (turn + 1) * APPENDS_PER_TURN]
                outbox_seconds += _seconds(lambda line: outbox.append([line]), taken)
                floor_seconds += _seconds(write, taken)
    finally:
        os.close(descriptor)
    return AppendRates(
        appends=len(lines),
        record_bytes=sum(map(len, lines)) / len(lines),
        outbox_per_second=len(lines) / sum(outbox_seconds),
        floor_per_second=len(lines) / sum(floor_seconds),
        outbox_p99_ms=_p99_ms(outbox_seconds),
        floor_p99_ms=_p99_ms(floor_seconds),
    )


def _seconds(store: Callable[[bytes], object], lines: list[bytes]) -> list[float]:
    """Return how long each took."""
    taken = []
    for line in lines:
        started = time.perf_counter()
        store(line)
        taken.append(time.perf_counter() - started)
    return taken


def _p99_ms(seconds: list[float]) -> float:
    return 1000 * statistics.quantiles(seconds, n=100)[-1]
