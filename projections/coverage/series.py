"""Coverage over time: one point a day, week or month, all as known at one day."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Final, TypeVar

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
from projections.reference.reads import (
    DenominatorVersion,
    Publications,
    TreeVersion,
    publications,
)
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


class DenominatorStretch(DenominatorVersion, frozen=True, kw_only=True):
    """A published denominator, and the first and the last of the points that rest on it."""

    first_point: date
    last_point: date


class TreeStretch(TreeVersion, frozen=True, kw_only=True):
    """A published tree, and the first and the last of the points that rest on it."""

    first_point: date
    last_point: date


@dataclass(frozen=True, slots=True)
class Series:
    """Points by day, what they rest on, and who of the region is in none of them.

    Versions are by regency, then in the order of their points. One that ceases to be used and comes
    to be used again stands there twice: every point between the two ends rests on it.
    """

    points: tuple[CoveragePoint, ...]
    denominators: tuple[DenominatorStretch, ...]
    """Of each point those that coverage as of its day names."""
    trees: tuple[TreeStretch, ...]
    """Likewise."""
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
    stretches = _stretches(published, days)
    recorded, date_unknown = _recorded(
        people, published, region=region, days=days, stretches=stretches
    )
    wajib, bases = await _wajib(
        connection, published, people, region=region, days=days, stretches=stretches
    )
    trees = [published.trees_of(region, days[points.start]) for points in stretches]
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
        tuple(
            DenominatorStretch(
                **msgspec.structs.asdict(base),
                first_point=days[points[0]],
                last_point=days[points[-1]],
            )
            for base, points in _joined(zip(stretches, bases, strict=True))
        ),
        tuple(
            TreeStretch(
                **msgspec.structs.asdict(tree),
                first_point=days[points[0]],
                last_point=days[points[-1]],
            )
            for tree, points in _joined(zip(stretches, trees, strict=True))
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
    stretches: list[range],
) -> tuple[list[int], int]:
    """Return how many are recorded by each day under the codes of that day.

    The empty code is all of them, none of whom can have come from or gone to another region.
    """
    recorded = [0] * len(days)
    date_unknown = 0
    for points in stretches:
        recoding = published.recoding.until(days[points.start])
        added: defaultdict[int, int] = defaultdict(int)
        date_unknown = 0
        for code, of_code in people.items():
            if not code or region.holds(recoding.current(code)):
                date_unknown += of_code.date_unknown
                for point, newly in of_code.by_point.items():
                    added[max(point, points.start)] += newly
        sum_so_far = 0
        for number in points:
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
    stretches: list[range],
) -> tuple[list[int | None], list[list[DenominatorVersion]]]:
    """Return wajib by point, and by stretch the denominators that it rests on."""
    wajib: list[int | None] = [None] * len(days)
    bases: list[list[DenominatorVersion]] = []
    for points in stretches:
        stated = await read_wajib(
            connection, published, published, region=region, as_of=days[points.start]
        )
        bases.append(stated.publishers(region))
        arrivals: defaultdict[int, set[str]] = defaultdict(set)
        for code, of_code in people.items():
            if code and of_code.first_point is not None:
                current = stated.recoding.current(code)
                arrivals[max(of_code.first_point, points.start)].add(regency_of(current))
        total = stated.total(region, ())
        for number in points:
            # Who is recorded by a day is so later: what is unknown of a province remains so.
            if number in arrivals and not stated.is_whole(region, arrivals[number]):
                total = None
            wajib[number] = total
    return wajib, bases


def _stretches(published: Publications, days: list[date]) -> list[range]:
    """Return the points in runs of those for which the same publications are valid."""
    valid_from = {
        *(one.valid_from for versions in published.denominators.values() for one in versions),
        *(one.valid_from for versions in published.trees.values() for one in versions),
        *(step.valid_from for step in published.recoding.steps),
    }
    turns: list[int] = []
    before = -1
    for number, day in enumerate(days):
        valid = sum(one <= day for one in valid_from)
        if valid != before:
            turns.append(number)
            before = valid
    return [range(*ends) for ends in pairwise([*turns, len(days)])]


VersionT = TypeVar("VersionT", TreeVersion, DenominatorVersion)


def _joined(
    stretches: Iterable[tuple[range, list[VersionT]]],
) -> list[tuple[VersionT, range]]:
    """Return each version with the points that rest on it, as long as none between them do not."""
    held: defaultdict[VersionT, list[range]] = defaultdict(list)
    for points, versions in stretches:
        for version in versions:
            before = held[version]
            if before and before[-1].stop == points.start:
                before[-1] = range(before[-1].start, points.stop)
            else:
                before.append(points)
    found = [(version, points) for version, of_version in held.items() for points in of_version]
    return sorted(found, key=lambda one: (one[0].regency, one[1].start))
