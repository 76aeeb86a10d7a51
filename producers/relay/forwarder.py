"""Brings what a relay holds to its upstream: oldest first, in bounded memory, byte for byte.

    due ─► send by the first route that works ─► note what it said ─► receipts ─► released

Upstream is believed in nothing that matters: whatever it says, a segment stays until a receipt
covers it, and is forwarded again when none has for long. So a lying or garbled upstream costs
traffic, and a kill between sending and noting sends twice what counts once.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

import structlog

from producers.device.route import Delivery, Route, SegmentVerdict
from producers.relay.custody import Custody
from producers.relay.store import Batch, HeldSegment, State
from rekam.domain.errors import CustodyFull, Overloaded, Unavailable
from rekam.domain.ids import ProducerId

BATCH_BYTES_MAX: Final = 1024 * 1024
BATCH_SEGMENTS_MAX: Final = 64
RECEIPTS_MAX: Final = 50
"""Producers of one round of asking for receipts."""

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


class Jitter(Protocol):
    """The part of `random.Random` that spreads retries."""

    def uniform(self, low: float, high: float) -> float:
        """Return a number between both."""


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
    ) -> None:
        """Take the ways upstream, in the order in which they are tried."""
        assert routes  # noqa: S101 - our own bug
        self._custody, self._routes = custody, tuple(routes)
        self._now_ms, self._options = now_ms, options
        self._jitter = random.Random() if jitter is None else jitter  # noqa: S311 - no secret
        self._asked_through = ""
        """The last producer of the last round of receipts."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Forward, and ask for receipts, until `stopping` is set."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forward(stopping), name="forward")
            tasks.create_task(self._ask(stopping), name="ask-for-receipts")

    async def _forward(self, stopping: asyncio.Event) -> None:
        failures = 0
        while not stopping.is_set():
            self._custody.arrived.clear()
            try:
                is_idle = not await self._forward_one()
            except (Unavailable, Overloaded) as error:
                failures += 1
                seconds = self._back_off(failures, error.retry_after_seconds)
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
        delivery = await self._send(batch)
        states = [
            (one, *self._state(one, verdict))
            for one, verdict in zip(batch.segments, delivery.verdicts, strict=True)
        ]
        try:
            await custody.with_store(custody.store.settle, states)
        except CustodyFull as error:
            raise Unavailable(str(error)) from error
        log.info(
            "segments_forwarded",
            producer=batch.producer,
            segments=len(states),
            logged=sum(verdict.verdict == "logged" for verdict in delivery.verdicts),
            refused=sum(verdict.verdict == "refused" for verdict in delivery.verdicts),
        )
        if delivery.receipt is not None:
            await custody.learn(delivery.receipt)
        return True

    async def _send(self, batch: Batch) -> Delivery:
        """Send by the first route that works. Raises what the last one raised."""
        raws = [one.raw for one in batch.segments]
        error: Unavailable | Overloaded | None = None
        for route in self._routes:
            try:
                delivery = await route.send(raws, producer=batch.producer)
            except (Unavailable, Overloaded) as failure:
                error = failure
                continue
            if len(delivery.verdicts) == len(raws):
                return delivery
            error = Unavailable(
                f"route {route.label} gave {len(delivery.verdicts)} verdicts for {len(raws)} "
                "segments; nothing of it is believed"
            )
        assert error is not None  # noqa: S101 - there is a route
        raise error

    def _state(self, one: HeldSegment, verdict: SegmentVerdict) -> tuple[State, int]:
        """Return the state of a segment after a verdict, and when it is due again."""
        options = self._options
        state: State
        match verdict.verdict:
            case "logged" | "custody":
                state, seconds = "forwarded", options.unreceipted_seconds
            case "refused":
                log.warning("segment_refused_upstream", code=verdict.code)
                state, seconds = "refused", options.refused_seconds
            case "retry":
                state, seconds = "waiting", options.retry_seconds
            case _:
                assert_never(verdict.verdict)
        doubled = min(_DAY_SECONDS, seconds * 2.0 ** min(one.tries, _DOUBLINGS_MAX))
        return state, self._now_ms() + round(doubled * 1000)

    def _back_off(self, failures: int, at_least: float | None) -> float:
        """Return how long to leave upstream alone: full jitter, on top of what it asked for."""
        options = self._options
        cap = options.back_off_seconds_first * 2.0 ** min(failures - 1, _DOUBLINGS_MAX)
        return (at_least or 0.0) + self._jitter.uniform(0, min(cap, options.back_off_seconds_max))

    async def _ask(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            for producer in await self._next_to_ask():
                raw = await self._receipt(producer)
                if stopping.is_set():
                    return
                if raw is not None:
                    await self._custody.learn(raw)
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

    async def _receipt(self, producer: ProducerId) -> bytes | None:
        """Return a receipt from the first route that has one; None when none has or answers."""
        for route in self._routes:
            with contextlib.suppress(Unavailable, Overloaded):  # `_forward` tells of them
                raw = await route.receipt(producer)
                if raw is not None:
                    return raw
        return None


async def _wait(*events: asyncio.Event, seconds: float) -> None:
    """Return when one of the events is set, or after so many seconds."""
    waiting = {asyncio.ensure_future(event.wait()) for event in events}
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
