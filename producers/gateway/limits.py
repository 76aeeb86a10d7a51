"""How much a server takes at a time, and from whom: token buckets, and bytes under way."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rekam.domain.errors import Overloaded

BUCKETS_MAX: Final = 10_000
"""Callers that are remembered; the one that was heard of longest ago goes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many a second for long, and `burst` at once after a pause."""

    per_second: float
    burst: int


class TokenBuckets:
    """One bucket for each name, in bounded memory. A forgotten name begins with a full bucket."""

    def __init__(
        self,
        rate: Rate,
        *,
        buckets_max: int = BUCKETS_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate, self._buckets_max, self._clock = rate, buckets_max, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens, and when there were so many; least recently used first."""

    def take(self, name: str, count: int = 1) -> float:
        """Take `count` tokens and return 0, or take none and return after how many seconds to come.

        More than the burst can never be had: `count` is at most that.
        """
        assert count <= self._rate.burst, (count, self._rate)  # noqa: S101 - our own bug
        now = self._clock()
        level, since = self._levels.pop(name, (float(self._rate.burst), now))
        level = min(self._rate.burst, level + (now - since) * self._rate.per_second)
        is_enough = level >= count
        self._levels[name] = (level - count if is_enough else level, now)
        if len(self._levels) > self._buckets_max:
            self._levels.popitem(last=False)
        return 0.0 if is_enough else (count - level) / self._rate.per_second

    def __len__(self) -> int:
        return len(self._levels)


class InFlight:
    """Bytes of requests that are held in memory, over all of them."""

    def __init__(self, *, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0

    @contextmanager
    def hold(self) -> Iterator["Hold"]:
        """Give one request's share; what it holds at the end is given back."""
        share = Hold(self)
        try:
            yield share
        finally:
            self.bytes -= share.bytes


class Hold:
    """One request's share of what is in flight."""

    def __init__(self, whole: InFlight) -> None:
        self._whole = whole
        self.bytes = 0

    def grow(self, count: int) -> None:
        """Count bytes that have come. Raises Overloaded when there is no room for them.

        What a client has only promised counts nothing: a slow one must not keep others out.
        """
        if self._whole.bytes + count > self._whole.bytes_max:
            raise Overloaded(
                f"{self._whole.bytes} bytes of requests are under way; the limit is "
                f"{self._whole.bytes_max}. Send again later"
            )
        self._whole.bytes += count
        self.bytes += count
