"""How fast and in which order the queue goes: a limit in bytes a second, and shares of the way.

While a backlog drains, what is recorded now keeps most of the bandwidth, so that an office sees
today's recordings today. Two queues, weighed by bytes: a queue's *pace* is what it sent divided by
its share, and the one with the lower pace goes next. A queue that had nothing to send saves nothing
up.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from producers.device.outbox import START, Place, StoredSegment

Queue = Literal["fresh", "backlog"]

FRESH_SHARE: Final = 0.7

ASIDE_MAX: Final = 10_000
"""Segments that are put aside in one pass; beyond it the pass ends: the fault is not theirs."""


class ByteLimit:
    """At most so many bytes a second in the long run: a bucket that may be overdrawn by one send.

    Full at the start and never fuller than one second's worth.
    """

    def __init__(self, bytes_per_second: int | None, *, monotonic: Callable[[], float]) -> None:
        """None: no limit."""
        assert bytes_per_second is None or bytes_per_second > 0, bytes_per_second  # noqa: S101 - our own bug
        self._rate = bytes_per_second
        self._monotonic = monotonic
        self._left = float(bytes_per_second or 0)
        self._at = monotonic()

    @property
    def batch_bytes(self) -> int | None:
        """Return how much one send should hold at most; None: as much as it likes."""
        return self._rate

    def spend(self, size: int) -> None:
        """Count bytes that are sent now, also when that overdraws."""
        if self._rate is not None:
            self._fill(self._rate)
            self._left -= size

    def wait_seconds(self) -> float:
        """Return how long to wait until the next byte may be sent."""
        if self._rate is None:
            return 0.0
        self._fill(self._rate)
        return max(0.0, -self._left / self._rate)

    def _fill(self, rate: int) -> None:
        now = self._monotonic()
        self._left = min(float(rate), self._left + (now - self._at) * rate)
        self._at = now


class FairShare:
    """Which of two queues goes next, so that each gets its share of the bytes while both wait."""

    def __init__(self, fresh_share: float = FRESH_SHARE) -> None:
        """Give the fresh queue that share, the backlog the rest."""
        assert 0 < fresh_share < 1, fresh_share  # noqa: S101 - our own bug
        self._shares: dict[Queue, float] = {"fresh": fresh_share, "backlog": 1 - fresh_share}
        self._pace: dict[Queue, float] = {"fresh": 0.0, "backlog": 0.0}

    def order(self) -> tuple[Queue, Queue]:
        """Return both queues, the one first that is behind; fresh if they are even."""
        fresh_first = self._pace["fresh"] <= self._pace["backlog"]
        return ("fresh", "backlog") if fresh_first else ("backlog", "fresh")

    def charge(self, queue: Queue, size: int) -> None:
        """Count what a queue sends."""
        self._pace[queue] += size / self._shares[queue]

    def idle(self, queue: Queue) -> None:
        """Say that a queue had nothing to send: it does not catch up later."""
        self._pace[queue] = max(self._pace.values())


class UnsentSource(Protocol):
    """The part of an outbox that tells what waits."""

    def unsent(
        self, *, limit_bytes: int, after: Place = START, through: Place | None = None
    ) -> list[StoredSegment]:
        """Return the oldest unsent segments whose place is in (after, through]."""

    def unsent_critical(self, *, limit_bytes: int) -> list[StoredSegment]:
        """Return the oldest unsent segments that hold critical events."""


@dataclass(slots=True)
class _Span:
    """A part of the queue and how far this pass has come in it."""

    after: Place
    through: Place | None
    at: Place = START

    def __post_init__(self) -> None:
        self.at = self.after


class Picker:
    """Picks what goes next: critical events, then fresh ones and backlog by their shares.

    A segment that no route would have is put aside: this pass goes on behind it, and the next pass
    begins with it again. Nothing is picked twice in one pass.
    """

    def __init__(self, outbox: UnsentSource, *, fresh_share: float = FRESH_SHARE) -> None:
        """Begin without a contact: all that waits is one queue, the oldest first."""
        self._outbox = outbox
        self._share = FairShare(fresh_share)
        self._spans: dict[Queue, _Span] = {}
        self._aside: set[Place] = set()
        self.end_contact()

    @property
    def aside(self) -> Collection[Place]:
        """Return the places of what was put aside in this pass."""
        return self._aside

    def begin_contact(self, through: Place) -> None:
        """Call all up to this place the backlog, and the rest fresh."""
        self._spans = {"backlog": _Span(START, through), "fresh": _Span(through, None)}
        self._aside.clear()

    def end_contact(self) -> None:
        """Forget what is fresh: all that waits when the next contact comes is its backlog."""
        self._spans = {"backlog": _Span(START, None)}
        self._aside.clear()

    def begin_pass(self) -> None:
        """Offer again what was put aside."""
        for span in self._spans.values():
            span.at = span.after
        self._aside.clear()

    def pick(self, *, limit_bytes: int) -> list[StoredSegment]:
        """Return what goes next, at least one segment; none when this pass is through."""
        critical = [
            one
            for one in self._outbox.unsent_critical(limit_bytes=limit_bytes)
            if one.place not in self._aside
        ]
        if critical:
            self._share.charge("fresh", _size(critical))
            return critical
        for queue in self._share.order():
            span = self._spans.get(queue)
            found = [] if span is None else self._read(span, limit_bytes)
            if found:
                self._share.charge(queue, _size(found))
                return found
            self._share.idle(queue)
        return []

    def put_aside(self, segments: Sequence[StoredSegment]) -> None:
        """Go on without these in this pass."""
        self._aside.update(one.place for one in segments)

    def _read(self, span: _Span, limit_bytes: int) -> list[StoredSegment]:
        while len(self._aside) < ASIDE_MAX:
            read = self._outbox.unsent(limit_bytes=limit_bytes, after=span.at, through=span.through)
            found = [one for one in read if one.place not in self._aside]
            if found or not read:
                return found
            span.at = read[-1].place
        return []


def _size(segments: Sequence[StoredSegment]) -> int:
    return sum(len(one.raw) for one in segments)
