"""Several routes in order, a circuit for each: fail over at once, fail back without a person.

    closed ──a send fails──► open ──its back-off ends──► half-open ──a probe works──► closed
                              ▲                              └────────it fails────────► open

    what it took did not arrive ──► demoted for long ──its time ends──► half-open

What is to be sent goes by the first closed route, and when that fails by the next at once. An
earlier route whose back-off has ended is probed beside it with one segment, so that a probe that
hangs holds nothing up; the log may then have that segment twice, and it counts once. Only when no
route is closed is a half-open one tried with everything, and when all have failed for a while, a
demoted one: a relay that may deliver is better than none.

A `refused` is believed of a route that puts segments into the log. A relay's says no more than that
it will not keep the segment, so the next route is asked; and who has refused a segment before is
asked last. So one server that is wrong, or lies, keeps nothing out of the log that another takes.

The size of a send follows the route: doubled when it was quick, halved when it was slow or failed.
So a slow link is asked for no more than it can do before its time-out, and a fast one is filled.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import structlog

from producers.device.pacing import ByteLimit
from producers.device.route import Route, SegmentVerdict, is_custodian
from rekam.domain.errors import Overloaded, Unavailable
from rekam.domain.ids import ProducerId

RETRY_SECONDS_FIRST: Final = 1.0
RETRY_SECONDS_MAX: Final = 900.0
DEMOTED_SECONDS_MAX: Final = 86_400.0
"""A route that took and did not deliver stands behind all others for RETRY_SECONDS_MAX, twice as
long each time, at most this long."""

LAST_RESORT_FAILURES: Final = 3
"""Failures in a row of each other route until demoted ones are used: a hiccup of seconds is no
reason to give segments to who may drop them, and then to wait an hour for receipts."""

BYTES_FIRST: Final = 64 * 1024
BYTES_MIN: Final = 16 * 1024
BYTES_MAX: Final = 1024 * 1024
"""Most that goes at once, and so the share of the queue in memory."""
QUICK_SECONDS: Final = 2.0
SLOW_SECONDS: Final = 8.0

BOTH_GRACE_SECONDS: Final = 1.0
"""How long the second of two routes may take longer than the first before it is left behind."""

RETRIES_MAX: Final = 3
"""Sends in a row that a route answers with nothing but `retry`, until it counts as failed."""

BUSY_SECONDS: Final = 0.1
"""When to look again while every route is busy with what it was given earlier."""

MONOTONIC: Final = time.monotonic
"""The clock of back-offs and limits; a test passes its own."""

_RANK: Final = {"retry": 0, "refused": 1, "custody": 2, "logged": 3}

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Jitter(Protocol):
    """The part of `random.Random` that spreads retries."""

    def uniform(self, low: float, high: float) -> float:
        """Return a number between both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingOptions:
    """How routes are used."""

    both: bool = False
    """Send everything by the first two routes at once."""
    retry_seconds_first: float = RETRY_SECONDS_FIRST
    retry_seconds_max: float = RETRY_SECONDS_MAX
    grace_seconds: float = BOTH_GRACE_SECONDS


def retry_seconds(
    failures: int, options: RoutingOptions, jitter: Jitter, *, at_least: float = 0.0
) -> float:
    """Return how long to wait after so many failures in a row: full jitter under a doubling cap.

    `at_least` comes on top, so that all who were told the same time do not come at the same time.
    """
    # The exponent is bounded: weeks without a route must not overflow a float.
    cap = min(options.retry_seconds_max, options.retry_seconds_first * 2.0 ** min(failures - 1, 32))
    return at_least + jitter.uniform(0, cap)


class Circuit:
    """Whether a route may be tried now. Its owner says what became of each try."""

    def __init__(
        self, options: RoutingOptions, *, jitter: Jitter, monotonic: Callable[[], float]
    ) -> None:
        """Begin closed."""
        self._options = options
        self._jitter = jitter
        self._monotonic = monotonic
        self._failures = 0
        self._demotions = 0
        self._failed_until: float | None = None
        self._demoted_until: float | None = None

    @property
    def state(self) -> Literal["closed", "open", "half_open", "demoted"]:
        """Return where it stands."""
        if self._failed_until is not None and self._monotonic() < self._failed_until:
            return "open"
        if self.is_demoted:
            return "demoted"
        is_closed = self._failed_until is None and self._demoted_until is None
        return "closed" if is_closed else "half_open"

    @property
    def is_demoted(self) -> bool:
        """Return whether it is demoted now, in its back-off or not."""
        return self._demoted_until is not None and self._monotonic() < self._demoted_until

    @property
    def seconds_left(self) -> float:
        """Return how long until it may be tried; a demoted one may be, as the last resort."""
        if self._failed_until is None:
            return 0.0
        return max(0.0, self._failed_until - self._monotonic())

    @property
    def failures(self) -> int:
        """Return how many tries in a row failed."""
        return self._failures

    def worked(self) -> None:
        """Close it. A demoted one stays so until its time is over: taking is what it can do."""
        self._failures = 0
        self._failed_until = None
        if self.state == "half_open":
            self._demoted_until = None

    def failed(self, *, at_least: float = 0.0) -> float:
        """Open it for a while; return the seconds."""
        self._failures += 1
        seconds = retry_seconds(self._failures, self._options, self._jitter, at_least=at_least)
        self._failed_until = self._monotonic() + seconds
        return seconds

    def demote(self) -> float:
        """Put it behind all others for long: what it took did not arrive; return the seconds.

        While it is demoted this changes nothing: what it took before says nothing new of it.
        """
        now = self._monotonic()
        if self._demoted_until is None or now >= self._demoted_until:
            self._demotions += 1
            seconds = self._options.retry_seconds_max * 2.0 ** min(self._demotions - 1, 32)
            self._demoted_until = now + min(DEMOTED_SECONDS_MAX, seconds)
        return self._demoted_until - now

    def forgive(self) -> None:
        """Forget demotions: what it took did arrive."""
        self._demotions = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a segment, and by which route."""

    verdict: SegmentVerdict
    route: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What a send came to: an outcome for each segment, in order."""

    outcomes: tuple[Outcome, ...]
    receipts: tuple[bytes, ...]
    taker: str | None
    """The first route, in their order, that took anything."""
    relay_ms: int | None = None
    """The wall clock of a relay that took custody of any of them last."""


_NOT_SENT: Final = Outcome(SegmentVerdict("retry", code="not_sent"), "")


@dataclass(slots=True)
class _Attempt:
    """What one route made of some segments, by their places."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    receipts: list[bytes] = field(default_factory=list)
    error: Unavailable | Overloaded | None = None
    relay_ms: int | None = None

    def merge(self, other: "_Attempt") -> None:
        """Take over what is better."""
        for place, outcome in other.outcomes.items():
            known = self.outcomes.get(place)
            if known is None or _RANK[outcome.verdict.verdict] > _RANK[known.verdict.verdict]:
                self.outcomes[place] = outcome
        self.receipts += other.receipts
        self.relay_ms = other.relay_ms or self.relay_ms

    def left(self, count: int) -> list[int]:
        """Return the places that nobody took or refused."""
        return [
            place
            for place in range(count)
            if place not in self.outcomes or self.outcomes[place].verdict.verdict == "retry"
        ]


@dataclass(slots=True)
class _Guarded:
    """A route with its circuit, and how much it is given at a time."""

    name: str
    route: Route
    circuit: Circuit
    keeps_only: bool
    """It is a relay, by its name or its answers: what it refuses, others may log."""
    window: int = BYTES_FIRST
    retries: int = 0
    reason: str = "unavailable"
    """Why it failed last."""
    task: asyncio.Task[_Attempt] | None = None
    """What it still does beside everything else: at most one thing."""

    @property
    def is_free(self) -> bool:
        return self.task is None or self.task.done()

    def pieces(self, places: Sequence[int], segments: Sequence[bytes]) -> Iterator[list[int]]:
        piece: list[int] = []
        size = 0
        for place in places:
            if piece and size + len(segments[place]) > self.window:
                yield piece
                piece, size = [], 0
            piece.append(place)
            size += len(segments[place])
        if piece:
            yield piece

    def fit(self, size: int, seconds: float) -> None:
        """Learn from a send that was answered."""
        if seconds > SLOW_SECONDS:
            self.window = max(BYTES_MIN, self.window // 2)
        elif seconds < QUICK_SECONDS and 2 * size >= self.window:
            self.window = min(BYTES_MAX, 2 * self.window)


class Routing:
    """Sends by several routes in order. Not for use by several tasks at once."""

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        options: RoutingOptions = RoutingOptions(),
        limit: ByteLimit | None = None,
        jitter: Jitter | None = None,
        monotonic: Callable[[], float] = MONOTONIC,
    ) -> None:
        """Take routes over, at least one; `stop` stops them all."""
        assert routes  # noqa: S101 - our own bug
        self._options = options
        self._monotonic = monotonic
        self.limit = limit or ByteLimit(None, monotonic=monotonic)
        spread = jitter or random.SystemRandom()
        self._guarded = [
            _Guarded(
                name,
                route,
                Circuit(options, jitter=spread, monotonic=monotonic),
                keeps_only=is_custodian(name),
            )
            for name, route in zip(_names(routes), routes, strict=True)
        ]
        self._beside: set[asyncio.Task[_Attempt]] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """Return a name for each route, distinct and without an address."""
        return tuple(one.name for one in self._guarded)

    @property
    def current(self) -> str:
        """Name the route by which the next send goes."""
        return self._first().name

    @property
    def batch_bytes(self) -> int:
        """Return how much to give to the next send at most, unless one segment is larger."""
        window = self._first().window
        limit = self.limit.batch_bytes
        return window if limit is None else min(window, limit)

    @property
    def seconds_until_try(self) -> float:
        """Return how long to wait until a route may be tried; 0 when one is closed."""
        return min(
            max(one.circuit.seconds_left, 0.0 if one.is_free else BUSY_SECONDS)
            for one in self._wanted()
        )

    def reason(self, name: str) -> str:
        """Return why a route failed last, as a stable word."""
        return next((one.reason for one in self._guarded if one.name == name), "unavailable")

    def is_before(self, name: str, other: str) -> bool:
        """Return whether a route stands before another one in their order."""
        names = self.names
        return name in names and other in names and names.index(name) < names.index(other)

    def works_beside(self, name: str) -> bool:
        """Return whether another route than that one is closed and not demoted."""
        return any(one.name != name and one.circuit.state == "closed" for one in self._guarded)

    async def send(
        self,
        segments: Sequence[bytes],
        *,
        producer: ProducerId,
        avoided: Sequence[str | None] = (),
    ) -> Sent:
        """Send by the first route that works; what it does not take, by the next.

        `avoided` may name for each segment the route that gets it only when no other takes it.
        Raises Unavailable when nobody took anything or said anything of it: `retry_after_seconds`
        then says when the first route may be tried again.
        """
        self._collect()
        assert len(avoided) in {0, len(segments)}  # noqa: S101 - our own bug
        spared = dict(enumerate(avoided))
        found = _Attempt()
        errors: list[str] = []
        order = self._order()
        if self._options.both:
            pair = [one for one in order if one in self._guarded[:2] and not one.circuit.is_demoted]
            await self._by_all(pair, segments, producer, found, errors)
            order = [one for one in order if one not in pair]
        else:
            self._probe_before(order, segments, producer, spared=spared)
        for one, is_last_resort in [(one, False) for one in order] + [(one, True) for one in order]:
            places = [
                place
                for place in found.left(len(segments))
                if (spared.get(place) == one.name) is is_last_resort
            ]
            # One that failed a moment ago is in its back-off.
            if not places or one.circuit.state == "open":
                continue
            attempt = await self._attempt(one, segments, places, producer)
            found.merge(attempt)
            if attempt.error is not None:
                errors.append(str(attempt.error))
        if not found.outcomes:
            raise Unavailable(
                "; ".join(errors) or "no route may be tried now; they are in their back-off",
                retry_after_seconds=self.seconds_until_try,
            )
        took = {
            outcome.route
            for outcome in found.outcomes.values()
            if outcome.verdict.verdict in {"logged", "custody"}
        }
        return Sent(
            outcomes=tuple(found.outcomes.get(place, _NOT_SENT) for place in range(len(segments))),
            receipts=tuple(found.receipts),
            taker=next((name for name in self.names if name in took), None),
            relay_ms=found.relay_ms,
        )

    async def receipt(self, producer: ProducerId) -> bytes | None:
        """Ask the current route for a receipt; what it fails at here does not count against it.

        Raises Unavailable or Overloaded.
        """
        return await self._first().route.receipt(producer)

    async def any_receipt(self, producer: ProducerId) -> bytes | None:
        """Ask the routes for a receipt, those first that work best, until one has one.

        None when none has, or none answers; one in its back-off is not asked.
        """
        for one in self._in_order(self._guarded):
            with contextlib.suppress(Unavailable, Overloaded):  # `send` tells of them
                raw = await one.route.receipt(producer)
                if raw is not None:
                    return raw
        return None

    def demote(self, name: str, reason: str) -> bool:
        """Put a route behind all others for long, if there are; return whether that was done."""
        for one in self._guarded:
            if one.name == name and len(self._guarded) > 1:
                seconds = one.circuit.demote()
                one.reason = reason
                log.warning("route_demoted", route=name, reason=reason, seconds=round(seconds))
                return True
        return False

    def forgive(self, name: str) -> None:
        """Say that what a route took did arrive."""
        for one in self._guarded:
            if one.name == name:
                one.circuit.forgive()

    async def settle(self) -> None:
        """End what goes on beside the sends; the routes stay open."""
        tasks = list(self._beside)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._beside.clear()

    async def stop(self) -> None:
        """End everything and stop all routes; safe to call twice."""
        await self.settle()
        for one in self._guarded:
            await one.route.stop()

    def _first(self) -> _Guarded:
        return next(iter(self._order()), self._guarded[0])

    def _order(self) -> list[_Guarded]:
        """Return the routes to which something may go now."""
        return self._in_order(self._wanted())

    def _in_order(self, routes: Sequence[_Guarded]) -> list[_Guarded]:
        """Return those that may be tried now: closed ones first, demoted ones last."""
        free = [(one.circuit.state, one) for one in routes if one.is_free]
        return [
            one
            for wanted in ("closed", "half_open", "demoted")
            for state, one in free
            if state == wanted
        ]

    def _wanted(self) -> list[_Guarded]:
        """Return the routes to which something may go: demoted ones when no other works."""
        others = [one for one in self._guarded if not one.circuit.is_demoted]
        if all(one.circuit.failures >= LAST_RESORT_FAILURES for one in others):
            return self._guarded
        return others

    def _probe_before(
        self,
        order: list[_Guarded],
        segments: Sequence[bytes],
        producer: ProducerId,
        *,
        spared: Mapping[int, str | None],
    ) -> None:
        """Probe earlier routes whose back-off has ended, beside a closed one; not for both jobs."""
        if not order or order[0].circuit.state != "closed":
            return
        for one in order[:]:
            if one.circuit.state == "half_open" and self.is_before(one.name, order[0].name):
                order.remove(one)
                places = [place for place in range(len(segments)) if spared.get(place) != one.name]
                # Of nothing but what it has refused nothing is learnt.
                if places:
                    self._begin(one, self._attempt(one, segments, places[:1], producer))

    async def _by_all(
        self,
        pair: list[_Guarded],
        segments: Sequence[bytes],
        producer: ProducerId,
        found: _Attempt,
        errors: list[str],
    ) -> None:
        """Send everything by all of these at once; stop waiting soon after one took it all."""
        places = list(range(len(segments)))
        waited = {self._begin(one, self._attempt(one, segments, places, producer)) for one in pair}
        while waited:
            done, waited = await asyncio.wait(
                waited,
                timeout=None if found.left(len(segments)) else self._options.grace_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                return
            for task in done:
                attempt = task.result()
                found.merge(attempt)
                if attempt.error is not None:
                    errors.append(str(attempt.error))

    def _begin(self, one: _Guarded, work: Coroutine[Any, Any, _Attempt]) -> asyncio.Task[_Attempt]:
        one.task = asyncio.create_task(work, name=f"route-{one.name}")
        self._beside.add(one.task)
        return one.task

    def _collect(self) -> None:
        """Look after what went on beside the sends: a bug in there must not stay unseen."""
        for task in [task for task in self._beside if task.done()]:
            self._beside.discard(task)
            if not task.cancelled():
                task.result()

    async def _attempt(
        self,
        one: _Guarded,
        segments: Sequence[bytes],
        places: Sequence[int],
        producer: ProducerId,
    ) -> _Attempt:
        """Send some of the segments by one route, a window at a time; remember how it went."""
        attempt = _Attempt()
        for piece in one.pieces(places, segments):
            raws = [segments[place] for place in piece]
            size = sum(map(len, raws))
            self.limit.spend(size)
            began = self._monotonic()
            try:
                delivery = await one.route.send(raws, producer=producer)
            except (Unavailable, Overloaded) as error:
                attempt.error = error
                self._failed(one, error.code, error, at_least=error.retry_after_seconds or 0.0)
                return attempt
            if len(delivery.verdicts) != len(piece):
                attempt.error = Unavailable(
                    f"{one.name} gave {len(delivery.verdicts)} verdicts for {len(piece)} segments; "
                    "nothing of it is believed"
                )
                self._failed(one, "unavailable", attempt.error)
                return attempt
            verdicts = self._believed(one, delivery.verdicts)
            for place, verdict in zip(piece, verdicts, strict=True):
                attempt.outcomes[place] = Outcome(verdict, one.name)
            if delivery.receipt is not None:
                attempt.receipts.append(delivery.receipt)
            attempt.relay_ms = delivery.relay_ms or attempt.relay_ms
            if all(verdict.verdict == "retry" for verdict in verdicts):
                one.retries += 1
                if len(piece) > 1 or one.retries >= RETRIES_MAX:
                    attempt.error = Unavailable(f"{one.name} took none of {len(piece)} segments")
                    self._failed(one, "retry", attempt.error)
                    return attempt
            else:
                self._worked(one, size, self._monotonic() - began)
        return attempt

    def _believed(
        self, one: _Guarded, verdicts: Sequence[SegmentVerdict]
    ) -> Sequence[SegmentVerdict]:
        """Return what counts of an answer: a relay's refusal is no more than a `retry`."""
        one.keeps_only |= any(verdict.verdict == "custody" for verdict in verdicts)
        if not one.keeps_only:
            return verdicts
        return [
            SegmentVerdict("retry", code=verdict.code or "refused")
            if verdict.verdict == "refused"
            else verdict
            for verdict in verdicts
        ]

    def _worked(self, one: _Guarded, size: int, seconds: float) -> None:
        one.retries = 0
        one.fit(size, seconds)
        if one.circuit.failures:
            log.info("route_worked_again", route=one.name, failures=one.circuit.failures)
        one.circuit.worked()

    def _failed(
        self, one: _Guarded, reason: str, error: Exception, *, at_least: float = 0.0
    ) -> None:
        one.retries = 0
        one.reason = reason
        one.window = max(BYTES_MIN, one.window // 2)
        seconds = one.circuit.failed(at_least=at_least)
        log.warning(
            "route_failed",
            route=one.name,
            failures=one.circuit.failures,
            retry_ms=round(seconds * 1000),
            error=str(error),
        )


def _names(routes: Sequence[Route]) -> list[str]:
    """Return the labels, numbered from the second on that has the same: gateway, gateway-2."""
    names: list[str] = []
    for route in routes:
        same = sum(name.split("-")[0] == route.label for name in names)
        names.append(route.label if not same else f"{route.label}-{same + 1}")
    return names
