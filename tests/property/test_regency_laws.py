"""The regency's sums are exact, and the same numbers give the same regency."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from producers.simulator.fleet import DEVICES_MAX, DEVICES_MIN, Fleet
from producers.simulator.regency import (
    DAY_2016,
    LAST_DAY,
    RECORDED,
    WAJIB,
    Regency,
    apportion,
    day_of,
)
from producers.simulator.script import lines_of

seeds = st.integers(-(2**31), 2**31)
sizes = st.integers(100, 3_000)


@given(
    total=st.integers(0, 10**6), weights=st.lists(st.floats(0.001, 1000), min_size=1, max_size=200)
)
def test_parts_sum_to_the_whole_and_none_is_off_by_more_than_one(
    total: int, weights: list[float]
) -> None:
    parts = apportion(total, weights)
    assert sum(parts) == total
    scale = total / sum(weights)
    assert all(
        abs(part - weight * scale) < 1 + 1e-6 for part, weight in zip(parts, weights, strict=True)
    )


@given(people=sizes, seed=seeds)
@settings(max_examples=40, deadline=None)
def test_sums_over_settlements_are_exact_for_every_size_and_seed(people: int, seed: int) -> None:
    regency = Regency(people, seed)
    assert sum(regency.recorded) == people
    assert sum(regency.wajib) == round(people * WAJIB / RECORDED)
    assert all(r <= w for r, w in zip(regency.recorded, regency.wajib, strict=True))
    assert all(e <= w for e, w in zip(regency.early, regency.wajib_2016, strict=True))
    assert list(regency.at_ms) == sorted(regency.at_ms)
    by_settlement = Counter(regency.settlement)
    assert [by_settlement[n] for n in range(len(regency.recorded))] == regency.recorded
    early = [at_ms for at_ms in regency.at_ms if day_of(at_ms) <= DAY_2016]
    assert len(early) == sum(regency.early)
    assert day_of(regency.at_ms[-1]) <= LAST_DAY


@given(people=sizes, seed=seeds, devices=st.integers(DEVICES_MIN, DEVICES_MAX))
@settings(max_examples=15, deadline=None)
def test_every_recording_is_said_by_exactly_one_visit(people: int, seed: int, devices: int) -> None:
    fleet = Fleet(Regency(people, seed), devices)
    recorders = fleet.plans[:devices]
    items = sorted(item for plan in recorders for item in plan.items)
    assert items == list(range(people + 2))
    for plan in fleet.plans:
        assert [visit.first for visit in plan.visits] == [
            sum(visit.count for visit in plan.visits[:n]) for n in range(len(plan.visits))
        ]
        assert plan.visits[-1].stop == len(plan.items)
        for number, visit in enumerate(plan.visits):
            if visit.count:  # of some people the centre has nothing to say
                assert plan.visit_at(visit.first) == number
                assert plan.visit_at(visit.first + visit.count - 1) == number


@given(people=st.integers(100, 400), seed=seeds)
@settings(max_examples=5, deadline=None)
def test_the_same_numbers_give_the_same_bytes(people: int, seed: int) -> None:
    def everything() -> list[bytes]:
        fleet = Fleet(Regency(people, seed), devices=25)
        return [
            line
            for plan in fleet.plans
            for number in range(len(plan.visits))
            for line in lines_of(fleet, plan, number)
        ]

    assert everything() == everything()
