"""What the readings of one person add to the office's account: who read how often, by which call.

A reading counts on the day on which it happened, as known at a day: it may arrive late.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from projections.access.facts import Accessed, AccessFact
from projections.facts import changes_of_knowledge
from projections.person.state import DATE_UNKNOWN
from rekam.domain.clocks import OfficeZone

TABLE: Final = "access_cell"

AccessCell = tuple[str, str, date, date]
"""(caller, call, accessed_on, known_on) -> accesses"""


def access_contributions(
    facts: Sequence[AccessFact], zone: OfficeZone
) -> Mapping[str, Mapping[AccessCell, int]]:
    """Return the cells of one person's readings: one for each that counts."""
    cells: dict[AccessCell, int] = {}
    for known_on, before, after in changes_of_knowledge(facts, zone):
        for fact, sign in ((before, -1), (after, 1)):
            if fact is not None and fact.counts and isinstance(fact.data, Accessed):
                day = fact.occurred_on or DATE_UNKNOWN
                cell = (fact.data.caller, fact.data.call, day, known_on)
                cells[cell] = cells.get(cell, 0) + sign
    return {TABLE: {cell: count for cell, count in cells.items() if count}}
