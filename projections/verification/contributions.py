"""What one person adds to verification: one count at (desa, status), and what is told of it.

`verification_age` holds since when, of the statuses whose age matters; `verification_turn` what was
no step forward; `verification_suket` from when to when each letter was the latest. All of it is as
it stands now: the centre's word on an earlier day is in the history of each person.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from projections.facts import COUNTS
from projections.person.facts import Observed, PersonFact
from projections.person.state import UNPLACED, Placement
from projections.verification.state import (
    days_of_letters,
    in_observed_order,
    standing_of,
    turns_of,
)
from projections.verification.vocabulary import AGEING, RECORDED_HERE_ONLY
from rekam.domain.clocks import OfficeZone

TABLE: Final = "verification_cell"
AGE_TABLE: Final = "verification_age"
TURN_TABLE: Final = "verification_turn"
SUKET_TABLE: Final = "verification_suket"

StatusCell = tuple[str, str]
"""(desa, raw status)"""
AgeCell = tuple[str, str, date]
"""(desa, raw status, since_on)"""
TurnCell = tuple[str, str, str, str]
"""(desa, turn, before_status, after_status)"""
SuketCell = tuple[str, date, date]
"""(desa, issued_on, replaced_on)"""
NEVER: Final = date.max
"""When the latest letter of a person is replaced."""


def verification_contributions(
    observed: Sequence[PersonFact],
    letters: Sequence[PersonFact],
    placement: Placement | None,
    zone: OfficeZone,
) -> dict[str, Mapping[Any, int]]:
    """Return one person's cells by table, from all observations and letters, and the placement.

    Those of somebody of whom nothing counts are none.
    """
    desa = UNPLACED if placement is None else placement.desa
    found: dict[str, Mapping[Any, int]]
    if not observed:  # as a rule
        found = {} if placement is None else {TABLE: {(desa, RECORDED_HERE_ONLY): 1}}
    elif len(observed) == 1:  # nearly all of the rest
        found = _of_one(observed[0], placement, zone)
    else:
        found = _of_many(observed, placement, zone)
    if letters and (issued := days_of_letters(letters, zone)):
        replaced = (*issued[1:], NEVER)
        found[SUKET_TABLE] = {(desa, *days): 1 for days in zip(issued, replaced, strict=True)}
    return found


def _of_one(
    fact: PersonFact, placement: Placement | None, zone: OfficeZone
) -> dict[str, Mapping[Any, int]]:
    data = fact.data
    assert type(data) is Observed  # noqa: S101 - the caller chose it
    if fact.verdict != COUNTS:
        return {} if placement is None else {TABLE: {(placement.desa, RECORDED_HERE_ONLY): 1}}
    desa, status = UNPLACED if placement is None else placement.desa, data.status
    found: dict[str, Mapping[Any, int]] = {TABLE: {(desa, status): 1}}
    if status in AGEING:
        found[AGE_TABLE] = {(desa, status, zone.day(data.observed_ms)): 1}
    return found


def _of_many(
    facts: Sequence[PersonFact], placement: Placement | None, zone: OfficeZone
) -> dict[str, Mapping[Any, int]]:
    desa = UNPLACED if placement is None else placement.desa
    observed = in_observed_order(facts)
    standing = standing_of(observed)
    if standing is None:
        return {} if placement is None else {TABLE: {(desa, RECORDED_HERE_ONLY): 1}}
    found: dict[str, Mapping[Any, int]] = {TABLE: {(desa, standing.status): 1}}
    if standing.status in AGEING:
        found[AGE_TABLE] = {(desa, standing.status, zone.day(standing.since_ms)): 1}
    # Each once, however often it happened to the person: the cells count people.
    if turns := {(desa, *turn): 1 for turn in turns_of(observed)}:
        found[TURN_TABLE] = turns
    return found
