"""Brings the outbox to the log: seal, send oldest first, acknowledge; for ever, or once.

Every step is durable before the next one begins, so the process may be killed anywhere:

    seal (segment stored) ─► send ─► acknowledge (taken off the queue)

A kill between send and acknowledge sends the same bytes again; the log then holds them twice and
they count once. Recording goes on beside it in any case, in this process or another.

While the route works, events are sealed as soon as they are seen. While it is away they wait
unsealed, so that one segment takes many of them; a full segment's worth, or `away_linger_seconds`,
ends the waiting, because an unsealed event is not encrypted.
"""

import asyncio
import random
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, Protocol, TypeVar

import structlog

from producers.device.clock import Clock, Contact, Reading, anchors_due, offset_of
from producers.device.home import ProducerHome
from producers.device.outbox import StoredSegment
from producers.device.route import Acked, Route
from rekam.domain.errors import OutboxFull, Unavailable
from rekam.domain.events import ClockAnchored, Event, Heartbeat, encode
from rekam.domain.segment import SEGMENT_EVENTS_MAX, Sealed

T = TypeVar("T")

SEND_BYTES_MAX: Final = 4 * 1024 * 1024
"""Most bytes of one send, and so of the queue's share of memory."""

SEAL_SEGMENTS_MAX: Final = 16
"""Segments sealed at a time before they are sent: about 30 ms of work."""

STOP_SECONDS_MAX: Final = 5.0
"""How long a send in flight may go on after `stopping` is set."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitterOptions:
    """How eager an emitter is."""

    events_max: int = SEGMENT_EVENTS_MAX
    linger_seconds: float = 0.2
    """How long new events wait for company while the route works."""
    away_linger_seconds: float = 600.0
    """How long they wait while it does not."""
    heartbeat_seconds: float | None = 300.0
    """None: no heartbeats."""
    retry_seconds_first: float = 1.0
    retry_seconds_max: float = 60.0
    anchors: bool = True
    """False: whoever appends announces clock offsets too."""


class Jitter(Protocol):
    """The part of `random.Random` that spreads retries."""

    def uniform(self, low: float, high: float) -> float:
        """Return a number between both."""


@dataclass(slots=True)
class Drained:
    """What a pass brought to the log."""

    segments: int = 0
    events: int = 0
    bytes: int = 0


def retry_seconds(failures: int, options: EmitterOptions, jitter: Jitter) -> float:
    """Return how long to wait after so many failures in a row: full jitter under a doubling cap."""
    # The exponent is bounded: weeks without Kafka must not overflow a float.
    cap = min(options.retry_seconds_max, options.retry_seconds_first * 2.0 ** min(failures - 1, 32))
    return jitter.uniform(0, cap)


async def drain(
    home: ProducerHome,
    route: Route,
    *,
    clock: Clock,
    options: EmitterOptions = EmitterOptions(),
) -> Drained:
    """Send once everything that the outbox holds; nothing is unsent when this returns.

    Raises Unavailable when the route fails (what it took before is acknowledged, the rest stays),
    OutboxBusy when another emitter works on this home.
    """
    with home.emitting():
        return await Emitter(home, route, clock=clock, options=options).drain(asyncio.Event())


async def run(
    home: ProducerHome,
    route: Route,
    *,
    clock: Clock,
    stopping: asyncio.Event,
    options: EmitterOptions = EmitterOptions(),
) -> None:
    """Keep sending until `stopping` is set; go on by itself whenever the route is back.

    Raises OutboxBusy when another emitter works on this home, and what is wrong with the outbox.
    """
    with home.emitting():
        await Emitter(home, route, clock=clock, options=options).run(stopping)


class Emitter:
    """One emitter of one home; its owner holds `ProducerHome.emitting`."""

    def __init__(
        self,
        home: ProducerHome,
        route: Route,
        *,
        clock: Clock,
        options: EmitterOptions,
        jitter: Jitter | None = None,
    ) -> None:
        """Take what it works with; its owner closes home and route."""
        self._home = home
        self._outbox = home.outbox
        self._route = route
        self._clock = clock
        self._options = options
        self._jitter = jitter or random.SystemRandom()
        self._heartbeat_at = 0.0
        self._pending_since: float | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Send until `stopping` is set."""
        log.info("emitter_started", producer=self._home.producer, route=self._route.label)
        failures = 0
        while not stopping.is_set():
            self._beat()
            try:
                await self.drain(stopping)
            except Unavailable as error:
                failures += 1
                self._seal_while_away()
                seconds = retry_seconds(failures, self._options, self._jitter)
                log.warning(
                    "route_failed",
                    producer=self._home.producer,
                    failures=failures,
                    retry_ms=round(seconds * 1000),
                    unsent_events=self._outbox.status().unsent_events,
                    error=str(error),
                )
            else:
                if failures:
                    log.info("route_worked_again", producer=self._home.producer, failures=failures)
                failures = 0
                seconds = self._options.linger_seconds
            await _wait(stopping, seconds)
        log.info(
            "emitter_stopped",
            producer=self._home.producer,
            unsent_events=self._outbox.status().unsent_events,
        )

    async def drain(self, stopping: asyncio.Event) -> Drained:
        """Send until nothing is unsent or `stopping` is set. Raises Unavailable.

        What is sealed goes first: it is the older part, and it shows whether the route works.
        """
        drained = Drained()
        while not stopping.is_set():
            batch = self._outbox.unsent(limit_bytes=SEND_BYTES_MAX)
            if not batch:
                if not self._seal(SEAL_SEGMENTS_MAX):
                    break
                continue
            await self._send(batch, stopping, drained)
        self._pending_since = None
        return drained

    async def _send(
        self, batch: Sequence[StoredSegment], stopping: asyncio.Event, drained: Drained
    ) -> None:
        before = self._clock.read()
        acked = await _finish_soon_after(
            stopping,
            self._route.send([one.raw for one in batch], producer=self._home.producer),
        )
        after = self._clock.read()
        self._outbox.acknowledge(batch)
        events = sum(one.last - one.first + 1 for one in batch)
        drained.segments += len(batch)
        drained.events += events
        drained.bytes += sum(len(one.raw) for one in batch)
        log.info(
            "segments_sent",
            producer=self._home.producer,
            first=batch[0].first,
            last=batch[-1].last,
            segments=len(batch),
            events=events,
            bytes=sum(len(one.raw) for one in batch),
            elapsed_ms=after.mono_ms - before.mono_ms,
        )
        if self._options.anchors:
            self._anchor(before, after, acked)

    def _seal(self, segments_max: int | None) -> int:
        now = self._clock.read()
        return self._outbox.seal_pending(
            signing_key=self._home.signing_key,
            reader=self._home.reader,
            sealed=Sealed(wall_ms=now.wall_ms, mono_ms=now.mono_ms, boot=now.boot),
            events_max=self._options.events_max,
            segments_max=segments_max,
        )

    def _seal_while_away(self) -> None:
        pending = self._outbox.pending()
        if not pending:
            self._pending_since = None
            return
        now = time.monotonic()
        if self._pending_since is None:
            self._pending_since = now
        waited = now - self._pending_since
        if pending >= self._options.events_max or waited >= self._options.away_linger_seconds:
            self._seal(None)
            self._pending_since = None

    def _anchor(self, before: Reading, after: Reading, acked: Sequence[Acked]) -> None:
        """Announce the clock offset if this contact tells a new one."""
        times = [one.append_ms for one in acked if one.append_ms is not None]
        if not times:
            return
        offset_ms = offset_of(Contact(before=before, after=after, append_ms=max(times)))
        if offset_ms is None:
            return
        due = anchors_due(offset_ms, now=after, sessions=self._outbox.boots(after.boot))
        self._record(due, now=after)

    def _beat(self) -> None:
        """Say how things are, when it is time."""
        if self._options.heartbeat_seconds is None or time.monotonic() < self._heartbeat_at:
            return
        self._heartbeat_at = time.monotonic() + self._options.heartbeat_seconds
        status = self._outbox.status()
        self._record(
            [
                Heartbeat(
                    queue_events=status.unsent_events,
                    oldest_unsent_ms=status.oldest_unsent_ms,
                    route=self._route.label,
                    disk_free_bytes=self._home.free_bytes(),
                    software=f"rekam {version('rekam')}",
                )
            ],
            now=self._clock.read(),
        )

    def _record(self, data: Sequence[ClockAnchored | Heartbeat], *, now: Reading) -> None:
        """Append events about the device itself; in a full outbox they go without."""
        if not data:
            return
        lines = [encode(Event(now.wall_ms, now.mono_ms, now.boot, one)) for one in data]
        anchored = {
            one.anchored_boot: one.offset_ms for one in data if isinstance(one, ClockAnchored)
        }
        try:
            self._outbox.append(lines, anchored=anchored)
        except OutboxFull as error:
            # Sending must go on: it is the way out. Anchors come again at the next contact.
            log.warning("device_event_not_recorded", producer=self._home.producer, error=str(error))


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    """Wait, but not beyond `stopping`."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return


async def _finish_soon_after(stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns; once `stopping` is set, it has STOP_SECONDS_MAX left.

    Raises Unavailable when that was not enough: whether it was done is then not known.
    """
    working = asyncio.create_task(work, name="send")
    noticing = asyncio.create_task(stopping.wait(), name="notice-stopping")
    try:
        await asyncio.wait({working, noticing}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await asyncio.wait({working}, timeout=STOP_SECONDS_MAX)
        if not working.done():
            raise Unavailable(
                "stopped before the route answered; the segments stay in the outbox and are sent "
                "again at the next start"
            )
        return working.result()
    finally:
        # Ours alone, so nobody else would end or await them.
        working.cancel()
        noticing.cancel()
        await asyncio.gather(working, noticing, return_exceptions=True)
