"""Brings what a relay holds to its upstream: oldest first, in bounded memory, byte for byte.

    due ─► send by the first route that works ─► note what it said ─► receipts ─► released

Routes fail over and back as a device's do (producers/device/routing.py). What is forwarded again
goes by another route than before, and one whose receipts stay out stands behind the others.

Upstream is believed in nothing that matters: whatever it says, a segment stays until a receipt
covers it, and is forwarded again when none has for long. So a lying or garbled upstream costs
traffic, and a kill between sending and noting sends twice what counts once.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

import structlog

from producers.device.clock import Contact, Reading, offset_of
from producers.device.known_time import KnownTime
from producers.device.receipts import CUSTODY_MARK, is_custody, taken_by
from producers.device.route import Route
from producers.device.routing import (
    Jitter,
    Outcome,
    Routing,
    RoutingOptions,
    Sent,
    retry_seconds,
)
from producers.relay.custody import Custody
from producers.relay.store import HeldSegment, Settled, State
from rekam.domain.errors import CustodyFull, Overloaded, Unavailable
from rekam.domain.ids import ProducerId

BATCH_BYTES_MAX: Final = 1024 * 1024
BATCH_SEGMENTS_MAX: Final = 64
RECEIPTS_MAX: Final = 50
"""Producers of one round of asking for receipts."""

LOGGED_TRIES: Final = 5
"""Tries without a receipt until a route that said `logged` is demoted: after 1, 3, 7, 15, 31 h."""

_DAY_SECONDS: Final = 24 * 3600.0
_DOUBLINGS_MAX: Final = 20

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderOptions:
    """How eager a relay is. Waits that double end at a day."""

    idle_seconds: float = 5.0
    """How often it looks for what has become due by time alone."""
    back_off_seconds_first: float = 1.0
    back_off_seconds_max: float = 300.0
    unreceipted_seconds: float = 3600.0
    """When what upstream has taken is forwarded again if no receipt covers it; doubles."""
    retry_seconds: float = 30.0
    """When what upstream asked for again is forwarded again; doubles."""
    refused_seconds: float = _DAY_SECONDS
    """When what upstream quarantined is forwarded again: its judgement may have been early."""
    receipt_seconds: float = 10.0
    """How often receipts are asked for."""


class Forwarder:
    """Forwards one relay's segments. Its owner stops the routes."""

    def __init__(
        self,
        custody: Custody,
        routes: Sequence[Route],
        *,
        now_ms: Callable[[], int],
        options: ForwarderOptions = ForwarderOptions(),
        jitter: Jitter | None = None,
        known_time: KnownTime | None = None,
    ) -> None:
        """Take the ways upstream, in the order in which they are tried."""
        assert routes  # noqa: S101 - our own bug
        self._custody = custody
        self._now_ms, self._options = now_ms, options
        self._known_time = known_time
        self._jitter = random.Random() if jitter is None else jitter  # noqa: S311 - no secret
        self._backing_off = RoutingOptions(
            retry_seconds_first=options.back_off_seconds_first,
            retry_seconds_max=options.back_off_seconds_max,
        )
        self._routing = Routing(routes, options=self._backing_off, jitter=self._jitter)
        self._asked_through = ""
        """The last producer of the last round of receipts."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Forward, and ask for receipts, until `stopping` is set."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._forward(stopping), name="forward")
                tasks.create_task(self._ask(stopping), name="ask-for-receipts")
        finally:
            await self._routing.settle()

    async def _forward(self, stopping: asyncio.Event) -> None:
        failures = 0
        while not stopping.is_set():
            self._custody.arrived.clear()
            try:
                is_idle = not await self._forward_one()
            except (Unavailable, Overloaded) as error:
                failures += 1
                # No route's fault when one may be tried: the disk's, say.
                seconds = self._routing.seconds_until_try or retry_seconds(
                    failures, self._backing_off, self._jitter
                )
                log.warning(
                    "upstream_failed",
                    failures=failures,
                    retry_ms=round(seconds * 1000),
                    error=str(error),
                )
                await _wait(stopping, seconds=seconds)
                continue
            failures = 0
            if is_idle:
                await _wait(stopping, self._custody.arrived, seconds=self._options.idle_seconds)

    async def _forward_one(self) -> bool:
        """Forward one batch and note what became of it; return whether anything was due."""
        custody = self._custody
        batch = await custody.with_store(
            custody.store.next_batch,
            now_ms=self._now_ms(),
            bytes_max=BATCH_BYTES_MAX,
            segments_max=BATCH_SEGMENTS_MAX,
        )
        if batch is None:
            return False
        self._demote(batch.segments)
        before = None if self._known_time is None else self._known_time.read_clock()
        sent = await self._routing.send(
            [one.raw for one in batch.segments],
            producer=batch.producer,
            avoided=[
                None if one.route is None else one.route.removesuffix(CUSTODY_MARK)
                for one in batch.segments
            ],
        )
        self._learn_time(before, sent)
        states = [
            self._settled(one, outcome)
            for one, outcome in zip(batch.segments, sent.outcomes, strict=True)
        ]
        try:
            await custody.with_store(custody.store.settle, states)
        except CustodyFull as error:
            raise Unavailable(str(error)) from error
        log.info(
            "segments_forwarded",
            producer=batch.producer,
            segments=len(states),
            logged=sum(one.verdict.verdict == "logged" for one in sent.outcomes),
            refused=sum(one.state == "refused" for one in states),
            route=sent.taker,
        )
        for raw in sent.receipts:
            await self._learn(raw)
        return True

    def _demote(self, segments: Sequence[HeldSegment]) -> None:
        """Put routes behind the others that took what no receipt has covered since.

        One that promised to bring it on has had an hour; one that said that it is in the log is
        blamed a day later, because its receipts wait for the office to fold.
        """
        for route in {
            one.route
            for one in segments
            if one.state == "forwarded"
            and one.route is not None
            and (is_custody(one.route) or one.tries >= LOGGED_TRIES)
        }:
            self._routing.demote(route.removesuffix(CUSTODY_MARK), "no_receipt")

    async def _learn(self, raw: bytes) -> None:
        for route in await self._custody.learn(raw):
            self._routing.forgive(route.removesuffix(CUSTODY_MARK))

    def _learn_time(self, before: Reading | None, sent: Sent) -> None:
        """Learn the time from the log's append time: devices are told it, and certificates too."""
        times = [
            one.verdict.append_ms for one in sent.outcomes if one.verdict.append_ms is not None
        ]
        if self._known_time is None or before is None or not times:
            return
        after = self._known_time.read_clock()
        offset_ms = offset_of(Contact(before=before, after=after, append_ms=max(times)))
        if offset_ms is not None:
            self._known_time.tell(offset_ms, at=after)

    def _settled(self, one: HeldSegment, outcome: Outcome) -> Settled:
        """Return what to remember of a segment: its state, when it is due again, and by whom."""
        options, verdict = self._options, outcome.verdict
        state: State
        route: str | None = taken_by(outcome.route, verdict.verdict)
        match verdict.verdict:
            case "logged" | "custody":
                state, seconds = "forwarded", options.unreceipted_seconds
            case "refused":
                log.warning("segment_refused_upstream", route=route, code=verdict.code)
                state, seconds = "refused", options.refused_seconds
            case "retry":
                state, seconds, route = "waiting", options.retry_seconds, None
            case _:
                assert_never(verdict.verdict)
        doubled = min(_DAY_SECONDS, seconds * 2.0 ** min(one.tries, _DOUBLINGS_MAX))
        return Settled(one, state, self._now_ms() + round(doubled * 1000), route)

    async def _ask(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            for producer in await self._next_to_ask():
                raw = await self._routing.any_receipt(producer)
                if stopping.is_set():
                    return
                if raw is not None:
                    await self._learn(raw)
            await _wait(stopping, seconds=self._options.receipt_seconds)

    async def _next_to_ask(self) -> list[ProducerId]:
        """Return whose receipts to ask for: who waits for one, in turn, and who was asked for."""
        custody = self._custody
        try:
            waiting = await custody.with_store(
                custody.store.forwarded_producers, after=self._asked_through, limit=RECEIPTS_MAX
            )
        except Unavailable as error:
            log.warning("custody_unavailable", error=str(error))
            return []
        self._asked_through = waiting[-1] if len(waiting) == RECEIPTS_MAX else ""
        return list(dict.fromkeys([*waiting, *custody.take_asked(RECEIPTS_MAX)]))


async def _wait(*events: asyncio.Event, seconds: float) -> None:
    """Return when one of the events is set, or after so many seconds."""
    waiting = {asyncio.ensure_future(event.wait()) for event in events}
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
