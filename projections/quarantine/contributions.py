"""What a record's decisions add up to: which seqs of it are discarded."""

from collections.abc import Mapping, Sequence
from typing import Final

from projections.quarantine.facts import DecisionFact

TABLE: Final = "discarded_cell"

DiscardedCell = tuple[int, int, int, int]
"""(partition, log_offset, first, last) -> decisions"""


def discarded_contributions(
    facts: Sequence[DecisionFact],
) -> Mapping[str, Mapping[DiscardedCell, int]]:
    """Return the cells of one record: one for each range of seqs that a decision names."""
    cells: dict[DiscardedCell, int] = {}
    for fact in facts:
        if fact.counts:
            data = fact.data
            cell = (data.partition, data.offset, data.first, data.last)
            cells[cell] = cells.get(cell, 0) + 1
    return {TABLE: cells}
