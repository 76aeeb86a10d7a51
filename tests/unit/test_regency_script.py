"""What the simulated fleet says, read back as the processor would."""

from collections import Counter
from datetime import date

import pytest

from producers.simulator.fleet import Fleet, Plan, ServerBroke
from producers.simulator.regency import LAST_DAY, UNKNOWN_STATUS, Regency
from producers.simulator.script import lines_of
from producers.simulator.truth import Figures, expected
from rekam.domain.clocks import OfficeZone, occurred_on
from rekam.domain.events import (
    ClockAnchored,
    Event,
    FaultReported,
    RecordingCaptured,
    RouteChanged,
    StatusObserved,
    decode,
)
from rekam.domain.segment import producer_id

PEOPLE, SEED = 30_000, 7
ZONE = OfficeZone("Asia/Makassar")
LONG_AFTER_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(Regency(PEOPLE, SEED))


@pytest.fixture(scope="module")
def figures(fleet: Fleet) -> Figures:
    return expected(PEOPLE, seed=SEED, fleet=fleet)


@pytest.fixture(scope="module")
def said(fleet: Fleet) -> list[tuple[Plan, list[Event]]]:
    return [
        (plan, [decode(line) for n in range(len(plan.visits)) for line in lines_of(fleet, plan, n)])
        for plan in fleet.plans
    ]


def recordings(
    said: list[tuple[Plan, list[Event]]],
) -> list[tuple[Plan, RecordingCaptured, date | None]]:
    """Return every recording with its day, by the anchors of its producer alone."""
    found: list[tuple[Plan, RecordingCaptured, date | None]] = []
    for plan, events in said:
        offsets = {
            event.data.anchored_boot: event.data.offset_ms
            for event in events
            if isinstance(event.data, ClockAnchored)
        }
        for event in events:
            if isinstance(event.data, RecordingCaptured):
                day = occurred_on(
                    event.wall_ms,
                    offset_ms=offsets.get(event.boot),
                    enrolled_ms=1_325_376_000_000,
                    known_ms=LONG_AFTER_MS,
                    zone=ZONE,
                )
                found.append((plan, event.data, day))
    return found


def test_a_plan_says_as_many_events_as_it_promises(
    fleet: Fleet, said: list[tuple[Plan, list[Event]]]
) -> None:
    assert [len(events) for _, events in said] == [plan.events for plan in fleet.plans]
    assert all(producer_id(plan.producer) for plan in fleet.plans)
    assert len({plan.producer for plan in fleet.plans}) == len(fleet.plans)


def test_mended_clocks_give_every_recording_its_day(
    said: list[tuple[Plan, list[Event]]], figures: Figures
) -> None:
    first: dict[str, tuple[str, date]] = {}
    for _, data, day in recordings(said):
        assert day is not None
        known = first.get(data.nik)
        if known is None or day < known[1]:
            first[data.nik] = (data.domicile, day)
    assert len(first) == PEOPLE
    assert Counter(first.values()) == figures.recorded_on
    assert figures.recorded_of("64.08", LAST_DAY) == PEOPLE


def test_two_people_are_recorded_twice_by_other_devices_elsewhere(
    said: list[tuple[Plan, list[Event]]], figures: Figures
) -> None:
    by_person: dict[str, list[tuple[str, str]]] = {}
    for plan, data, _ in recordings(said):
        by_person.setdefault(data.nik, []).append((plan.producer, data.place))
    again = [seen for seen in by_person.values() if len(seen) > 1]
    assert [len(seen) for seen in again] == [2, 2]
    for (producer, place), (other_producer, other_place) in again:
        assert producer != other_producer
        assert place != other_place
    assert sum(map(len, by_person.values())) == figures.recordings


def test_the_last_status_of_each_person_adds_up_to_the_truth(
    said: list[tuple[Plan, list[Event]]], figures: Figures
) -> None:
    latest: dict[str, tuple[int, str]] = {}
    for _, events in said:
        for event in events:
            if isinstance(data := event.data, StatusObserved):
                latest[data.nik] = max(
                    latest.get(data.nik, (0, "")), (data.observed_ms, data.status)
                )
    found = Counter(status for _, status in latest.values())
    found["BIO_CAPTURED"] += PEOPLE - len(latest)
    assert found == figures.statuses
    assert found[UNKNOWN_STATUS] == 1
    assert found["DUPLICATE_RECORD"] >= 2
    assert found["SENT_FOR_ENROLLMENT"] > 0


def test_wrong_clocks_are_told_by_a_later_boot_session(
    said: list[tuple[Plan, list[Event]]],
) -> None:
    late = 0
    for _, events in said:
        places = {
            event.data.anchored_boot: place
            for place, event in enumerate(events)
            if isinstance(event.data, ClockAnchored)
        }
        assert {event.boot for event in events} == set(places)
        for boot, place in places.items():
            said_last = max(n for n, event in enumerate(events) if event.boot == boot)
            late += events[place].boot != boot or place == said_last - 1
    assert late >= 12


def test_wrong_clocks_stand_at_1970_and_three_years_ahead(
    said: list[tuple[Plan, list[Event]]],
) -> None:
    offsets = [
        event.data.offset_ms
        for _, events in said
        for event in events
        if isinstance(event.data, ClockAnchored)
    ]
    assert sum(offset > 40 * 365 * 86_400_000 for offset in offsets) == 6
    assert sum(offset < -2 * 365 * 86_400_000 for offset in offsets) == 6


def test_five_kecamatan_servers_break_and_their_recorders_take_the_direct_route(
    fleet: Fleet, said: list[tuple[Plan, list[Event]]]
) -> None:
    broken = {
        plan.producer
        for plan in fleet.plans
        if any(isinstance(note, ServerBroke) for visit in plan.visits for note in visit.notes)
    }
    reporting = {
        plan.producer
        for plan, events in said
        if any(
            isinstance(event.data, FaultReported) and event.data.component == "server"
            for event in events
        )
        and any(isinstance(event.data, RouteChanged) for event in events)
    }
    assert len(broken) == 5
    assert reporting == broken
