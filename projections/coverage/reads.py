"""Coverage by region: wajib KTP, recorded, unrecorded, percent, as of D as known at K.

Nothing is clamped and nothing is dropped: more recorded than wajib gives a negative `unrecorded`,
a code that only recordings name is a row of its own, and remarks say why a figure is as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Literal

import msgspec

from projections.coverage.remarks import Remark, Remarks
from projections.coverage.sums import (
    EXCLUDED,
    NOBODY,
    People,
    counted_regions,
    sum_duplicates,
    sum_people,
)
from projections.coverage.wajib import Wajib, regency_of
from projections.reading import Connection, read_beside
from projections.reference.reads import (
    DenominatorVersion,
    Publications,
    TreeVersion,
    codes_of,
    publications,
    wajib_by_desa,
)
from projections.regions import Level, Region
from projections.rules import COVERAGE_RULE_DEFAULT, CoverageRule

Reason = Literal["no_denominator", "not_in_denominator"]
"""Why there is no percent: nobody has published a denominator that is valid then; or the valid one
gives these regions nobody, so that everybody recorded there is beyond it."""


class CoverageTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one region, or of all rows together. recorded + unrecorded = wajib."""

    wajib: int | None
    recorded: int
    """People with a recording dated on `as_of` or before, as far as the rule counts them."""
    unrecorded: int | None
    """May be negative."""
    date_unknown: int
    """People recorded on a day that nobody can know; they are not in `recorded`."""
    percent: Decimal | None
    """Two decimals, half up, from whole numbers; may be above 100."""
    reason: Reason | None
    remarks: list[Remark]
    """What explains the figures; none when there is nothing strange."""


class CoverageRow(CoverageTotals, frozen=True, kw_only=True):
    """Figures of one region."""

    region: str
    name: str | None
    """None: no tree that is valid then names it."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Rows by region code, and their sum."""

    denominators: tuple[DenominatorVersion, ...]
    """One a regency: the region's own, and those of regencies that its places came from."""
    trees: tuple[TreeVersion, ...]
    """One a regency."""
    rows: tuple[CoverageRow, ...]
    totals: CoverageTotals


@dataclass(slots=True)
class Tally:
    """What is counted of one region, before it is shown."""

    is_based: bool = True
    wajib: int = 0
    recorded: int = 0
    date_unknown: int = 0
    remarks: Remarks = field(default_factory=Remarks)
    became: str | None = None
    """The other code that the region has by then; of a whole it is not said that a part has one."""

    def add(self, other: "Tally") -> None:
        """Add a part; without a denominator in a part there is none of the whole."""
        self.is_based = self.is_based and other.is_based
        self.wajib += other.wajib
        self.recorded += other.recorded
        self.date_unknown += other.date_unknown
        self.remarks.add(other.remarks)

    def shown(self) -> CoverageTotals:
        """Return the figures."""
        return CoverageTotals(**self._figures())

    def shown_as(self, region: str, name: str | None) -> CoverageRow:
        """Return the figures of a region."""
        return CoverageRow(region=region, name=name, **self._figures())

    def _figures(self) -> dict[str, Any]:
        wajib = self.wajib if self.is_based else None
        percent, reason = percent_of(self.recorded, wajib)
        return {
            "wajib": wajib,
            "recorded": self.recorded,
            "unrecorded": None if wajib is None else wajib - self.recorded,
            "date_unknown": self.date_unknown,
            "percent": percent,
            "reason": reason,
            "remarks": self._remarks(wajib),
        }

    def _remarks(self, wajib: int | None) -> list[Remark]:
        beyond = 0 if wajib is None else self.recorded - wajib
        if not self.remarks.people and self.became is None and beyond <= 0:
            return []
        remarks = Remarks()
        remarks.add(self.remarks)
        if self.became is not None:
            remarks.note("region_recoded", regions=[self.became])
        desa_beyond = remarks.regions.pop("more_recorded_than_wajib", set())
        remarks.people.pop("more_recorded_than_wajib", None)
        if beyond > 0:
            remarks.note("more_recorded_than_wajib", people=beyond, regions=desa_beyond)
        return remarks.told()


async def coverage(
    connection: Connection,
    *,
    region: Region,
    level: Level,
    as_of: date,
    known_at: date,
    rule: CoverageRule = COVERAGE_RULE_DEFAULT,
) -> Coverage:
    """Return the coverage of a region's parts at `level`, which is regency or below.

    A row for every part that the tree, the denominator or a recording names. `as_of` is DAY_MAX
    or before. The answer is of one state only inside one snapshot.
    """
    found = await read_coverage(
        connection, region=region, level=level, as_of=as_of, known_at=known_at, rule=rule
    )
    return found.shown()


async def read_coverage(
    connection: Connection,
    *,
    region: Region,
    level: Level,
    as_of: date,
    known_at: date,
    rule: CoverageRule = COVERAGE_RULE_DEFAULT,
) -> "CoverageRead":
    """Read what `coverage` returns, for a caller who has more to ask while it is added up."""
    published = await publications(connection, region=region, until=as_of, known_at=known_at)
    ground = await Ground.read(connection, published, region=region, as_of=as_of)
    tallies, people = await read_beside(
        ground.by_desa,
        counted_people(
            connection, published, region=region, as_of=as_of, known_at=known_at, rule=rule
        ),
    )
    trees = tuple(published.trees_of(region, as_of))
    return CoverageRead(ground, level, trees, tallies, people)


@dataclass(frozen=True, slots=True)
class CoverageRead:
    """What the coverage of a region's parts is added up from."""

    ground: "Ground"
    level: Level
    trees: tuple[TreeVersion, ...]
    by_desa: dict[str, Tally]
    people: Mapping[str, "Counted"]

    def shown(self) -> Coverage:
        """Add up and return the figures. Once: the tallies of the desa are counted into."""
        ground = self.ground
        tallies = ground.tallies(self.by_desa, self.people, self.level)
        return Coverage(
            tuple(ground.wajib.publishers(ground.region)),
            self.trees,
            tuple(tallies[code].shown_as(code, ground.names.get(code)) for code in sorted(tallies)),
            ground.whole(tallies).shown(),
        )


@dataclass(frozen=True, slots=True)
class Counted:
    """People under one code that was in use, as far as the rule counts them."""

    recorded: int
    date_unknown: int
    excluded: int
    """Whom the rule leaves out, of both."""


async def counted_people(
    connection: Connection,
    published: Publications,
    *,
    region: Region,
    as_of: date,
    known_at: date,
    rule: CoverageRule,
) -> dict[str, Counted]:
    """Return the people who may count in a region by the desa code that they were recorded under.

    Codes whose sums are nothing were taken back: they are no trace of a person.
    """
    regions = counted_regions(region, published.recoding)
    people = await sum_people(connection, regions, as_of=as_of, known_at=known_at)
    left_out: dict[str, People] = {}
    if rule == EXCLUDED:
        left_out = await sum_duplicates(connection, regions, as_of=as_of, known_at=known_at)
    return without(people, left_out)


def without(people: Mapping[str, People], left_out: Mapping[str, People]) -> dict[str, Counted]:
    """Return by code who counts of some people when others of them are left out."""
    found: dict[str, Counted] = {}
    for code in people.keys() | left_out.keys() if left_out else people:
        recorded, undated = people.get(code, NOBODY)
        recorded_out, undated_out = left_out.get(code, NOBODY)
        if recorded or undated or recorded_out or undated_out:
            found[code] = Counted(
                recorded - recorded_out, undated - undated_out, recorded_out + undated_out
            )
    return found


@dataclass(frozen=True, slots=True)
class Ground:
    """What people are counted against: the tree, its re-codings, and the denominator."""

    region: Region
    wajib: Wajib
    trees: Mapping[str, TreeVersion]
    """The valid tree by the regency that published it."""
    names: Mapping[str, str]
    """By code, of all levels."""

    @classmethod
    async def read(
        cls, connection: Connection, published: Publications, *, region: Region, as_of: date
    ) -> "Ground":
        """Return what is published of a region as of a day."""
        bases, trees = published.denominators_at(as_of), published.trees_at(as_of)
        names = await codes_of(connection, trees.values(), known_at=published.known_at)
        stated = await wajib_by_desa(connection, bases.values(), known_at=published.known_at)
        return cls(
            region,
            Wajib(bases, published.recoding, stated, names.keys()),
            trees,
            names={code: name for code, name in names.items() if region.holds(code)},
        )

    def by_desa(self) -> dict[str, Tally]:
        """Return a tally of nobody for each desa of which wajib is stated."""
        by_desa: dict[str, Tally] = {}
        for desa, wajib in self.wajib.of(self.region).items():
            tally = by_desa[desa] = self._empty(desa)
            tally.wajib = wajib
        return by_desa

    def tallies(
        self, by_desa: dict[str, Tally], people: Mapping[str, Counted], level: Level
    ) -> dict[str, Tally]:
        """Count people into tallies by desa; return those of each part that anything names."""
        for code, counted in people.items():
            current = self.wajib.recoding.current(code)
            if self.region.holds(current):
                if current not in by_desa:
                    by_desa[current] = self._empty(current)
                self._count(by_desa[current], counted, code=code, current=current)
        length = level.code_length
        tallies: dict[str, Tally] = {}
        for desa, tally in by_desa.items():
            self._explain(desa, tally)
            part = desa[:length]
            if part == desa:
                tallies[part] = tally
                continue
            if part not in tallies:
                tallies[part] = self._empty(part)
            tallies[part].add(tally)
        for code in self.names:
            if len(code) == length and code not in tallies:
                tallies[code] = self._empty(code)
                # Nobody is counted under a code that was given up, though a tree still lists it.
                tallies[code].became = self._became(code)
        return tallies

    def whole(self, tallies: Mapping[str, Tally]) -> Tally:
        """Return what is counted of the region, of whatever level the parts are."""
        whole = Tally(
            is_based=self.wajib.is_whole(self.region, tallies),
            became=self._became(self.region.code),
        )
        if not whole.is_based:
            whole.remarks.note("no_denominator")
        for tally in tallies.values():
            whole.add(tally)
        return whole

    def _empty(self, code: str) -> Tally:
        tally = Tally(is_based=self.wajib.is_based(code))
        if not tally.is_based:
            tally.remarks.note("no_denominator")
        if regency_of(code) not in self.trees:
            tally.remarks.note("no_tree")
        return tally

    def _became(self, code: str) -> str | None:
        """Return which other code a region has by then."""
        current = self.wajib.recoding.current(code)
        return current if current != code else None

    @staticmethod
    def _count(tally: Tally, counted: Counted, *, code: str, current: str) -> None:
        tally.recorded += counted.recorded
        tally.date_unknown += counted.date_unknown
        people = counted.recorded + counted.date_unknown
        if people and current != code:
            tally.remarks.note("recoded", people=people, regions=[code])
        if counted.excluded:
            tally.remarks.note("duplicates_excluded", people=counted.excluded)

    def _explain(self, desa: str, tally: Tally) -> None:
        people = tally.recorded + tally.date_unknown
        if tally.is_based and people and not tally.wajib:
            tally.remarks.note("not_in_denominator", people=people, regions=[desa])
        if tally.is_based and tally.recorded > tally.wajib:
            tally.remarks.note(
                "more_recorded_than_wajib", people=tally.recorded - tally.wajib, regions=[desa]
            )
        if people and desa not in self.names and regency_of(desa) in self.trees:
            tally.remarks.note("not_in_tree", people=people, regions=[desa])


def percent_of(recorded: int, wajib: int | None) -> tuple[Decimal | None, Reason | None]:
    """Return recorded/wajib in percent, exact to two decimals, half up; or why there is none."""
    if wajib is None:
        return None, "no_denominator"
    if wajib <= 0:
        return None, "not_in_denominator"
    hundredths = (2 * 10_000 * recorded + wajib) // (2 * wajib)
    return Decimal(hundredths).scaleb(-2), None
