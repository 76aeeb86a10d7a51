"""What whoever looks a person up should see first of what the centre says."""

from collections.abc import Sequence
from datetime import date
from typing import Literal

from projections.person.facts import PersonFact
from projections.verification.state import (
    days_of_letters,
    days_since,
    has_letter_ahead,
    has_observation_ahead,
    in_observed_order,
    standing_of,
    suket_valid_after,
    turns_of,
)
from projections.verification.vocabulary import AGEING, DUPLICATE_RECORD, STUCK_DAYS, is_known
from rekam.domain.clocks import OfficeZone

CentreFlag = Literal[
    "duplicate_record",
    "unknown_status",
    "stuck",
    "reset",
    "reprint",
    "illegal_jump",
    "observed_ahead",
    "suket_valid",
    "suket_expired",
    "suket_ahead",
]
"""`stuck`, `suket_valid` and `suket_expired`: as of a day."""


def centre_flags(facts: Sequence[PersonFact], *, as_of: date, zone: OfficeZone) -> list[CentreFlag]:
    """Return the flags of a person, in a fixed order."""
    observed = in_observed_order(facts)
    standing = standing_of(observed)
    turns = {turn for turn, _, _ in turns_of(observed)}
    issued = [day for day in days_of_letters(facts, zone) if day <= as_of]
    flags: dict[CentreFlag, bool] = {
        "duplicate_record": standing is not None and standing.status == DUPLICATE_RECORD,
        "unknown_status": standing is not None and not is_known(standing.status),
        "stuck": (
            standing is not None
            and standing.status in AGEING
            and days_since(standing, as_of, zone) > STUCK_DAYS
        ),
        "reset": "reset" in turns,
        "reprint": "reprint" in turns,
        "illegal_jump": "illegal_jump" in turns,
        "observed_ahead": has_observation_ahead(facts),
    }
    if issued:
        is_valid = issued[-1] > suket_valid_after(as_of)
        flags["suket_valid" if is_valid else "suket_expired"] = True
    flags["suket_ahead"] = has_letter_ahead(facts)
    return [flag for flag, is_raised in flags.items() if is_raised]
