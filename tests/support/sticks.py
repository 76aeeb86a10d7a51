"""Sticks for tests: a disk that fails or kills its process at a chosen step, and routes in memory.

`python -m tests.support.sticks export HOME STICK` and `… import STICK BOOTSTRAP TOPIC RECEIPTS`
read step numbers, a line each. For each one a process of its own does the work on this machine's
disk and dies at that step; how it ended (0: it got to the end) is answered in a line.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer

from producers.device.clock import DeviceClock
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from producers.device.outbox import START, Place
from producers.device.route import Delivery, Route, SegmentVerdict
from producers.usb.bundle import MANIFEST_SEGMENTS_MAX
from producers.usb.disk import Entry, LocalDisk, Space
from producers.usb.export import Exported, export
from producers.usb.importing import Imported, import_bundle
from producers.usb.progress import Silent
from rekam.domain.ids import KeyId, ProducerId
from rekam.domain.keys import SigningKey, VerifyKey
from rekam.domain.receipt import EpochReceipt, Receipt, Run, open_receipt, sign_receipt
from rekam.domain.segment import parse
from rekam.domain.topics import RECEIPTS, Topic
from rekam.runtime.kafka import producer_options
from tests.support.device import die

RECEIPT_KEY = SigningKey.from_seed(bytes([9]) * 32)
TRUSTED: Mapping[KeyId, VerifyKey] = {RECEIPT_KEY.id: RECEIPT_KEY.public}
CLOCK = DeviceClock()


def never() -> None:
    """Do nothing at a step."""


def failing(number: int) -> Callable[[], None]:
    """Return what raises the system's error `number`."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


@dataclass
class FaultyDisk:
    """This machine's disk, on which something happens at one step, or at each from then on.

    Steps are counted from 1. A write that fails has written half of its bytes.
    """

    at: int = 0
    happens: Callable[[], None] = never
    for_good: bool = False
    steps: int = 0
    calls: list[str] = field(default_factory=list)
    free_bytes: int | None = None
    local: LocalDisk = field(default_factory=LocalDisk)

    def step(self, call: str) -> None:
        """Count a step, and let happen what is due at it."""
        self.steps += 1
        self.calls.append(call)
        if self._is_due():
            self.happens()

    def _is_due(self) -> bool:
        return bool(self.at) and (self.steps == self.at or (self.for_good and self.steps > self.at))

    def space(self, folder: Path) -> Space:
        """Return the space, or as much as the test says."""
        self.step("space")
        found = self.local.space(folder)
        return found if self.free_bytes is None else Space(self.free_bytes, found.unit_bytes)

    def make_folder(self, folder: Path) -> None:
        """Make a folder."""
        self.step("make_folder")
        self.local.make_folder(folder)

    def entries(self, folder: Path) -> list[Entry]:
        """List a folder."""
        self.step("entries")
        return self.local.entries(folder)

    def read(self, file: Path, *, bytes_max: int) -> bytes:
        """Read a file."""
        self.step("read")
        return self.local.read(file, bytes_max=bytes_max)

    def read_back(self, file: Path, *, bytes_max: int) -> bytes:
        """Read a file back."""
        self.step("read_back")
        return self.local.read_back(file, bytes_max=bytes_max)

    def write(self, file: Path, raw: bytes) -> None:
        """Write a file, or half of it."""
        self.steps += 1
        self.calls.append("write")
        if self._is_due():
            file.write_bytes(raw[: len(raw) // 2])
            self.happens()
        self.local.write(file, raw)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file."""
        self.step("rename")
        self.local.rename(source, target)

    def remove(self, file: Path) -> None:
        """Remove a file."""
        self.step("remove")
        self.local.remove(file)

    def sync_folder(self, folder: Path) -> None:
        """Sync a folder."""
        self.step("sync_folder")
        self.local.sync_folder(folder)


@dataclass
class MemoryRoute:
    """A log in memory that gives receipts of what it took, for producers that are enrolled."""

    label: str = "kafka"
    keys: dict[ProducerId, tuple[VerifyKey, ...]] = field(default_factory=dict)
    logged: list[bytes] = field(default_factory=list)
    says: Callable[[bytes], SegmentVerdict] = lambda _: SegmentVerdict("logged", append_ms=1)
    errors: list[Exception] = field(default_factory=list)
    """Raised by the next sends, one each."""
    receipt_key: SigningKey = RECEIPT_KEY
    gives_receipts: bool = True

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> Delivery:
        """Take what is to be taken."""
        assert all(parse(raw).header.producer == producer for raw in segments)
        if self.errors:
            raise self.errors.pop(0)
        verdicts = tuple(map(self.says, segments))
        self.logged += [
            raw
            for raw, verdict in zip(segments, verdicts, strict=True)
            if verdict.verdict == "logged"
        ]
        return Delivery(verdicts)

    async def receipt(self, producer: ProducerId) -> bytes | None:
        """Return a receipt of what was taken."""
        if not self.gives_receipts:
            return None
        return signed_receipt(
            producer, self.logged, keys=self.keys.get(producer, ()), key=self.receipt_key
        )

    async def stop(self) -> None:
        """Do nothing."""


def signed_receipt(
    producer: ProducerId,
    raws: Iterable[bytes],
    *,
    keys: Iterable[VerifyKey] = (),
    key: SigningKey = RECEIPT_KEY,
    as_of_ms: int | None = None,
) -> bytes:
    """Return a receipt of segments whose chains are whole, made from the segments alone."""
    segments = {one.hash: one for one in map(parse, raws) if one.header.producer == producer}
    runs: dict[int, list[Run]] = {}
    for one in segments.values():
        if any(other.header.prev == one.hash for other in segments.values()):
            continue
        first = one
        while first.header.prev in segments:
            first = segments[first.header.prev]
        runs.setdefault(one.header.epoch, []).append(
            Run(first.header.first, one.header.last, one.hash)
        )
    receipt = Receipt(
        v=1,
        producer=producer,
        as_of_ms=len(segments) if as_of_ms is None else as_of_ms,
        keys=tuple(one.to_text() for one in keys),
        epochs=tuple(EpochReceipt(epoch, tuple(found)) for epoch, found in sorted(runs.items())),
    )
    return sign_receipt(receipt, key)


async def publish(bootstrap: str, topic: Topic, *receipts: bytes) -> None:
    """Put receipts that RECEIPT_KEY has signed onto their topic, as the processor does."""
    async with AIOKafkaProducer(**producer_options(bootstrap)) as producer:
        for raw in receipts:
            key = open_receipt(raw, TRUSTED).producer.encode("ascii")
            await producer.send_and_wait(topic.name, raw, key=key)


def exported(
    home: ProducerHome,
    stick: Path,
    *,
    disk: FaultyDisk | None = None,
    after: Place = START,
    segments_max: int = MANIFEST_SEGMENTS_MAX,
) -> Exported:
    """Export to a stick."""
    return export(
        home,
        stick,
        disk=disk or FaultyDisk(),
        now=CLOCK.read(),
        report=Silent(),
        after=after,
        segments_max=segments_max,
    )


async def imported(
    stick: Path,
    route: Route,
    *,
    disk: FaultyDisk | None = None,
    trusted: Mapping[KeyId, VerifyKey] = TRUSTED,
    wait_seconds: float = 0,
) -> Imported:
    """Import a stick."""
    return await import_bundle(
        stick,
        route,
        disk=disk or FaultyDisk(),
        trusted=trusted,
        wait_seconds=wait_seconds,
        report=Silent(),
    )


def segment_files(stick: Path) -> list[Path]:
    """Return the segments on a stick that have their final names, in no order."""
    return list(stick.glob("rekam-bundle/*/*/*.seg"))


def everything_with_a_final_name_is_whole(stick: Path, raws: Mapping[int, bytes]) -> bool:
    """Tell whether each file is the segment that its name says, byte for byte."""
    return all(
        file.read_bytes() == raws[int(file.name.split("-")[0])] for file in segment_files(stick)
    )


@dataclass
class SteppingRoute:
    """A route whose sends are steps of the disk too: one before, one after each."""

    route: KafkaRoute
    disk: FaultyDisk
    label: str = "kafka"

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> Delivery:
        """Send between two steps."""
        self.disk.step("before_send")
        delivery = await self.route.send(segments, producer=producer)
        self.disk.step("after_send")
        return delivery

    async def receipt(self, producer: ProducerId) -> bytes | None:
        """Ask for a receipt."""
        return await self.route.receipt(producer)

    async def stop(self) -> None:
        """Stop the route."""
        await self.route.stop()


class Mortal:
    """A worker whose work is done by processes that die: forked, because Python starts slowly."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.sticks",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.communicate()

    async def dies_at(self, step: int) -> bool:
        """Work until a step; return whether it was killed there. Otherwise it has finished."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"%d\n" % step)
        ended = int(await self._process.stdout.readline())
        assert ended in (0, -signal.SIGKILL), ended
        return ended != 0


def _serve(work: Callable[[int], None]) -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            # Its own answers would stand between ours.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            work(int(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _export(step: int, home: Path, stick: Path) -> None:
    with ProducerHome.open(home) as opened:
        exported(opened, stick, disk=FaultyDisk(step, die))


async def _import(step: int, stick: Path, *, bootstrap: str, topic: str, receipts: str) -> None:
    named = replace(RECEIPTS, name=receipts)
    async with KafkaRoute(bootstrap, topic=topic, receipts=named) as route:
        disk = FaultyDisk(step, die)
        await imported(stick, SteppingRoute(route, disk), disk=disk)


def _main() -> None:
    if sys.argv[1] == "export":
        home, stick = map(Path, sys.argv[2:4])
        _serve(lambda step: _export(step, home, stick))
        return
    bootstrap, topic, receipts = sys.argv[3:6]
    _serve(
        lambda step: asyncio.run(
            _import(step, Path(sys.argv[2]), bootstrap=bootstrap, topic=topic, receipts=receipts)
        )
    )


if __name__ == "__main__":
    _main()
