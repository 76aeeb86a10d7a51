"""Range sets behave as the sets of numbers that they stand for."""

from hypothesis import given
from hypothesis import strategies as st

from rekam.domain.ranges import RangeSet

RANGES = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 6)).map(lambda pair: (pair[0], sum(pair))),
    max_size=6,
)


def numbers(ranges: RangeSet) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(RANGES, RANGES)
def test_union_and_difference_are_those_of_sets(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    left, right = RangeSet.of(*one), RangeSet.of(*other)
    assert numbers(left.union(right)) == numbers(left) | numbers(right)
    assert numbers(left.subtract(right)) == numbers(left) - numbers(right)
    assert len(left) == len(numbers(left))


@given(RANGES)
def test_equal_sets_have_one_representation(one: list[tuple[int, int]]) -> None:
    ranges = RangeSet.of(*one)
    assert RangeSet.of(*((number, number) for number in numbers(ranges))) == ranges
    assert RangeSet.from_bounds(ranges.bounds) == ranges


@given(RANGES, st.integers(1, 50), st.integers(0, 6))
def test_covers_asks_for_every_number(one: list[tuple[int, int]], first: int, more: int) -> None:
    ranges = RangeSet.of(*one)
    wanted = set(range(first, first + more + 1))
    assert ranges.covers(first, first + more) == (wanted <= numbers(ranges))
