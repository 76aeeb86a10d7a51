"""Facts: what projections remember of an admitted event, and whether it counts.

An entity (person, producer, cohort entry, reference) is the *set* of its facts. Its identity is
(producer, epoch, seq, variant); the variant names the segment that carried it, so that both
sides of a fork can stand side by side. What depends on other records, namely since when the
fact is known, whether it counts and on which day it happened, is its *judgement*: it is made
again whenever one of them arrives, so that the order of arrival leaves no trace.

A judgement may change as more becomes known: a clock is anchored later, a producer is revoked. How
it was judged on each day is kept, so that *as known at K* is what the records up to K say.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import structs

from rekam.domain.clocks import OfficeZone
from rekam.domain.log import ROUTE_UNTOLD

COUNTS: Final = 0
FORK_LOST: Final = 1
REVOKED: Final = 2
NOT_AUTHORISED: Final = 3
DISCARDED: Final = 4

VERDICT_REASONS: Final = {
    FORK_LOST: ("fork_lost", "another segment holds the same seq and was appended earlier"),
    REVOKED: ("revoked", "it happened after its producer's effective revocation"),
    NOT_AUTHORISED: ("not_authorised", "a producer of this kind may not state this"),
    DISCARDED: ("discarded", "the registrar decided that this never counts"),
}
"""Reason code and explanation of each verdict but COUNTS, as shown in quarantine."""

VARIANT_BYTES: Final = 8
"""How much of the segment hash names the variant: enough among the segments of one seq."""

ROUTES: Final = (ROUTE_UNTOLD, "kafka", "gateway", "relay", "usb")
"""Routes of arrival (rekam/domain/log.py) by the code that a fact holds; only ever added to."""

ROUTE_CODES: Final = {route: code for code, route in enumerate(ROUTES)}

DataT = TypeVar("DataT")

FactId = tuple[str, int, int, bytes]


class Judgement(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How a fact was judged from the end of one of the office's days on."""

    since: date
    verdict: int
    occurred_on: date | None


class Fact(msgspec.Struct, Generic[DataT], frozen=True, array_like=True, gc=False):
    """One admitted event as stored for one entity."""

    producer: str
    epoch: int
    seq: int
    variant: bytes
    known_ms: int
    """Append time of the earliest copy of the segment."""
    wall_ms: int
    boot: str
    verdict: int
    occurred_on: date | None
    """Day in the office's zone; None when the clock cannot be trusted."""
    data: DataT
    history: tuple[Judgement, ...] = ()
    """Empty for nearly all: judged as above since the day of `known_ms`. Otherwise every judgement,
    oldest first; the last one is the above, and before the first one nobody could know the fact."""
    route: int = ROUTE_CODES[ROUTE_UNTOLD]
    """Code of the way by which that earliest copy came. It decides nothing."""

    @property
    def id(self) -> FactId:
        """Return the fact's identity, also its sort key."""
        return (self.producer, self.epoch, self.seq, self.variant)

    @property
    def counts(self) -> bool:
        """Tell whether the fact may contribute to a figure."""
        return self.verdict == COUNTS


def fact_id(fact: Fact[DataT]) -> FactId:
    """Return the fact's identity, as a sort key."""
    return (fact.producer, fact.epoch, fact.seq, fact.variant)


def known_order(fact: Fact[DataT]) -> tuple[int, str, int, int, bytes]:
    """Return the sort key for *in the order they became known*; total, so it has no ties."""
    return (fact.known_ms, fact.producer, fact.epoch, fact.seq, fact.variant)


def counted(facts: Iterable[Fact[DataT]]) -> list[Fact[DataT]]:
    """Return the facts that count, in the order in which they became known."""
    return sorted((fact for fact in facts if fact.verdict == COUNTS), key=known_order)


def union(facts: Iterable[Fact[DataT]]) -> list[Fact[DataT]]:
    """Return the set in identity order; of two facts with one identity the later given stands."""
    kept = {(fact.producer, fact.epoch, fact.seq, fact.variant): fact for fact in facts}
    return [kept[identity] for identity in sorted(kept)]


class Known(NamedTuple, Generic[DataT]):
    """One change of knowledge: a fact became known, or came to be judged otherwise."""

    day: date
    before: Fact[DataT] | None
    """None: it was not known before."""
    after: Fact[DataT]


def changes_of_knowledge(facts: Iterable[Fact[DataT]], zone: OfficeZone) -> list[Known[DataT]]:
    """Return every change of what is known, by day; within a day in one fixed order.

    First what was known already and is judged anew, then what is new; each in the order in which
    it became known. What is known at the end of day K is a function of the records up to K alone.
    """
    changes: list[Known[DataT]] = []
    for fact in facts:
        if not fact.history:
            changes.append(Known(zone.append_day(fact.known_ms), None, fact))
            continue
        before: Fact[DataT] | None = None
        for judged in fact.history:
            after = structs.replace(
                fact, verdict=judged.verdict, occurred_on=judged.occurred_on, history=()
            )
            changes.append(Known(judged.since, before, after))
            before = after
    changes.sort(key=lambda one: (one.day, one.before is None, known_order(one.after)))
    return changes


def known_days(
    facts: Iterable[Fact[DataT]], zone: OfficeZone
) -> Iterator[tuple[date, list[Fact[DataT]]]]:
    """Yield each day on which something changed, with all facts that count at its end.

    Oldest day first; facts in the order in which they became known, as they were judged then.
    """
    standing: dict[FactId, Fact[DataT]] = {}
    changes = changes_of_knowledge(facts, zone)
    for number, change in enumerate(changes):
        standing[change.after.id] = change.after
        if number + 1 == len(changes) or changes[number + 1].day != change.day:
            yield change.day, counted(standing.values())


def known_by(facts: Iterable[Fact[DataT]], day: date, zone: OfficeZone) -> list[Fact[DataT]]:
    """Return the set as it stood at the end of a day: what was known then, judged as then.

    In the order given. It is the set that the records up to then give by themselves.
    """
    found: list[Fact[DataT]] = []
    for fact in facts:
        if not fact.history:
            if zone.append_day(fact.known_ms) <= day:
                found.append(fact)
        elif told := tuple(one for one in fact.history if one.since <= day):
            last = told[-1]
            found.append(
                structs.replace(
                    fact, verdict=last.verdict, occurred_on=last.occurred_on, history=told
                )
            )
    return found


def known_since(fact: Fact[DataT], zone: OfficeZone) -> date:
    """Return the day at whose end the fact was known first."""
    return fact.history[0].since if fact.history else zone.append_day(fact.known_ms)
