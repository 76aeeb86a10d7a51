"""The registry of projections: kinds of entities and the cells that their states add up to.

A new projection is a facts, state or contributions function, a migration, its queries, its reads,
and a line here; folding, digests, replay and rebuild then know it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from projections.cohort import contributions as cohort
from projections.cohort.facts import EntryFact
from projections.cohort.facts import decode_facts as decode_entry
from projections.coverage import contributions as coverage
from projections.facts import Fact, union
from projections.person.facts import Observed, PersonFact
from projections.person.facts import decode_facts as decode_person
from projections.person.state import Move, moves_of, placement_moves, recordings
from projections.reference import contributions as reference
from projections.reference.facts import ReferenceFact
from projections.reference.facts import decode_facts as decode_reference
from projections.registry.facts import decode_facts as decode_producer
from projections.registry.facts import union as producer_union
from projections.rules import Rules
from projections.verification import contributions as verification

PERSON: Final = 1
COHORT_ENTRY: Final = 2
REFERENCE: Final = 3
PRODUCER: Final = 4
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
    contributions: Callable[[Facts, Rules], Contributions]
    change: Callable[[Facts, Facts, Rules], Contributions]
    """Contributions of the latter set minus those of the former one; nothing of an empty one."""


def _person(facts: Sequence[PersonFact], rules: Rules) -> Contributions:
    return _person_placed(facts, placement_moves(facts, rules.zone), rules)


def _person_change(
    before: Sequence[PersonFact], now: Sequence[PersonFact], rules: Rules
) -> Contributions:
    told = recordings(now)
    moves = moves_of(told, rules.zone)
    if not before:
        return _person_placed(now, moves, rules)
    if recordings(before) == told:  # as a rule: the centre has shown a status
        taken = _person_placed(before, moves, rules)
    else:
        taken = _person(before, rules)
    return _minus(_person_placed(now, moves, rules), taken)


def _person_placed(
    facts: Sequence[PersonFact], moves: Sequence[Move], rules: Rules
) -> Contributions:
    observed = [fact for fact in facts if type(fact.data) is Observed]
    found: dict[str, Mapping[Any, int]] = {
        coverage.TABLE: coverage.coverage_contributions(moves),
        verification.TABLE: verification.verification_contributions(
            observed, moves[-1].after if moves else None
        ),
    }
    duplicates = coverage.duplicate_contributions(
        cast("list[Fact[Observed]]", observed), moves, rules.zone
    )
    if duplicates:
        found[coverage.DUPLICATE_TABLE] = duplicates
    return found


def _entry(facts: Sequence[EntryFact], rules: Rules) -> Contributions:
    return cohort.cohort_contributions(facts, rules.zone)


def _reference(facts: Sequence[ReferenceFact], rules: Rules) -> Contributions:
    return reference.reference_contributions(facts, rules.zone)


def _nothing(_facts: object, _rules: Rules) -> Contributions:
    return {}


def _kind(
    table: str,
    decode: object,
    contributions: object,
    *,
    unite: object = union,
    change: object = None,
) -> EntityKind:
    """Hide the type of the facts' data: each kind's functions agree on it among themselves."""
    contribute = cast("Callable[[Facts, Rules], Contributions]", contributions)

    def difference(before: Facts, now: Facts, rules: Rules) -> Contributions:
        added = contribute(now, rules)
        return _minus(added, contribute(before, rules)) if before else added

    return EntityKind(
        table,
        cast("Callable[[bytes], list[Fact[object]]]", decode),
        cast("Callable[[Iterable[Fact[object]]], list[Fact[object]]]", unite),
        contribute,
        cast("Callable[[Facts, Facts, Rules], Contributions]", change or difference),
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
    PERSON: _kind("person", decode_person, _person, change=_person_change),
    COHORT_ENTRY: _kind("cohort_entry", decode_entry, _entry),
    REFERENCE: _kind("reference", decode_reference, _reference),
    PRODUCER: _kind("producer", decode_producer, _nothing, unite=producer_union),
}

FOLDED_KINDS: Final = (PERSON, COHORT_ENTRY, REFERENCE)
"""Kinds that others judge, in the order in which their rows are locked."""


@dataclass(frozen=True, slots=True)
class CellTable:
    """A table of counted cells: the columns of its key, then the count's column."""

    key: tuple[str, ...]
    count: str


CELL_TABLES: Final[Mapping[str, CellTable]] = {
    cohort.TABLE: CellTable(
        ("cohort", "version", "bucket", "code", "is_disputed", "stated_on", "known_on"), "entries"
    ),
    cohort.CLAIM_TABLE: CellTable(
        ("cohort", "version", "source", "bucket", "stated_on", "known_on"), "entries"
    ),
    coverage.TABLE: CellTable(
        ("desa", "occurred_on", "known_on", "cause", "producer", "mode"), "people"
    ),
    coverage.DUPLICATE_TABLE: CellTable(("desa", "occurred_on", "known_on"), "people"),
    coverage.MONTH_TABLE: CellTable(("desa", "occurred_month", "known_month"), "people"),
    coverage.YEAR_TABLE: CellTable(("desa", "occurred_year", "known_year"), "people"),
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
    "registry": ("producer",),
    "ledger": ("ledger_segment", "ledger_copy"),
    "quarantine": ("held_record", "quarantined_record", "excluded_event"),
    "person": ("person",),
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
    "verification": (verification.TABLE,),
    "cohort": ("cohort_entry", cohort.TABLE, cohort.CLAIM_TABLE),
}
"""Tables of each projection: what a digest covers."""

KEY_COLUMNS: Final[Mapping[str, int]] = {
    "producer": 1,
    "ledger_segment": 4,
    "ledger_copy": 2,
    "held_record": 2,
    "quarantined_record": 2,
    "excluded_event": 4,
    "person": 1,
    "cohort_entry": 1,
    "reference": 1,
    **{name: len(table.key) for name, table in CELL_TABLES.items()},
}
"""How many leading columns of a row are its key."""

encode_facts: Final = msgspec.msgpack.Encoder().encode
