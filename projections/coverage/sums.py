"""People by code and day, straight from the cells: what every coverage read adds up."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final, NamedTuple

from projections.coverage.contributions import month_of, year_of
from projections.reading import DAY_MAX, Connection
from projections.reference.recoding import Recoding
from projections.regions import Region
from projections.rules import CoverageRule
from rekam.runtime.queries import load_queries

QUERIES: Final = load_queries("projections.coverage", "queries_read.sql")
EXCLUDED: Final[CoverageRule] = "duplicates-excluded/v1"

AHEAD_MAX: Final = timedelta(days=2)
"""How long after the day on which it is known a recording may lie: its clock is believed up to
24 hours ahead (`AHEAD_MS_MAX`), which in a zone with summer time may reach the second day."""


class People(NamedTuple):
    """People of one code as of one day."""

    recorded: int
    date_unknown: int


NOBODY: Final = People(0, 0)


@dataclass(slots=True)
class PeopleByPoint:
    """People of one code: newly recorded by each point, and those of unknown date."""

    by_point: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    date_unknown: int = 0
    first_point: int | None = None
    """From which point on there is anybody, also one whom the rule leaves out."""


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


async def sum_people(
    connection: Connection, regions: Iterable[Region], *, as_of: date, known_at: date
) -> dict[str, People]:
    """Return the recorded people of regions by desa, whoever is shown as a duplicate or not."""
    known_year, known_month, known_on, year, month, until = _bounds(Points.of([as_of]), known_at)
    end = until + timedelta(days=1)
    # Nothing that happened is cut later than knowledge is.
    if month < known_month:
        month = _nearer(month, month_of(month + timedelta(days=31)), end)
    if year < known_year:
        year = _nearer(year, year_of(year + timedelta(days=366)), end)
    bounds = known_year, known_month, known_on, year, month, end
    return await _summed(connection, "sum_people", regions, *bounds, _months_before(known_at))


async def sum_duplicates(
    connection: Connection, regions: Iterable[Region], *, as_of: date, known_at: date
) -> dict[str, People]:
    """Return, of the recorded people, those whose latest status is DUPLICATE_RECORD, by desa."""
    return await _summed(connection, "sum_duplicates", regions, known_at, as_of)


async def sum_points(
    connection: Connection,
    regions: Iterable[Region],
    points: Points,
    *,
    known_at: date,
    code_length: int,
    without_duplicates: bool,
) -> dict[str, PeopleByPoint]:
    """Return the recorded people of regions by point, and by the beginning of their desa's code."""
    days_after = [day + timedelta(days=1) for day in points.days]
    found: dict[str, PeopleByPoint] = {}
    for region in regions:
        asked: list[tuple[int, str, tuple[object, ...]]] = [
            (
                1,
                "sum_points",
                (*_bounds(points, known_at), _months_before(known_at), days_after, code_length),
            )
        ]
        if without_duplicates:
            asked.append(
                (-1, "sum_duplicate_points", (known_at, points.days[-1], days_after, code_length))
            )
        for sign, query, parameters in asked:
            for row in await connection.fetch(QUERIES[query], *region.desa_range, *parameters):
                of_code = found.setdefault(row["code"], PeopleByPoint())
                is_undated = row["point"] == len(points.days)
                if is_undated:
                    of_code.date_unknown += sign * row["people"]
                else:
                    of_code.by_point[row["point"]] += sign * row["people"]
                first = 0 if is_undated else row["point"]
                if of_code.first_point is None or first < of_code.first_point:
                    of_code.first_point = first
    return found


def _nearer(start: date, following: date, end: date) -> date:
    """Return from where it is less far to `end`: what lies between is added, or taken away."""
    return following if following - end < end - start else start


def _bounds(points: Points, known_at: date) -> tuple[date, ...]:
    """Return what the queries cut both times at, in the order of their parameters.

    What happened is cut where knowledge is, if that is earlier: what happened before the month of
    `known_at` and was known in it, was known late, and there are indexes of that.
    """
    year, month = year_of(known_at), month_of(known_at)
    until = min(points.days[-1], min(known_at, DAY_MAX - AHEAD_MAX) + AHEAD_MAX)
    return year, month, known_at, min(points.year, year), min(points.month, month), until


def _months_before(day: date) -> list[date]:
    """Return the months of a day's year before its own, each by its first day."""
    return [date(day.year, month, 1) for month in range(1, day.month)]


async def _summed(
    connection: Connection, query: str, regions: Iterable[Region], *parameters: object
) -> dict[str, People]:
    found: dict[str, People] = {}
    for region in regions:
        for row in await connection.fetch(QUERIES[query], *region.desa_range, *parameters):
            # Regions do not overlap: no desa comes twice.
            found[row["code"]] = People(row["recorded"], row["undated"])
    return found


def counted_regions(region: Region, recoding: Recoding) -> list[Region]:
    """Return the regions under whose codes people of a region may have been recorded.

    They do not overlap, and may hold people of other regions too.
    """
    sources = recoding.sources(region)
    # What left with the region above and came back lies in a source itself.
    is_held = any(source.holds(region.code) for source in sources)
    return [*sources] if is_held else [region, *sources]
