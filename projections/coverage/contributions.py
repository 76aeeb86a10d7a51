"""What one person adds to coverage: a staircase of placements, one step per change of knowledge."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Final

from projections.person.state import Placement

TABLE: Final = "coverage_cell"

CoverageCell = tuple[str, date, date]
"""(desa, occurred_on, known_on)"""


def coverage_contributions(
    steps: Sequence[tuple[date, Placement | None]],
) -> Counter[CoverageCell]:
    """Return the cells that one person's placements add.

    The sum over cells with occurred_on <= D and known_on <= K is 1 exactly when, by what was
    known at K, the person was recorded by D (tests/property/test_coverage_laws.py).
    """
    cells: Counter[CoverageCell] = Counter()
    before: Placement | None = None
    for known_on, now in steps:
        if before is not None:
            cells[before.desa, before.occurred_on, known_on] -= 1
        if now is not None:
            cells[now.desa, now.occurred_on, known_on] += 1
        before = now
    return cells
