"""After the plan: the fleet goes on living, a few events a second, dated now.

Figures of earlier days do not change by it. Offices send at once; villages queue what they record
and send it in a burst when they have contact.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

import structlog

from producers.device.clock import DeviceClock
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from producers.simulator.fleet import FEEDS, Fleet, Plan
from producers.simulator.places import SETTLEMENTS
from producers.simulator.progress import Standing
from producers.simulator.regency import nik_of
from producers.simulator.script import SOFTWARE
from rekam.domain.errors import Unavailable
from rekam.domain.events import (
    ClockAnchored,
    Event,
    EventData,
    Heartbeat,
    RecordingCaptured,
    StatusObserved,
    encode,
)
from rekam.domain.segment import Sealed

TICK_SECONDS: Final = 0.5
OBSERVED_TICKS: Final = 20
"""How long the centre takes to answer about a new recording."""

NEW_PEOPLE_PER_PRODUCER: Final = 1_000_000
"""Each producer numbers its new people by seq in a range of its own, so no two runs share one."""

RECENT_MAX: Final = 1_000
CONTACT_CHANCE: Final = 0.1
SEND_BYTES_MAX: Final = 512 * 1024

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass
class Trickle:
    """Keeps recording. Uses the homes alone while it runs."""

    fleet: Fleet
    homes: Sequence[ProducerHome]
    route: KafkaRoute
    standing: Standing
    random: Random
    clock: DeviceClock = field(default_factory=DeviceClock)
    _recent: deque[str] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))
    """NIKs of those of whom the centre has not heard yet; the oldest fall out."""
    _anchored: set[int] = field(default_factory=set)
    """Producers that have told the clock of this process's boot session."""
    _queued: set[int] = field(default_factory=set)
    """Villages whose outboxes hold something."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until `stopping`. While Kafka is away the fleet keeps recording and sends later."""
        ticks = 0
        while not stopping.is_set():
            for number in self._live(ticks):
                await self._send(number)
            self.standing.show()
            ticks += 1
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await stopping.wait()
            except TimeoutError:
                continue

    def _live(self, ticks: int) -> list[int]:
        """Let something happen, and return the producers that have contact now."""
        plans = self.fleet.plans
        recorders = self.fleet.devices
        recorder = self.random.randrange(recorders)
        self._say(recorder, self._recording(plans[recorder], recorder))
        self._queued.add(recorder)
        contacts = [number for number in self._queued if self._has_contact(plans[number])]
        if ticks % 2 == 0:
            quiet = self.random.randrange(self.fleet.devices)
            if not plans[quiet].is_village:
                self._say(quiet, self._beat(quiet))
                contacts.append(quiet)
        if ticks >= OBSERVED_TICKS and self._recent:
            nik = self._recent.popleft()
            feed = recorders + self.random.randrange(FEEDS)
            self._say(feed, self._observation(nik))
            contacts.append(feed)
        return contacts

    def _has_contact(self, plan: Plan) -> bool:
        return not plan.is_village or self.random.random() < CONTACT_CHANCE

    def _recording(self, plan: Plan, number: int) -> EventData:
        seq = self.homes[number].outbox.next_seq
        person = self.fleet.regency.people + (number + 1) * NEW_PEOPLE_PER_PRODUCER + seq
        nik = nik_of(person)
        self._recent.append(nik)
        return RecordingCaptured(
            recording=f"{plan.producer}.new.{seq}",
            nik=nik,
            domicile=self._domicile(plan),
            place=plan.place,
            mode="offline" if plan.is_village else "online",
            quality={"fingers": self.random.randint(50, 90)},
        )

    def _domicile(self, plan: Plan) -> str:
        near = [place.code for place in SETTLEMENTS if place.code.startswith(plan.place)]
        return self.random.choice(near)

    def _beat(self, number: int) -> EventData:
        status = self.homes[number].outbox.status()
        return Heartbeat(
            queue_events=status.unsent_events,
            oldest_unsent_ms=status.oldest_unsent_ms,
            route=self.route.label,
            software=SOFTWARE,
        )

    def _observation(self, nik: str) -> EventData:
        return StatusObserved(
            nik=nik,
            status=self.random.choice(("SENT_FOR_ENROLLMENT", "PRINT_READY_RECORD")),
            observed_ms=self.clock.read().wall_ms,
            source="siak",
        )

    def _say(self, number: int, fact: EventData) -> None:
        """Append a fact, and at the first one of this process tell the session's clock before."""
        now = self.clock.read()
        facts: list[EventData] = [fact]
        anchored: dict[str, int] = {}
        if number not in self._anchored:
            self._anchored.add(number)
            facts.insert(0, ClockAnchored(anchored_boot=now.boot, offset_ms=0, source="ntp"))
            anchored = {now.boot: 0}
        lines = [encode(Event(now.wall_ms, now.mono_ms, now.boot, one)) for one in facts]
        self.homes[number].outbox.append(lines, anchored=anchored)
        self.standing.appended += len(lines)

    async def _send(self, number: int) -> None:
        """Seal and send what waits; while Kafka is away it waits on."""
        home = self.homes[number]
        now = self.clock.read()
        home.outbox.seal_pending(
            signing_key=home.signing_key,
            reader=home.reader,
            sealed=Sealed(now.wall_ms, now.mono_ms, now.boot),
        )
        while segments := home.outbox.unsent(limit_bytes=SEND_BYTES_MAX):
            try:
                await self.route.send([one.raw for one in segments], producer=home.producer)
            except Unavailable as error:
                log.warning("route_failed", code=error.code, producer=home.producer)
                self._queued.add(number)
                return
            home.outbox.take(segments, route=self.route.label, now=self.clock.read())
            self.standing.sent += sum(one.last - one.first + 1 for one in segments)
        self._queued.discard(number)
