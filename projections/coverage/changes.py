"""Why a figure as of one day differs between two days of knowledge, part by part.

The parts are taken one after the other, so that their sum is the difference, exactly:

    people     what became known of people, under the former tree and rule
    status     who came to be shown as a duplicate, or ceased to, if the former rule asks
    denominator
    tree       the same people and denominator under the tree as known now
    rule       the same under the rule asked for now

Wajib of which nothing is stated is unknown, not 0: its difference is unknown, and so is the count
of the part that made it known or unknown.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Literal

import msgspec

from projections.coverage.reads import (
    Counted,
    Coverage,
    CoverageTotals,
    counted_people,
    coverage,
)
from projections.coverage.sums import QUERIES, counted_regions
from projections.coverage.wajib import read_wajib
from projections.person.state import Cause
from projections.reading import AskedOnce, Connection
from projections.reference.reads import (
    DenominatorVersion,
    Publications,
    TreeVersion,
    publications,
)
from projections.reference.recoding import Recoding
from projections.regions import Level, Region
from projections.rules import COVERAGE_RULE_DEFAULT, CoverageRule

PRODUCERS_NAMED_MAX: Final = 200

Measure = Literal["recorded", "date_unknown", "wajib"]
ChangeCause = Cause | Literal["duplicate_status", "inhabited", "denominator", "tree", "rule"]
"""What changed a figure: see Cause; and a status that came or went; people who came to be, or are
no longer, recorded in a regency that publishes nothing, so that wajib of the province is unknown;
another denominator, another tree or re-coding, another rule."""


class ProducerShare(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a cause came by one producer, in one mode, by one route."""

    producer: str | None
    """Null: all those that are not named."""
    mode: str | None
    """How the recordings were made, online or offline; null: it was no recording."""
    route: str | None
    """By which way they came to the log first: kafka, gateway, relay or usb, as its records tell;
    null: nobody told, or it was no recording."""
    count: int


class CoverageChange(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the difference."""

    measure: Measure
    cause: ChangeCause
    count: int | None
    """May be negative. Of one measure the counts sum to its delta. Null: by this the figure came
    to be known, or unknown; then its delta is null too."""
    producers: list[ProducerShare]
    """By the size of their share; they sum to `count`, unless nobody's event was the cause."""


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """Later figure minus former one."""

    recorded: int
    date_unknown: int
    wajib: int | None
    """Null: of one of the two there is no denominator; see `before` and `after`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Both figures, what each rests on, their difference, and its parts."""

    before: CoverageTotals
    after: CoverageTotals
    denominators_from: tuple[DenominatorVersion, ...]
    """Of `before`: those that coverage as known then names; of `after` likewise."""
    denominators_to: tuple[DenominatorVersion, ...]
    trees_from: tuple[TreeVersion, ...]
    trees_to: tuple[TreeVersion, ...]
    delta: Delta
    causes: tuple[CoverageChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One of the two figures: how it was asked for."""

    known_at: date
    rule: CoverageRule = COVERAGE_RULE_DEFAULT


_By = tuple[str, str, str]
"""(producer, mode, route)"""


@dataclass(slots=True)
class _Parts:
    counts: defaultdict[tuple[Measure, ChangeCause], int] = field(
        default_factory=lambda: defaultdict(int)
    )
    unknown: set[tuple[Measure, ChangeCause]] = field(default_factory=set)
    shares: defaultdict[tuple[Measure, ChangeCause], defaultdict[_By, int]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(int))
    )

    def differ(self, cause: ChangeCause, before: "_Figures", after: "_Figures") -> None:
        """Add the difference of two figures as one part."""
        self.counts["recorded", cause] += after.recorded - before.recorded
        self.counts["date_unknown", cause] += after.date_unknown - before.date_unknown

    def differ_wajib(
        self, former: int | None, steps: Iterable[tuple[ChangeCause, int | None]]
    ) -> None:
        """Add wajib after each cause; one by which it is known again tells all since it was."""
        lost_by: ChangeCause | None = None
        before, last_known = former, former
        for cause, wajib in steps:
            if wajib is not None:
                if last_known is None:
                    self.unknown.add(("wajib", cause))
                else:
                    self.counts["wajib", cause] += wajib - last_known
                lost_by, last_known = None, wajib
            elif before is not None:
                lost_by = cause
            before = wajib
        if lost_by is not None:
            self.unknown.add(("wajib", lost_by))

    def share(self, measure: Measure, cause: ChangeCause, by: _By, count: int) -> None:
        """Add what came by one producer, in one mode, by one route."""
        self.counts[measure, cause] += count
        self.shares[measure, cause][by] += count

    def told(self) -> list[CoverageChange]:
        """Return the parts; those that are nothing and hide nothing are left out."""
        told = []
        for measure, cause in self.counts.keys() | self.unknown:
            is_unknown = (measure, cause) in self.unknown
            count = None if is_unknown else self.counts[measure, cause]
            producers = _shares(self.shares.get((measure, cause), {}))
            if count is None or count or producers:
                told.append(
                    CoverageChange(measure=measure, cause=cause, count=count, producers=producers)
                )
        return sorted(told, key=lambda one: (one.measure, -abs(one.count or 0), one.cause))


def _shares(shares: Mapping[_By, int]) -> list[ProducerShare]:
    ranked = sorted(
        ((who, count) for who, count in shares.items() if count),
        key=lambda item: (-abs(item[1]), item[0]),
    )
    named = [
        ProducerShare(producer=producer, mode=mode or None, route=route or None, count=count)
        for (producer, mode, route), count in ranked[:PRODUCERS_NAMED_MAX]
    ]
    if rest := ranked[PRODUCERS_NAMED_MAX:]:
        others = sum(count for _, count in rest)
        named.append(ProducerShare(producer=None, mode=None, route=None, count=others))
    return named


@dataclass(frozen=True, slots=True)
class _Figures:
    recorded: int = 0
    date_unknown: int = 0
    inhabited: frozenset[str] = frozenset()
    """The codes under which anybody is recorded, by now."""


async def coverage_changes(
    connection: Connection, *, region: Region, as_of: date, former: Report, later: Report
) -> Changes:
    """Return why the figure of a region as of a day is another one in a later report.

    `former` may not be known later than `later`.
    """
    # Six sums are compared, of two days of knowledge: most questions come more than once.
    connection = AskedOnce(connection)
    before = await _reported(connection, region=region, as_of=as_of, report=former)
    after = await _reported(connection, region=region, as_of=as_of, report=later)

    async def published(known_at: date, besides: Iterable[str]) -> Publications:
        return await publications(
            connection, region=region, until=as_of, known_at=known_at, besides=besides
        )

    then = await published(former.known_at, ())
    # Of both the same regencies, so that the tree of one can take the denominators of the other.
    now = await published(later.known_at, then.regencies)
    then = await published(former.known_at, now.regencies)
    parts = _Parts()

    regions = counted_regions(region, then.recoding)
    for changed in regions:
        for row in await connection.fetch(
            QUERIES["sum_changes"], *changed.desa_range, former.known_at, later.known_at, as_of
        ):
            if region.holds(then.recoding.current(row["desa"])):
                parts.share(
                    "date_unknown" if row["is_undated"] else "recorded",
                    row["cause"],
                    (row["producer"], row["mode"], row["route"]),
                    row["people"],
                )

    async def people(known_at: date, published: Publications, rule: CoverageRule) -> _Figures:
        counted = await counted_people(
            connection, published, region=region, as_of=as_of, known_at=known_at, rule=rule
        )
        return _in_region(counted, published.recoding, region)

    plain: CoverageRule = COVERAGE_RULE_DEFAULT
    # All people under the former tree, and of them those who count: both then and now.
    all_then = await people(former.known_at, then, plain)
    all_now = await people(later.known_at, then, plain)
    some_then = await people(former.known_at, then, former.rule)
    some_now = await people(later.known_at, then, former.rule)
    parts.differ("duplicate_status", _minus(some_then, all_then), _minus(some_now, all_now))
    retold = await people(later.known_at, now, former.rule)
    parts.differ("tree", some_now, retold)
    parts.differ("rule", retold, await people(later.known_at, now, later.rule))

    async def wajib(
        denominators: Publications, trees: Publications, counted: _Figures
    ) -> int | None:
        stated = await read_wajib(connection, denominators, trees, region=region, as_of=as_of)
        return stated.total(region, counted.inhabited)

    parts.differ_wajib(
        await wajib(then, then, all_then),
        (
            ("inhabited", await wajib(then, then, all_now)),
            ("denominator", await wajib(now, then, all_now)),
            ("tree", await wajib(now, now, retold)),
        ),
    )
    return Changes(
        before=before.totals,
        after=after.totals,
        denominators_from=before.denominators,
        denominators_to=after.denominators,
        trees_from=before.trees,
        trees_to=after.trees,
        delta=Delta(
            recorded=after.totals.recorded - before.totals.recorded,
            date_unknown=after.totals.date_unknown - before.totals.date_unknown,
            wajib=_difference(before.totals.wajib, after.totals.wajib),
        ),
        causes=tuple(parts.told()),
    )


async def _reported(
    connection: Connection, *, region: Region, as_of: date, report: Report
) -> Coverage:
    return await coverage(
        connection,
        region=region,
        level=region.level if region.level.is_within(Level.REGENCY) else Level.REGENCY,
        as_of=as_of,
        known_at=report.known_at,
        rule=report.rule,
    )


def _in_region(counted: Mapping[str, Counted], recoding: Recoding, region: Region) -> _Figures:
    recorded = date_unknown = 0
    inhabited: set[str] = set()
    for code, people in counted.items():
        current = recoding.current(code)
        if region.holds(current):
            recorded += people.recorded
            date_unknown += people.date_unknown
            inhabited.add(current)
    return _Figures(recorded, date_unknown, frozenset(inhabited))


def _minus(one: _Figures, other: _Figures) -> _Figures:
    return _Figures(one.recorded - other.recorded, one.date_unknown - other.date_unknown)


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
