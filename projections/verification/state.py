"""Where one person stands at the centre: a pure function of the set of facts."""

from calendar import monthrange
from collections.abc import Collection, Iterable, Sequence
from datetime import MINYEAR, date
from typing import Any, Final, cast

import msgspec

from projections.facts import COUNTS, Fact, known_order
from projections.person.facts import Observed, PersonFact, Suket
from projections.verification.vocabulary import Turn, is_known, turn_between
from rekam.domain.clocks import AHEAD_MS_MAX, OfficeZone

SUKET_MONTHS: Final = 6
"""How long a letter in place of the card is valid."""


class Standing(msgspec.Struct, frozen=True, gc=False):
    """The centre's latest word of a person, and since when it says so without another between."""

    status: str
    since_ms: int


def in_observed_order(facts: Collection[PersonFact]) -> list[Observed]:
    """Return the observations that count by their own time: one that came late takes its place.

    Of several of one time, as lists of days have them, the one that was known last stands last.
    Not those of a time more than a day after they arrived: one wrong year would stand for ever.
    """
    seen: list[Observed] = []
    latest: int | None = None
    for fact in facts:
        data = fact.data
        if type(data) is Observed and fact.verdict == COUNTS and not is_ahead(fact, data):
            if latest is not None and data.observed_ms <= latest:
                break
            latest = data.observed_ms
            seen.append(data)
    else:  # as a rule: they came in their order
        return seen
    found = [
        cast("Fact[Observed]", fact)
        for fact in facts
        if fact.verdict == COUNTS and type(fact.data) is Observed and not is_ahead(fact, fact.data)
    ]
    return [fact.data for fact in sorted(found, key=observed_order)]


def observed_order(fact: Fact[Observed]) -> tuple[int, tuple[int, str, int, int, bytes]]:
    """Return the sort key of observations: by their own time, then as they became known."""
    return fact.data.observed_ms, known_order(fact)


def has_observation_ahead(facts: Iterable[PersonFact]) -> bool:
    """Tell whether an observation counts for nothing because its time has not come."""
    return any(
        fact.verdict == COUNTS and type(fact.data) is Observed and is_ahead(fact, fact.data)
        for fact in facts
    )


def has_letter_ahead(facts: Iterable[PersonFact]) -> bool:
    """Tell whether a letter counts for nothing because the day of its issue has not come."""
    return any(
        fact.verdict == COUNTS and type(fact.data) is Suket and is_letter_ahead(fact, fact.data)
        for fact in facts
    )


def is_ahead(fact: Fact[Any], observed: Observed) -> bool:
    """Tell whether an observation is of a time more than a day after it arrived."""
    return observed.observed_ms > fact.known_ms + AHEAD_MS_MAX


def is_letter_ahead(fact: Fact[Any], letter: Suket) -> bool:
    """Tell whether a letter is of a time more than a day after it arrived."""
    return letter.issued_ms > fact.known_ms + AHEAD_MS_MAX


def standing_of(observed: Sequence[Observed]) -> Standing | None:
    """Return where the last of observations in their order stands; None: there is none."""
    if not observed:
        return None
    last = observed[-1]
    since = last.observed_ms
    for earlier in reversed(observed):
        if earlier.status != last.status:
            break
        since = earlier.observed_ms
    return Standing(last.status, since)


def turns_of(observed: Sequence[Observed]) -> list[tuple[Turn, str, str]]:
    """Return each turn between observations in their order, with the statuses about it."""
    found: list[tuple[Turn, str, str]] = []
    before = ""
    for one in observed:
        after = one.status
        if after != before and is_known(after):
            if before and (turn := turn_between(before, after)) is not None:
                found.append((turn, before, after))
            before = after
    return found


def days_of_letters(facts: Iterable[PersonFact], zone: OfficeZone) -> list[date]:
    """Return the days on which letters were issued, each once, of those that count; oldest first.

    Not of those of a time more than a day after they arrived, as with observations.
    """
    return sorted(
        {
            zone.day(fact.data.issued_ms)
            for fact in facts
            if fact.verdict == COUNTS
            and type(fact.data) is Suket
            and not is_letter_ahead(fact, fact.data)
        }
    )


def suket_valid_after(as_of: date) -> date:
    """Return the day after which a letter must have been issued to be valid on `as_of`."""
    year, month = divmod(as_of.year * 12 + as_of.month - 1 - SUKET_MONTHS, 12)
    if year < MINYEAR:
        return date.min
    # Of a month that has no such day, its last one.
    return date(year, month + 1, min(as_of.day, monthrange(year, month + 1)[1]))


def days_since(standing: Standing, as_of: date, zone: OfficeZone) -> int:
    """Return how many days a person has stood so on `as_of`; negative: only later."""
    return (as_of - zone.day(standing.since_ms)).days
