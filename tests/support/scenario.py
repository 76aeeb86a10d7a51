"""An office told day by day: who said what, when it arrived, and what is then published."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final, cast

from projections.cohort.codes import kpu_meaning
from projections.cohort.rules import CohortRule
from projections.device_health.state import device_state
from projections.memory_store import MemoryStore
from projections.person.state import UNPLACED
from projections.reading import DAY_MAX
from projections.regions import Level
from projections.registry.context import context_of
from projections.registry.facts import decode_facts
from projections.rules import COVERAGE_RULE_DEFAULT, CoverageRule
from projections.verification.funnel import Funnel, funnel
from projections.verification.state import suket_valid_after
from rekam.domain import events
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.log import LogRecord
from rekam.domain.segment import SEGMENT_EVENTS_MAX
from tests.support.figures import Figures
from tests.support.history import (
    PARTITIONS,
    REGISTRAR,
    REGISTRAR_KEY,
    Life,
    Log,
    anchored,
    fold_all,
    hash_of,
)

ENROLLED: Final = date(2011, 1, 3)
DESA: Final = "64.08.04.2001"


def noon_ms(day: date) -> int:
    """Return noon of a day in the office's zone."""
    return int(datetime(day.year, day.month, day.day, 4, tzinfo=UTC).timestamp() * 1000)


def person(number: int, *, place: str = "640804") -> str:
    """Return the NIK of a made-up person who was first registered somewhere."""
    return f"{place}{number:010d}"


@dataclass
class Office:
    """The registrar's office and everybody whom it enrols. What arrives is appended at noon."""

    log: Log = field(default_factory=Log)
    registrar: Life = field(default_factory=lambda: Life(REGISTRAR, REGISTRAR_KEY))
    lives: dict[str, Life] = field(default_factory=dict)

    def enrol(
        self,
        name: str,
        kind: str = "recorder",
        *,
        since: date = ENROLLED,
        arrives: date | None = None,
    ) -> Life:
        """Enrol a producer whose clock is right; what it says before that arrives waits."""
        key = SigningKey.from_seed(bytes([30 + len(self.lives)]) * 32)
        life = self.lives[name] = Life(ProducerId(name), key, kind=kind)
        self.states(
            events.ProducerEnrolled(
                producer=name,
                kind=kind,  # type: ignore[arg-type]  # one of the literals
                place="64.08.04",
                key=key.public.to_text(),
                enrolled_ms=noon_ms(since),
            ),
            arrives=arrives or since,
        )
        self.says(life, anchored("boot-1"), on=since)
        return life

    def states(self, *said: events.EventData, arrives: date) -> None:
        """Have the registrar state something."""
        self.says(self.registrar, *said, on=arrives)

    def says(
        self,
        life: Life,
        *said: events.EventData,
        on: date,
        arrives: date | None = None,
        route: str = "kafka",
    ) -> None:
        """Let a producer say something on a day by its clock, which arrives then or later."""
        for raw in self.seals(life, *said, on=on):
            self.append(raw, life, arrives=arrives or on, route=route)

    def seals(self, life: Life, *said: events.EventData, on: date) -> Sequence[bytes]:
        """Seal without sending: as many segments as it takes."""
        happened = [life.event(data, wall_ms=noon_ms(on)) for data in said]
        return [
            life.seal(*happened[start : start + SEGMENT_EVENTS_MAX])
            for start in range(0, len(happened), SEGMENT_EVENTS_MAX)
        ]

    def append(
        self, raw: bytes, life: Life, *, arrives: date, elsewhere: int = 0, route: str = "kafka"
    ) -> None:
        """Append a segment at noon of a day, perhaps to another partition than its producer's."""
        # Of one day, what is told later arrives later, by some milliseconds.
        self.log.now_ms = noon_ms(arrives) + len(self.log.records)
        partition = (hash_of(life.producer) + elsewhere) % PARTITIONS
        self.log.append(raw, partition=partition, later_ms=0, route=route)

    def restores(self, life: Life) -> Callable[[], None]:
        """Remember a device's card as an image; call what is returned to write it back."""
        image = (life.epoch, life.next_seq, life.prev)

        def write_back() -> None:
            life.epoch, life.next_seq, life.prev = image

        return write_back

    def opens_epoch(self, life: Life) -> None:
        """Let a device begin anew."""
        life.epoch, life.next_seq, life.prev = Epoch(life.epoch + 1), 1, ""

    def published(self, records: Sequence[LogRecord], *, records_max: int = 1) -> "Published":
        """Fold records in this order and in chunks."""
        cuts = [*range(0, len(records), records_max)]
        return Published(asyncio.run(fold_all([*records], cuts)))

    def shuffled(self, seed: int) -> Sequence[LogRecord]:
        """Return the records in another order."""
        records = [*self.log.records]
        random.Random(seed).shuffle(records)
        return records


class Published:
    """What officers read of an office."""

    def __init__(self, store: MemoryStore) -> None:
        self.tables = {name: [tuple(row) for row in rows] for name, rows in store.tables().items()}
        self.figures = Figures.of(store)


@dataclass(frozen=True)
class Ask:
    """A question to what was published; told when the answer is another one."""

    told: str
    of: Callable[[Published], object]


def coverage(
    as_of: date = DAY_MAX,
    *,
    known_at: date = DAY_MAX,
    region: str = "",
    level: Level = Level.DESA,
    rule: CoverageRule = COVERAGE_RULE_DEFAULT,
    regency: str = "64.08",
) -> Ask:
    """Ask for (wajib, recorded, unrecorded, percent, date unknown) of a regency or a row of it."""

    def of(published: Published) -> object:
        shown = published.figures.coverage(
            as_of=as_of, known_at=known_at, level=level, rule=rule, regency=regency
        )
        row = shown.rows.get(region) if region else shown.totals
        if row is None:
            return None
        percent = None if row.percent is None else str(row.percent)
        return (row.wajib, row.recorded, row.unrecorded, percent, row.date_unknown)

    asked = f"coverage {regency} {region} {level} as of {as_of} known at {known_at} {rule}"
    return Ask(asked, of)


def remarks(as_of: date = DAY_MAX, *, level: Level = Level.DESA) -> Ask:
    """Ask for people by remark on the whole."""

    def of(published: Published) -> object:
        totals = published.figures.coverage(as_of=as_of, level=level).totals
        return {one.remark: one.people for one in totals.remarks}

    return Ask(f"remarks as of {as_of}", of)


def settlements(as_of: date) -> Ask:
    """Ask for the tree of a day: its version, and how many rows a report by desa has."""

    def of(published: Published) -> object:
        shown = published.figures.coverage(as_of=as_of)
        return shown.tree, len(shown.rows)

    return Ask(f"settlements as of {as_of}", of)


def name(code: str, as_of: date) -> Ask:
    """Ask for the name of a region in a report as of a day."""
    return Ask(
        f"name of {code} as of {as_of}",
        lambda published: published.figures.coverage(as_of=as_of).names.get(code),
    )


def denominator(as_of: date, *, known_at: date = DAY_MAX) -> Ask:
    """Ask which denominator a report rests on."""
    return Ask(
        f"denominator as of {as_of} known at {known_at}",
        lambda published: published.figures.coverage(as_of=as_of, known_at=known_at).denominator,
    )


def _sums(table: str, *columns: str) -> Callable[[Published], object]:
    def of(published: Published) -> object:
        sums = published.figures.sums(table, *columns).items()
        return {key[0] if len(key) == 1 else key: people for key, people in sums}

    return of


def statuses() -> Ask:
    """Ask for people by the centre's latest status."""
    return Ask("statuses", _sums("verification_cell", "status"))


def ages() -> Ask:
    """Ask for people by the statuses whose age matters, and since when."""
    return Ask("ages", _sums("verification_age", "status", "since_on"))


def turns() -> Ask:
    """Ask for people by what was no step forward."""
    return Ask("turns", _sums("verification_turn", "turn"))


def letters(as_of: date) -> Ask:
    """Ask for people whose letter in place of the card is valid on a day, and is out of date."""

    def of(published: Published) -> object:
        columns = ("issued_on", "replaced_on")
        found = Counter[bool]()
        for (issued, replaced), people in published.figures.sums(
            "verification_suket", *columns
        ).items():
            if issued <= as_of < replaced:
                found[issued > suket_valid_after(as_of)] += people
        return found[True], found[False]

    return Ask(f"letters on {as_of}", of)


def stages() -> Ask:
    """Ask for the recorded by how far their records came: (reached, here) of each stage."""

    def of(published: Published) -> object:
        return {
            name: (stage.reached, stage.here) for name, stage in _funnel(published).stages.items()
        }

    return Ask("stages", of)


def residuals() -> Ask:
    """Ask for the recorded whose records stopped, by status."""
    return Ask("residuals", lambda published: _funnel(published).residuals)


def _funnel(published: Published) -> Funnel:
    statuses = Counter[str]()
    for (desa, status), people in published.figures.sums(
        "verification_cell", "desa", "status"
    ).items():
        if desa != UNPLACED:
            statuses[status] += people
    return funnel(statuses)


def cases() -> Ask:
    """Ask for the cases of duplicates, by kind and state."""
    return Ask("cases", _sums("duplicate_case", "kind", "state"))


def buckets(cohort: str, version: str = "1", *, rule: CohortRule = "exclusive/v1") -> Ask:
    """Ask for the entries of a list by bucket."""
    return Ask(
        f"buckets of {cohort} {version} {rule}",
        lambda published: published.figures.buckets(cohort, version, rule=rule),
    )


def disputed(cohort: str) -> Ask:
    """Ask how many entries sources disagree about."""
    return Ask(f"disputed of {cohort}", lambda published: published.figures.disputed(cohort))


def codes(cohort: str) -> Ask:
    """Ask for the entries of a list by the commission's code and what is known of its meaning."""

    def of(published: Published) -> object:
        return {
            (code, kpu_meaning(code) if code else None): entries
            for (of_cohort, code), entries in published.figures.sums(
                "cohort_cell", "cohort", "code"
            ).items()
            if of_cohort == cohort
        }

    return Ask(f"codes of {cohort}", of)


def months() -> Ask:
    """Ask for the recorded of each month, by its first day; *date unknown* is none."""

    def of(published: Published) -> object:
        sums = published.figures.sums("coverage_month", "occurred_month").items()
        return {str(month): people for (month,), people in sums if month <= DAY_MAX}

    return Ask("months", of)


def causes() -> Ask:
    """Ask by what cause people came to be counted, and ceased to be."""
    return Ask("causes", _sums("coverage_cell", "cause"))


def changes(after: date) -> Ask:
    """Ask for the people who came (and went, below 0) by what became known after a day.

    By cause, producer, mode and route of the recording.
    """

    def of(published: Published) -> object:
        columns = ("known_on", "cause", "producer", "mode", "route")
        found = Counter[tuple[object, ...]]()
        for (known_on, *by), people in published.figures.sums("coverage_cell", *columns).items():
            if known_on > after:
                found[tuple(by)] += people
        return {by: people for by, people in found.items() if people}

    return Ask(f"changes after {after}", of)


def left_out() -> Ask:
    """Ask for the events that do not count, by reason, and the held and refused records."""

    def of(published: Published) -> object:
        found = Counter(row[5] for row in published.tables["excluded_event"])
        for table in ("held_record", "quarantined_record"):
            found.update(row[7] for row in published.tables[table])
        return dict(found)

    return Ask("left out", of)


def device(name: str) -> Ask:
    """Ask for a device's label, what its slots hold, its open faults and its repairs' steps."""

    def of(published: Published) -> object:
        (row,) = [row for row in published.tables["producer"] if row[0] == name]
        facts = decode_facts(cast("bytes", row[1]))
        state = device_state(facts, context=context_of(facts), contact_ms=cast("int", row[2]))
        return (
            state.label,
            {part.slot: part.installed for part in state.components},
            [(fault.component, fault.fault) for fault in state.faults],
            {ticket.ticket: ticket.step for ticket in state.tickets},
        )

    return Ask(f"device {name}", of)


def copies() -> Ask:
    """Ask how many further copies of segments arrived."""
    return Ask("copies", lambda published: len(published.tables["ledger_copy"]))
