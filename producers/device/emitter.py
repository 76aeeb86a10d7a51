"""Brings the outbox to the log: seal, send, take off the queue, receipt, prune; for ever, or once.

The life of an event, every step durable before the next one begins, so that the process may be
killed anywhere:

    appended ─seal─► unsent ─a route took it─► taken ─a receipt covers it─► receipted ─► pruned
                      ▲ ▲ │                      │
                      │ │ └─who logs refused it─► refused (aside, it may stand in quarantine)
                      │ └── a receipt misses it, or a day has passed; ten times ──┘
                      └──── no receipt in time, or a receipt names it missing ────┘

A kill between send and take sends the same bytes again; the log then holds them twice and they
count once. Recording goes on beside it in any case, in this process or another. No answer of any
server deletes anything: only a receipt does, signed by a key that this home trusts.

While a route works, events are sealed as soon as they are seen. While none does they wait unsealed,
so that one segment takes many of them; a full segment's worth, or `away_linger_seconds`, ends the
waiting, because an unsealed event is not encrypted.

A contact begins with the first segment that a route takes and ends when none works. What waits when
it begins is the backlog; what is recorded later is fresh and keeps `fresh_share` of the bytes.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, TypeVar

import structlog

from producers.device.clock import (
    Clock,
    Contact,
    Reading,
    anchors_due,
    offset_of,
    relay_anchors_due,
)
from producers.device.home import ProducerHome
from producers.device.known_time import WRITTEN, KnownTime, is_plausible
from producers.device.lanes import lane_of
from producers.device.outbox import Overdue, Place, StoredSegment
from producers.device.pacing import FRESH_SHARE, Picker
from producers.device.receipts import (
    CUSTODY_MARK,
    ReceiptKeeper,
    is_custody,
    taken_by,
)
from producers.device.route import Route
from producers.device.routing import Jitter, Routing, RoutingOptions, Sent, retry_seconds
from rekam.domain.clocks import RELAY_SOURCES
from rekam.domain.errors import OutboxBusy, OutboxFull, Overloaded, Unavailable
from rekam.domain.events import TYPE_NAMES, ClockAnchored, Event, Heartbeat, RouteChanged, encode
from rekam.domain.segment import SEGMENT_EVENTS_MAX, Sealed

T = TypeVar("T")

SEAL_SEGMENTS_MAX: Final = 16
"""Segments sealed at a time before they are sent: about 30 ms of work."""

STOP_SECONDS_MAX: Final = 5.0
"""How long a send in flight may go on after `stopping` is set."""

AWAY_LOOK_SECONDS: Final = 5.0
"""How often to look for events to seal while no route may be tried."""

RECEIPT_AFTER_SEND_SECONDS: Final = 5.0
"""How soon after a send a receipt is asked for: the office needs a moment to fold it."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitterOptions:
    """How eager an emitter is."""

    events_max: int = SEGMENT_EVENTS_MAX
    linger_seconds: float = 0.2
    """How long new events wait for company while a route works."""
    away_linger_seconds: float = 600.0
    """How long they wait while none does."""
    heartbeat_seconds: float | None = 300.0
    """None: no heartbeats."""
    routing: RoutingOptions = field(default_factory=RoutingOptions)
    """For a route that comes without a routing of its own, and for segments to be tried again."""
    anchors: bool = True
    """False: whoever appends announces clock offsets too."""
    fresh_share: float = FRESH_SHARE
    """Part of the bytes that fresh events get while a backlog drains."""
    receipt_poll_seconds: float = 60.0
    """Longest time between two looks for a receipt; after a send the looks are closer."""
    custody_seconds_max: float = 3_600.0
    """How long whoever took custody has until a receipt covers it; then it goes by the next. Twice
    as long each time, up to `logged_seconds_max`, while it could only go the same way again."""
    logged_seconds_max: float = 86_400.0
    """The same for a route that said that it is in the log."""
    keep_seconds: float | None = None
    """How long a segment is kept after a receipt has covered it; None: what the home says."""


@dataclass(slots=True)
class Drained:
    """What a pass came to."""

    segments: int = 0
    events: int = 0
    bytes: int = 0
    custody_events: int = 0
    """Of those, the ones that are not in the log yet: somebody keeps them."""
    refused_segments: int = 0
    waiting_segments: int = 0
    """No route would have these now."""
    codes: set[str] = field(default_factory=set)
    """Why."""


async def drain(
    home: ProducerHome,
    route: Route | Routing,
    *,
    clock: Clock,
    options: EmitterOptions = EmitterOptions(),
    known_time: KnownTime | None = None,
) -> Drained:
    """Send once everything that the outbox holds; nothing is unsent when this returns.

    `known_time`, by which routes check certificates, is told what contacts say of the time.
    Raises Unavailable when no route works or a segment is wanted by none (what was taken before is
    remembered, the rest stays), OutboxBusy when another emitter works on this home.
    """
    with home.emitting():
        routing = _routing(route, options)
        emitter = Emitter(home, routing, clock=clock, options=options, known_time=known_time)
        try:
            drained = await emitter.drain(asyncio.Event())
            await emitter.ask_receipt(asyncio.Event())
        finally:
            await routing.settle()
    if drained.waiting_segments:
        raise Unavailable(
            f"{drained.waiting_segments} segments were not taken "
            f"({', '.join(sorted(drained.codes)) or 'no reason given'}). They stay in the outbox "
            "and are sent again; if it stays so, look at the server's log"
        )
    return drained


async def run(
    home: ProducerHome,
    route: Route | Routing,
    *,
    clock: Clock,
    stopping: asyncio.Event,
    options: EmitterOptions = EmitterOptions(),
    known_time: KnownTime | None = None,
) -> None:
    """Keep sending until `stopping` is set; go on by itself whenever a route is back.

    `known_time` as for `drain`.
    Raises OutboxBusy when another emitter works on this home, and what is wrong with the outbox.
    """
    with home.emitting():
        routing = _routing(route, options)
        try:
            emitter = Emitter(home, routing, clock=clock, options=options, known_time=known_time)
            await emitter.run(stopping)
        finally:
            await routing.settle()


def _routing(route: Route | Routing, options: EmitterOptions) -> Routing:
    return route if isinstance(route, Routing) else Routing([route], options=options.routing)


class Emitter:
    """One emitter of one home; its owner holds `ProducerHome.emitting`."""

    def __init__(
        self,
        home: ProducerHome,
        routing: Routing,
        *,
        clock: Clock,
        options: EmitterOptions,
        jitter: Jitter | None = None,
        known_time: KnownTime | None = None,
    ) -> None:
        """Take what it works with; its owner closes home and routes."""
        self._home = home
        self._outbox = home.outbox
        self._routing = routing
        self._clock = clock
        self._options = options
        self._known_time = known_time
        self._jitter = jitter or random.SystemRandom()
        self._picker = Picker(home.outbox, fresh_share=options.fresh_share)
        self._receipts = ReceiptKeeper(home, clock=clock)
        self._taker = routing.names[0]
        self._in_contact = False
        self._sealed_at = 0.0
        self._heartbeat_at = 0.0
        self._pending_since: float | None = None
        self._faults = 0
        self._passes = 0
        self._again_at: float | None = None
        self._asked_at: float | None = None
        self._sent_since_asked = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Send, and ask for receipts, until `stopping` is set."""
        log.info("emitter_started", producer=self._home.producer, routes=self._routing.names)
        try:
            self._outbox.make_ready()
        except (Unavailable, Overloaded) as error:
            log.warning("outbox_not_made_ready", producer=self._home.producer, error=str(error))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_sending(stopping), name="send")
                tasks.create_task(self._keep_asking(stopping), name="ask-for-receipts")
        except ExceptionGroup as group:
            # The first failure ended the other task; it alone says what is wrong.
            raise group.exceptions[0] from None
        log.info(
            "emitter_stopped",
            producer=self._home.producer,
            unsent_events=self._outbox.status().unsent_events,
        )

    async def drain(self, stopping: asyncio.Event) -> Drained:
        """Send until nothing is left in this pass or `stopping` is set. Raises Unavailable.

        What is sealed goes first: it is the older part, and it shows whether a route works.
        """
        drained = Drained()
        while not stopping.is_set():
            self._seal_in_contact()
            batch = self._picker.pick(limit_bytes=self._routing.batch_bytes)
            if not batch:
                if not self._seal(SEAL_SEGMENTS_MAX):
                    break
                continue
            await _wait(stopping, self._routing.limit.wait_seconds())
            if not stopping.is_set():
                await self._send(batch, stopping, drained)
        self._pending_since = None
        drained.waiting_segments = len(self._picker.aside)
        return drained

    async def ask_receipt(self, stopping: asyncio.Event) -> None:
        """Ask the current route for a receipt and act on it; then on receipts that did not come.

        While this home trusts no receipt, it only offers again what was refused long ago. What
        cannot be had now is logged.
        """
        self._asked_at, self._sent_since_asked = time.monotonic(), False
        self._offer_refused_again()
        if not self._receipts.trusts_any:
            return
        try:
            if not self._routing.seconds_until_try:
                raw = await _finish_soon_after(
                    stopping, self._routing.receipt(self._home.producer), what="a receipt"
                )
                if raw is not None:
                    self._take_receipt(raw)
        except (Unavailable, Overloaded) as error:
            log.warning("receipt_not_given", producer=self._home.producer, error=str(error))
        try:
            self._send_overdue_again()
            self._receipts.prune(self._options.keep_seconds)
        except (Unavailable, Overloaded) as error:
            log.warning("outbox_not_tidied", producer=self._home.producer, error=str(error))

    async def _keep_sending(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                self._beat()
                seconds = await self._pass(stopping)
            except OutboxBusy as error:
                log.warning("outbox_was_busy", producer=self._home.producer, error=str(error))
                seconds = self._options.routing.retry_seconds_first
            await _wait(stopping, seconds)

    async def _pass(self, stopping: asyncio.Event) -> float:
        """Send what can be sent now; return how long to wait before the next pass."""
        if self._routing.seconds_until_try > 0:
            self._seal_while_away()
            return min(self._routing.seconds_until_try, AWAY_LOOK_SECONDS)
        if self._again_at is not None and time.monotonic() >= self._again_at:
            self._again_at = None
            self._picker.begin_pass()
        try:
            await self.drain(stopping)
        except OutboxBusy:
            raise
        except (Unavailable, Overloaded) as error:
            self._seal_while_away()
            seconds = self._routing.seconds_until_try
            if not seconds:
                # No route's fault: the disk's, say. The same must not be sent over and over.
                self._faults += 1
                seconds = retry_seconds(self._faults, self._options.routing, self._jitter)
            log.warning(
                "pass_failed",
                producer=self._home.producer,
                retry_ms=round(seconds * 1000),
                unsent_events=self._outbox.status().unsent_events,
                error=str(error),
            )
            return min(seconds, AWAY_LOOK_SECONDS)
        self._faults = 0
        if not self._picker.aside:
            self._passes = 0
        elif self._again_at is None:
            self._passes += 1
            self._again_at = time.monotonic() + retry_seconds(
                self._passes, self._options.routing, self._jitter
            )
        return self._options.linger_seconds

    async def _send(
        self, batch: Sequence[StoredSegment], stopping: asyncio.Event, drained: Drained
    ) -> None:
        before = self._clock.read()
        try:
            sent = await _finish_soon_after(
                stopping,
                self._routing.send(
                    [one.raw for one in batch],
                    producer=self._home.producer,
                    avoided=[one.refused_by for one in batch],
                ),
                what="the segments",
            )
        except (Unavailable, Overloaded):
            self._in_contact = False
            self._picker.end_contact()
            raise
        after = self._clock.read()
        self._remember(batch, sent, drained, now=after)
        if sent.taker is not None:
            self._sent_since_asked = True
            self._begin_contact(batch[-1])
            self._notice_route(sent.taker, now=after)
            self._anchor(before, after, sent)
        for raw in sent.receipts:
            self._take_receipt(raw)

    def _remember(
        self, batch: Sequence[StoredSegment], sent: Sent, drained: Drained, *, now: Reading
    ) -> None:
        """Write down what became of each segment, before anything else is sent."""
        taken: dict[str, list[StoredSegment]] = defaultdict(list)
        for one, outcome in zip(batch, sent.outcomes, strict=True):
            verdict = outcome.verdict
            match verdict.verdict:
                case "logged" | "custody":
                    taken[taken_by(outcome.route, verdict.verdict)].append(one)
                    if verdict.verdict == "custody":
                        drained.custody_events += _events([one])
                case "refused":
                    code = verdict.code or "refused"
                    self._outbox.refuse(one, route=outcome.route, code=code, now=now)
                    drained.refused_segments += 1
                    drained.codes.add(code)
                    log.warning(
                        "segment_refused",
                        producer=self._home.producer,
                        first=one.first,
                        last=one.last,
                        route=outcome.route,
                        code=code,
                    )
                case "retry":
                    self._picker.put_aside([one])
                    drained.codes.add(verdict.code or "retry")
        for route, segments in taken.items():
            self._outbox.take(segments, route=route, now=now)
            drained.segments += len(segments)
            drained.events += _events(segments)
            drained.bytes += sum(len(one.raw) for one in segments)
            log.info(
                "segments_sent",
                producer=self._home.producer,
                route=route,
                first=segments[0].first,
                last=segments[-1].last,
                segments=len(segments),
                events=_events(segments),
                bytes=sum(len(one.raw) for one in segments),
            )

    def _begin_contact(self, sent: StoredSegment) -> None:
        """Call what waits now the backlog. What is recorded already is sealed first.

        While segments of an earlier epoch go, all is backlog: places are known by a segment's own.
        """
        if self._in_contact or sent.epoch != self._outbox.epoch:
            return
        self._in_contact = True
        through = Place(sent.place - sent.first + self._outbox.next_seq - 1)
        self._seal(SEAL_SEGMENTS_MAX)
        self._picker.begin_contact(through)

    def _notice_route(self, taker: str, *, now: Reading) -> None:
        """Say it when another route took the segments than before."""
        if taker == self._taker:
            return
        previous, self._taker = self._taker, taker
        # Back to an earlier one because it works again, or on to a later one because of a failure.
        is_back = self._routing.is_before(taker, previous)
        reason = "worked_again" if is_back else self._routing.reason(previous)
        log.warning(
            "route_changed",
            producer=self._home.producer,
            route=taker,
            previous=previous,
            reason=reason,
        )
        self._record([RouteChanged(route=taker, previous=previous, reason=reason)], now=now)

    def _take_receipt(self, raw: bytes) -> None:
        for route in self._receipts.take(raw):
            self._routing.forgive(route.removesuffix(CUSTODY_MARK))

    def _offer_refused_again(self) -> None:
        try:
            requeued = self._outbox.retry_long_refused(now=self._clock.read())
        except (Unavailable, Overloaded) as error:
            log.warning("outbox_not_tidied", producer=self._home.producer, error=str(error))
            return
        if requeued:
            log.info(
                "refused_offered_again", producer=self._home.producer, requeued_segments=requeued
            )

    def _send_overdue_again(self) -> None:
        """Demote routes that took and brought no receipt in time; queue what they took again."""
        for custody, seconds in (
            (True, self._options.custody_seconds_max),
            (False, self._options.logged_seconds_max),
        ):
            late = [one for one in self._overdue(seconds) if is_custody(one.route) is custody]
            if not late:
                continue
            for route in {one.route for one in late}:
                self._routing.demote(route.removesuffix(CUSTODY_MARK), "no_receipt")
            requeued = self._outbox.requeue([one.place for one in late])
            log.warning(
                "receipts_overdue",
                producer=self._home.producer,
                routes=sorted({one.route for one in late}),
                seconds=seconds,
                requeued_segments=requeued,
            )

    def _overdue(self, seconds: float) -> list[Overdue]:
        """Return what has waited for a receipt long enough to be sent again.

        Longer each time while it could only go to the same route again; as soon as another one
        works, the first wait is enough.
        """
        now, patience = self._clock.read(), self._options.logged_seconds_max
        found = self._outbox.overdue(now=now, seconds=seconds, seconds_max=patience)
        if len(self._routing.names) == 1:
            return found
        places = {one.place for one in found}
        return [
            one
            for one in self._outbox.overdue(now=now, seconds=seconds)
            if one.place in places
            or self._routing.works_beside(one.route.removesuffix(CUSTODY_MARK))
        ]

    async def _keep_asking(self, stopping: asyncio.Event) -> None:
        """Ask soon after a send, then ever more rarely: a relay or a busy office takes its time."""
        poll = self._options.receipt_poll_seconds
        look = pause = min(poll, RECEIPT_AFTER_SEND_SECONDS)
        while not stopping.is_set():
            await _wait(stopping, look)
            if self._sent_since_asked:
                pause = look
            elif self._asked_at is not None and time.monotonic() - self._asked_at < pause:
                continue
            else:
                pause = min(poll, 2 * pause)
            if not stopping.is_set():
                await self.ask_receipt(stopping)

    def _seal(self, segments_max: int | None, *, with_health: bool = True) -> int:
        now = self._clock.read()
        self._sealed_at = time.monotonic()
        return self._outbox.seal_pending(
            signing_key=self._home.signing_key,
            reader=self._home.reader,
            sealed=Sealed(wall_ms=now.wall_ms, mono_ms=now.mono_ms, boot=now.boot),
            events_max=self._options.events_max,
            segments_max=segments_max,
            with_health=with_health,
        )

    def _seal_in_contact(self) -> None:
        """Seal what came while a backlog drains, so that it can overtake it."""
        if not self._in_contact:
            return
        waited = time.monotonic() - self._sealed_at
        pending = self._outbox.pending()
        if pending >= self._options.events_max or (
            pending and waited >= self._options.linger_seconds
        ):
            self._seal(SEAL_SEGMENTS_MAX)

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
            # An old heartbeat says nothing beside the one that is made when a route works again.
            self._seal(None, with_health=False)
            self._pending_since = None

    def _anchor(self, before: Reading, after: Reading, sent: Sent) -> None:
        """Learn the time from this contact; announce the clock's offset if it is a new one."""
        verdicts = [one.verdict for one in sent.outcomes]
        times = [one.append_ms for one in verdicts if one.append_ms is not None]
        told_ms = max(times) if times else sent.relay_ms
        if told_ms is None:
            return
        offset_ms = offset_of(Contact(before=before, after=after, append_ms=told_ms))
        if offset_ms is None:
            return
        if not times:
            self._anchor_by_relay(offset_ms, now=after)
            return
        if self._known_time is not None and not self._known_time.tell(offset_ms, at=after):
            return
        if not self._options.anchors:
            return
        due = anchors_due(offset_ms, now=after, sessions=self._outbox.boots(after.boot))
        self._record(due, now=after)

    def _anchor_by_relay(self, offset_ms: int, *, now: Reading) -> None:
        """Announce what a relay's clock says, unless that cannot be right either."""
        passed_ms = WRITTEN[1] if self._known_time is None else self._known_time.passed_ms
        if not self._options.anchors or not is_plausible(
            now.wall_ms + offset_ms, passed_ms=passed_ms
        ):
            return
        sessions = self._outbox.boots(now.boot)
        self._record(relay_anchors_due(offset_ms, now=now, sessions=sessions), now=now)

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
                    route=self._routing.current,
                    disk_free_bytes=self._home.free_bytes(),
                    software=f"rekam {version('rekam')}",
                )
            ],
            now=self._clock.read(),
        )

    def _record(
        self, data: Sequence[ClockAnchored | Heartbeat | RouteChanged], *, now: Reading
    ) -> None:
        """Append events about the device itself; in a full outbox they go without."""
        try:
            for one in data:
                name = TYPE_NAMES[type(one)]
                line = encode(Event(now.wall_ms, now.mono_ms, now.boot, one))
                if lane_of(name) == "health":
                    self._outbox.put_health(name, line)
                    continue
                offsets = (
                    {one.anchored_boot: one.offset_ms} if isinstance(one, ClockAnchored) else None
                )
                if isinstance(one, ClockAnchored) and one.source in RELAY_SOURCES:
                    self._outbox.append([line], by_relay=offsets)
                else:
                    self._outbox.append([line], anchored=offsets)
        except OutboxFull as error:
            # Sending must go on: it is the way out. Anchors come again at the next contact.
            log.warning("device_event_not_recorded", producer=self._home.producer, error=str(error))


def _events(segments: Sequence[StoredSegment]) -> int:
    return sum(one.last - one.first + 1 for one in segments)


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    """Wait, but not beyond `stopping`."""
    if seconds <= 0:
        return
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return


async def _finish_soon_after(
    stopping: asyncio.Event, work: Coroutine[Any, Any, T], *, what: str
) -> T:
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
                f"stopped before the route answered about {what}; it is asked again at the next "
                "start, and nothing is lost"
            )
        return working.result()
    finally:
        # Ours alone, so nobody else would end or await them.
        working.cancel()
        noticing.cancel()
        await asyncio.gather(working, noticing, return_exceptions=True)
