"""Producer homes for tests, and a device that kills itself at a named step: `python -m …`."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from producers.device.clock import Clock, DeviceClock
from producers.device.emitter import drain
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from producers.device.route import Delivery
from rekam.domain.events import Event, Heartbeat, ProducerKind, encode
from rekam.domain.ids import ProducerId
from rekam.domain.keys import ReaderPrivateKey

READER = ReaderPrivateKey.from_seed(bytes([7]) * 32)
STEPS = ("before_append", "after_append", "before_send", "after_send", "at_random")


def new_home(
    folder: Path, *, producer: str = "dev-1", kind: ProducerKind = "recorder"
) -> ProducerHome:
    """Make a home that encrypts to READER."""
    return ProducerHome.create(
        folder, producer=ProducerId(producer), kind=kind, reader=READER.public
    )


def beat(clock: Clock, number: int) -> bytes:
    """Return an event that can be told from all others by its number."""
    now = clock.read()
    return encode(Event(now.wall_ms, now.mono_ms, now.boot, Heartbeat(queue_events=number)))


class _FatalRoute:
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

    async def receipt(self, producer: ProducerId) -> bytes | None:
        return await self._route.receipt(producer)

    async def stop(self) -> None:
        await self._route.stop()


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


async def _record_and_emit(folder: Path, bootstrap: str, topic: str, step: str) -> None:
    """Append in turn with emission, telling each seq once it is durable; die at the step."""
    choose = random.Random(step)
    clock = DeviceClock()
    with ProducerHome.open(folder) as home:
        route = _FatalRoute(KafkaRoute(bootstrap, topic=topic), step)
        while True:
            lines = [beat(clock, choose.randrange(1_000)) for _ in range(choose.randrange(1, 9))]
            if step == "before_append":
                sys.stdout.write("appending\n")
                sys.stdout.flush()
                die()
            for seq in home.outbox.append(lines):
                sys.stdout.write(f"{seq}\n")
            sys.stdout.flush()
            if step == "after_append":
                die()
            await drain(home, route, clock=clock)


if __name__ == "__main__":
    asyncio.run(_record_and_emit(Path(sys.argv[1]), *sys.argv[2:5]))
