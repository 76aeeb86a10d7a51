"""A device whose lives end by SIGKILL at a chosen step; forked, because Python starts slowly.

`python -m tests.support.mortal_device HOME BOOTSTRAP TOPIC` reads lines `STEP NUMBER SEED`; each is
a life, which tells what it does in lines of its own (`Life`) and, when it is over, `ended CODE`.
"""

import asyncio
import logging
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import apsw

from producers.device.clock import Clock, DeviceClock
from producers.device.emitter import EmitterOptions, drain
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from producers.device.receipts import ReceiptKeeper
from producers.device.route import Delivery
from rekam.domain.ids import ProducerId
from rekam.domain.segment import Sealed
from rekam.runtime.logging import configure_logging
from tests.support.device import beat, die
from tests.support.disk_faults import Disk
from tests.support.outboxes import ALL
from tests.support.sticks import signed_receipt

KILLED: Final = -signal.SIGKILL
STEPS: Final = ("append", "seal", "before_send", "after_send", "take", "receipt", "prune")
"""Where a life may end: at a write or sync of what is named so, or beside the sending."""

AT_RANDOM: Final = "at_random"
"""It goes on until somebody else kills it."""

EVENTS_A_LIFE_MAX: Final = 1_000_000


@dataclass
class Life:
    """What one life told before it ended."""

    code: int = 0
    doing: str = ""
    began: set[str] = field(default_factory=set)
    """Digests of events that it was about to append."""
    kept: dict[int, str] = field(default_factory=dict)
    """Digests of events that it acknowledged, by seq."""
    sealed: dict[int, str] = field(default_factory=dict)
    """Digests of segments that it found in the outbox, by first seq."""


class Mortal:
    """The process that is forked for each life."""

    def __init__(self, folder: Path, bootstrap: str, topic: str) -> None:
        self._arguments = (str(folder), bootstrap, topic)
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.mortal_device", *self._arguments),
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

    async def live(self, step: str, number: int, *, seed: int) -> Life:
        """Live until the step uses the disk for the `number`-th time.

        At random: until so many events are acknowledged.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"%s %d %d\n" % (step.encode(), number, seed))
        life, pid = Life(), 0
        while True:
            match (await self._process.stdout.readline()).decode().split():
                case ["life", told]:
                    pid = int(told)
                case ["does", doing]:
                    life.doing = doing
                case ["began", *digests]:
                    life.began.update(digests)
                case ["kept", seq, digest]:
                    assert int(seq) not in life.kept
                    life.kept[int(seq)] = digest
                    if step == AT_RANDOM and len(life.kept) == number:
                        os.kill(pid, signal.SIGKILL)
                case ["sealed", first, digest]:
                    assert life.sealed.setdefault(int(first), digest) == digest
                case ["ended", code]:
                    life.code = int(code)
                    return life
                case other:
                    raise AssertionError(other)


def digest_of(content: bytes) -> str:
    """Return what tells these bytes from all others."""
    return sha256(content).hexdigest()


class _Deadly(Disk):
    """Kills its process at the n-th step since it was armed."""

    def __init__(self) -> None:
        self._left: int | None = None
        super().__init__()

    def arm(self, number: int | None) -> None:
        """Kill at the n-th step from here on; None: at none."""
        self._left = number

    def before(self, step: str, path: str) -> None:  # noqa: ARG002 - dies at any
        if self._left is not None:
            self._left -= 1
            if not self._left:
                die()


class _Route:
    """Passes segments on, and dies before or after it has."""

    def __init__(self, route: KafkaRoute, step: str) -> None:
        self.label = route.label
        self._route, self._step = route, step

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> Delivery:
        if self._step == "before_send":
            die()
        delivery = await self._route.send(segments, producer=producer)
        if self._step == "after_send":
            die()
        return delivery

    async def receipt(self, producer: ProducerId) -> bytes | None:  # noqa: ARG002 - asked by hand
        return None

    async def stop(self) -> None:
        await self._route.stop()


class _Living:
    """A device that does one thing after the other, and tells of it."""

    def __init__(self, home: ProducerHome, route: _Route, *, seed: int) -> None:
        self._home, self._route = home, route
        self._clock: Clock = DeviceClock()
        self._chance = random.Random(seed)
        self._numbers = count(seed * EVENTS_A_LIFE_MAX)
        self._keeper = ReceiptKeeper(home, clock=self._clock)

    @property
    def works(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return what it does, in order, by the step that it is."""
        return {
            "append": self.append,
            "seal": self.seal,
            "take": self.send,
            "receipt": self.receipt,
            "prune": self.prune,
        }

    async def append(self) -> None:
        wanted = range(self._chance.randrange(1, 9))
        lines = [beat(self._clock, next(self._numbers)) for _ in wanted]
        digests = [digest_of(line) for line in lines]
        _tell("began", *digests)
        for seq, digest in zip(self._home.outbox.append(lines), digests, strict=True):
            _tell("kept", str(seq), digest)

    async def seal(self) -> None:
        now = self._clock.read()
        self._home.outbox.seal_pending(
            signing_key=self._home.signing_key,
            reader=self._home.reader,
            sealed=Sealed(now.wall_ms, now.mono_ms, now.boot),
            events_max=self._chance.randrange(1, 6),
        )
        self.tell_segments()

    async def send(self) -> None:
        options = EmitterOptions(heartbeat_seconds=None)
        await drain(self._home, self._route, clock=self._clock, options=options)
        self.tell_segments()

    async def receipt(self) -> None:
        raws = [one.raw for one in self._home.outbox.unreceipted(limit_bytes=ALL)]
        last = self._home.outbox.next_seq
        if raws:
            self._keeper.take(signed_receipt(self._home.producer, raws, as_of_ms=last))

    async def prune(self) -> None:
        self._keeper.prune(0.0)

    def tell_segments(self) -> None:
        for one in self._home.outbox.unreceipted(limit_bytes=ALL):
            _tell("sealed", str(one.first), digest_of(one.raw))


def _tell(*words: str) -> None:
    os.write(sys.stdout.fileno(), f"{' '.join(words)}\n".encode())


async def _live(
    folder: Path, bootstrap: str, topic: str, *, step: str, number: int, seed: int
) -> None:
    _tell("life", str(os.getpid()))
    disk = _Deadly()
    apsw.set_default_vfs(disk.name)
    with ProducerHome.open(folder) as home:
        route = _Route(KafkaRoute(bootstrap, topic=topic), step)
        living = _Living(home, route, seed=seed)
        living.tell_segments()
        while True:
            for name, work in living.works.items():
                _tell("does", name)
                disk.arm(number if name == step else None)
                await work()
            # It may have fewer steps than that.
            number = max(1, number - 1)


def _main() -> None:
    # Onto standard error: on the other one we tell.
    configure_logging(level=logging.ERROR)
    folder, bootstrap, topic = Path(sys.argv[1]), *sys.argv[2:4]
    for line in sys.stdin:
        step, number, seed = line.split()
        child = os.fork()
        if child == 0:
            life = _live(folder, bootstrap, topic, step=step, number=int(number), seed=int(seed))
            asyncio.run(life)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        _tell("ended", str(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    _main()
