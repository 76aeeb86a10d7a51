"""What a published version adds: a row per region or desa, each replaced when published again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, assert_never

from projections.facts import known_days
from projections.reference.facts import CohortHead, Denominators, ReferenceFact, Tree
from projections.regions import Level
from rekam.domain.clocks import OfficeZone

DENOMINATOR_TABLE: Final = "denominator_cell"
PUBLICATION_TABLE: Final = "publication_cell"
RECODE_TABLE: Final = "recode_cell"
REGION_TABLE: Final = "region_cell"

TREE: Final = "tree"
DENOMINATOR: Final = "denominator"
"""Kinds of publications."""

DenominatorCell = tuple[str, str, date, date, str]
"""(version, basis, valid_from, known_on, desa) -> wajib"""
RegionCell = tuple[str, date, date, str, str]
"""(version, valid_from, known_on, code, name) -> 1 when in the tree"""
RecodeCell = tuple[str, date, date, str, str]
"""(version, valid_from, known_on, old_code, new_code) -> 1 when the tree re-codes it"""
PublicationCell = tuple[str, str, date, str, str, date]
"""(kind, regency, valid_from, version, basis, known_on) -> entries that it has there"""


def reference_contributions(
    facts: Sequence[ReferenceFact], zone: OfficeZone
) -> Mapping[str, Mapping[tuple[object, ...], int]]:
    """Return the cells of one version: each later publication takes back the one before it."""
    cells: dict[str, Counter[tuple[object, ...]]] = {}
    before: ReferenceFact | None = None
    for known_on, known in known_days(facts, zone):
        now = known[-1] if known else None
        if now != before:
            for fact, sign in ((before, -1), (now, 1)):
                if fact is not None:
                    _add(cells, fact, known_on=known_on, sign=sign)
        before = now
    return cells


def _add(
    cells: dict[str, Counter[tuple[object, ...]]],
    fact: ReferenceFact,
    *,
    known_on: date,
    sign: int,
) -> None:
    data = fact.data
    match data:
        case Denominators():
            told = (data.version, data.basis, data.valid_from, known_on)
            wajib = cells.setdefault(DENOMINATOR_TABLE, Counter())
            for row in data.rows:
                wajib[(*told, row.desa)] += sign * row.wajib
            regencies = Counter(_regency(row.desa) for row in data.rows)
            published = (DENOMINATOR, data.basis)
        case Tree():
            told_of_tree = (data.version, data.valid_from, known_on)
            regions = cells.setdefault(REGION_TABLE, Counter())
            for region in data.regions:
                regions[(*told_of_tree, region.code, region.name)] += sign
            recodes = cells.setdefault(RECODE_TABLE, Counter())
            for old_code, new_code in data.mapping.items():
                recodes[(*told_of_tree, old_code, new_code)] += sign
            regencies = Counter(
                _regency(region.code)
                for region in data.regions
                if len(region.code) >= Level.REGENCY.code_length
            )
            published = (TREE, "")
        case CohortHead():
            return
        case _:
            assert_never(data)
    kind, basis = published
    publications = cells.setdefault(PUBLICATION_TABLE, Counter())
    for regency, entries in regencies.items():
        place = (kind, regency, data.valid_from, data.version, basis, known_on)
        publications[place] += sign * entries


def _regency(code: str) -> str:
    return code[: Level.REGENCY.code_length]
