"""What one entry adds to its list: one count in one bucket of each version, as of D, known at K.

An entry's bucket as of D is a staircase over the days on which something was stated; what is known
at K is the staircase of the facts up to K. A cell is the difference that a day makes to it, so that
the sum over `stated_on <= D` and `known_on <= K` is the list as of D, as known at K.

What is said without a version holds for all of them: it counts under the version ``, and the cells
of a version are what it adds to that, or takes back. So a version is the sum of both.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final

from projections.cohort.facts import EntryFact
from projections.cohort.state import EntryState, entry_state, in_order
from projections.facts import known_days
from rekam.domain.clocks import OfficeZone

TABLE: Final = "cohort_cell"
CLAIM_TABLE: Final = "cohort_claim"
EVERY_VERSION: Final = ""

CohortCell = tuple[str, str, str, str, int, date, date]
"""(cohort, version, bucket, code, is_disputed, stated_on, known_on) -> entries"""
ClaimCell = tuple[str, str, str, str, date, date]
"""(cohort, version, source, bucket, stated_on, known_on) -> entries"""

_Counted = tuple[str, tuple[object, ...]]
"""(table, cell without its days)"""
_Steps = Counter[tuple[_Counted, date]]
"""By how much a day changes what is counted."""


def cohort_contributions(
    facts: Sequence[EntryFact], zone: OfficeZone
) -> Mapping[str, Mapping[tuple[object, ...], int]]:
    """Return the cells of one entry."""
    cells: dict[str, dict[tuple[object, ...], int]] = {}
    before: _Steps = Counter()
    for known_on, known in known_days(facts, zone):
        now = _steps(known, zone)
        for step in before.keys() | now.keys():
            if difference := now[step] - before[step]:
                (table, cell), day = step
                cells.setdefault(table, {})[(*cell, day, known_on)] = difference
        before = now
    return cells


def _steps(facts: Sequence[EntryFact], zone: OfficeZone) -> _Steps:
    """Return how the entry comes to be counted, day by day, by what is known at one time."""
    steps: _Steps = Counter()
    before: Counter[_Counted] = Counter()
    for day in sorted({day for day, _ in in_order(facts, zone)}):
        now = _counted(facts, zone, as_of=day)
        for counted in before.keys() | now.keys():
            if difference := now[counted] - before[counted]:
                steps[counted, day] = difference
        before = now
    return steps


def _counted(facts: Sequence[EntryFact], zone: OfficeZone, *, as_of: date) -> Counter[_Counted]:
    cohort = facts[0].data.cohort
    every = entry_state(facts, zone, version=None, as_of=as_of)
    counted = Counter(dict.fromkeys(_of(cohort, EVERY_VERSION, every), 1))
    for version in {fact.data.version for fact in facts} - {None}:
        assert version is not None  # noqa: S101 - taken away
        own = entry_state(facts, zone, version=version, as_of=as_of)
        counted.update(dict.fromkeys(_of(cohort, version, own), 1))
        counted.subtract(dict.fromkeys(_of(cohort, version, every), 1))
    return counted


def _of(cohort: str, version: str, state: EntryState | None) -> Iterable[_Counted]:
    """Return the cells in which a state is counted once each."""
    if state is None:
        return
    cell = (cohort, version, state.bucket, state.code or "", int(state.is_disputed))
    yield TABLE, cell
    for claim in state.claims:
        yield CLAIM_TABLE, (cohort, version, claim.source, claim.bucket)
