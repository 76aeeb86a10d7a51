"""State of a person: a pure function of the set of facts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Final

from projections.facts import COUNTS, counted
from projections.person.facts import Captured, Observed, PersonFact, Withdrawn
from rekam.domain.clocks import OfficeZone

DATE_UNKNOWN: Final = date.max
"""Stands for *date unknown* in cells; PostgreSQL shows it as `infinity`."""

UNPLACED: Final = "-"
"""Region of a person whose recording is not known yet."""

_RECORDINGS: Final = frozenset((Captured, Withdrawn))
"""Asked by exact type: an isinstance that says no costs a struct's ABC metaclass 0.15 µs."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and since when a person counts as recorded."""

    desa: str
    occurred_on: date


def placement_steps(
    facts: Sequence[PersonFact], zone: OfficeZone
) -> list[tuple[date, Placement | None]]:
    """Return the placement after each day on which it changed, oldest first.

    The step at day K is a function of the facts known up to K alone: that is what makes
    *as known at K* the fold of the prefix at K. The domicile is the one of the recording that
    occurred last; the day is the earliest one.
    """
    recordings = [
        fact for fact in facts if fact.verdict == COUNTS and type(fact.data) in _RECORDINGS
    ]
    if len(recordings) == 1:  # Nearly everyone: recorded once, never withdrawn.
        (fact,) = recordings
        if isinstance(fact.data, Captured):
            day = fact.occurred_on or DATE_UNKNOWN
            return [(zone.day(fact.known_ms), Placement(fact.data.domicile, day))]
        return []
    steps: list[tuple[date, Placement | None]] = []
    known: list[PersonFact] = []
    placed: Placement | None = None
    for day, arrived in groupby(counted(recordings), key=lambda fact: zone.day(fact.known_ms)):
        known.extend(arrived)
        now = _placement(known)
        if now != placed:
            steps.append((day, now))
            placed = now
    return steps


def _placement(known: Iterable[PersonFact]) -> Placement | None:
    withdrawn = {fact.data.recording for fact in known if isinstance(fact.data, Withdrawn)}
    standing = [
        (fact.occurred_on or DATE_UNKNOWN, fact, fact.data)
        for fact in known
        if isinstance(fact.data, Captured) and fact.data.recording not in withdrawn
    ]
    if not standing:
        return None
    _, _, latest = max(
        standing,
        key=lambda item: (item[0] if item[0] != DATE_UNKNOWN else date.min, item[1].id),
    )
    return Placement(latest.domicile, min(day for day, _, _ in standing))


def current_observation(facts: Iterable[PersonFact]) -> tuple[PersonFact, Observed] | None:
    """Return the latest observation by its own time; legal resets may take it backward."""
    latest: tuple[PersonFact, Observed] | None = None
    for fact in facts:
        if (
            fact.verdict == COUNTS
            and type(fact.data) is Observed
            and (
                latest is None
                or (fact.data.observed_ms, fact.id) > (latest[1].observed_ms, latest[0].id)
            )
        ):
            latest = (fact, fact.data)
    return latest
