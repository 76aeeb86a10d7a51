"""What a replay up to a moment tells: sums over the tables that it gave. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from projections.coverage.contributions import TABLE as COVERAGE
from projections.duplicate.contributions import TABLE as DUPLICATE
from projections.person.state import DATE_UNKNOWN, UNPLACED
from projections.regions import Region
from projections.tables import CELL_TABLES, Row
from projections.verification.contributions import TABLE as STATUS
from projections.verification.funnel import Funnel, funnel


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over one region, or over everybody; by the codes that recordings name."""

    recorded: int
    """People recorded on the day asked for or before."""
    date_unknown: int
    statuses: Mapping[str, int]
    """People by raw status; without a region also those whom no recording places."""
    funnel: Funnel
    """Of the recorded alone, as in /v1/verification."""
    duplicates: Mapping[str, Mapping[str, int]]
    """Cases by kind and state."""


def figures_of(
    tables: Mapping[str, Sequence[Row]], *, region: Region | None, as_of: date
) -> Figures:
    """Return the sums of tables that hold what was known at a moment."""
    recorded = undated = 0
    for cell in _cells(tables, COVERAGE, region):
        if cell["occurred_on"] == DATE_UNKNOWN:
            undated += cell["people"]
        elif cell["occurred_on"] <= as_of:
            recorded += cell["people"]
    statuses: Counter[str] = Counter()
    placed: Counter[str] = Counter()
    for cell in _cells(tables, STATUS, region):
        statuses[cell["status"]] += cell["people"]
        if cell["desa"] != UNPLACED:
            placed[cell["status"]] += cell["people"]
    duplicates: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for cell in _cells(tables, DUPLICATE, region):
        duplicates[cell["kind"]][cell["state"]] += cell["people"]
    return Figures(
        recorded=recorded,
        date_unknown=undated,
        statuses=dict(sorted(statuses.items())),
        funnel=funnel(placed),
        duplicates={kind: dict(sorted(of.items())) for kind, of in sorted(duplicates.items())},
    )


def _cells(
    tables: Mapping[str, Sequence[Row]], table: str, region: Region | None
) -> Iterator[Mapping[str, Any]]:
    """Yield the cells of a region, by column."""
    columns = (*CELL_TABLES[table].key, CELL_TABLES[table].count)
    for row in tables[table]:
        cell: dict[str, Any] = dict(zip(columns, row, strict=True))
        if region is None or region.holds(cell["desa"]):
            yield cell
