"""Coverage over time: one point a day, week or month, all as known at one day."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from projections.coverage.contributions import month_of
from projections.coverage.reads import percent_of
from projections.coverage.sums import (
    EXCLUDED,
    PeopleByPoint,
    Points,
    counted_regions,
    sum_points,
)
from projections.coverage.wajib import read_wajib, regency_of
from projections.reading import DAY_MAX, Connection
from projections.reference.reads import Publications, publications
from projections.regions import Level, Region
from projections.rules import COVERAGE_RULE_DEFAULT, CoverageRule

POINTS_MAX: Final = 400


class Step(StrEnum):
    """How far two points lie apart."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class CoveragePoint(msgspec.Struct, frozen=True, kw_only=True):
    """Coverage of the region as of a day, under the tree and the denominator valid then."""

    date: date
    recorded: int
    wajib: int | None
    percent: Decimal | None


@dataclass(frozen=True, slots=True)
class Series:
    """Points by day, and who of the region is in none of them."""

    points: tuple[CoveragePoint, ...]
    date_unknown: int
    """People recorded on a day that nobody can know, as of the last point."""


def days_of(start: date, end: date, step: Step) -> list[date]:
    """Return the days of the points: of months their last ones; the last point is `end`.

    Stops after POINTS_MAX + 1 of them, so that the caller sees that there are too many.
    """
    days: list[date] = []
    day = _month_end(start) if step is Step.MONTH else start
    while day < end and len(days) <= POINTS_MAX:
        days.append(day)
        if step is Step.MONTH:
            day = _month_end(day + timedelta(days=1))
        else:
            day += timedelta(days=7 if step is Step.WEEK else 1)
    return [*days, end]


def _month_end(day: date) -> date:
    if (day.year, day.month) == (DAY_MAX.year, DAY_MAX.month):
        return DAY_MAX
    # The 28th and four days is always in the next month.
    return month_of(day.replace(day=28) + timedelta(days=4)) - timedelta(days=1)


async def coverage_series(
    connection: Connection,
    *,
    region: Region,
    days: list[date],
    step: Step,
    known_at: date,
    rule: CoverageRule = COVERAGE_RULE_DEFAULT,
) -> Series:
    """Return the coverage of a region as of each of the days (see `days_of`)."""
    published = await publications(connection, region=region, until=days[-1], known_at=known_at)
    people = await sum_points(
        connection,
        counted_regions(region, published.recoding),
        Points.of(days, are_month_ends=step is Step.MONTH),
        known_at=known_at,
        code_length=_code_length(region, published),
        without_duplicates=rule == EXCLUDED,
    )
    recorded, date_unknown = _recorded(people, published, region=region, days=days)
    wajib = await _wajib(connection, published, people, region=region, days=days)
    return Series(
        tuple(
            CoveragePoint(
                date=day,
                recorded=recorded[number],
                wajib=wajib[number],
                percent=percent_of(recorded[number], wajib[number])[0],
            )
            for number, day in enumerate(days)
        ),
        date_unknown,
    )


def _code_length(region: Region, published: Publications) -> int:
    """Return how much of their codes tells people apart: as little as answers the question."""
    if published.recoding.steps:  # some may come to lie in another region
        return Level.DESA.code_length
    if region.level is Level.PROVINCE:  # of which regencies it consists depends on who is there
        return Level.REGENCY.code_length
    return 0


def _recorded(
    people: Mapping[str, PeopleByPoint],
    published: Publications,
    *,
    region: Region,
    days: list[date],
) -> tuple[list[int], int]:
    """Return how many are recorded by each day under the codes of that day.

    The empty code is all of them, none of whom can have come from or gone to another region.
    """
    turns = [number for number, _ in _stretches(published, days)]
    recorded = [0] * len(days)
    date_unknown = 0
    for start, end in zip(turns, [*turns[1:], len(days)], strict=True):
        recoding = published.recoding.until(days[start])
        added: defaultdict[int, int] = defaultdict(int)
        date_unknown = 0
        for code, of_code in people.items():
            if not code or region.holds(recoding.current(code)):
                date_unknown += of_code.date_unknown
                for point, newly in of_code.by_point.items():
                    added[max(point, start)] += newly
        sum_so_far = 0
        for number in range(start, end):
            sum_so_far += added[number]
            recorded[number] = sum_so_far
    return recorded, date_unknown


async def _wajib(
    connection: Connection,
    published: Publications,
    people: Mapping[str, PeopleByPoint],
    *,
    region: Region,
    days: list[date],
) -> list[int | None]:
    wajib: list[int | None] = [None] * len(days)
    stretches = _stretches(published, days)
    ends = [number for number, _ in stretches[1:]] + [len(days)]
    for (start, day), end in zip(stretches, ends, strict=True):
        stated = await read_wajib(connection, published, published, region=region, as_of=day)
        arrivals: defaultdict[int, set[str]] = defaultdict(set)
        for code, of_code in people.items():
            if code and of_code.first_point is not None:
                current = stated.recoding.current(code)
                arrivals[max(of_code.first_point, start)].add(regency_of(current))
        total = stated.total(region, ())
        for number in range(start, end):
            # Who is recorded by a day is so later: what is unknown of a province remains so.
            if number in arrivals and not stated.is_whole(region, arrivals[number]):
                total = None
            wajib[number] = total
    return wajib


def _stretches(published: Publications, days: list[date]) -> list[tuple[int, date]]:
    """Return at which points, and as of which of the days, other publications come to be valid."""
    valid_from = {
        *(one.valid_from for versions in published.denominators.values() for one in versions),
        *(one.valid_from for versions in published.trees.values() for one in versions),
        *(step.valid_from for step in published.recoding.steps),
    }
    stretches: list[tuple[int, date]] = []
    before = -1
    for number, day in enumerate(days):
        valid = sum(one <= day for one in valid_from)
        if valid != before:
            stretches.append((number, day))
            before = valid
    return stretches
