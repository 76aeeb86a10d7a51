"""The registry of projections: kinds of entities and the cells that their states add up to.

A new projection is a facts, state or contributions function, a migration, its queries, its reads,
and a line here; folding, digests, replay and rebuild then know it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from projections.access import contributions as access
from projections.access.facts import AccessFact
from projections.access.facts import decode_facts as decode_access
from projections.access.state import forget as forget_reasons
from projections.cohort import contributions as cohort
from projections.cohort.facts import EntryFact
from projections.cohort.facts import decode_facts as decode_entry
from projections.coverage import contributions as coverage
from projections.duplicate import contributions as duplicate
from projections.facts import Fact, union
from projections.person.erasure import forget as forget_person
from projections.person.facts import Observed, PersonFact, Suket
from projections.person.facts import decode_facts as decode_person
from projections.person.state import RECORDINGS, Move, moves_of
from projections.quarantine import contributions as quarantine
from projections.quarantine.facts import DecisionFact
from projections.quarantine.facts import decode_facts as decode_decision
from projections.reference import contributions as reference
from projections.reference.facts import ReferenceFact
from projections.reference.facts import decode_facts as decode_reference
from projections.registry.facts import decode_facts as decode_producer
from projections.registry.facts import union as producer_union
from projections.rules import Rules
from projections.verification import contributions as verification
from projections.verification.vocabulary import DUPLICATE_RECORD
from rekam.domain.clocks import AHEAD_MS_MAX

PERSON: Final = 1
COHORT_ENTRY: Final = 2
REFERENCE: Final = 3
PRODUCER: Final = 4
ACCESS: Final = 6
RECORD: Final = 7
"""Kinds of entities. Producers are locked first, because they judge all others."""

Contributions = Mapping[str, Mapping[Any, int]]
"""Counts by cell, by table. A cell is a tuple in the form of its table's key."""
Facts = Sequence[Fact[object]]
Row = tuple[object, ...]
"""A row of any table, in the order of its columns."""


@dataclass(frozen=True, slots=True)
class EntityKind:
    """One kind of entity: its table, its facts, and what they add to which cells.

    The data of its facts is of one type, known to these functions alone. `union` returns a set
    of facts in identity order; of two facts with one identity the later given stands.
    """

    table: str
    decode: Callable[[bytes], list[Fact[object]]]
    union: Callable[[Iterable[Fact[object]]], list[Fact[object]]]
    contributions: Callable[[bytes, Facts, Rules], Contributions]
    """Of the entity of a key."""
    change: Callable[[bytes, Facts, Facts, Rules], Contributions]
    """Contributions of the latter set minus those of the former one; nothing of an empty one."""
    forget: Callable[[bytes, Facts, Rules], Facts] | None = None
    """What remains of the entity of a key once it is erased; the very same facts when it is not.
    It contributes what they did."""


class _Told(msgspec.Struct, frozen=True, gc=False):
    """A person's facts, sorted out in one pass for all that is made of them."""

    facts: Sequence[PersonFact]
    recordings: Sequence[PersonFact]
    """And withdrawals."""
    observed: Sequence[PersonFact]
    """What the centre has shown, but of a time that has not come."""
    letters: Sequence[PersonFact]
    was_duplicate: bool
    """The centre has shown DUPLICATE_RECORD of the person, now or earlier."""


def _told(facts: Sequence[PersonFact]) -> _Told:
    recordings: list[PersonFact] = []
    observed: list[PersonFact] = []
    letters: list[PersonFact] = []
    was_duplicate = False
    for fact in facts:
        data = fact.data
        if type(data) is Observed:
            if data.observed_ms <= fact.known_ms + AHEAD_MS_MAX:
                observed.append(fact)
                if data.status == DUPLICATE_RECORD:
                    was_duplicate = True
        elif type(data) in RECORDINGS:
            recordings.append(fact)
        elif type(data) is Suket:
            letters.append(fact)
    return _Told(facts, recordings, observed, letters, was_duplicate)


def _person(token: bytes, facts: Sequence[PersonFact], rules: Rules) -> Contributions:
    told = _told(facts)
    return _person_placed(token, told, moves_of(told.recordings, rules.zone), rules)


def _person_change(
    token: bytes, before: Sequence[PersonFact], now: Sequence[PersonFact], rules: Rules
) -> Contributions:
    told = _told(now)
    moves = moves_of(told.recordings, rules.zone)
    if not before:
        return _person_placed(token, told, moves, rules)
    earlier = _told(before)
    if earlier.recordings == told.recordings:  # as a rule: the centre has shown a status
        return _minus(_seen(token, told, moves, rules), _seen(token, earlier, moves, rules))
    moves_before = moves_of(earlier.recordings, rules.zone)
    return _minus(
        _person_placed(token, told, moves, rules),
        _person_placed(token, earlier, moves_before, rules),
    )


def _person_placed(token: bytes, told: _Told, moves: Sequence[Move], rules: Rules) -> Contributions:
    found = _seen(token, told, moves, rules)
    found[coverage.TABLE] = coverage.coverage_contributions(moves)
    return found


def _seen(
    token: bytes, told: _Told, moves: Sequence[Move], rules: Rules
) -> dict[str, Mapping[Any, int]]:
    """Return what a person adds besides the moves themselves."""
    placement = moves[-1].after if moves else None
    found = verification.verification_contributions(
        told.observed, told.letters, placement, rules.zone
    )
    if told.was_duplicate or len(told.recordings) > 1:
        found.update(duplicate.duplicate_contributions(token, told.facts, placement, rules))
    if told.was_duplicate:
        duplicates = coverage.duplicate_contributions(
            told.observed,  # type: ignore[arg-type]  # chosen so; a cast costs what counting one does
            moves,
            rules.zone,
        )
        if duplicates:
            found[coverage.DUPLICATE_TABLE] = duplicates
    return found


def _entry(_key: bytes, facts: Sequence[EntryFact], rules: Rules) -> Contributions:
    return cohort.cohort_contributions(facts, rules.zone)


def _reference(_key: bytes, facts: Sequence[ReferenceFact], rules: Rules) -> Contributions:
    return reference.reference_contributions(facts, rules.zone)


def _access(_key: bytes, facts: Sequence[AccessFact], rules: Rules) -> Contributions:
    return access.access_contributions(facts, rules.zone)


def _record(_key: bytes, facts: Sequence[DecisionFact], _rules: Rules) -> Contributions:
    return quarantine.discarded_contributions(facts)


def _nothing(_key: bytes, _facts: object, _rules: Rules) -> Contributions:
    return {}


def _kind(
    table: str,
    decode: object,
    contributions: object,
    *,
    unite: object = union,
    change: object = None,
    forget: object = None,
) -> EntityKind:
    """Hide the type of the facts' data: each kind's functions agree on it among themselves."""
    contribute = cast("Callable[[bytes, Facts, Rules], Contributions]", contributions)

    def difference(key: bytes, before: Facts, now: Facts, rules: Rules) -> Contributions:
        added = contribute(key, now, rules)
        return _minus(added, contribute(key, before, rules)) if before else added

    return EntityKind(
        table,
        cast("Callable[[bytes], list[Fact[object]]]", decode),
        cast("Callable[[Iterable[Fact[object]]], list[Fact[object]]]", unite),
        contribute,
        cast("Callable[[bytes, Facts, Facts, Rules], Contributions]", change or difference),
        cast("Callable[[bytes, Facts, Rules], Facts] | None", forget),
    )


def _minus(added: Contributions, taken: Contributions) -> Contributions:
    found: dict[str, Mapping[Any, int]] = {}
    for table in added.keys() | taken.keys():
        cells, earlier = added.get(table, {}), taken.get(table, {})
        if cells != earlier:  # seldom of more than one table
            sums = dict(cells)
            for cell, count in earlier.items():
                sums[cell] = sums.get(cell, 0) - count
            found[table] = sums
    return found


ENTITY_KINDS: Final[Mapping[int, EntityKind]] = {
    PERSON: _kind("person", decode_person, _person, change=_person_change, forget=forget_person),
    COHORT_ENTRY: _kind("cohort_entry", decode_entry, _entry),
    REFERENCE: _kind("reference", decode_reference, _reference),
    PRODUCER: _kind("producer", decode_producer, _nothing, unite=producer_union),
    RECORD: _kind("record_decision", decode_decision, _record),
    ACCESS: _kind("person_access", decode_access, _access, forget=forget_reasons),
}

FOLDED_KINDS: Final = (RECORD, PERSON, COHORT_ENTRY, REFERENCE, ACCESS)
"""Kinds that others judge, in the order in which their rows are locked."""


@dataclass(frozen=True, slots=True)
class CellTable:
    """A table of counted cells: the columns of its key, then the count's column."""

    key: tuple[str, ...]
    count: str


CELL_TABLES: Final[Mapping[str, CellTable]] = {
    access.TABLE: CellTable(("caller", "call", "accessed_on", "known_on"), "accesses"),
    cohort.TABLE: CellTable(
        ("cohort", "version", "bucket", "code", "is_disputed", "stated_on", "known_on"), "entries"
    ),
    cohort.CLAIM_TABLE: CellTable(
        ("cohort", "version", "source", "bucket", "stated_on", "known_on"), "entries"
    ),
    coverage.TABLE: CellTable(
        ("desa", "occurred_on", "known_on", "cause", "producer", "mode", "route"), "people"
    ),
    coverage.DUPLICATE_TABLE: CellTable(("desa", "occurred_on", "known_on"), "people"),
    coverage.MONTH_TABLE: CellTable(("desa", "occurred_month", "known_month"), "people"),
    coverage.YEAR_TABLE: CellTable(("desa", "occurred_year", "known_year"), "people"),
    duplicate.TABLE: CellTable(
        ("case_id", "kind", "state", "outcome", "desa", "since_on", "token"), "people"
    ),
    duplicate.DEVICE_TABLE: CellTable(("producer", "case_id"), "recordings"),
    quarantine.TABLE: CellTable(("partition", "log_offset", "first", "last"), "decisions"),
    reference.DENOMINATOR_TABLE: CellTable(
        ("version", "basis", "valid_from", "known_on", "desa"), "wajib"
    ),
    reference.PUBLICATION_TABLE: CellTable(
        ("kind", "regency", "valid_from", "version", "basis", "known_on"), "entries"
    ),
    reference.RECODE_TABLE: CellTable(
        ("version", "valid_from", "known_on", "old_code", "new_code"), "is_mapped"
    ),
    reference.REGION_TABLE: CellTable(
        ("version", "valid_from", "known_on", "code", "name"), "is_listed"
    ),
    verification.TABLE: CellTable(("desa", "status"), "people"),
    verification.AGE_TABLE: CellTable(("desa", "status", "since_on"), "people"),
    verification.SUKET_TABLE: CellTable(("desa", "issued_on", "replaced_on"), "people"),
    verification.TURN_TABLE: CellTable(("desa", "turn", "before_status", "after_status"), "people"),
}
"""In the order in which they are written: everybody locks cells in one order."""

ROLL_UPS: Final[Mapping[str, tuple[str, Callable[[Any], tuple[object, ...]]]]] = {
    coverage.MONTH_TABLE: (coverage.TABLE, coverage.month_cell),
    coverage.YEAR_TABLE: (coverage.MONTH_TABLE, coverage.year_cell),
}
"""Tables that are sums of another one: of which, and to which cell each of its cells adds. A table
stands behind the one that it sums."""


def roll_up(cells: MutableMapping[str, Counter[tuple[object, ...]]]) -> None:
    """Add to differences by table and cell what they mean for the tables that are their sums.

    Once, when all other differences are there.
    """
    for table, (source, cell_of) in ROLL_UPS.items():
        if differences := cells.get(source):
            sums = cells[table] = Counter()
            for cell, difference in differences.items():
                if difference:
                    sums[cell_of(cell)] += difference


PROJECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "registry": ("producer", "producer_anchor", "producer_contact", "producer_service"),
    "ledger": ("ledger_segment", "ledger_boot", "ledger_copy"),
    "quarantine": (
        "held_record",
        "quarantined_record",
        "excluded_event",
        "record_decision",
        quarantine.TABLE,
    ),
    "person": ("person",),
    "access": ("person_access", access.TABLE),
    "reference": (
        "reference",
        reference.DENOMINATOR_TABLE,
        reference.PUBLICATION_TABLE,
        reference.RECODE_TABLE,
        reference.REGION_TABLE,
    ),
    "coverage": (
        coverage.TABLE,
        coverage.DUPLICATE_TABLE,
        coverage.MONTH_TABLE,
        coverage.YEAR_TABLE,
    ),
    "verification": (
        verification.TABLE,
        verification.AGE_TABLE,
        verification.SUKET_TABLE,
        verification.TURN_TABLE,
    ),
    "duplicate": (duplicate.TABLE, duplicate.DEVICE_TABLE),
    "cohort": ("cohort_entry", cohort.TABLE, cohort.CLAIM_TABLE),
}
"""Tables of each projection: what a digest covers."""

KEY_COLUMNS: Final[Mapping[str, int]] = {
    "producer": 1,
    "producer_anchor": 2,
    "producer_contact": 2,
    "producer_service": 2,
    "ledger_segment": 4,
    "ledger_boot": 3,
    "ledger_copy": 2,
    "held_record": 2,
    "quarantined_record": 2,
    "excluded_event": 4,
    "record_decision": 1,
    "person": 1,
    "cohort_entry": 1,
    "reference": 1,
    "person_access": 1,
    **{name: len(table.key) for name, table in CELL_TABLES.items()},
}
"""How many leading columns of a row are its key."""

encode_facts: Final = msgspec.msgpack.Encoder().encode
