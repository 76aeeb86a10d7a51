"""L2: of the segments that hold one seq, the set alone chooses the one that counts."""

import random
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from projections.ledger.forks import has_overlap, lost_ranges, rank


class Rival(NamedTuple):
    """A segment as far as the choice needs it."""

    first: int
    last: int
    append_ms: int
    hash: bytes

    def holds(self, seq: int) -> bool:
        """Tell whether the segment holds a seq."""
        return self.first <= seq <= self.last


@st.composite
def rivals(draw: st.DrawFn) -> list[Rival]:
    """Return segments that overlap much, several of them appended at once."""
    found: list[Rival] = []
    for number in range(draw(st.integers(0, 6))):
        first = draw(st.integers(1, 8))
        last = first + draw(st.integers(0, 5))
        found.append(Rival(first, last, draw(st.integers(1, 3)), bytes([number])))
    return found


@given(segments=rivals(), order=st.randoms(use_true_random=False))
def test_each_seq_counts_from_the_earliest_and_of_those_the_smallest_hash(
    segments: list[Rival], order: random.Random
) -> None:
    shuffled = [*segments]
    order.shuffle(shuffled)
    lost = lost_ranges(shuffled)
    assert lost == lost_ranges(segments)
    for seq in range(1, 14):
        holders = [segment for segment in segments if segment.holds(seq)]
        counting = [one for one in holders if not lost[one.hash].covers(seq, seq)]
        assert counting == ([min(holders, key=rank)] if holders else [])
    assert not any(
        lost[one.hash].covers(seq, seq)
        for one in segments
        for seq in range(1, 14)
        if not one.holds(seq)
    )


@given(segments=rivals())
def test_there_is_a_fork_when_any_two_segments_hold_a_seq_in_common(segments: list[Rival]) -> None:
    shared = [sum(one.holds(seq) for one in segments) for seq in range(1, 14)]
    assert has_overlap(segments) == any(count > 1 for count in shared)
