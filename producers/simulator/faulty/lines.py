"""What a visit says, as encoded events: a pure function of the device, its life and the visit."""

from typing import Final

from producers.simulator.chance import chance
from producers.simulator.faulty.plan import ENROLLED_MS, Device, FaultyFleet, Life, Visit
from producers.simulator.places import SETTLEMENTS
from producers.simulator.regency import nik_of
from rekam.domain.clocks import OfficeZone, occurred_on
from rekam.domain.events import (
    ClockAnchored,
    Event,
    EventData,
    Heartbeat,
    RecordingCaptured,
    encode,
)

SOFTWARE: Final = "rekam-sim 2"
PEOPLE_FIRST: Final = 200_000_000
"""Nobody of the demonstration's regency (`producers/simulator/trickle.py`) has such a number."""

EVENTS_PER_HEARTBEAT: Final = 10
ANY_ZONE: Final = OfficeZone("UTC")
"""Whether a day is known does not depend on where it begins."""


def lines_of(fleet: FaultyFleet, device: Device, life: Life, visit: Visit) -> list[bytes]:
    """Return the encoded events of one visit, `visit.count` of them."""
    draw = chance(fleet.seed, device.producer, life.name, visit.first).getrandbits
    settlements = [place.code for place in SETTLEMENTS]
    person = _first_person(fleet, device, life) + visit.first - life.first
    lines: list[bytes] = []
    for index in range(visit.count):
        data: EventData
        if index < len(visit.anchors):
            anchor = visit.anchors[index]
            data = ClockAnchored(
                anchored_boot=anchor.boot, offset_ms=anchor.offset_ms, source="gps"
            )
        elif is_heartbeat(visit, index):
            data = Heartbeat(queue_events=index, route="queue", software=SOFTWARE)
        else:
            bits = draw(24)
            data = RecordingCaptured(
                recording=f"{device.number}.{life.name[0]}.{visit.first + index}",
                nik=nik_of(person + index),
                domicile=settlements[(bits >> 14) % len(settlements)],
                place=device.place,
                mode="online" if visit.contact == "online" else "offline",
                quality={"fingers": 50 + (bits & 31), "face": 60 + (bits >> 5 & 31)},
                operator=f"op-{bits >> 10 & 3}",
            )
        at_ms = visit.at_ms(index)
        wall_ms = at_ms - visit.offset_of(index)
        lines.append(encode(Event(wall_ms, at_ms - visit.boot_ms, visit.boot, data)))
    return lines


def is_heartbeat(visit: Visit, index: int) -> bool:
    """Return whether an event of a visit, the first being 0, is the device's word on itself."""
    return index >= len(visit.anchors) and index % EVENTS_PER_HEARTBEAT == EVENTS_PER_HEARTBEAT - 1


def recordings_of(visit: Visit) -> list[int]:
    """Return which events of a visit, the first being 0, are recordings."""
    return [
        index for index in range(len(visit.anchors), visit.count) if not is_heartbeat(visit, index)
    ]


def unknown_dates(device: Device, *, known_ms: int) -> int:
    """Return how many recordings, of all lives, have a date that nobody can know.

    `known_ms` is when the log took them. That is the rule of `rekam.domain.clocks.occurred_on`:
    no anchor of their boot session, or mended by it to a moment that cannot have been.
    """
    anchors = device.anchors()
    return sum(
        occurred_on(
            visit.at_ms(index) - visit.offset_of(index),
            offset_ms=anchors.get(visit.boot),
            enrolled_ms=ENROLLED_MS,
            known_ms=known_ms,
            zone=ANY_ZONE,
        )
        is None
        for life in device.lives
        for visit in life.visits
        for index in recordings_of(visit)
    )


def _first_person(fleet: FaultyFleet, device: Device, life: Life) -> int:
    most = -(-fleet.events // fleet.devices)
    return PEOPLE_FIRST + device.number * most + device.first_person(life)
