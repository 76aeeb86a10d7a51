"""A plan of any size adds up, and the same numbers give the same plan and the same bytes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from producers.simulator.faulty.lines import lines_of, recordings_of, unknown_dates
from producers.simulator.faulty.plan import (
    EVENTS_PER_DEVICE_MIN,
    FAULTS,
    SEED_MAX,
    Fault,
    FaultyFleet,
)
from rekam.domain.segment import producer_id

NOW_MS = 1_764_000_000_000


@st.composite
def fleets(draw: st.DrawFn) -> FaultyFleet:
    """Return a fleet of any faults, from the smallest that has room for them."""
    devices = draw(st.integers(1, 12))
    least = devices * EVENTS_PER_DEVICE_MIN
    faults: frozenset[Fault] = draw(st.frozensets(st.sampled_from(FAULTS)))
    return FaultyFleet(
        devices,
        draw(st.integers(least, least + 5_000)),
        draw(st.integers(-SEED_MAX, SEED_MAX)),
        faults,
    )


@given(fleet=fleets())
@settings(max_examples=60, deadline=None)
def test_devices_have_exactly_the_events_that_were_asked_for(fleet: FaultyFleet) -> None:
    devices = list(fleet)
    assert sum(device.events for device in devices) == fleet.events
    assert sum(sum(device.event_ids().values()) for device in devices) == fleet.events
    assert max(d.events for d in devices) - min(d.events for d in devices) <= 1
    assert all(producer_id(device.producer) for device in devices)


@given(fleet=fleets())
@settings(max_examples=60, deadline=None)
def test_seqs_of_a_life_follow_each_other_without_a_gap(fleet: FaultyFleet) -> None:
    for device in fleet:
        assert device.original.first == 1
        for life in device.lives:
            after = life.first
            for visit in life.visits:
                assert visit.first == after
                assert visit.count > len(visit.anchors)
                after = visit.last + 1
            assert life.last == after - 1
        ids = device.event_ids()
        for epoch in {epoch for epoch, _ in ids}:
            seqs = sorted(seq for found, seq in ids if found == epoch)
            assert seqs == list(range(1, len(seqs) + 1))


@given(fleet=fleets())
@settings(max_examples=60, deadline=None)
def test_the_last_visit_of_every_life_reaches_the_log(fleet: FaultyFleet) -> None:
    for device in fleet:
        for life in device.lives:
            assert life.visits[-1].contact in {"online", "carried"}
        unknown = unknown_dates(device, known_ms=NOW_MS)
        recordings = sum(len(recordings_of(v)) for life in device.lives for v in life.visits)
        assert 0 <= unknown <= recordings
        if "clock" not in device.faults:
            assert unknown == 0


@given(fleet=fleets())
@settings(max_examples=15, deadline=None)
def test_the_same_numbers_give_the_same_bytes_and_another_seed_others(fleet: FaultyFleet) -> None:
    def said(one: FaultyFleet) -> list[bytes]:
        return [
            line
            for device in one
            for life in device.lives
            for visit in life.visits
            for line in lines_of(one, device, life, visit)
        ]

    again = FaultyFleet(fleet.devices, fleet.events, fleet.seed, fleet.faults)
    assert list(again) == list(fleet)
    assert said(again) == said(fleet)
    other = FaultyFleet(fleet.devices, fleet.events, fleet.seed // 2 + 7, fleet.faults)
    if other.seed != fleet.seed:
        assert said(other) != said(fleet)
