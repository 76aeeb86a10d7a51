"""Producer homes for tests."""

import os
import signal
from pathlib import Path

from producers.device.clock import Clock
from producers.device.home import ProducerHome
from rekam.domain.events import Event, Heartbeat, ProducerKind, encode
from rekam.domain.ids import ProducerId
from rekam.domain.keys import ReaderPrivateKey

READER = ReaderPrivateKey.from_seed(bytes([7]) * 32)


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


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)
