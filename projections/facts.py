"""Facts: what projections remember of an admitted event, and whether it counts.

An entity (person, producer, cohort entry, reference) is the *set* of its facts. Its identity is
(producer, epoch, seq, variant); the variant names the segment that carried it, so that both
sides of a fork can stand side by side. What depends on other records, namely since when the
fact is known, whether it counts and on which day it happened, is its *judgement*: it is made
again whenever one of them arrives, so that the order of arrival leaves no trace.
"""

from collections.abc import Iterable
from datetime import date
from typing import Final, Generic, TypeVar

import msgspec

COUNTS: Final = 0
FORK_LOST: Final = 1
REVOKED: Final = 2
NOT_AUTHORISED: Final = 3

VERDICT_REASONS: Final = {
    FORK_LOST: ("fork_lost", "another segment holds the same seq and was appended earlier"),
    REVOKED: ("revoked", "it happened after its producer's effective revocation"),
    NOT_AUTHORISED: ("not_authorised", "a producer of this kind may not state this"),
}
"""Reason code and explanation of each verdict but COUNTS, as shown in quarantine."""

VARIANT_BYTES: Final = 8
"""How much of the segment hash names the variant: enough among the segments of one seq."""

DataT = TypeVar("DataT")

FactId = tuple[str, int, int, bytes]


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
    return [fact for _, fact in sorted({fact.id: fact for fact in facts}.items())]
