"""Verification: how many people stand where, by region and by the centre's own words."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import msgspec

from projections.coverage.sums import counted_regions
from projections.person.state import UNPLACED
from projections.reading import DAY_MAX, Connection, Row
from projections.reference.reads import TreeVersion, codes_of, publications
from projections.regions import Level, Region
from projections.verification.funnel import Funnel, funnel
from projections.verification.state import suket_valid_after
from projections.verification.vocabulary import SLOW_DAYS, STUCK_DAYS, Turn, is_known
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.verification", "queries_read.sql")

AGE_DAYS: Final = (1, SLOW_DAYS, STUCK_DAYS)
"""Ages are told up to and with each of these, and beyond the last one as stuck."""


class Ages(msgspec.Struct, frozen=True, kw_only=True):
    """People of one status by how many days they have stood so; all of them sum to the status."""

    within_1_day: int
    within_30_days: int
    within_183_days: int
    stuck: int
    """For longer than half a year: look whether the NIK exists at the centre already."""
    later: int
    """Only after the day that is asked for."""
    oldest_since: date
    """Since when the one stands so who does longest."""


class TurnCount(msgspec.Struct, frozen=True, kw_only=True):
    """People of whom the centre showed `after` next after `before`."""

    before: str
    after: str
    people: int


class Letters(msgspec.Struct, frozen=True, kw_only=True):
    """People with a letter in place of the card (suket), by their latest one."""

    valid: int
    expired: int


class VerificationTotals(msgspec.Struct, frozen=True, kw_only=True):
    """People by status; the statuses sum to `people`."""

    people: int
    statuses: dict[str, int]
    """By raw status; BIO_CAPTURED also when the centre has said nothing of a recording."""
    unknown_codes: dict[str, int]
    """Of the statuses, those that the vocabulary does not have."""
    ages: dict[str, Ages]
    """By status, of those whose age matters: SENT_FOR_ENROLLMENT."""
    illegal_jumps: list[TurnCount]
    resets: list[TurnCount]
    """The official remedy for a failure: set back, and sent again."""
    reprints: list[TurnCount]
    suket: Letters
    funnel: Funnel
    """Of the recorded alone: whom no recording places is not in it."""


class VerificationRow(VerificationTotals, frozen=True, kw_only=True):
    """People of one region; region `-`: the centre knows them, no recording places them."""

    region: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Verification:
    """Rows by region code, and their sum."""

    trees: tuple[TreeVersion, ...]
    """One a regency: by which its places are told apart and named."""
    rows: tuple[VerificationRow, ...]
    totals: VerificationTotals


@dataclass(slots=True)
class _Tally:
    """What is counted of one region, before it is shown."""

    recorded: Counter[str] = field(default_factory=Counter)
    unplaced: Counter[str] = field(default_factory=Counter)
    ages: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By status and bucket."""
    oldest: dict[str, date] = field(default_factory=dict)
    turns: Counter[tuple[Turn, str, str]] = field(default_factory=Counter)
    letters: Counter[bool] = field(default_factory=Counter)
    """By whether they are valid."""

    def add(self, other: "_Tally") -> None:
        self.recorded.update(other.recorded)
        self.unplaced.update(other.unplaced)
        self.ages.update(other.ages)
        for status, since in other.oldest.items():
            self.add_oldest(status, since)
        self.turns.update(other.turns)
        self.letters.update(other.letters)

    def add_oldest(self, status: str, since: date) -> None:
        self.oldest[status] = min(since, self.oldest.get(status, since))

    def shown(self) -> VerificationTotals:
        statuses = self.recorded + self.unplaced
        return VerificationTotals(
            people=statuses.total(),
            statuses=dict(sorted(statuses.items())),
            unknown_codes={
                status: people
                for status, people in sorted(statuses.items())
                if not is_known(status)
            },
            ages={status: self._ages(status) for status in sorted(self.oldest)},
            illegal_jumps=self._turns("illegal_jump"),
            resets=self._turns("reset"),
            reprints=self._turns("reprint"),
            suket=Letters(valid=self.letters[True], expired=self.letters[False]),
            funnel=funnel(self.recorded),
        )

    def _ages(self, status: str) -> Ages:
        later, day, slow, stuck, beyond = (
            self.ages[status, bucket] for bucket in range(-1, len(AGE_DAYS) + 1)
        )
        return Ages(
            within_1_day=day,
            within_30_days=slow,
            within_183_days=stuck,
            stuck=beyond,
            later=later,
            oldest_since=self.oldest[status],
        )

    def _turns(self, wanted: Turn) -> list[TurnCount]:
        return [
            TurnCount(before=before, after=after, people=people)
            for (turn, before, after), people in sorted(self.turns.items())
            if turn == wanted and people
        ]


async def verification(
    connection: Connection, *, region: Region, level: Level, as_of: date
) -> Verification:
    """Return what is known now of a region's parts at `level`, and of the unplaced.

    `as_of` chooses the tree by which regions are told apart and named, and to which day ages and
    letters are counted. The unplaced are in `totals`, whatever the region is: nobody can tell that
    they do not belong to it.
    """
    published = await publications(connection, region=region, until=as_of, known_at=DAY_MAX)
    named = await codes_of(connection, published.trees_at(as_of).values(), known_at=DAY_MAX)
    ranges = [one.desa_range for one in counted_regions(region, published.recoding)]
    tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
    found = await _by_desa(connection, [*ranges, (UNPLACED, UNPLACED)], as_of=as_of)
    for desa, tally in found.items():
        current = published.recoding.current(desa)
        if desa == UNPLACED:
            tallies[UNPLACED].add(tally)
        elif region.holds(current):
            tallies[current[: level.code_length]].add(tally)
    for code in named:
        if len(code) == level.code_length and region.holds(code):
            tallies[code] = tallies[code]
    whole = _Tally()
    for tally in tallies.values():
        whole.add(tally)
    return Verification(
        tuple(published.trees_of(region, as_of)),
        tuple(
            VerificationRow(
                region=code,
                name=named.get(code),
                **msgspec.structs.asdict(tallies[code].shown()),
            )
            for code in sorted(tallies, key=lambda code: (code == UNPLACED, code))
        ),
        whole.shown(),
    )


async def _by_desa(
    connection: Connection, ranges: Iterable[tuple[str, str]], *, as_of: date
) -> dict[str, _Tally]:
    """Return what is counted by the desa codes under which people were recorded."""
    found: defaultdict[str, _Tally] = defaultdict(_Tally)
    for bounds in ranges:

        async def rows(
            query: str, *parameters: object, bounds: tuple[str, str] = bounds
        ) -> Sequence[Row]:
            return await connection.fetch(_QUERIES[query], *bounds, *parameters)

        for row in await rows("list_statuses"):
            tally = found[row["desa"]]
            counts = tally.unplaced if row["desa"] == UNPLACED else tally.recorded
            counts[row["status"]] += row["people"]
        for row in await rows("list_ages", as_of, list(AGE_DAYS)):
            tally = found[row["desa"]]
            tally.ages[row["status"], row["bucket"]] += row["people"]
            tally.add_oldest(row["status"], row["oldest"])
        for row in await rows("list_turns"):
            turn = (row["turn"], row["before_status"], row["after_status"])
            found[row["desa"]].turns[turn] += row["people"]
        for row in await rows("list_sukets", as_of, suket_valid_after(as_of)):
            found[row["desa"]].letters[row["is_valid"]] += row["people"]
    return found
