"""The fleet and its plan: who seals what, in which order, with which clock. Pure and reproducible.

A producer's life is a list of *visits*: what it appends in one transaction and then sends. An
online recorder visits every few hundred events, one in a village when it has contact again. The
plan fixes the events of every visit, so a run that was killed goes on from the number of events
that the outbox holds.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Final, Literal

from producers.simulator.chance import chance
from producers.simulator.places import DISTRICTS, REGENCY, SETTLEMENTS
from producers.simulator.regency import (
    COHORT_ENTRIES,
    DAY_MS,
    END_MS,
    FIRST_DAY,
    Regency,
    day_start_ms,
)
from rekam.domain.ids import ProducerId
from rekam.domain.segment import SEGMENT_EVENTS_MAX

DEVICES_MIN: Final = 2
DEVICES_MAX: Final = len(DISTRICTS) + len(SETTLEMENTS)
DEVICES_USUAL: Final = 138
"""A recorder in each of 18 kecamatan, and in 120 of 141 settlements."""

FEEDS: Final = 4
"""The centre answers by four feeds, so that its answers lie in several partitions."""

BROKEN_SERVERS: Final = 5
WRONG_CLOCKS: Final = 6
"""So many village recorders start once at 1970, and so many once three years ahead."""

ENROLLED_MS: Final = day_start_ms(FIRST_DAY) - 31 * DAY_MS
SERVERS_BREAK_MS: Final = END_MS - 76 * DAY_MS
THREE_YEARS_MS: Final = 3 * 365 * DAY_MS

VISITS_PER_BOOT: Final = (2, 4)
ONLINE_RECORDINGS: Final = (200, 300)
ONLINE_SEGMENT_EVENTS: Final = (24, 64)
BURST_RECORDINGS: Final = (160, 370)
FEED_EVENTS: Final = 2 * SEGMENT_EVENTS_MAX
RECORDINGS_PER_HEARTBEAT: Final = 3
SHARE_AT_HOME: Final = 0.75
"""Of the people whose settlement has a recorder; the others go to the kecamatan's office."""

Kind = Literal["recorder", "centre", "kpu"]


@dataclass(frozen=True, slots=True)
class Anchor:
    """The clock of a boot session is told: here or, when it was wrong, in a later session."""

    boot: int


@dataclass(frozen=True, slots=True)
class ServerBroke:
    """The kecamatan's server is dead; the recorder takes the direct route from now on."""


@dataclass(frozen=True, slots=True)
class ScannerSwapped:
    """A worn scanner was reported, and replaced by one of another kit."""


Note = Anchor | ServerBroke | ScannerSwapped


@dataclass(frozen=True, slots=True)
class Boot:
    """One session of a clock: true time = wall time + offset_ms."""

    start_ms: int
    offset_ms: int


@dataclass(frozen=True, slots=True)
class Visit:
    """What a producer appends in one transaction: notes first, then items start..stop-1."""

    first: int
    """How many events of the producer come before."""
    count: int
    start: int
    stop: int
    boot: int
    base_ms: int
    """True time of its first event."""
    due_ms: int
    """True time at which it is sent: the order of the log follows it."""
    segment_events_max: int
    is_offline: bool
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One producer and everything that it will say up to the end of the published figures."""

    producer: ProducerId
    kind: Kind
    place: str
    items: "array[int]"
    """Recordings of a recorder, people of a feed, entries of the cohort's desk."""
    visits: tuple[Visit, ...]
    boots: tuple[Boot, ...]
    is_village: bool = False
    is_sent_twice: bool = False
    is_enrolled_late: bool = False

    @property
    def events(self) -> int:
        """Return how many events the plan has."""
        last = self.visits[-1]
        return last.first + last.count

    def visit_at(self, events: int) -> int:
        """Return the number of the visit that is next when `events` are there."""
        return bisect_left([visit.first + visit.count for visit in self.visits], events + 1)


@dataclass(frozen=True)
class Fleet:
    """All simulated producers of a regency. Raises ValueError beyond DEVICES_MIN..DEVICES_MAX."""

    regency: Regency
    devices: int = DEVICES_USUAL

    def __post_init__(self) -> None:
        if not DEVICES_MIN <= self.devices <= DEVICES_MAX:
            raise ValueError(f"{self.devices} devices; wanted {DEVICES_MIN}..{DEVICES_MAX}")

    @cached_property
    def plans(self) -> tuple[Plan, ...]:
        """Return the plan of every producer: recorders first, then the feeds and the KPU's desk."""
        return (*self._recorders(), *self._feeds(), self._kpu())

    @property
    def events(self) -> int:
        """Return how many events all of them plan."""
        return sum(plan.events for plan in self.plans)

    def recording(self, number: int) -> tuple[int, int]:
        """Return person and true time of a recording; those after the last person are repeats."""
        regency = self.regency
        if number < regency.people:
            return number, regency.at_ms[number]
        return regency.twice[number - regency.people]

    # -- recorders -----------------------------------------------------------------------------

    def _random(self, name: str) -> Random:
        return chance(self.regency.seed, name)

    @cached_property
    def _village_settlements(self) -> list[int]:
        """Return the settlements that have a recorder, in the order of their codes."""
        count = max(0, self.devices - len(DISTRICTS))
        chosen = self._random("villages").sample(range(len(SETTLEMENTS)), count)
        return sorted(chosen)

    @cached_property
    def _office_count(self) -> int:
        return min(self.devices, len(DISTRICTS))

    @cached_property
    def _assigned(self) -> list["array[int]"]:
        """Return the recordings of each recorder, offices first, in the order of time."""
        office_of = [
            next(n for n, place in enumerate(DISTRICTS) if place.code == settlement.district)
            % self._office_count
            for settlement in SETTLEMENTS
        ]
        village_of: list[int | None] = [None] * len(SETTLEMENTS)
        for n, settlement in enumerate(self._village_settlements):
            village_of[settlement] = self._office_count + n
        lists = [array("L") for _ in range(self.devices)]
        draw = self._random("offices").random
        for person, settlement in enumerate(self.regency.settlement):
            village = village_of[settlement]
            at_home = village is not None and draw() < SHARE_AT_HOME
            recorder = village if village is not None and at_home else office_of[settlement]
            lists[recorder].append(person)
        for n, (person, at_ms) in enumerate(self.regency.twice):
            # The office of another kecamatan: never the recorder of the first time.
            office = (office_of[self.regency.settlement[person]] + 1) % self._office_count
            moments = [self.recording(number)[1] for number in lists[office]]
            lists[office].insert(bisect_left(moments, at_ms), self.regency.people + n)
        return lists

    def _recorders(self) -> Iterator[Plan]:
        random = self._random("fleet")
        villages = range(self._office_count, self.devices)
        odd = random.sample(villages, min(2 * WRONG_CLOCKS + 1, len(villages) // 2))
        at_1970, ahead, unanchored = odd[0:-1:2], odd[1:-1:2], odd[-1:]
        broken = random.sample(
            range(self._office_count), min(BROKEN_SERVERS, self._office_count // 2)
        )
        twice = random.sample(range(self.devices), max(1, self.devices // 9))
        late = random.sample(villages, len(villages) // 8)
        for n, items in enumerate(self._assigned):
            is_village = n >= self._office_count
            if is_village:
                place = SETTLEMENTS[self._village_settlements[n - self._office_count]]
            else:
                place = DISTRICTS[n]
            clock: _Clock = "right"
            if n in at_1970:
                clock = "1970"
            elif n in ahead:
                clock = "ahead"
            elif n in unanchored:
                clock = "unanchored"
            producer = f"{'desa' if is_village else 'kec'}-{place.code.replace('.', '')}"
            life = _Life(
                random=self._random(producer),
                moments=[self.recording(number)[1] for number in items],
                is_village=is_village,
                breaks=n in broken,
                clock=clock,
            )
            life.live()
            yield Plan(
                producer=ProducerId(producer),
                kind="recorder",
                place=place.code,
                items=items,
                visits=tuple(life.visits),
                boots=tuple(life.boots),
                is_village=is_village,
                is_sent_twice=n in twice,
                is_enrolled_late=n in late,
            )

    # -- offices -------------------------------------------------------------------------------

    def _feeds(self) -> Iterator[Plan]:
        steps = self.regency.observed_steps
        for feed in range(FEEDS):
            people = array("L", range(feed, self.regency.people, FEEDS))
            log = _Visits()
            start = 0
            while start < len(people):
                stop, events = start, 0
                while stop < len(people) and events < FEED_EVENTS - 5:
                    events += steps[people[stop]]
                    stop += 1
                due = min(self.regency.at_ms[people[stop - 1]] + 56 * DAY_MS, END_MS)
                log.add(start, stop, events, base_ms=due, due_ms=due)
                start = stop
            yield Plan(
                producer=ProducerId(f"centre-feed-{feed + 1}"),
                kind="centre",
                place=REGENCY,
                items=people,
                visits=tuple(log.visits),
                boots=tuple(log.boots),
            )

    def _kpu(self) -> Plan:
        resolved = sum(bucket is not None for _, bucket in self.regency.cohort)
        log = _Visits()
        for start, stop, events, days in (
            (0, COHORT_ENTRIES, 1 + COHORT_ENTRIES, 4),
            (COHORT_ENTRIES, 2 * COHORT_ENTRIES, resolved, 16),
        ):
            moment = END_MS + days * DAY_MS
            log.add(start, stop, events, base_ms=moment, due_ms=moment)
        return Plan(
            producer=ProducerId("kpu-kutai-timur"),
            kind="kpu",
            place=REGENCY,
            items=array("L", range(2 * COHORT_ENTRIES)),
            visits=tuple(log.visits),
            boots=tuple(log.boots),
        )


class _Visits:
    """Builds the visits of an office desk: a right clock, a new session every few visits."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.boots: list[Boot] = []
        self._first = 0

    def add(self, start: int, stop: int, events: int, *, base_ms: int, due_ms: int) -> None:
        notes: tuple[Note, ...] = ()
        if len(self.visits) % VISITS_PER_BOOT[1] == 0:
            self.boots.append(Boot(base_ms, 0))
            notes = (Anchor(len(self.boots) - 1),)
        count = len(notes) + events
        self.visits.append(
            Visit(
                first=self._first,
                count=count,
                start=start,
                stop=stop,
                boot=len(self.boots) - 1,
                base_ms=base_ms,
                due_ms=due_ms,
                segment_events_max=SEGMENT_EVENTS_MAX,
                is_offline=False,
                notes=notes,
            )
        )
        self._first += count


_Clock = Literal["right", "1970", "ahead", "unanchored"]


@dataclass(kw_only=True)
class _Life:
    """Builds the visits of a recorder from the moments of its recordings."""

    random: Random
    moments: Sequence[int]
    is_village: bool
    breaks: bool
    clock: _Clock
    visits: list[Visit] = field(default_factory=list)
    boots: list[Boot] = field(default_factory=list)

    def live(self) -> None:
        """Fill `visits` and `boots`; afterwards every boot session has its anchor."""
        breaks_at = bisect_left(self.moments, SERVERS_BREAK_MS) if self.breaks else None
        start, in_boot, pending, is_broken = 0, 0, list[Note](), False
        while start < len(self.moments) or not self.visits:
            notes: list[Note] = []
            if in_boot == 0:
                in_boot = self.random.randint(*VISITS_PER_BOOT)
                notes += self._new_boot(start, pending)
            in_boot -= 1
            if start == breaks_at and not is_broken:
                is_broken = True
                notes.append(ServerBroke())
            elif self.is_village and self.random.random() < 0.05:  # noqa: PLR2004 - a guess
                notes.append(ScannerSwapped())
            low, high = BURST_RECORDINGS if self.is_village else ONLINE_RECORDINGS
            stop = min(start + self.random.randint(low, high), len(self.moments))
            if breaks_at is not None and start < breaks_at:
                stop = min(stop, breaks_at)
            self._add(start, stop, notes, is_offline=self.is_village or is_broken)
            start = stop
        if self.breaks and not is_broken:
            pending.append(ServerBroke())
        if pending:
            self._add(start, start, pending, is_offline=self.is_village or self.breaks)

    def _new_boot(self, start: int, pending: list[Note]) -> list[Note]:
        """Open a boot session and return the anchors that it begins with.

        A wrong clock is told by the session after it; what stays in `pending` is told at the end.
        """
        boot = len(self.boots)
        start_ms = self._moment(start) - 1_800_000
        offset_ms = self.random.randint(-90_000, 90_000)
        anchor = Anchor(boot)
        if boot > 0 or self.clock == "right":
            self.boots.append(Boot(start_ms, offset_ms))
            notes: list[Note] = [anchor]
            if self.clock in ("1970", "ahead"):
                notes += pending
                pending.clear()
            return notes
        # Only the first session of an odd clock is odd.
        if self.clock == "1970":
            offset_ms = start_ms
        elif self.clock == "ahead":
            offset_ms = -THREE_YEARS_MS
        self.boots.append(Boot(start_ms, offset_ms))
        pending.append(anchor)
        return []

    def _moment(self, item: int) -> int:
        if item < len(self.moments):
            return self.moments[item]
        return self.moments[-1] + DAY_MS // 4 if self.moments else day_start_ms(FIRST_DAY) + DAY_MS

    def _add(self, start: int, stop: int, notes: Sequence[Note], *, is_offline: bool) -> None:
        first = self.visits[-1].first + self.visits[-1].count if self.visits else 0
        recordings = stop - start
        last_ms = self._moment(stop - 1) if recordings else self._moment(start)
        delay_days = self.random.randint(3, 40) if is_offline else 0
        self.visits.append(
            Visit(
                first=first,
                count=sum(map(events_of_note, notes)) + events_of_recordings(recordings),
                start=start,
                stop=stop,
                boot=len(self.boots) - 1,
                base_ms=self._moment(start) - 1000,
                due_ms=last_ms + delay_days * DAY_MS,
                segment_events_max=(
                    SEGMENT_EVENTS_MAX
                    if is_offline
                    else self.random.randint(*ONLINE_SEGMENT_EVENTS)
                ),
                is_offline=is_offline,
                notes=tuple(notes),
            )
        )


def events_of_recordings(recordings: int) -> int:
    """Return the events of so many recordings with the heartbeats between and after them."""
    return recordings + recordings // RECORDINGS_PER_HEARTBEAT + 1


def events_of_note(note: Note) -> int:
    """Return how many events a note becomes (producers/simulator/script.py)."""
    match note:
        case Anchor():
            return 1
        case ServerBroke():
            return 2
        case ScannerSwapped():
            return 3
