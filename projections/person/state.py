"""State of a person: a pure function of the set of facts."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal

import msgspec

from projections.facts import (
    COUNTS,
    DISCARDED,
    FORK_LOST,
    NOT_AUTHORISED,
    REVOKED,
    ROUTES,
    FactId,
    changes_of_knowledge,
)
from projections.person.facts import Captured, PersonFact, Withdrawn, WithdrawnOf
from rekam.domain.clocks import OfficeZone
from rekam.domain.log import ROUTE_UNTOLD

DATE_UNKNOWN: Final = date.max
"""Stands for *date unknown* in cells; PostgreSQL shows it as `infinity`."""

UNPLACED: Final = "-"
"""Region of a person whose recording is not known yet."""

RECORDINGS: Final = frozenset((Captured, Withdrawn, WithdrawnOf))
"""Asked by exact type: an isinstance that says no costs a struct's ABC metaclass 0.15 µs."""


Cause = Literal["arrived", "withdrawn", "redated", "revoked", "fork_lost", "discarded", "authority"]
"""What changed a placement: a recording arrived; one was withdrawn; a clock was mended; a producer
was revoked; another segment came to hold the same seq; the registrar discarded the record; a
producer's enrolment was known later, or told otherwise, than what it recorded."""

_VERDICT_CAUSES: Final[Mapping[int, Cause]] = {
    COUNTS: "authority",
    NOT_AUTHORISED: "authority",
    REVOKED: "revoked",
    FORK_LOST: "fork_lost",
    DISCARDED: "discarded",
}


class Placement(msgspec.Struct, frozen=True, gc=False):
    """Where and since when a person counts as recorded."""

    desa: str
    occurred_on: date


class Move(msgspec.Struct, frozen=True, gc=False):
    """One change of a placement, by one fact."""

    known_on: date
    before: Placement | None
    after: Placement | None
    cause: Cause
    producer: str
    mode: str
    """How the recording was made; empty when the cause is no recording."""
    route: str
    """By which way it came to the log; empty when nobody told, or the cause is no recording."""


def recordings(facts: Iterable[PersonFact]) -> list[PersonFact]:
    """Return recordings and withdrawals, whether they count or not."""
    return [fact for fact in facts if type(fact.data) in RECORDINGS]


def placement_moves(facts: Sequence[PersonFact], zone: OfficeZone) -> list[Move]:
    """Return every change of the placement, each by the one fact that caused it, oldest first.

    The last placement of day K is a function of what was known at its end alone: that is what
    makes *as known at K* the fold of the prefix at K. The domicile is the one of the recording
    that occurred last; the day is the earliest one.
    """
    return moves_of(recordings(facts), zone)


def moves_of(told: Sequence[PersonFact], zone: OfficeZone) -> list[Move]:
    """Return the moves that these recordings and withdrawals, all that there are, cause."""
    if len(told) == 1 and not told[0].history:  # Nearly everyone: recorded once, never withdrawn.
        (fact,) = told
        if isinstance(fact.data, Captured) and fact.verdict == COUNTS:
            data = fact.data
            placed = Placement(data.domicile, fact.occurred_on or DATE_UNKNOWN)
            known_on = zone.append_day(fact.known_ms)
            route = ROUTES[fact.route]
            return [Move(known_on, None, placed, "arrived", fact.producer, data.mode, route)]
        return []
    moves: list[Move] = []
    known: dict[FactId, PersonFact] = {}
    placed_at: Placement | None = None
    for day, before, after in changes_of_knowledge(told, zone):
        known[after.id] = after
        now = _placement(known.values())
        if now != placed_at:
            mode, route = "", ROUTE_UNTOLD
            if isinstance(after.data, Captured):
                mode, route = after.data.mode, ROUTES[after.route]
            cause = _cause(before, after)
            moves.append(Move(day, placed_at, now, cause, after.producer, mode, route))
            placed_at = now
    return moves


def _cause(before: PersonFact | None, after: PersonFact) -> Cause:
    if before is None:
        return "arrived" if isinstance(after.data, Captured) else "withdrawn"
    if before.verdict == after.verdict:
        return "redated"
    return _VERDICT_CAUSES[after.verdict]


def placement_steps(
    facts: Sequence[PersonFact], zone: OfficeZone
) -> list[tuple[date, Placement | None]]:
    """Return the placement after each day on which it changed, oldest first."""
    return steps_of(placement_moves(facts, zone))


def steps_of(moves: Sequence[Move]) -> list[tuple[date, Placement | None]]:
    """Return the placement after each day on which it changed, oldest first."""
    if len(moves) == 1:
        return [(moves[0].known_on, moves[0].after)]
    steps: list[tuple[date, Placement | None]] = []
    for day, of_day in groupby(moves, key=attrgetter("known_on")):
        *_, last = of_day
        if last.after != (steps[-1][1] if steps else None):
            steps.append((day, last.after))
    return steps


def _placement(known: Iterable[PersonFact]) -> Placement | None:
    counting = [fact for fact in known if fact.verdict == COUNTS]
    withdrawn = {fact.data.recording for fact in counting if isinstance(fact.data, Withdrawn)}
    withdrawn_of = {
        (fact.data.recording, fact.data.producer)
        for fact in counting
        if isinstance(fact.data, WithdrawnOf)
    }
    standing = [
        (fact.occurred_on or DATE_UNKNOWN, fact, fact.data)
        for fact in counting
        if isinstance(fact.data, Captured)
        and fact.data.recording not in withdrawn
        and (fact.data.recording, fact.producer) not in withdrawn_of
    ]
    if not standing:
        return None
    _, _, latest = max(
        standing,
        key=lambda item: (item[0] if item[0] != DATE_UNKNOWN else date.min, item[1].id),
    )
    return Placement(latest.domicile, min(day for day, _, _ in standing))
