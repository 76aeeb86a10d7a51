"""What one person adds to verification: one count at (region, status)."""

from collections.abc import Mapping, Sequence
from typing import Final

from projections.person.facts import PersonFact
from projections.person.state import UNPLACED, Placement, current_observation

TABLE: Final = "verification_cell"
RECORDED_HERE_ONLY: Final = "BIO_CAPTURED"
"""Status of a recording of which the centre has said nothing: the data has not left the office."""

VerificationCell = tuple[str, str]
"""(desa, raw status)"""


def verification_contributions(
    facts: Sequence[PersonFact], placement: Placement | None
) -> Mapping[VerificationCell, int]:
    """Return the one cell of a person, or none for somebody of whom nothing counts."""
    observed = current_observation(facts)
    if observed is not None:
        return {(placement.desa if placement else UNPLACED, observed[1].status): 1}
    if placement is not None:
        return {(placement.desa, RECORDED_HERE_ONLY): 1}
    return {}
