"""Token buckets and bytes under way."""

import pytest

from producers.gateway.limits import InFlight, Rate, TokenBuckets
from producers.gateway.problems import ProblemError
from rekam.domain.errors import Overloaded
from rekam.runtime.problems import RETRY_AFTER_SECONDS_MAX


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_taken_at_once_and_then_comes_by_the_rate() -> None:
    clock = Hands()
    buckets = TokenBuckets(Rate(per_second=2, burst=4), clock=clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0]
    assert buckets.take("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") > 0


def test_what_is_refused_takes_nothing_so_that_waiting_as_told_is_enough() -> None:
    clock = Hands()
    buckets = TokenBuckets(Rate(per_second=10, burst=100), clock=clock)
    assert buckets.take("a", 60) == 0
    wait = buckets.take("a", 60)
    assert wait == pytest.approx(2.0)
    assert buckets.take("a", 60) == pytest.approx(wait)
    clock.now += wait
    assert buckets.take("a", 60) == 0


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    clock = Hands()
    buckets = TokenBuckets(Rate(per_second=1, burst=3), clock=clock)
    clock.now += 1_000_000
    assert buckets.take("a", 3) == 0
    assert buckets.take("a") > 0


def test_one_name_does_not_use_up_anothers() -> None:
    buckets = TokenBuckets(Rate(per_second=1, burst=1), clock=Hands())
    assert buckets.take("a") == 0
    assert buckets.take("b") == 0
    assert buckets.take("a") > 0


def test_memory_is_bounded_and_the_longest_silent_name_goes_first() -> None:
    buckets = TokenBuckets(Rate(per_second=1, burst=1), buckets_max=2, clock=Hands())
    buckets.take("a")
    buckets.take("b")
    assert buckets.take("a") > 0  # asked for again: now b is the one that was silent
    buckets.take("c")
    assert len(buckets) == 2
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0


def test_bytes_under_way_are_bounded_over_all_requests_and_given_back() -> None:
    whole = InFlight(bytes_max=100)
    with whole.hold() as one:
        one.grow(60)
        with whole.hold() as other:
            other.grow(40)
            with pytest.raises(Overloaded, match="the limit is 100"):
                other.grow(1)
            assert whole.bytes == 100
        assert whole.bytes == 60
        one.grow(40)
    assert whole.bytes == 0


def test_bytes_are_given_back_when_a_request_fails() -> None:
    whole = InFlight(bytes_max=100)

    def request() -> None:
        with whole.hold() as one:
            one.grow(60)
            one.grow(60)

    with pytest.raises(Overloaded):
        request()
    assert whole.bytes == 0


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.01, "1"), (1.2, "2"), (10**9, str(RETRY_AFTER_SECONDS_MAX))]
)
def test_who_is_sent_away_is_told_whole_seconds_neither_none_nor_for_ever(
    seconds: float, told: str
) -> None:
    problem = ProblemError("busy", "", retry_after_seconds=seconds)
    assert problem.headers["Retry-After"] == told
