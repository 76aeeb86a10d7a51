"""What one person adds to coverage: a staircase of placements, one step per change of knowledge."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from projections.person.state import Placement

TABLE: Final = "coverage_cell"

CoverageCell = tuple[str, date, date]
"""(desa, occurred_on, known_on)"""


def coverage_contributions(
    steps: Sequence[tuple[date, Placement | None]],
) -> Mapping[CoverageCell, int]:
    """Return the cells that one person's placements add.

    The sum over cells with occurred_on <= D and known_on <= K is 1 exactly when, by what was
    known at K, the person was recorded by D (tests/property/test_coverage_laws.py).
    """
    if len(steps) == 1 and (only := steps[0][1]) is not None:  # nearly everyone
        return {(only.desa, only.occurred_on, steps[0][0]): 1}
    # A plain dictionary: making a Counter costs more than all else here.
    cells: dict[CoverageCell, int] = {}
    before: Placement | None = None
    for known_on, now in steps:
        if before is not None:
            cell = (before.desa, before.occurred_on, known_on)
            cells[cell] = cells.get(cell, 0) - 1
        if now is not None:
            cell = (now.desa, now.occurred_on, known_on)
            cells[cell] = cells.get(cell, 0) + 1
        before = now
    return cells
