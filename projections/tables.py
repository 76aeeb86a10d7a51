"""The registry of projections: kinds of entities and the cells that their states add up to.

A new projection is a facts, state or contributions function, a migration, its queries, its reads,
and a line here; folding, digests, replay and rebuild then know it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from projections.cohort import contributions as cohort
from projections.cohort.facts import EntryFact
from projections.cohort.facts import decode_facts as decode_entry
from projections.coverage import contributions as coverage
from projections.facts import Fact, union
from projections.person.facts import PersonFact
from projections.person.facts import decode_facts as decode_person
from projections.person.state import placement_steps
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


def _person(facts: Sequence[PersonFact], rules: Rules) -> Contributions:
    steps = placement_steps(facts, rules.zone)
    return {
        coverage.TABLE: coverage.coverage_contributions(steps),
        verification.TABLE: verification.verification_contributions(
            facts, steps[-1][1] if steps else None
        ),
    }


def _entry(facts: Sequence[EntryFact], _: Rules) -> Contributions:
    return {cohort.TABLE: cohort.cohort_contributions(facts)}


def _reference(facts: Sequence[ReferenceFact], rules: Rules) -> Contributions:
    denominators, regions = reference.reference_contributions(facts, rules.zone)
    return {reference.DENOMINATOR_TABLE: denominators, reference.REGION_TABLE: regions}


def _nothing(_facts: object, _rules: Rules) -> Contributions:
    return {}


def _kind(
    table: str, decode: object, contributions: object, *, unite: object = union
) -> EntityKind:
    """Hide the type of the facts' data: each kind's functions agree on it among themselves."""
    return EntityKind(
        table,
        cast("Callable[[bytes], list[Fact[object]]]", decode),
        cast("Callable[[Iterable[Fact[object]]], list[Fact[object]]]", unite),
        cast("Callable[[Facts, Rules], Contributions]", contributions),
    )


ENTITY_KINDS: Final[Mapping[int, EntityKind]] = {
    PERSON: _kind("person", decode_person, _person),
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
    cohort.TABLE: CellTable(("cohort", "bucket"), "entries"),
    coverage.TABLE: CellTable(("desa", "occurred_on", "known_on"), "people"),
    reference.DENOMINATOR_TABLE: CellTable(
        ("version", "basis", "valid_from", "known_on", "desa"), "wajib"
    ),
    reference.REGION_TABLE: CellTable(
        ("version", "valid_from", "known_on", "code", "name"), "is_listed"
    ),
    verification.TABLE: CellTable(("desa", "status"), "people"),
}
"""In the order in which they are written: everybody locks cells in one order."""

PROJECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "registry": ("producer",),
    "ledger": ("ledger_segment", "ledger_copy"),
    "quarantine": ("held_record", "quarantined_record", "excluded_event"),
    "person": ("person",),
    "reference": ("reference", reference.DENOMINATOR_TABLE, reference.REGION_TABLE),
    "coverage": (coverage.TABLE,),
    "verification": (verification.TABLE,),
    "cohort": ("cohort_entry", cohort.TABLE),
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
