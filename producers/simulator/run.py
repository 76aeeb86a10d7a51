"""Run a regency: every event through a real outbox, every segment through real Kafka.

    registrar ─► log                                    (most enrolments first, some late)
    next visit of the producer whose time has come
        ─► append (one transaction) ─► seal ─► send ─► acknowledged      (a few at once)
                                                 └► some of it once more by another client, shuffled

Killed anywhere and started again it goes on: each outbox tells how much of its plan it holds, and
what a route has not taken is sent first.
"""

import asyncio
import heapq
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import structlog

from producers.device.clock import DeviceClock
from producers.device.emitter import drain
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from producers.device.outbox import StoredSegment
from producers.office.registrar import ensure_registrar
from producers.simulator.chance import chance
from producers.simulator.fleet import Fleet, Plan
from producers.simulator.homes import open_homes
from producers.simulator.progress import Standing
from producers.simulator.publication import enrolments, reference
from producers.simulator.registration import FIRST_BATCH, LATE_BATCH, is_stated, state_once
from producers.simulator.script import anchored_by, lines_of
from producers.simulator.trickle import Trickle
from rekam.domain.errors import OutboxBusy, Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.segment import SEGMENT_EVENTS_MAX, Sealed
from rekam.domain.topics import SEGMENTS
from rekam.runtime.endpoints import kafka_bootstrap
from rekam.runtime.keyring import load_reader_public
from rekam.runtime.settings import Settings

VISITS_AT_ONCE: Final = 4
"""While one waits for the disk or the broker, the others compute."""

SEND_BYTES_MAX: Final = 512 * 1024
RETRY_SECONDS: Final = 0.5
LATE_ENROLMENTS_WAITED_FOR: Final = 0.5
"""The late enrolments are stated when this share of those producers has sent segments."""

ECHO_SEGMENTS_MAX: Final = 64
"""So many segments are kept to be sent a second time, shuffled."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def simulate(
    settings: Settings,
    fleet: Fleet,
    *,
    standing: Standing,
    stopping: asyncio.Event,
    once: bool,
    topic: str = SEGMENTS.name,
) -> None:
    """Play the whole plan into the log, then go on with a trickle unless `once`.

    Returns when everything planned is acknowledged (`once`) or `stopping` is set. While Kafka is
    away it tries again. Raises Unavailable when it was stopped before everything was sent.
    """
    folder = settings.home / "simulator"
    reader = load_reader_public(settings)
    bootstrap = kafka_bootstrap(settings)
    async with AsyncExitStack() as stack:
        registrar = stack.enter_context(ensure_registrar(settings))
        homes = stack.enter_context(open_homes(folder, fleet, reader=reader))
        routes = [
            KafkaRoute(bootstrap, settings.kafka_security, topic=topic) for _ in ("first", "second")
        ]
        for route in routes:
            stack.push_async_callback(route.stop)
        run = Run(
            folder=folder,
            fleet=fleet,
            registrar=registrar,
            homes=homes,
            sender=Sender(routes[0], stopping),
            echo=Echo(Sender(routes[1], stopping), chance(fleet.regency.seed, "echo")),
            standing=standing,
            stopping=stopping,
        )
        await run.play()
        if not run.is_complete:
            raise Unavailable(
                f"stopped: {standing.sent} of {standing.total} events are in the log. The rest is "
                "kept; run it again to go on"
            )
        if not once:
            standing.enter("trickle")
            await Trickle(fleet, homes, routes[0], standing, Random()).run(stopping)  # noqa: S311 - live


@dataclass
class Sender:
    """One client of the log that several visits share."""

    route: KafkaRoute
    stopping: asyncio.Event

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> bool:
        """Send until Kafka has them; return False when it was told to stop before."""
        while not self.stopping.is_set():
            try:
                await self.route.send(segments, producer=producer)
            except Unavailable as error:
                log.warning("route_failed", code=error.code, retry_seconds=RETRY_SECONDS)
                await wait_for(self.stopping, RETRY_SECONDS)
            else:
                return True
        return False


@dataclass
class Echo:
    """Sends segments a second time by another client, in another order: the log counts them once.

    What is kept when a run is killed is not sent again: a second copy is owed to nobody.
    """

    sender: Sender
    random: Random
    _kept: list[tuple[ProducerId, bytes]] = field(default_factory=list)

    async def keep(self, producer: ProducerId, segments: Sequence[StoredSegment]) -> None:
        """Take segments that are in the log, and send when enough are there."""
        self._kept += [(producer, segment.raw) for segment in segments]
        if len(self._kept) >= ECHO_SEGMENTS_MAX:
            await self.flush()

    async def flush(self) -> None:
        """Send what is kept."""
        kept, self._kept = self._kept, []
        self.random.shuffle(kept)
        by_producer: dict[ProducerId, list[bytes]] = {}
        for producer, raw in kept:
            by_producer.setdefault(producer, []).append(raw)
        for producer, segments in by_producer.items():
            await self.sender.send(segments, producer=producer)


@dataclass(kw_only=True)
class Run:
    """One run over the plan. Each outbox is touched by one visit at a time."""

    folder: Path
    fleet: Fleet
    registrar: ProducerHome
    homes: list[ProducerHome]
    sender: Sender
    echo: Echo
    standing: Standing
    stopping: asyncio.Event
    clock: DeviceClock = field(default_factory=DeviceClock)
    _due: list[tuple[int, int]] = field(default_factory=list)
    """(when its next visit is due, number of the producer): a heap."""
    _registering: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_complete(self) -> bool:
        """Return whether everything planned is in the log."""
        return self.standing.phase == "done"

    async def play(self) -> None:
        """Play what is left of the plan; return when it is done or when told to stop."""
        await asyncio.to_thread(self._take_stock)
        self.standing.enter("append")
        await self._register(FIRST_BATCH)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(VISITS_AT_ONCE):
                tasks.create_task(self._visit_in_order())
        await self._register(LATE_BATCH)
        await self.echo.flush()
        if not self.stopping.is_set():
            self.standing.enter("done")

    def _take_stock(self) -> None:
        """See how much of its plan each outbox holds, and queue what is left."""
        standing = self.standing
        standing.total = self.fleet.events
        for number, (plan, home) in enumerate(zip(self.fleet.plans, self.homes, strict=True)):
            status = home.outbox.status()
            held = status.next_seq - 1
            standing.appended += min(held, plan.events)
            standing.sent += min(status.taken_through, plan.events)
            if held < plan.events:
                self._due.append((plan.visits[plan.visit_at(held)].due_ms, number))
            elif status.unsent_events:
                self._due.append((0, number))
        heapq.heapify(self._due)
        log.info(
            "simulation_began",
            producers=len(self.homes),
            events=standing.total,
            appended=standing.appended,
            sent=standing.sent,
        )

    # -- the registrar -----------------------------------------------------------------------

    async def _register(self, batch: str) -> None:
        """State a batch once, and see it into the log before going on."""
        async with self._registering:
            await asyncio.to_thread(self._state, batch)
            while not self.stopping.is_set():
                try:
                    await drain(self.registrar, self.sender.route, clock=self.clock)
                except OutboxBusy:
                    # Who sends from it now sends this too, and we need not wait for it.
                    return
                except Unavailable as error:
                    log.warning("route_failed", code=error.code, retry_seconds=RETRY_SECONDS)
                    await wait_for(self.stopping, RETRY_SECONDS)
                else:
                    return

    def _state(self, batch: str) -> None:
        is_late = batch == LATE_BATCH
        facts = [] if is_late else reference(self.fleet.regency)
        facts += enrolments(
            (plan, home.signing_key.public.to_text())
            for plan, home in zip(self.fleet.plans, self.homes, strict=True)
            if plan.is_enrolled_late is is_late
        )
        state_once(self.folder, batch, self.registrar, facts)

    # -- the fleet -----------------------------------------------------------------------------

    async def _visit_in_order(self) -> None:
        while self._due and not self.stopping.is_set():
            _, number = heapq.heappop(self._due)
            await self._visit(number)
            if self.fleet.plans[number].is_enrolled_late and self._is_late_batch_due():
                await self._register(LATE_BATCH)

    def _is_late_batch_due(self) -> bool:
        late = [
            home.outbox.next_seq > 1
            for plan, home in zip(self.fleet.plans, self.homes, strict=True)
            if plan.is_enrolled_late
        ]
        return sum(late) >= LATE_ENROLMENTS_WAITED_FOR * len(late) and not is_stated(
            self.folder, LATE_BATCH
        )

    async def _visit(self, number: int) -> None:
        """Append the next visit of a producer, if it has one, and send all that waits there."""
        plan, home = self.fleet.plans[number], self.homes[number]
        appended = await asyncio.to_thread(self._append, plan, home)
        self.standing.appended += appended
        if self.standing.appended >= self.standing.total and self.standing.phase == "append":
            self.standing.enter("send")
        while segments := await asyncio.to_thread(home.outbox.unsent, limit_bytes=SEND_BYTES_MAX):
            if not await self.sender.send([one.raw for one in segments], producer=plan.producer):
                return
            await asyncio.to_thread(
                home.outbox.take, segments, route=self.sender.route.label, now=self.clock.read()
            )
            self.standing.sent += _planned(segments, plan)
            self.standing.show()
            if plan.is_sent_twice:
                await self.echo.keep(plan.producer, segments)
        held = home.outbox.next_seq - 1
        if held < plan.events:
            heapq.heappush(self._due, (plan.visits[plan.visit_at(held)].due_ms, number))

    def _append(self, plan: Plan, home: ProducerHome) -> int:
        """Append what the outbox lacks of its next visit, and seal; return how many events."""
        held = home.outbox.next_seq - 1
        segment_events_max, lines = SEGMENT_EVENTS_MAX, list[bytes]()
        if held < plan.events:
            number = plan.visit_at(held)
            visit = plan.visits[number]
            segment_events_max = visit.segment_events_max
            lines = lines_of(self.fleet, plan, number)[held - visit.first :]
            home.outbox.append(lines, anchored=anchored_by(plan, number))
        now = self.clock.read()
        home.outbox.seal_pending(
            signing_key=home.signing_key,
            reader=home.reader,
            sealed=Sealed(now.wall_ms, now.mono_ms, now.boot),
            events_max=segment_events_max,
        )
        return len(lines)


def _planned(segments: Sequence[StoredSegment], plan: Plan) -> int:
    """Return how many planned events segments hold; a trickle of an earlier run lies behind."""
    return sum(max(0, min(one.last, plan.events) - one.first + 1) for one in segments)


async def wait_for(stopping: asyncio.Event, seconds: float) -> None:
    """Return after `seconds`, or as soon as `stopping` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
