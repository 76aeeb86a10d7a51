"""What a million waiting events cost a device: memory, and the time until it is up again.

`python -m tests.benchmarks.waiting` prints the numbers. What is measured is a process of its own,
freshly started: it opens the home, asks how things stand, and reads, seals or sends a first batch.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, Literal

import msgspec

from producers.device.home import ProducerHome
from rekam.domain.events import Event, RecordingCaptured, encode
from rekam.domain.ids import ProducerId
from rekam.domain.keys import ReaderPrivateKey
from rekam.domain.segment import Sealed

EVENTS: Final = 1_000_000
APPENDED_AT_ONCE: Final = 5_000
BATCH_BYTES: Final = 4 * 1024 * 1024
"""What an emitter reads at a time."""

RSS_BYTES_MAX: Final = 60_000_000
START_SECONDS_MAX: Final = 1.0

Shape = Literal["sealed", "unsealed"]
SHAPES: Final[tuple[Shape, ...]] = ("sealed", "unsealed")


class Waiting(msgspec.Struct, frozen=True):
    """What one process saw."""

    shape: Shape
    events: int
    file_bytes: int
    start_seconds: float
    """From opening the home until its status is known."""
    batch_seconds: float
    """From then until a first batch is in memory (sealed) or sealed (unsealed)."""
    rss_bytes: int
    """Most that the process had in memory, with Python and its libraries."""


def measure_waiting(folder: Path, shape: Shape, *, events: int) -> Waiting:
    """Let so many events wait in a new home, and measure a process that finds them there."""
    fill(folder, shape, events=events)
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.waiting", str(folder), shape],
        check=True,
        stdout=subprocess.PIPE,
    )
    return msgspec.json.decode(done.stdout, type=Waiting)


def fill(folder: Path, shape: Shape, *, events: int, producer: str = "recorder-01") -> None:
    """Make a producer's home in which so many recordings wait."""
    reader = ReaderPrivateKey.generate().public
    home = ProducerHome.create(
        folder, producer=ProducerId(producer), kind="recorder", reader=reader
    )
    with home:
        for first in range(0, events, APPENDED_AT_ONCE):
            last = min(events, first + APPENDED_AT_ONCE)
            home.outbox.append([_recording(number) for number in range(first, last)])
            if shape == "sealed":
                _seal(home)


def _recording(number: int) -> bytes:
    return encode(
        Event(
            1_522_468_800_000 + 61_000 * number,
            60_000 * number,
            "5b1a1f4e-0000-4000-8000-000000000000",
            RecordingCaptured(
                recording=f"recorder-01.{number}",
                nik=f"{6408000000000000 + number}",
                domicile="64.08.05.2003",
                place="64.08.05",
                mode="offline",
                quality={"fingers": 50 + number % 40},
            ),
        )
    )


def _seal(home: ProducerHome, *, segments_max: int | None = None) -> None:
    home.outbox.seal_pending(
        signing_key=home.signing_key,
        reader=home.reader,
        sealed=Sealed(1_522_468_800_000, 1, "b"),
        segments_max=segments_max,
    )


def _find(folder: Path, shape: Shape) -> Waiting:
    """Do in this process what a device does when it is switched on."""
    started = time.perf_counter()
    with ProducerHome.open(folder) as home:
        status = home.outbox.status()
        found = time.perf_counter()
        if shape == "sealed":
            batch = home.outbox.unsent(limit_bytes=BATCH_BYTES)
            assert batch
        else:
            _seal(home, segments_max=16)
        done = time.perf_counter()
    return Waiting(
        shape=shape,
        events=status.unsent_events,
        file_bytes=status.disk_bytes,
        start_seconds=found - started,
        batch_seconds=done - found,
        rss_bytes=peak_bytes(os.getpid()),
    )


def peak_bytes(pid: int) -> int:
    """Return the most that a running process had in memory.

    Not by getrusage: that counts what its parent had when it started it.
    """
    status = Path(f"/proc/{pid}/status")
    for line in status.read_text("ascii", "replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{status} does not tell VmHWM")


def _main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for shape in SHAPES:
            found = measure_waiting(Path(folder) / shape, shape, events=EVENTS)
            sys.stdout.write(
                f"{found.shape:<9}{found.events:>10,} events  {found.file_bytes / 1e6:8.1f} MB on "
                f"disk  start {found.start_seconds * 1000:7.1f} ms (max "
                f"{START_SECONDS_MAX * 1000:.0f})  first batch {found.batch_seconds * 1000:7.1f} ms"
                f"  memory {found.rss_bytes / 1e6:5.1f} MB (max {RSS_BYTES_MAX / 1e6:.0f})\n"
            )


if __name__ == "__main__":
    match sys.argv[1:]:
        case [folder, ("sealed" | "unsealed") as shape]:
            sys.stdout.buffer.write(msgspec.json.encode(_find(Path(folder), shape)))
        case _:
            _main()
