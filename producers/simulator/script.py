"""What a visit says, as encoded events: a pure function of fleet, producer and visit."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from producers.simulator.chance import chance
from producers.simulator.fleet import (
    RECORDINGS_PER_HEARTBEAT,
    Anchor,
    Boot,
    Fleet,
    Note,
    Plan,
    ScannerSwapped,
    ServerBroke,
    Visit,
)
from producers.simulator.places import SETTLEMENTS
from producers.simulator.regency import COHORT, COHORT_ENTRIES, nik_of
from rekam.domain.events import (
    ClockAnchored,
    CohortEntryListed,
    CohortEntryResolved,
    CohortPublished,
    ComponentSwapped,
    Event,
    EventData,
    FaultCleared,
    FaultReported,
    Heartbeat,
    RecordingCaptured,
    RouteChanged,
    StatusObserved,
    encode,
)

SOFTWARE: Final = "rekam-sim 1"
_ONLINE_QUEUE_MAX: Final = 40
_DISK_BYTES: Final = 16_000_000_000
_HEARTBEAT_AFTER_MS: Final = 30_000


def lines_of(fleet: Fleet, plan: Plan, number: int) -> list[bytes]:
    """Return the encoded events of one visit, `visit.count` of them."""
    visit = plan.visits[number]
    boot = plan.boots[visit.boot]
    name = boot_name(visit.boot)
    lines = [
        encode(Event(at_ms - boot.offset_ms, max(0, at_ms - boot.start_ms), name, data))
        for at_ms, data in _said(fleet, plan, number)
    ]
    assert len(lines) == visit.count, (plan.producer, number)  # noqa: S101 - resuming counts on it
    return lines


def boot_name(boot: int) -> str:
    """Return the name of a planned boot session."""
    return f"b{boot + 1}"


def _said(fleet: Fleet, plan: Plan, number: int) -> Iterator[tuple[int, EventData]]:
    """Yield true time and data of a visit's events."""
    visit = plan.visits[number]
    at_ms = visit.base_ms
    kit = _Kit(fleet.regency.seed, plan)
    for note in visit.notes:
        for data in _of_note(note, plan, kit):
            yield at_ms, data
    match plan.kind:
        case "recorder":
            yield from _recordings(fleet, plan, visit, kit)
        case "centre":
            yield from _observations(fleet, plan, visit)
        case "kpu":
            yield from _cohort(fleet, visit)


@dataclass(frozen=True)
class _Kit:
    """Serial numbers of a recorder's parts; the same at each call."""

    seed: int
    plan: Plan
    components: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        random = chance(self.seed, self.plan.producer, "kit")
        parts = {"fingerprint_scanner": "FS", "camera": "CM", "iris_scanner": "IR"}
        serials = {part: f"{mark}-{random.randrange(10_000):04}" for part, mark in parts.items()}
        object.__setattr__(self, "components", serials)

    def spare(self) -> str:
        """Return the serial of the scanner that came from another kit."""
        return self.components["fingerprint_scanner"].replace("FS", "FT")


def _of_note(note: Note, plan: Plan, kit: _Kit) -> tuple[EventData, ...]:
    match note:
        case Anchor():
            boot: Boot = plan.boots[note.boot]
            return (
                ClockAnchored(
                    anchored_boot=boot_name(note.boot),
                    offset_ms=boot.offset_ms,
                    source="gps" if plan.is_village else "ntp",
                ),
            )
        case ServerBroke():
            return (
                FaultReported(
                    component="server",
                    fault="no_power",
                    detail="Server kecamatan mati / the kecamatan's server is dead",
                ),
                RouteChanged(
                    route="kafka", previous="server", reason="Server rusak / the server is broken"
                ),
            )
        case ScannerSwapped():
            return (
                FaultReported(component="fingerprint_scanner", fault="worn"),
                ComponentSwapped(
                    slot="fingerprint_scanner",
                    removed=kit.components["fingerprint_scanner"],
                    installed=kit.spare(),
                ),
                FaultCleared(component="fingerprint_scanner", fault="worn"),
            )


def _recordings(
    fleet: Fleet, plan: Plan, visit: Visit, kit: _Kit
) -> Iterator[tuple[int, EventData]]:
    random = chance(fleet.regency.seed, plan.producer, visit.first)
    settlement, people = fleet.regency.settlement, fleet.regency.people
    codes = [place.code for place in SETTLEMENTS]
    boot = plan.boots[visit.boot]
    route = "queue" if plan.is_village else "kafka" if visit.is_offline else "server"
    at_ms = visit.base_ms
    oldest_ms = at_ms - boot.offset_ms
    for done, index in enumerate(range(visit.start, visit.stop), start=1):
        number = plan.items[index]
        person, at_ms = fleet.recording(number)
        bits = random.getrandbits(16)
        yield (
            at_ms,
            RecordingCaptured(
                recording=f"{plan.producer}.{number if number < people else f'2.{number}'}",
                nik=nik_of(person),
                domicile=codes[settlement[person]],
                place=plan.place,
                mode="offline" if visit.is_offline else "online",
                components=kit.components,
                quality={"fingers": 50 + (bits & 31), "face": 60 + (bits >> 5 & 31)},
                operator=f"op-{bits >> 10 & 3}",
            ),
        )
        if done % RECORDINGS_PER_HEARTBEAT == 0:
            queue = done if visit.is_offline else done % _ONLINE_QUEUE_MAX
            yield at_ms, _beat(queue, oldest_ms, route, disk_used=index)
    queue = visit.count if visit.is_offline else 0
    yield at_ms + _HEARTBEAT_AFTER_MS, _beat(queue, oldest_ms, route, disk_used=visit.stop)


def _beat(queue: int, oldest_ms: int, route: str, *, disk_used: int) -> Heartbeat:
    return Heartbeat(
        queue_events=queue,
        oldest_unsent_ms=oldest_ms if queue else None,
        route=route,
        disk_free_bytes=_DISK_BYTES - disk_used * 400_000,
        software=SOFTWARE,
    )


def _observations(fleet: Fleet, plan: Plan, visit: Visit) -> Iterator[tuple[int, EventData]]:
    at_ms = visit.base_ms
    for person in plan.items[visit.start : visit.stop]:
        nik = nik_of(person)
        for status, observed_ms in fleet.regency.observations(person):
            at_ms += 1
            yield (
                at_ms,
                StatusObserved(nik=nik, status=status, observed_ms=observed_ms, source="siak"),
            )


def _cohort(fleet: Fleet, visit: Visit) -> Iterator[tuple[int, EventData]]:
    at_ms = visit.base_ms
    entries = list(enumerate(fleet.regency.cohort, start=1))
    if visit.start == 0:
        yield (
            at_ms,
            CohortPublished(
                cohort=COHORT,
                version="1",
                title="Warga Kutai Timur di Lapas Bontang / residents in Bontang prison",
                source="KPU Kutai Timur (sintetis / synthetic)",
                entries=COHORT_ENTRIES,
            ),
        )
        for entry, (person, _) in entries:
            at_ms += 1
            nik = None if person is None else nik_of(person)
            yield at_ms, CohortEntryListed(cohort=COHORT, entry=entry, nik=nik)
        return
    for entry, (_, bucket) in entries:
        if bucket is not None:
            at_ms += 1
            yield (
                at_ms,
                CohortEntryResolved(
                    cohort=COHORT, entry=entry, bucket=bucket, source="Disdukcapil Kutai Timur"
                ),
            )


def anchored_by(plan: Plan, number: int) -> dict[str, int]:
    """Return the clock offsets that a visit announces, by boot session."""
    return {
        boot_name(note.boot): plan.boots[note.boot].offset_ms
        for note in plan.visits[number].notes
        if isinstance(note, Anchor)
    }
