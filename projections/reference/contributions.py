"""What a published version adds: a row per region or desa, each replaced when published again."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Final, assert_never

from projections.facts import counted
from projections.reference.facts import CohortHead, Denominators, ReferenceFact, Tree
from rekam.domain.clocks import OfficeZone

DENOMINATOR_TABLE: Final = "denominator_cell"
REGION_TABLE: Final = "region_cell"

DenominatorCell = tuple[str, str, date, date, str]
"""(version, basis, valid_from, known_on, desa) -> wajib"""
RegionCell = tuple[str, date, date, str, str]
"""(version, valid_from, known_on, code, name) -> 1 when in the tree"""


def reference_contributions(
    facts: Sequence[ReferenceFact], zone: OfficeZone
) -> tuple[Counter[DenominatorCell], Counter[RegionCell]]:
    """Return the cells of one version: each later publication takes back the one before it."""
    denominators: Counter[DenominatorCell] = Counter()
    regions: Counter[RegionCell] = Counter()
    before: ReferenceFact | None = None
    for now in counted(facts):
        known_on = zone.day(now.known_ms)
        for fact, sign in ((before, -1), (now, 1)):
            if fact is None:
                continue
            data = fact.data
            match data:
                case Denominators():
                    for desa, wajib in ((row.desa, row.wajib) for row in data.rows):
                        cell = (data.version, data.basis, data.valid_from, known_on, desa)
                        denominators[cell] += sign * wajib
                case Tree():
                    for region in data.regions:
                        regions[
                            data.version, data.valid_from, known_on, region.code, region.name
                        ] += sign
                case CohortHead():
                    pass
                case _:
                    assert_never(data)
        before = now
    return denominators, regions
