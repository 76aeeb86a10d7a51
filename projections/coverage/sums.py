"""People by code and day, straight from the cells: what every coverage read adds up."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from projections.coverage.contributions import month_of, year_of
from projections.reading import Connection
from projections.reference.recoding import Recoding
from projections.regions import Level, Region
from projections.rules import CoverageRule
from rekam.runtime.queries import load_queries

QUERIES: Final = load_queries("projections.coverage", "queries_read.sql")
EXCLUDED: Final[CoverageRule] = "duplicates-excluded/v1"


@dataclass(slots=True)
class People:
    """People of one code: newly recorded by each point, and those of unknown date."""

    by_point: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    date_unknown: int = 0

    def add(self, other: "People", *, sign: int = 1) -> None:
        """Add other people, or take them away."""
        for point, people in other.by_point.items():
            self.by_point[point] += sign * people
        self.date_unknown += sign * other.date_unknown

    @property
    def recorded(self) -> int:
        """Return how many are recorded by the last point."""
        return sum(self.by_point.values())


@dataclass(frozen=True, slots=True)
class Points:
    """Days as of which people are counted, and how exactly what was before is told apart."""

    days: Sequence[date]
    """In order, each once."""
    year: date
    """The first of a year: what happened before it is told apart by years only."""
    month: date
    """The first of a month, not before `year`: what happened before it, by months only."""

    @classmethod
    def of(cls, days: Sequence[date], *, are_month_ends: bool = False) -> "Points":
        """Return points in order; `are_month_ends`: all but the last one are ends of months."""
        return cls(days, year_of(days[0]), month_of(days[-1 if are_month_ends else 0]))

    @property
    def bounds(self) -> list[date]:
        """Return the day after each point."""
        return [day + timedelta(days=1) for day in self.days]


async def sum_people(
    connection: Connection,
    regions: Iterable[Region],
    points: Points,
    *,
    known_at: date,
    code_length: int = Level.DESA.code_length,
) -> dict[str, People]:
    """Return the recorded people of regions by code, whoever is shown as a duplicate or not."""
    return await _summed(
        connection,
        "sum_people",
        regions,
        points,
        year_of(known_at),
        month_of(known_at),
        known_at,
        points.year,
        points.month,
        points.days[-1],
        points.bounds,
        code_length,
    )


async def sum_duplicates(
    connection: Connection,
    regions: Iterable[Region],
    points: Points,
    *,
    known_at: date,
    code_length: int = Level.DESA.code_length,
) -> dict[str, People]:
    """Return, of the recorded people, those whose latest status is DUPLICATE_RECORD, by code."""
    return await _summed(
        connection,
        "sum_duplicates",
        regions,
        points,
        known_at,
        points.days[-1],
        points.bounds,
        code_length,
    )


async def _summed(
    connection: Connection,
    query: str,
    regions: Iterable[Region],
    points: Points,
    *parameters: object,
) -> dict[str, People]:
    found: dict[str, People] = {}
    for region in regions:
        rows = await connection.fetch(QUERIES[query], *region.desa_range, *parameters)
        for row in rows:
            people = found.setdefault(row["code"], People())
            if row["point"] == len(points.days):
                people.date_unknown += row["people"]
            else:
                people.by_point[row["point"]] += row["people"]
    return found


def counted_regions(region: Region, recoding: Recoding) -> list[Region]:
    """Return the regions under whose codes people of a region may have been recorded."""
    return [region, *recoding.sources(region)]
