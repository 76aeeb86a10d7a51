"""Sets of seqs as disjoint ranges: which arrived, which are missing, which count from elsewhere."""

from collections.abc import Iterable, Iterator
from typing import Self

Range = tuple[int, int]
"""(first, last), both included."""


class RangeSet:
    """An immutable set of whole numbers; equal sets are equal and have one representation.

    Ranges that touch are one range: {1..3, 4..6} is {1..6}.
    """

    __slots__ = ("ranges",)

    def __init__(self, ranges: tuple[Range, ...] = ()) -> None:
        """Take ranges that are sorted, disjoint and apart; `of` makes them so."""
        self.ranges = ranges

    @classmethod
    def of(cls, *ranges: Range) -> Self:
        """Return the union of any ranges."""
        return cls(_merged(ranges))

    @classmethod
    def from_bounds(cls, bounds: Iterable[int]) -> Self:
        """Return the set of which `bounds` tells (first, last, first, last, and so on)."""
        numbers = iter(bounds)
        return cls(tuple(zip(numbers, numbers, strict=True)))

    @property
    def bounds(self) -> list[int]:
        """Return first, last, first, last, and so on: the form in which tables keep the set."""
        return [number for pair in self.ranges for number in pair]

    def union(self, other: "RangeSet") -> "RangeSet":
        """Return what is in either."""
        return RangeSet(_merged([*self.ranges, *other.ranges]))

    def subtract(self, other: "RangeSet") -> "RangeSet":
        """Return what is in this one and not in the other."""
        left: list[Range] = []
        for first, last in self.ranges:
            start = first
            for other_first, other_last in other.ranges:
                if other_last < start or other_first > last:
                    continue
                if other_first > start:
                    left.append((start, other_first - 1))
                start = other_last + 1
            if start <= last:
                left.append((start, last))
        return RangeSet(tuple(left))

    def covers(self, first: int, last: int) -> bool:
        """Return whether all of first..last is in the set."""
        return any(own_first <= first and last <= own_last for own_first, own_last in self.ranges)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __iter__(self) -> Iterator[Range]:
        return iter(self.ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    def __repr__(self) -> str:
        return f"RangeSet.of{self.ranges!r}"


def _merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)
