"""What a published version adds: rows by region or desa, a regency's replaced when stated again."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Final, TypeVar, assert_never

from msgspec import structs

from projections.facts import known_days
from projections.reference.facts import (
    CohortHead,
    Denominators,
    ReferenceData,
    ReferenceFact,
    Tree,
)
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

Part = Denominators | Tree
"""What a version states of one regency."""
StatedT = TypeVar("StatedT")


def reference_contributions(
    facts: Sequence[ReferenceFact], zone: OfficeZone
) -> Mapping[str, Mapping[tuple[object, ...], int]]:
    """Return the cells of one version: of each regency, a later publication takes back the former.

    Offices of several regencies call their versions by one name, such as that of the semester:
    what one of them states takes back nothing of another regency.
    """
    cells: dict[str, Counter[tuple[object, ...]]] = {}
    before: Mapping[str, Part] = {}
    for known_on, known in known_days(facts, zone):
        now: dict[str, Part] = {}
        for fact in known:
            now |= _parts(fact.data)
        for regency in before.keys() | now.keys():
            former, later = before.get(regency), now.get(regency)
            if later != former:
                for part, sign in ((former, -1), (later, 1)):
                    if part is not None:
                        _add(cells, regency, part, known_on=known_on, sign=sign)
        before = now
    return cells


def _parts(data: ReferenceData) -> Mapping[str, Part]:
    """Return what is stated of each regency, by its code; a province's own row is one."""
    match data:
        case Denominators():
            rows = _by_regency(data.rows, code_of=lambda row: row.desa)
            return {
                regency: structs.replace(data, rows=tuple(of_regency))
                for regency, of_regency in rows.items()
            }
        case Tree():
            regions = _by_regency(data.regions, code_of=lambda region: region.code)
            mapping = _by_regency(data.mapping.items(), code_of=lambda recode: recode[1])
            return {
                regency: structs.replace(
                    data,
                    regions=tuple(regions.get(regency, ())),
                    mapping=dict(mapping.get(regency, ())),
                )
                for regency in regions.keys() | mapping.keys()
            }
        case CohortHead():
            return {}
        case _:
            assert_never(data)


def _by_regency(
    stated: Iterable[StatedT], *, code_of: Callable[[StatedT], str]
) -> Mapping[str, Sequence[StatedT]]:
    found: dict[str, list[StatedT]] = {}
    for one in stated:
        found.setdefault(code_of(one)[: Level.REGENCY.code_length], []).append(one)
    return found


def _add(
    cells: dict[str, Counter[tuple[object, ...]]],
    regency: str,
    part: Part,
    *,
    known_on: date,
    sign: int,
) -> None:
    match part:
        case Denominators():
            told = (part.version, part.basis, part.valid_from, known_on)
            wajib = cells.setdefault(DENOMINATOR_TABLE, Counter())
            for row in part.rows:
                wajib[(*told, row.desa)] += sign * row.wajib
            kind, basis, entries = DENOMINATOR, part.basis, len(part.rows)
        case Tree():
            told_of_tree = (part.version, part.valid_from, known_on)
            regions = cells.setdefault(REGION_TABLE, Counter())
            for region in part.regions:
                regions[(*told_of_tree, region.code, region.name)] += sign
            recodes = cells.setdefault(RECODE_TABLE, Counter())
            for old_code, new_code in part.mapping.items():
                recodes[(*told_of_tree, old_code, new_code)] += sign
            is_regency = len(regency) == Level.REGENCY.code_length
            kind, basis, entries = TREE, "", len(part.regions) if is_regency else 0
        case _:
            assert_never(part)
    if entries:
        place = (kind, regency, part.valid_from, part.version, basis, known_on)
        cells.setdefault(PUBLICATION_TABLE, Counter())[place] += sign * entries
