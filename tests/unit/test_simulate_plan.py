"""The plan of a fleet with faults: what each device suffers, and what the log must hold then."""

import time
from collections import Counter

import pytest

from producers.simulator.faulty.lines import is_heartbeat, lines_of, unknown_dates
from producers.simulator.faulty.plan import (
    EVENTS_MAX,
    EVENTS_PER_DEVICE_MIN,
    FAULTS,
    KILL_STEPS,
    PROCESSES_KILLED_MAX,
    SEED_MAX,
    THREE_YEARS_MS,
    Device,
    Fault,
    FaultyFleet,
    count_by_fault,
    faults_of,
)
from rekam.domain.events import ClockAnchored, Heartbeat, RecordingCaptured, decode

NOW_MS = time.time_ns() // 1_000_000


def fleet_of(*faults: Fault, devices: int = 40, events: int = 4_000, seed: int = 1) -> FaultyFleet:
    return FaultyFleet(devices, events, seed, frozenset(faults))


def suffering(fleet: FaultyFleet, fault: Fault) -> list[Device]:
    return [device for device in fleet if fault in device.faults]


def test_without_faults_nothing_goes_wrong() -> None:
    for device in fleet_of():
        assert device.lives == (device.original,)
        assert {visit.contact for visit in device.original.visits} == {"online"}
        assert not device.is_killed
        assert unknown_dates(device, known_ms=NOW_MS) == 0


def test_each_fault_strikes_a_share_of_the_devices_and_at_least_one() -> None:
    assert count_by_fault(list(fleet_of(*FAULTS))) == dict.fromkeys(FAULTS, 10)
    assert count_by_fault(list(fleet_of(*FAULTS, devices=1, events=24))) == dict.fromkeys(FAULTS, 1)


def test_a_fault_that_is_not_asked_for_strikes_nobody() -> None:
    counts = count_by_fault(list(fleet_of("usb")))
    assert counts == {**dict.fromkeys(FAULTS, 0), "usb": 10}


def test_an_offline_device_has_contact_again_at_the_end() -> None:
    for device in suffering(fleet_of("offline"), "offline"):
        contacts = [visit.contact for visit in device.original.visits]
        assert "away" in contacts
        assert contacts[-1] == "online"


def test_some_sticks_carry_a_while_and_some_carry_everything() -> None:
    kinds = Counter(
        {visit.contact for visit in device.original.visits} == {"carried"}
        for device in suffering(fleet_of("usb"), "usb")
    )
    assert set(kinds) == {True, False}
    assert all(device.is_carried for device in suffering(fleet_of("usb"), "usb"))


def test_a_cloned_device_has_two_events_for_each_seq_that_both_lives_used() -> None:
    for device in suffering(fleet_of("clone"), "clone"):
        assert device.clone is not None
        assert device.successor is not None
        doubled = {seq for (_, seq), count in device.event_ids().items() if count == 2}
        assert doubled == set(device.forked) != set()
        assert device.clone.first == device.original.visits[device.copied_after].first
        assert {epoch for epoch, _ in device.event_ids()} == {1, 2}
        assert device.event_ids()[device.successor.epoch, 1] == 1


def test_lives_of_one_device_record_different_people() -> None:
    fleet = fleet_of("clone")
    niks = [
        event.data.nik
        for device in fleet
        for life in device.lives
        for visit in life.visits
        for event in map(decode, lines_of(fleet, device, life, visit))
        if isinstance(event.data, RecordingCaptured)
    ]
    assert len(niks) == len(set(niks)) > 0


def test_few_processes_are_killed_and_others_lose_answers() -> None:
    fleet = fleet_of("kill", devices=200, events=10_000)
    victims = [device for device in fleet if device.is_killed]
    assert len(victims) == PROCESSES_KILLED_MAX
    steps = {visit.killed_at for device in victims for visit in device.original.visits}
    assert steps <= {None, *KILL_STEPS}
    cut = [device for device in fleet if any(v.contact == "cut" for v in device.original.visits)]
    assert len(cut) > PROCESSES_KILLED_MAX


def test_wrong_clocks_are_at_1970_and_years_ahead_and_stepping() -> None:
    fleet = fleet_of("clock", devices=80, events=4_000)
    walls = [
        event.wall_ms
        for device in suffering(fleet, "clock")
        for event in map(
            decode, lines_of(fleet, device, device.original, device.original.visits[0])
        )
    ]
    assert min(walls) < THREE_YEARS_MS
    assert max(walls) > 1_600_000_000_000
    stepping = [
        visit for device in fleet for visit in device.original.visits if visit.step_at < visit.count
    ]
    assert stepping
    assert all(visit.stepped_ms != visit.offset_ms for visit in stepping)


def test_a_clock_that_is_told_late_leaves_its_dates_known_and_one_never_told_does_not() -> None:
    fleet = fleet_of("clock", devices=80, events=4_000)
    unknown = {
        device.number: unknown_dates(device, known_ms=NOW_MS)
        for device in suffering(fleet, "clock")
    }
    assert 0 in unknown.values()
    assert any(unknown.values())
    told_late = [
        device
        for device in suffering(fleet, "clock")
        if device.original.visits[0].boot
        in {anchor.boot for anchor in device.original.visits[1].anchors}
        and device.original.visits[0].step_at == device.original.visits[0].count
    ]
    assert told_late
    assert all(unknown[device.number] == 0 for device in told_late)


def test_a_visit_says_its_anchors_first_and_then_recordings_and_heartbeats() -> None:
    fleet = fleet_of(*FAULTS)
    for device in fleet:
        for life in device.lives:
            for visit in life.visits:
                lines = lines_of(fleet, device, life, visit)
                assert len(lines) == visit.count
                for index, event in enumerate(map(decode, lines)):
                    if index < len(visit.anchors):
                        assert isinstance(event.data, ClockAnchored)
                    elif is_heartbeat(visit, index):
                        assert isinstance(event.data, Heartbeat)
                    else:
                        assert isinstance(event.data, RecordingCaptured)
                    assert event.mono_ms >= 0


def test_another_seed_gives_other_producers() -> None:
    ids = {device.producer for seed in (-1, 0, 1, 11) for device in fleet_of(seed=seed)}
    assert len(ids) == 4 * 40


def test_a_device_does_not_depend_on_the_others() -> None:
    fleet = fleet_of(*FAULTS)
    assert fleet.device(17) == list(fleet)[17]


@pytest.mark.parametrize(
    ("devices", "events", "seed"),
    [
        (0, 100, 1),
        (20_001, 1_000_000, 1),
        (10, 10 * EVENTS_PER_DEVICE_MIN - 1, 1),
        (10, EVENTS_MAX + 1, 1),
        (10, 1_000, SEED_MAX + 1),
    ],
)
def test_sizes_beyond_the_limits_are_refused(devices: int, events: int, seed: int) -> None:
    with pytest.raises(ValueError, match="wanted"):
        FaultyFleet(devices, events, seed)


def test_an_unknown_fault_is_named() -> None:
    with pytest.raises(ValueError, match=r"meteor; wanted some of offline"):
        faults_of(["offline", "meteor"])
