"""What a fleet with faults will say and suffer, and what the log must hold in the end. Pure.

A device has up to three *lives*, each with an outbox of its own making:

    original   epoch 1, from the first event to the copy, and on after it
    clone      epoch 1, a copy of the home that goes on beside its original: a fork
    successor  epoch 2, in which the original goes on once somebody has noticed

A life is a list of *visits*: what is appended in one transaction, and how the contact goes after
it. The last visit of a life goes well, so what is in every outbox is known at the end. The same
devices, events, seed and faults give the same plan, and (by `lines.py`) the same bytes.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Final, Literal

from producers.simulator.chance import chance
from producers.simulator.places import SETTLEMENTS
from producers.simulator.regency import DAY_MS
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.segment import SEGMENT_EVENTS_MAX

DEVICES_MIN: Final = 1
DEVICES_MAX: Final = 20_000
EVENTS_PER_DEVICE_MIN: Final = 24
"""Fewer leave no room for three lives with faults in them."""

EVENTS_MAX: Final = 10_000_000
SEED_MAX: Final = 10**9
"""On either side of 0: a producer's id holds it."""

Fault = Literal["offline", "clock", "clone", "duplicate-route", "usb", "kill"]
FAULTS: Final[tuple[Fault, ...]] = ("offline", "clock", "clone", "duplicate-route", "usb", "kill")

Contact = Literal["online", "away", "cut", "carried"]
"""`away`: no route works. `cut`: the bytes arrive and the answer does not, so they go once more.
`carried`: they leave on a stick alone."""

KillStep = Literal["appended", "sealed", "sent"]
"""After which step SIGKILL ends the process: some events durable; all in segments; in the log,
but not yet taken off the queue."""
KILL_STEPS: Final[tuple[KillStep, ...]] = ("appended", "sealed", "sent")

LifeName = Literal["original", "clone", "successor"]
ClockFault = Literal["1970", "ahead", "stepped", "unanchored"]

SHARE: Final = 0.25
"""Of the devices that suffer each kind of fault; at least one does."""

PROCESSES_KILLED_MAX: Final = 6
"""Devices whose sender is a process of its own that is killed: each costs a start of Python. The
others with that fault lose the answer to a send, which sends the same bytes again."""

SHARE_ENROLLED_LATE: Final = 0.1

FIRST_MS: Final = 1_515_369_600_000  # 2018-01-08
ENROLLED_MS: Final = FIRST_MS - 31 * DAY_MS
SPACING_MS: Final = 20_000
"""Between two events of a visit."""

THREE_YEARS_MS: Final = 3 * 365 * DAY_MS
SMALL_STEP_MS: Final = 100_000
VISIT_EVENTS_MAX: Final = 1_000
_VISIT_EVENTS_MIN: Final = 4
_ONLINE_SEGMENT_EVENTS: Final = (24, 64)
_CLONE_EVENTS_MIN: Final = 4
_SUCCESSOR_EVENTS_MIN: Final = 5


@dataclass(frozen=True, slots=True)
class Anchor:
    """True time of a boot session = wall time + offset_ms, as the device announces it."""

    boot: str
    offset_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What is appended in one transaction, by which clock, and how the contact goes."""

    first: int
    count: int
    boot: str
    boot_ms: int
    """True time at which the boot session began."""
    base_ms: int
    """True time of the first event; the others follow by SPACING_MS."""
    offset_ms: int
    """True time minus what the wall clock shows."""
    step_at: int
    """Events before the wall clock steps; `count` when it does not."""
    stepped_ms: int
    """The offset from there on."""
    anchors: tuple[Anchor, ...]
    """The first events of the visit."""
    contact: Contact
    killed_at: KillStep | None
    segment_events_max: int

    @property
    def last(self) -> int:
        """Return the seq of its last event."""
        return self.first + self.count - 1

    def offset_of(self, index: int) -> int:
        """Return the clock's offset at one of its events, the first being 0."""
        return self.offset_ms if index < self.step_at else self.stepped_ms

    def at_ms(self, index: int) -> int:
        """Return the true time of one of its events."""
        return self.base_ms + index * SPACING_MS


@dataclass(frozen=True, slots=True)
class Life:
    """The visits of one outbox within one epoch."""

    name: LifeName
    epoch: Epoch
    visits: tuple[Visit, ...]

    @property
    def first(self) -> int:
        """Return the first seq that this life itself appends."""
        return self.visits[0].first

    @property
    def last(self) -> int:
        """Return the last one."""
        return self.visits[-1].last

    @property
    def events(self) -> int:
        """Return how many events its visits append."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One recorder and everything that happens to it."""

    number: int
    producer: ProducerId
    place: str
    faults: frozenset[Fault]
    original: Life
    clone: Life | None
    successor: Life | None
    copied_after: int
    """How many visits of the original come before the copy; all of them without a clone."""
    is_clone_first: bool
    """The clone reaches the log before the original goes on."""
    is_enrolled_late: bool
    """The registrar's word reaches the log after its segments."""
    is_imported_twice: bool
    """Its stick is imported at two offices."""

    @property
    def lives(self) -> tuple[Life, ...]:
        """Return its lives in order."""
        return tuple(
            life for life in (self.original, self.clone, self.successor) if life is not None
        )

    @property
    def events(self) -> int:
        """Return how many events it has in the end, of all lives; a new epoch's first is one."""
        return sum(life.events for life in self.lives) + (self.successor is not None)

    @property
    def forked(self) -> range:
        """Return the seqs of epoch 1 that two different events have."""
        if self.clone is None:
            return range(0)
        return range(self.clone.first, min(self.clone.last, self.original.last) + 1)

    @property
    def is_carried(self) -> bool:
        """Return whether a stick carries some of it."""
        return any(visit.contact == "carried" for visit in self.original.visits)

    @property
    def is_killed(self) -> bool:
        """Return whether its sender is killed as a process."""
        return any(visit.killed_at is not None for visit in self.original.visits)

    def event_ids(self) -> dict[tuple[Epoch, int], int]:
        """Return how many different events the log must hold, by (epoch, seq), in the end."""
        ids: dict[tuple[Epoch, int], int] = {}
        for life in self.lives:
            first = life.first - 1 if life.name == "successor" else life.first
            for seq in range(first, life.last + 1):
                ids[life.epoch, seq] = ids.get((life.epoch, seq), 0) + 1
        return ids

    def first_person(self, life: Life) -> int:
        """Return which of the device's people a life records first; no two lives share one."""
        before = self.lives[: self.lives.index(life)]
        return sum(one.events for one in before)

    def anchors(self) -> dict[str, int]:
        """Return the offset that was announced last for each boot session."""
        return {
            anchor.boot: anchor.offset_ms
            for life in self.lives
            for visit in life.visits
            for anchor in visit.anchors
        }


@dataclass(frozen=True)
class FaultyFleet:
    """All devices of a run. Raises ValueError outside of the limits of this module."""

    devices: int
    events: int
    seed: int
    faults: frozenset[Fault] = field(default_factory=lambda: frozenset(FAULTS))

    def __post_init__(self) -> None:
        if not DEVICES_MIN <= self.devices <= DEVICES_MAX:
            raise ValueError(f"{self.devices} devices; wanted {DEVICES_MIN}..{DEVICES_MAX}")
        least = self.devices * EVENTS_PER_DEVICE_MIN
        if not least <= self.events <= EVENTS_MAX:
            raise ValueError(
                f"{self.events} events; wanted {least}..{EVENTS_MAX} "
                f"({EVENTS_PER_DEVICE_MIN} for each of {self.devices} devices)"
            )
        if abs(self.seed) > SEED_MAX:
            raise ValueError(f"seed {self.seed}; wanted {-SEED_MAX}..{SEED_MAX}")

    def __iter__(self) -> Iterator[Device]:
        """Yield the devices in order, each made anew: none is kept."""
        return (self.device(number) for number in range(self.devices))

    def device(self, number: int) -> Device:
        """Return one device; it depends on none of the others."""
        if not 0 <= number < self.devices:
            raise IndexError(number)
        faults = frozenset(fault for fault in self.faults if number in self._suffering[fault])
        share, odd = divmod(self.events, self.devices)
        random = chance(self.seed, "device", number)
        builder = _Builder(
            random=random, faults=faults, is_process_killed=number in self._process_killed
        )
        return builder.device(number, producer=self.producer(number), events=share + (number < odd))

    def producer(self, number: int) -> ProducerId:
        """Return the id of a device; fleets of different seeds share none."""
        mark = f"{abs(self.seed)}{'n' if self.seed < 0 else ''}"
        return ProducerId(f"sim-{mark}-{number:05}")

    @cached_property
    def _suffering(self) -> dict[Fault, frozenset[int]]:
        """Return the numbers of the devices that suffer each kind."""
        count = max(1, round(self.devices * SHARE))
        return {
            fault: frozenset(chance(self.seed, fault).sample(range(self.devices), count))
            for fault in FAULTS
        }

    @cached_property
    def _process_killed(self) -> frozenset[int]:
        if "kill" not in self.faults:
            return frozenset()
        return frozenset(sorted(self._suffering["kill"])[:PROCESSES_KILLED_MAX])


@dataclass(kw_only=True)
class _Builder:
    """Builds one device."""

    random: Random
    faults: frozenset[Fault]
    is_process_killed: bool
    _at_ms: int = FIRST_MS

    def device(self, number: int, *, producer: ProducerId, events: int) -> Device:
        is_cloned = "clone" in self.faults
        of_clone = max(_CLONE_EVENTS_MIN, events // 5) if is_cloned else 0
        of_successor = max(_SUCCESSOR_EVENTS_MIN, events // 4) if is_cloned else 0
        original = self._original(events - of_clone - of_successor)
        clone = successor = None
        copied_after = len(original.visits)
        if is_cloned:
            copied_after = self.random.randint(1, len(original.visits) - 1)
            copied_ms = self._at_ms
            first = original.visits[copied_after].first
            clone = self._plain("clone", Epoch(1), first=first, events=of_clone)
            self._at_ms = max(copied_ms, self._at_ms)
            # The first event of a new epoch is the outbox's own.
            successor = self._plain("successor", Epoch(2), first=2, events=of_successor - 1)
        return Device(
            number=number,
            producer=producer,
            place=self.random.choice(SETTLEMENTS).code,
            faults=self.faults,
            original=original,
            clone=clone,
            successor=successor,
            copied_after=copied_after,
            is_clone_first=self.random.random() < 0.5,  # noqa: PLR2004 - a coin
            is_enrolled_late=self.random.random() < SHARE_ENROLLED_LATE,
            is_imported_twice=self.random.random() < 0.4,  # noqa: PLR2004 - a guess
        )

    def _original(self, events: int) -> Life:
        counts = self._split(events)
        contacts = self._contacts(len(counts))
        killed = self.random.randrange(len(counts)) if self.is_process_killed else None
        step = self.random.choice(KILL_STEPS)
        clocks = _Clocks(self.random, "o", self._clock_fault())
        first = 1
        visits: list[Visit] = []
        for number, count in enumerate(counts):
            is_killed = number == killed
            visits.append(
                self._visit(
                    clocks,
                    first=first,
                    count=count,
                    contact="online" if is_killed else contacts[number],
                    killed_at=step if is_killed else None,
                )
            )
            first += count
        return Life("original", Epoch(1), tuple(visits))

    def _plain(self, name: LifeName, epoch: Epoch, *, first: int, events: int) -> Life:
        clocks = _Clocks(self.random, name[0], None)
        visits: list[Visit] = []
        for count in self._split(events):
            visits.append(
                self._visit(clocks, first=first, count=count, contact="online", killed_at=None)
            )
            first += count
        return Life(name, epoch, tuple(visits))

    def _visit(
        self,
        clocks: "_Clocks",
        *,
        first: int,
        count: int,
        contact: Contact,
        killed_at: KillStep | None,
    ) -> Visit:
        clock = clocks.next_visit(self._at_ms, count)
        is_online = contact == "online"
        visit = Visit(
            first=first,
            count=count,
            boot=clock.boot,
            boot_ms=clock.boot_ms,
            base_ms=self._at_ms,
            offset_ms=clock.offset_ms,
            step_at=clock.step_at,
            stepped_ms=clock.stepped_ms,
            anchors=clock.anchors,
            contact=contact,
            killed_at=killed_at,
            segment_events_max=(
                self.random.randint(*_ONLINE_SEGMENT_EVENTS) if is_online else SEGMENT_EVENTS_MAX
            ),
        )
        self._at_ms += count * SPACING_MS + self.random.randint(600_000, 14_400_000)
        return visit

    def _split(self, events: int) -> list[int]:
        """Cut a life's events into visits: 3 to 6, more when they would be large."""
        most = events // _VISIT_EVENTS_MIN
        wanted = max(self.random.randint(3, 6), -(-events // VISIT_EVENTS_MAX))
        parts = max(1, min(most, wanted))
        spare = events - parts * min(_VISIT_EVENTS_MIN, events)
        cuts = sorted(self.random.randint(0, spare) for _ in range(parts - 1))
        least = min(_VISIT_EVENTS_MIN, events)
        return [
            least + stop - start for start, stop in zip([0, *cuts], [*cuts, spare], strict=True)
        ]

    def _contacts(self, visits: int) -> list[Contact]:
        """Return how the contact of each visit goes; the last one goes well."""
        contacts: list[Contact] = ["online"] * visits
        if "kill" in self.faults:
            for number in range(visits - 1):
                if self.random.random() < 0.5:  # noqa: PLR2004 - a coin
                    contacts[number] = "cut"
        for fault, contact in _PERIODS:
            if fault in self.faults:
                start = self.random.randrange(visits - 1)
                stop = self.random.randint(start + 1, visits - 1)
                contacts[start:stop] = [contact] * (stop - start)
        if "usb" in self.faults and self.random.random() < 0.5:  # noqa: PLR2004 - a coin
            # No network ever came back: all of it goes by stick.
            contacts = ["carried"] * visits
        return contacts

    def _clock_fault(self) -> ClockFault | None:
        if "clock" not in self.faults:
            return None
        return self.random.choice(("1970", "ahead", "stepped", "unanchored"))


_PERIODS: Final[tuple[tuple[Fault, Contact], ...]] = (("offline", "away"), ("usb", "carried"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clock:
    boot: str
    boot_ms: int
    offset_ms: int
    step_at: int
    stepped_ms: int
    anchors: tuple[Anchor, ...]


@dataclass(slots=True)
class _Clocks:
    """The boot sessions of a life. Only the first one of a faulty clock is wrong."""

    random: Random
    mark: str
    fault: ClockFault | None
    _sessions: int = 0
    _boot: str = ""
    _boot_ms: int = 0
    _offset_ms: int = 0
    _pending: list[Anchor] = field(default_factory=list)
    """What is only told in the next session."""

    def next_visit(self, at_ms: int, count: int) -> _Clock:
        """Return the clock of the next visit, of `count` events from `at_ms` on."""
        anchors: list[Anchor] = []
        is_first = self._sessions == 0
        # A wrong session lasts for one visit, so that there is one after it to tell.
        is_wrong = is_first and self.fault is not None
        was_wrong = self._sessions == 1 and self.fault is not None
        if is_first or was_wrong or self.random.random() < 0.4:  # noqa: PLR2004 - a guess
            anchors = self._new_session(at_ms, is_wrong=is_wrong)
        step_at, stepped_ms = count, self._offset_ms
        if is_wrong and self.fault == "stepped":
            step_at = self.random.randint(len(anchors) + 1, count - 1)
            stepped_ms = self._stepped(at_ms)
            self._pending.append(Anchor(self._boot, stepped_ms))
        return _Clock(
            boot=self._boot,
            boot_ms=self._boot_ms,
            offset_ms=self._offset_ms,
            step_at=step_at,
            stepped_ms=stepped_ms,
            anchors=tuple(anchors),
        )

    def _new_session(self, at_ms: int, *, is_wrong: bool) -> list[Anchor]:
        self._sessions += 1
        self._boot = f"{self.mark}{self._sessions}"
        self._boot_ms = at_ms - 300_000
        self._offset_ms = self.random.randint(-90_000, 90_000)
        told, self._pending = self._pending, []
        own = Anchor(self._boot, self._offset_ms)
        if not is_wrong or self.fault == "stepped":
            return [own, *told]
        if self.fault == "1970":
            self._offset_ms = self._boot_ms
        elif self.fault == "ahead":
            self._offset_ms = -THREE_YEARS_MS
        if self.fault != "unanchored":
            self._pending.append(Anchor(self._boot, self._offset_ms))
        return told

    def _stepped(self, at_ms: int) -> int:
        """Return the offset after a step: three years on, back to 1970, or by little."""
        return self.random.choice((-THREE_YEARS_MS, at_ms, self._offset_ms + SMALL_STEP_MS))


def faults_of(names: Collection[str]) -> frozenset[Fault]:
    """Return the faults of these names. Raises ValueError naming what is none."""
    unknown = sorted(set(names) - set(FAULTS))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}; wanted some of {', '.join(FAULTS)}")
    return frozenset(fault for fault in FAULTS if fault in names)


def count_by_fault(devices: Sequence[Device]) -> dict[Fault, int]:
    """Return how many devices suffer each kind of fault."""
    return {fault: sum(fault in device.faults for device in devices) for fault in FAULTS}
