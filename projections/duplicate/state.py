"""When one person is a case of duplicates: a pure function of the set of facts.

- `two_recordings`: recordings stand that differ in their producer or in their place. Another
  recording by the same producer at the same place is a retake, and no case.
- `centre_duplicate`: the centre's latest word is DUPLICATE_RECORD. The same body is recorded under
  another number, which the centre does not tell.

A case is one for the person, whichever recording came first. The person counts once, by coverage's
rule: the day is that of the earliest recording, the domicile that of the one that occurred last.
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Literal, NamedTuple, get_args

from projections.facts import COUNTS, FactId, known_order
from projections.person.facts import (
    Captured,
    CaseResolved,
    PersonFact,
    Withdrawn,
    WithdrawnOf,
)
from projections.verification.state import in_observed_order, standing_of
from projections.verification.vocabulary import DUPLICATE_RECORD

Kind = Literal["two_recordings", "centre_duplicate"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Case(NamedTuple):
    """One case of a person."""

    kind: Kind
    since_ms: int
    """Since when the log has what made it; of the centre's, since when the centre says so."""
    outcome: str
    """Of the resolution that settles it; empty: it is open."""


def standing_recordings(facts: Iterable[PersonFact]) -> list[PersonFact]:
    """Return the recordings that count and are not withdrawn, as they became known."""
    found: list[PersonFact] = []
    withdrawn: set[str] = set()
    withdrawn_of: set[tuple[str, str]] = set()
    for fact in facts:
        data = fact.data
        if fact.verdict == COUNTS:
            if type(data) is Captured:
                found.append(fact)
            elif type(data) is Withdrawn:
                withdrawn.add(data.recording)
            elif type(data) is WithdrawnOf:
                withdrawn_of.add((data.recording, data.producer))
    if withdrawn or withdrawn_of:
        found = [
            fact
            for fact in found
            if type(fact.data) is Captured
            and fact.data.recording not in withdrawn
            and (fact.data.recording, fact.producer) not in withdrawn_of
        ]
    if len(found) > 1:
        found.sort(key=known_order)
    return found


def name_of(fact: PersonFact) -> str:
    """Return how a resolution names a recording: the id of its event."""
    return f"{fact.producer}/{fact.epoch}/{fact.seq}"


def cases_of(facts: Sequence[PersonFact]) -> list[Case]:
    """Return the cases of a person, at most one of each kind, in the order of KINDS."""
    standing = standing_recordings(facts)
    since: dict[Kind, int] = {}
    if (made := _differ_since(standing)) is not None:
        since["two_recordings"] = made
    shown = standing_of(in_observed_order(facts))
    if shown is not None and shown.status == DUPLICATE_RECORD:
        since["centre_duplicate"] = shown.since_ms
    if not since:
        return []
    resolutions = [
        (min(fact.data.resolved_ms, fact.known_ms), fact.id, fact.data)
        for fact in facts
        if type(fact.data) is CaseResolved and fact.verdict == COUNTS
    ]
    if not resolutions:
        return [Case(kind, since[kind], "") for kind in KINDS if kind in since]
    names = {name_of(fact) for fact in standing}
    return [
        Case(kind, since[kind], _outcome(resolutions, kind, names=names, since_ms=since[kind]))
        for kind in KINDS
        if kind in since
    ]


def _differ_since(standing: Sequence[PersonFact]) -> int | None:
    """Return since when recordings are known that are no retakes of the first; None: they are."""
    if len(standing) < 2:  # noqa: PLR2004 - one recording differs from none
        return None
    made = [
        (fact.producer, fact.data.place, fact.known_ms)
        for fact in standing
        if isinstance(fact.data, Captured)
    ]
    return next((known_ms for *by, known_ms in made if by != [made[0][0], made[0][1]]), None)


def _outcome(
    resolutions: Iterable[tuple[int, FactId, CaseResolved]],
    kind: Kind,
    *,
    names: set[str],
    since_ms: int,
) -> str:
    """Return the outcome of the last resolution, unless more is known than it rests on.

    Of the set alone: a recording that it does not name, or a word of the centre that is later,
    opens the case again, whichever arrived first. A resolution's time is never after the log had
    it: one by a clock that is years ahead would stand until then.
    """
    said = [one for one in resolutions if one[2].kind == kind]
    if not said:
        return ""
    resolved_ms, _, last = max(said, key=itemgetter(0, 1))
    if kind == "centre_duplicate":
        return last.outcome if resolved_ms >= since_ms else ""
    return last.outcome if names <= set(last.recordings) else ""
