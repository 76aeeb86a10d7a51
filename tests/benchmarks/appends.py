"""How many events a second become durable, beside a loop that writes and fsyncs the same bytes."""

import os
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
    seconds = {"outbox": 0.0, "floor": 0.0}
    descriptor = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(line: bytes) -> None:
        os.write(descriptor, line)
        os.fsync(descriptor)

    try:
        with Outbox.create(folder / "outbox.db", producer=ProducerId("recorder-01")) as outbox:
            for turn in range(turns):
                taken = lines[turn * APPENDS_PER_TURN : (turn + 1) * APPENDS_PER_TURN]
                seconds["outbox"] += _seconds(lambda line: outbox.append([line]), taken)
                seconds["floor"] += _seconds(write, taken)
    finally:
        os.close(descriptor)
    return AppendRates(
        appends=len(lines),
        record_bytes=sum(map(len, lines)) / len(lines),
        outbox_per_second=len(lines) / seconds["outbox"],
        floor_per_second=len(lines) / seconds["floor"],
    )


def _seconds(store: Callable[[bytes], object], lines: list[bytes]) -> float:
    started = time.perf_counter()
    for line in lines:
        store(line)
    return time.perf_counter() - started
