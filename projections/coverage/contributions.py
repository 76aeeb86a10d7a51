"""What one person adds to coverage: a staircase of placements, one step per change of knowledge.

`coverage_cell` counts who is recorded, by what made it so. `coverage_duplicate` counts, among them,
those whose latest observed status is DUPLICATE_RECORD, so that a rule may leave them out without a
refold. `coverage_month` and `coverage_year` are `coverage_cell` by whole months and years: of ten
years they are few rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final

from projections.facts import COUNTS, Fact, known_days
from projections.person.facts import Observed
from projections.person.state import DATE_UNKNOWN, Move, Placement, steps_of
from projections.verification.state import is_ahead, observed_order
from rekam.domain.clocks import OfficeZone

TABLE: Final = "coverage_cell"
DUPLICATE_TABLE: Final = "coverage_duplicate"
MONTH_TABLE: Final = "coverage_month"
YEAR_TABLE: Final = "coverage_year"

DUPLICATE_RECORD: Final = "DUPLICATE_RECORD"
"""The centre's word for: the same body is recorded under another number."""

CoverageCell = tuple[str, date, date, str, str, str, str]
"""(desa, occurred_on, known_on, cause, producer, mode, route)"""
DuplicateCell = tuple[str, date, date]
"""(desa, occurred_on, known_on)"""
MonthCell = tuple[str, date, date]
"""(desa, occurred_month, known_month) or the same of years, each by its first day"""


def coverage_contributions(moves: Sequence[Move]) -> Mapping[CoverageCell, int]:
    """Return the cells that one person's placements add.

    The sum over cells with occurred_on <= D and known_on <= K is 1 exactly when, by what was
    known at K, the person was recorded by D (tests/property/test_coverage_laws.py).
    """
    if len(moves) == 1 and (after := moves[0].after) is not None:  # nearly everyone
        return {_cell(after, moves[0]): 1}
    # A plain dictionary: making a Counter costs more than all else here.
    cells: dict[CoverageCell, int] = {}
    for move in moves:
        for placement, sign in ((move.before, -1), (move.after, 1)):
            if placement is not None:
                cell = _cell(placement, move)
                cells[cell] = cells.get(cell, 0) + sign
    return {cell: people for cell, people in cells.items() if people}


def _cell(placement: Placement, move: Move) -> CoverageCell:
    return (
        placement.desa,
        placement.occurred_on,
        move.known_on,
        move.cause,
        move.producer,
        move.mode,
        move.route,
    )


def month_of(day: date) -> date:
    """Return the first day of a day's month; *date unknown* is no month, and stays what it is."""
    return day if day == DATE_UNKNOWN else day.replace(day=1)


def year_of(day: date) -> date:
    """Return the first day of a day's year; *date unknown* stays what it is."""
    return day if day == DATE_UNKNOWN else day.replace(month=1, day=1)


def year_cell(cell: MonthCell) -> MonthCell:
    """Return the year cell that a month cell adds to."""
    desa, occurred_month, known_month = cell
    return desa, year_of(occurred_month), year_of(known_month)


def month_cell(cell: CoverageCell) -> MonthCell:
    """Return the month cell that a coverage cell adds to."""
    desa, occurred_on, known_on, *_ = cell
    return desa, month_of(occurred_on), month_of(known_on)


def duplicate_contributions(
    observed: Sequence[Fact[Observed]], moves: Sequence[Move], zone: OfficeZone
) -> Mapping[DuplicateCell, int]:
    """Return the cells that one person adds to those recorded and shown as DUPLICATE_RECORD.

    `observed` are the centre's observations of the person, whether they count or not. Those of a
    time that had not come when they arrived say nothing, here as in verification.

    The sum over cells with occurred_on <= D and known_on <= K is 1 exactly when, by what was
    known at K, the person was recorded by D and the latest status observed by D was
    DUPLICATE_RECORD. Of somebody whose date is unknown, the latest status of all decides.
    """
    observed = [fact for fact in observed if not is_ahead(fact, fact.data)]
    shown = [fact for fact in observed if fact.data.status == DUPLICATE_RECORD]
    if not shown or not moves:  # nearly everyone
        return {}
    if len(shown) == 1 and len(moves) == 1 and (placement := moves[0].after) is not None:
        # Nearly all of the rest: placed once, shown once, and nothing was shown later.
        (fact,) = shown
        last = max(observed, key=observed_order)
        if last is fact and fact.verdict == COUNTS and not fact.history:
            known_on = max(moves[0].known_on, zone.append_day(fact.known_ms))
            day = max(placement.occurred_on, zone.day(fact.data.observed_ms))
            return {(placement.desa, day, known_on): 1}
    placements = dict(steps_of(moves))
    seen = dict(known_days(observed, zone))
    cells: dict[DuplicateCell, int] = {}
    placed: Placement | None = None
    known: list[Fact[Observed]] = []
    before: Mapping[tuple[str, date], int] = {}
    for known_on in sorted(placements.keys() | seen.keys()):
        placed = placements.get(known_on, placed)
        known = seen.get(known_on, known)
        now = _turns(placed, known, zone)
        for turns, sign in ((before, -1), (now, 1)):
            for (desa, day), people in turns.items():
                cell = (desa, day, known_on)
                cells[cell] = cells.get(cell, 0) + sign * people
        before = now
    return {cell: people for cell, people in cells.items() if people}


def _turns(
    placement: Placement | None, observed: Iterable[Fact[Observed]], zone: OfficeZone
) -> Mapping[tuple[str, date], int]:
    """Return at which days the person comes to be, and ceases to be, a recorded duplicate."""
    if placement is None:
        return {}
    seen = [
        (fact.data.observed_ms, fact.data.status == DUPLICATE_RECORD)
        for fact in sorted(observed, key=observed_order)
    ]
    if placement.occurred_on == DATE_UNKNOWN:
        is_duplicate = bool(seen) and seen[-1][1]
        return {(placement.desa, DATE_UNKNOWN): 1} if is_duplicate else {}
    # Of the observations up to the first recording, and of those of one day, the last one stands.
    by_day: dict[date, bool] = {}
    for observed_ms, says_so in seen:
        by_day[max(zone.day(observed_ms), placement.occurred_on)] = says_so
    turns: dict[tuple[str, date], int] = {}
    is_duplicate = False
    for day, says_so in by_day.items():
        if says_so != is_duplicate:
            turns[placement.desa, day] = 1 if says_so else -1
            is_duplicate = says_so
    return turns
