"""An office's desk: it states events durably first, and sends them when Kafka answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from producers.device.clock import DeviceClock
from producers.device.emitter import drain
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from rekam.domain.errors import Misconfigured, Unavailable
from rekam.domain.events import Event, EventData, ProducerEnrolled, ProducerKind, encode
from rekam.domain.ids import ProducerId
from rekam.runtime.endpoints import kafka_bootstrap
from rekam.runtime.keyring import load_reader_public
from rekam.runtime.settings import Settings

OFFICE_PLACE_DEFAULT: Final = "64.08"
_ENROLLED_FILE: Final = "enrolled"


def state(home: ProducerHome, facts: Sequence[EventData]) -> None:
    """Append facts as events that happen now: all or none, durable when this returns."""
    now = DeviceClock().read()
    home.outbox.append([encode(Event(now.wall_ms, now.mono_ms, now.boot, fact)) for fact in facts])


async def send(settings: Settings, homes: Sequence[ProducerHome]) -> int:
    """Send what waits in these homes, in their order; return the number of segments.

    Anchors the clock of each by the broker's. Raises Unavailable when it must wait: it is kept.
    """
    try:
        route = KafkaRoute(kafka_bootstrap(settings), settings.kafka_security)
    except Misconfigured as error:
        raise _kept(homes, error) from error
    sent = 0
    try:
        for home in homes:
            sent += (await drain(home, route, clock=DeviceClock())).segments
    except Unavailable as error:
        raise _kept(homes, error) from error
    finally:
        await route.stop()
    return sent


def _kept(homes: Sequence[ProducerHome], error: Exception) -> Unavailable:
    waiting = sum(home.outbox.status().unsent_events for home in homes)
    return Unavailable(
        f"disimpan, dikirim nanti / kept, will be sent later: {waiting} events, by the next "
        f"`rekam office` command. {error}"
    )


@dataclass(frozen=True, slots=True)
class OfficeDesk:
    """A producer of this machine that the registrar of this machine enrols by itself."""

    name: str
    kind: ProducerKind

    def folder(self, settings: Settings) -> Path:
        """Return its home folder."""
        return settings.home / "office" / self.name

    def open(self, settings: Settings, registrar: ProducerHome) -> ProducerHome:
        """Open its home; make it, and enrol it with `registrar`, when that was not done yet.

        A crash in between may enrol it twice by the same key, which changes nothing.
        """
        folder = self.folder(settings)
        if folder.exists():
            home = ProducerHome.open(folder)
        else:
            home = ProducerHome.create(
                folder,
                producer=ProducerId(self.name),
                kind=self.kind,
                reader=load_reader_public(settings),
            )
        try:
            if not (folder / _ENROLLED_FILE).exists():
                enrolment = ProducerEnrolled(
                    producer=home.producer,
                    kind=self.kind,
                    place=OFFICE_PLACE_DEFAULT,
                    key=home.signing_key.public.to_text(),
                    enrolled_ms=DeviceClock().read().wall_ms,
                )
                state(registrar, [enrolment])
                (folder / _ENROLLED_FILE).touch()
        except BaseException:
            home.close()
            raise
        return home


CENTRE: Final = OfficeDesk("centre", "centre")
KPU: Final = OfficeDesk("kpu", "kpu")
