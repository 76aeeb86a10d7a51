"""Which segment counts for a seq when several hold it: chosen by the set, never by arrival."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from rekam.domain.ranges import RangeSet


class Contender(Protocol):
    """A segment as far as the choice needs it."""

    @property
    def first(self) -> int:
        """Return the first seq."""
        ...

    @property
    def last(self) -> int:
        """Return the last seq."""
        ...

    @property
    def append_ms(self) -> int:
        """Return when its earliest copy was appended."""
        ...

    @property
    def hash(self) -> bytes:
        """Return the segment's identity."""
        ...


def rank(segment: Contender) -> tuple[int, bytes]:
    """Return what decides between segments that hold one seq: the smallest wins."""
    return (segment.append_ms, segment.hash)


def lost_ranges(contenders: Iterable[Contender]) -> dict[bytes, RangeSet]:
    """Return, by segment hash, the seqs that each one loses to another segment.

    The winner of a seq is the segment with the earliest append time, then the smallest hash.
    Give all segments that overlap each other; those without overlap lose nothing.
    """
    ranked = sorted(contenders, key=rank)
    taken = RangeSet.of()
    lost: dict[bytes, RangeSet] = {}
    for segment in ranked:
        own = RangeSet.of((segment.first, segment.last))
        lost[segment.hash] = own.subtract(own.subtract(taken))
        taken = taken.union(own)
    return lost


def has_overlap(segments: Sequence[Contender]) -> bool:
    """Tell whether any two of the segments hold a seq in common."""
    reached = 0
    for segment in sorted(segments, key=lambda segment: segment.first):
        if segment.first <= reached:
            return True
        reached = max(reached, segment.last)
    return False
