"""Whole histories of an office: every family of events in one log, with all that goes wrong.

    cast ─► turns (events and faults) ─► parcels ─► carried late ─► log records

The same seed tells the same story, for Hypothesis (`histories`) and for tests with servers
(`seeded`); only the bytes of encryption differ. `print(seeded(7, turns=3))` tells it, a line a
record.

What is in it: several recorders and epochs, desks of every kind, a registrar whose statements come
late, doubled and forked; clocks at 1970 and years ahead, anchored late, by a later session or
wrongly; key rotations, back-dated revocations, withdrawals, duplicate persons and their cases,
resets of statuses, letters, erasures, readings; trees that re-code, denominators that fall, lists
with versions whose words come before their entries; second routes, sticks, forks, forgeries,
garbage, events and segments of newer versions; records that a person discards.
"""

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st

from projections.facts import ROUTES
from rekam.domain import events
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.keys import ReaderPrivateKey, SigningKey
from rekam.domain.log import LogRecord
from tests.support.deciding import with_discards
from tests.support.history import (
    DAY_MS,
    DESA,
    PARTITIONS,
    REGISTRAR,
    REGISTRAR_KEY,
    START_MS,
    Life,
    Log,
    anchored,
    captured,
    hash_of,
    nik,
)

TIMES: Final = int(os.environ.get("LAWS_TIMES", "1"))
"""How many times as many histories as usual are tried: 1 takes seconds, 100 a night's share."""

PEOPLE: Final = 4
"""Few, so that nearly everybody is recorded twice, withdrawn, shown and listed."""
DAYS: Final = 40
"""How many days after the start things happen; the log begins when they are over."""
ENTRIES: Final = 4
CAST: Final = (
    ("dev-a", "recorder"),
    ("dev-b", "recorder"),
    ("dev-c", "recorder"),
    ("desk", "office"),
    ("centre", "centre"),
    ("kpu", "kpu"),
    ("api", "api"),
)
ARC: Final = (
    "BIO_CAPTURED",
    "PROCESSING",
    "SENT_FOR_ENROLLMENT",
    "ENROLL_FAILURE_AT_CENTRAL",
    "RECEIVED_AT_CENTRAL",
    "DUPLICATE_RECORD",
    "PRINT_READY_RECORD",
    "CARD_ISSUED",
    "SENT_FOR_CARD_PRINTING",
    "X_9",
)
"""What the centre may show, forward, back, and in no order; one code that nobody knows."""
SKEWS_MS: Final = (0, 0, -START_MS, 3 * 365 * DAY_MS, DAY_MS)
"""How far a clock may be off: right, at 1970, years ahead, a day ahead."""
LINES: Final = (
    b"not json",
    b'{"type":"a.b.v9","wall_ms":1,"mono_ms":1,"boot":"b","data":{}}',
    b'{"type":"device.heartbeat.v1","wall_ms":1,"mono_ms":1,"boot":"b","data":{"new":1}}',
)
"""Wrong for ever; of a type, and with a field, that only newer software knows."""
NEWER_READER: Final = ReaderPrivateKey.from_seed(bytes([77]) * 32)


@dataclass(frozen=True)
class Parcel:
    """A record on its way to the log."""

    raw: bytes
    partition: int
    told: str


@dataclass(frozen=True)
class History:
    """What stands in the log, in the order of append. Printed, it is a story."""

    seed: int
    turns: int
    records: list[LogRecord]
    story: list[str]

    def __repr__(self) -> str:
        """Return how to tell it again."""
        return f"seeded({self.seed}, turns={self.turns})"

    def __str__(self) -> str:
        """Tell it, a line a record."""
        return "\n".join([f"{self!r}: {len(self.records)} records", *self.story])


def histories(*, turns_max: int = 24) -> st.SearchStrategy[History]:
    """Return the strategy of whole histories, of about two records a turn and the registrar's.

    A seed is quicker than a choice at a time; a failing history shrinks to fewer turns.
    """
    return st.builds(seeded, st.integers(0, 2**32), turns=st.integers(1, turns_max))


def examples(count: int) -> settings:
    """Return the settings of a law that is tried on so many histories, or `LAWS_TIMES` as many."""
    return settings(max_examples=count * TIMES, deadline=None)


def seeded(seed: int, *, turns: int = 40) -> History:
    """Let an office live for some turns, and bring what it sealed to the log."""
    office = _Office(random.Random(seed))
    for _ in range(turns):
        office.turn()
    office.speak_of_strangers()
    office.carry_some_late()
    office.state_all()
    records, story = office.delivered(random.Random(f"routes {seed}"))
    return History(seed, turns, records, story)


@dataclass
class _Device(Life):
    """A life that remembers what its clock hides: how far it is off, and which sessions were."""

    skews_ms: dict[str, int] = field(default_factory=dict)
    spare: SigningKey = REGISTRAR_KEY


class _Office:
    """Everybody who seals, and the parcels that they have sent."""

    def __init__(self, choose: random.Random) -> None:
        self.choose = choose
        self.parcels: list[Parcel] = []
        self.registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
        self.lives = [
            _Device(
                ProducerId(name),
                SigningKey.from_seed(bytes([20 + number]) * 32),
                kind=kind,
                skews_ms={"boot-1": choose.choice(SKEWS_MS)},
                spare=SigningKey.from_seed(bytes([60 + number]) * 32),
            )
            for number, (name, kind) in enumerate(CAST)
        ]
        self.recorded: list[tuple[int, str]] = []
        """Person and number of every recording so far: what may be withdrawn."""
        self.looked_at: list[tuple[str, str]] = []
        """NIK and event id of every recording so far: what a case of duplicates rests on."""

    def happens(self, chance: float) -> bool:
        return self.choose.random() < chance

    # -- turns: one producer seals a segment, and something may go wrong ------------------------

    def turn(self) -> None:
        life = self.choose.choice(self.lives)
        if self.happens(0.2):
            self._boot(life)
        if self.happens(0.1):
            _open_epoch(life)
        before = (life.next_seq, life.prev)
        parcel = self._seal(life)
        self.parcels.append(parcel)
        if self.happens(0.2):
            self._fork(life, before)
        if self.happens(0.2):
            self._by_another_route(parcel, "by a second route")
        if self.happens(0.1):
            self._forge(parcel)

    def _seal(self, life: _Device) -> Parcel:
        happened = [self._event(life) for _ in range(self.choose.randrange(1, 5))]
        lines = [self.choose.choice(LINES)] if self.happens(0.12) else []
        key = life.spare if self.happens(0.25) else life.key
        first = life.next_seq
        self.looked_at += [
            (event.data.nik, f"{life.producer}/{life.epoch}/{seq}")
            for seq, event in enumerate(happened, start=first)
            if isinstance(event.data, events.RecordingCaptured)
        ]
        raw = life.seal(*happened, lines=lines, key=key)
        told = f"{life.producer} e{life.epoch} {first}-{life.next_seq - 1}" + (
            " (spare key)" if key is life.spare else ""
        )
        return Parcel(raw, hash_of(life.producer), f"{told}: {_said(happened, lines)}")

    def _fork(self, life: _Device, before: tuple[int, str]) -> None:
        """Seal the same seqs again, as a device that was restored from an image; perhaps fewer."""
        after = (life.next_seq, life.prev)
        life.next_seq, life.prev = before
        self.parcels.append(self._seal(life))
        life.next_seq, life.prev = max((life.next_seq, life.prev), after)

    def _by_another_route(self, parcel: Parcel, how: str, raw: bytes | None = None) -> None:
        partition = self.choose.randrange(PARTITIONS)
        self.parcels.append(Parcel(raw or parcel.raw, partition, f"{parcel.told} [{how}]"))

    def _forge(self, parcel: Parcel) -> None:
        spoilt = bytearray(parcel.raw)
        spoilt[self.choose.randrange(8, len(spoilt))] ^= 1 << self.choose.randrange(8)
        self._by_another_route(parcel, "one bit flipped", bytes(spoilt))

    def _boot(self, life: _Device) -> None:
        life.boot = f"boot-{self.choose.randrange(1, 4)}"
        life.skews_ms.setdefault(life.boot, self.choose.choice(SKEWS_MS))

    # -- events: what a producer of each kind may say, and some that it may not -------------------

    def _event(self, life: _Device) -> events.Event:
        happened_ms = START_MS + self.choose.randrange(DAYS) * DAY_MS
        families: dict[str, Sequence[Callable[[_Device], events.EventData]]] = {
            "recorder": [self._captured] * 4 + [self._withdrawn, self._letter, self._forbidden],
            "office": [
                *(self._captured, self._withdrawn, self._letter, self._listed, self._ticket),
                *[self._settled] * 3,
            ],
            "centre": [self._observed] * 6 + [self._letter],
            "kpu": [self._listed, self._listed, self._resolved, self._resolved, self._head],
            "api": [self._accessed] * 3,
        }
        everybody = [self._anchored, self._of_itself, self._of_itself]
        say = self.choose.choice([*families[life.kind], *everybody])
        return life.event(say(life), wall_ms=happened_ms + life.skews_ms[life.boot])

    def _person(self) -> int:
        return self.choose.randrange(PEOPLE)

    def _captured(self, life: _Device) -> events.EventData:
        person, recording = self._person(), f"{life.producer}-{self.choose.randrange(6)}"
        self.recorded.append((person, recording))
        return captured(person, recording, self.choose.choice(DESA))

    def _withdrawn(self, _life: _Device) -> events.EventData:
        person, recording = self.choose.choice(self.recorded or [(0, "dev-a-0")])
        maker, number = recording.rsplit("-", 1)
        # Most name nobody, some whose recording it is, and some another, of whom there is none.
        named = {"1": maker, "3": maker, "5": "dev-z"}.get(number)
        return events.RecordingWithdrawn(
            recording=recording, nik=nik(person), reason="test", producer=named
        )

    def _observed(self, _life: _Device) -> events.EventData:
        return events.StatusObserved(
            nik=nik(self._person()),
            status=self.choose.choice(ARC),
            observed_ms=START_MS + self.choose.randrange(9) * DAY_MS,
            source="siak",
        )

    def _settled(self, _life: _Device) -> events.EventData:
        """Settle a case of a person, whose recordings so far were looked at, or some of them."""
        return self._settle(nik(self._person()), without=self.choose.choice((0, 0, 1)))

    def _settle(self, person: str, *, without: int = 0) -> events.DuplicateResolved:
        names = [name for of_person, name in self.looked_at if of_person == person]
        return events.DuplicateResolved(
            nik=person,
            kind=self.choose.choice(("two_recordings", "two_recordings", "centre_duplicate")),
            outcome=self.choose.choice(("same_person", "wrong_nik", "not_a_duplicate")),
            resolved_ms=START_MS + self.choose.randrange(DAYS) * DAY_MS,
            reason="test",
            recordings=tuple(names[without:]),
        )

    def _letter(self, _life: _Device) -> events.EventData:
        return events.SuketIssued(
            nik=nik(self._person()),
            number=self.choose.choice(("s-1", "s-2")),
            issued_ms=START_MS + self.choose.randrange(9) * DAY_MS,
            status="PROCESSING",
        )

    def _forbidden(self, _life: _Device) -> events.EventData:
        """Say what a recorder may not: a status, an erasure, a tree."""
        person = nik(self._person())
        return self.choose.choice(
            (
                events.StatusObserved(
                    nik=person, status="CARD_ISSUED", observed_ms=START_MS, source="forged"
                ),
                events.ErasureOrdered(nik=person, order="forged", reason="nobody may"),
                _tree("t9", (DESA[0],), {DESA[0]: DESA[1]}, date(2017, 1, 1)),
            )
        )

    def _listed(self, _life: _Device) -> events.EventData:
        entry = self.choose.randrange(ENTRIES)
        return events.CohortEntryListed(
            cohort="c",
            entry=entry,
            nik=self.choose.choice((None, nik(self._person()))),
            code=self.choose.choice((None, "11", "U")),
            version=self.choose.choice((None, "1", "2")),
        )

    def _resolved(self, _life: _Device) -> events.EventData:
        return events.CohortEntryResolved(
            cohort="c",
            entry=self.choose.randrange(ENTRIES),
            bucket=self.choose.choice(("verified", "printed", "not_found")),
            source=self.choose.choice(("kpu", "koran")),
            version=self.choose.choice((None, "1", "2")),
        )

    def _head(self, _life: _Device) -> events.EventData:
        version = self.choose.choice(("1", "2"))
        return events.CohortPublished(
            cohort="c", version=version, title="t", source="s", entries=ENTRIES
        )

    def _ticket(self, _life: _Device) -> events.EventData:
        producer = self.choose.choice(("dev-a", "dev-b", "nobody"))
        return self.choose.choice(
            (
                events.TicketOpened(ticket="t1", producer=producer, summary="x"),
                events.TicketAssigned(ticket="t1", producer=producer, technician="one"),
                events.TicketClosed(ticket="t1", producer=producer, outcome="mended"),
            )
        )

    def _accessed(self, _life: _Device) -> events.EventData:
        return events.PersonAccessed(
            nik=nik(self._person()),
            caller=self.choose.choice(("office", "auditor")),
            call="get_person",
            reason="test",
        )

    def _anchored(self, life: _Device) -> events.EventData:
        """Anchor any session, most often rightly; another word later takes its place."""
        boot = self.choose.choice(sorted(life.skews_ms))
        wrong = self.choose.choice((0, 0, 0, 5 * DAY_MS))
        return anchored(boot, wrong - life.skews_ms[boot])

    def _of_itself(self, _life: _Device) -> events.EventData:
        return self.choose.choice(
            (
                events.DiagnosticReported(
                    area="driver", code="retried", measures={"tries": self.choose.randrange(9)}
                ),
                events.Heartbeat(queue_events=self.choose.randrange(9)),
                events.Heartbeat(queue_events=self.choose.randrange(9)),
                events.FaultReported(component="scanner", fault="worn"),
                events.FaultCleared(component="scanner", fault="worn"),
                events.ComponentSwapped(slot="scanner", removed="s1", installed="s2"),
                events.RouteChanged(route="usb", previous="kafka"),
                events.EpochOpened(reason="test"),
            )
        )

    # -- the registrar and strangers ---------------------------------------------------------------

    def state_all(self) -> None:
        """Put the registrar's word somewhere between the rest, some of it forked."""
        statements = [*self._of_producers(), *self._published(), *self._erasures()]
        statements += [self._settle(nik(number)) for number in range(PEOPLE) if self.happens(0.5)]
        self.choose.shuffle(statements)
        while statements:
            count = self.choose.randrange(1, 4)
            taken, statements = statements[:count], statements[count:]
            before = (self.registrar.next_seq, self.registrar.prev)
            self._state(taken)
            if self.happens(0.15):  # the registrar's machine, too, may be restored from an image
                after = (self.registrar.next_seq, self.registrar.prev)
                self.registrar.next_seq, self.registrar.prev = before
                self._state([self.choose.choice(self.lives).enrolment()])
                self.registrar.next_seq, self.registrar.prev = max(
                    (self.registrar.next_seq, self.registrar.prev), after
                )

    def _state(self, statements: Sequence[events.EventData]) -> None:
        happened_ms = START_MS + self.choose.randrange(DAYS) * DAY_MS
        happened = [self.registrar.event(data, wall_ms=happened_ms) for data in statements]
        first = self.registrar.next_seq
        raw = self.registrar.seal(*happened)
        told = f"registrar {first}-{self.registrar.next_seq - 1}: {_said(happened, [])}"
        self._insert(Parcel(raw, hash_of(REGISTRAR), told))
        if self.happens(0.25):
            partition = self.choose.randrange(PARTITIONS)
            self._insert(Parcel(raw, partition, f"{told} [by a second route]"))

    def _insert(self, parcel: Parcel) -> None:
        """Put it between the others: early more often than late, or nothing would count."""
        place = min(self.choose.randrange(len(self.parcels) + 1) for _ in range(2))
        self.parcels.insert(place, parcel)

    def _of_producers(self) -> list[events.EventData]:
        said: list[events.EventData] = [anchored("boot-1")]
        for life in self.lives:
            if self.happens(0.9):
                said.append(life.enrolment())
            if self.happens(0.25):  # enrolled later, or as another kind, than was thought
                said.append(
                    events.ProducerEnrolled(
                        producer=life.producer,
                        kind=self.choose.choice(("recorder", "office")),
                        place="64.08.12",
                        key=life.key.public.to_text(),
                        enrolled_ms=START_MS + self.choose.randrange(DAYS) * DAY_MS,
                    )
                )
            if self.happens(0.5):
                said.append(
                    events.KeyRotated(
                        producer=life.producer, key=life.spare.public.to_text(), rotated_ms=1
                    )
                )
        said += [
            events.ProducerRevoked(
                producer=self.choose.choice(self.lives).producer,
                effective_ms=START_MS + self.choose.randrange(DAYS) * DAY_MS,
                reason="test",
            )
            for _ in range(self.choose.choice((0, 1, 1, 2)))
        ]
        if self.happens(0.3):
            said.append(
                events.RangeDeclaredLost(producer="dev-a", epoch=1, first=2, last=3, reason="test")
            )
        return said

    def _published(self) -> list[events.EventData]:
        """Return trees that re-code desa and denominators that fall; some are published again."""
        recoded = {DESA[1]: DESA[2], "64.08.12.2002": DESA[2], "64.08.12": "64.08.19"}
        said: list[events.EventData] = []
        for version in self.choose.choices(("t1", "t2", "t3"), k=self.choose.randrange(1, 4)):
            codes = self.choose.sample(DESA, k=2)
            mapping = dict(self.choose.sample(sorted(recoded.items()), k=self.choose.randrange(3)))
            said.append(_tree(version, codes, mapping, self._first_day()))
        for version in self.choose.choices(("v0", "v1", "v2"), k=self.choose.randrange(1, 4)):
            desa = self.choose.sample(DESA, k=self.choose.randrange(1, 4))
            said.append(
                events.DenominatorPublished(
                    version=version,
                    basis=self.choose.choice(("DKB-1", "DKB-2")),
                    valid_from=self._first_day(),
                    rows=tuple(events.Denominator(code, self.choose.randrange(6)) for code in desa),
                )
            )
        return said

    def _first_day(self) -> date:
        return date(2017, self.choose.choice((1, 7, 8)), 1)

    def _erasures(self) -> list[events.EventData]:
        return [
            events.ErasureOrdered(nik=nik(self._person()), order=f"order-{number}", reason="test")
            for number in range(self.choose.choice((0, 0, 1)))
        ]

    def speak_of_strangers(self) -> None:
        """Add what nobody can read (yet): strangers, newer versions, another reader, garbage."""
        stranger = Life(ProducerId("stranger"), SigningKey.from_seed(bytes([99]) * 32))
        self.parcels.append(
            Parcel(stranger.seal(stranger.event(captured(1, "s1"))), 0, "stranger: captured")
        )
        newer = b'{"v":2}'
        raw = b"RKM1" + len(newer).to_bytes(4, "big") + newer + bytes(64 + 64)
        self.parcels.append(Parcel(raw, 1, "a header of a newer version"))
        life = self.choose.choice(self.lives)
        sealed = life.seal(self._event(life), reader=NEWER_READER.public)
        self.parcels.append(
            Parcel(sealed, hash_of(life.producer), f"{life.producer}: for another reader")
        )
        self.parcels.append(Parcel(b"garbage", 2, "garbage"))

    # -- to the log ----------------------------------------------------------------------------

    def carry_some_late(self) -> None:
        """Move some parcels behind later ones, as when a stick brings them weeks after."""
        for _ in range(self.choose.choice((0, 1, 3, 5))):
            early, late = sorted(self.choose.sample(range(len(self.parcels)), k=2))
            self.parcels.insert(late, self.parcels.pop(early))

    def delivered(self, routes: random.Random) -> tuple[list[LogRecord], list[str]]:
        """Append all parcels; some in the same millisecond, some a day later.

        Each copy of a segment comes by a way of its own; of some nobody tells it.
        """
        log, story = Log(), []
        for parcel in self.parcels:
            later_ms = self.choose.choice((0, 1, DAY_MS // 3, DAY_MS))
            record = log.append(
                parcel.raw,
                partition=parcel.partition,
                later_ms=later_ms,
                route=routes.choice(ROUTES),
            )
            day = (record.append_ms - START_MS) // DAY_MS
            place = f"day {day} [{record.partition}/{record.offset}] by {record.route or '?'}"
            story.append(f"  {place} {parcel.told}")
        if not self.happens(0.4):
            return log.records, story
        records = with_discards(log.records, self.choose)
        decisions = len(records) - len(story)
        return records, [*story, f"  {decisions} segments of the registrar discard some of these"]


def _open_epoch(life: Life) -> None:
    life.epoch, life.next_seq, life.prev = Epoch(life.epoch + 1), 1, ""


def _tree(
    version: str, codes: Sequence[str], mapping: dict[str, str], valid_from: date
) -> events.TreePublished:
    regions = tuple(events.Region(code, f"{version} {code}") for code in codes)
    return events.TreePublished(
        version=version, valid_from=valid_from, regions=regions, mapping=mapping
    )


def _said(happened: Sequence[events.Event], lines: Sequence[bytes]) -> str:
    """Tell events in few words; the people are made up."""
    told = [
        f"{event.boot} day {(event.wall_ms - START_MS) // DAY_MS} {event.data!r}"
        for event in happened
    ]
    return "; ".join([*told, *(f"line {line!r}" for line in lines)])
