"""What the registry says of a producer at the moment of judging its events. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from projections.facts import COUNTS, FORK_LOST, NOT_AUTHORISED, REVOKED, counted
from projections.registry.authority import ALLOWED_KINDS
from projections.registry.facts import (
    LATEST_WINS,
    Anchor,
    Enrolled,
    KeyAdded,
    ProducerFact,
    Revoked,
)
from rekam.domain.clocks import OfficeZone, occurred_on
from rekam.domain.ids import KeyId
from rekam.domain.keys import VerifyKey
from rekam.domain.ranges import RangeSet


@dataclass(frozen=True, slots=True)
class ProducerContext:
    """Whose keys, of which kind, between which times, with which clock corrections."""

    kind: str | None
    """None: not enrolled (yet), so nothing of it may count."""
    place: str | None = None
    enrolled_ms: int = 0
    revoked_ms: int | None = None
    keys: Mapping[KeyId, VerifyKey] = field(default_factory=dict)
    anchors: Mapping[str, int] = field(default_factory=dict)
    """Offset in ms by boot session."""

    def judges_alike(self, other: "ProducerContext") -> bool:
        """Tell whether the other differs in no more than keys and anchors.

        Keys decide what is admitted; an anchor touches only the segments of its boot session.
        """
        return (self.kind, self.enrolled_ms, self.revoked_ms) == (
            other.kind,
            other.enrolled_ms,
            other.revoked_ms,
        )


NOT_ENROLLED: Final = ProducerContext(kind=None)


def context_of(facts: Iterable[ProducerFact], *, root: VerifyKey | None = None) -> ProducerContext:
    """Return what the set of facts says; of several enrolments the first known one is the one.

    `root` is the trust root's key, for the registrar alone: its kind and its first key come from
    the configuration, and it cannot be revoked by what it signs itself.

    A key counts for admission from whichever segment it came, forks too: what a key admits must
    not depend on what it admitted, or the answer would depend on the order of arrival.
    """
    known = [*facts]
    keys = {key.id: key for fact in known if (key := _key_in(fact)) is not None}
    anchors = {
        fact.data.boot: fact.data.offset_ms for fact in known if isinstance(fact.data, Anchor)
    }
    if root is not None:
        return ProducerContext(kind="registrar", keys={**keys, root.id: root}, anchors=anchors)
    enrolment: Enrolled | None = None
    revoked_ms: int | None = None
    for fact in counted(known):
        match fact.data:
            case Enrolled() if enrolment is None:
                enrolment = fact.data
            case Revoked(effective_ms=effective_ms):
                revoked_ms = effective_ms if revoked_ms is None else min(revoked_ms, effective_ms)
            case _:
                pass
    if enrolment is None:
        return ProducerContext(kind=None, keys=keys, anchors=anchors)
    return ProducerContext(
        kind=enrolment.kind,
        place=enrolment.place,
        enrolled_ms=enrolment.enrolled_ms,
        revoked_ms=revoked_ms,
        keys=keys,
        anchors=anchors,
    )


def _key_in(fact: ProducerFact) -> VerifyKey | None:
    return VerifyKey(fact.data.key) if isinstance(fact.data, Enrolled | KeyAdded) else None


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges the facts of one segment: everything that depends on other records is in here."""

    context: ProducerContext
    known_ms: int
    lost: RangeSet
    zone: OfficeZone

    def judge(self, *, seq: int, wall_ms: int, boot: str, data: object) -> tuple[int, date | None]:
        """Return the verdict and the day of one fact.

        What a device says of its own health is no less true in a fork or after its revocation,
        and enters no figure: it always counts, and the latest by (epoch, seq) stands for all.
        """
        if type(data) in LATEST_WINS:
            return COUNTS, None
        context = self.context
        offset_ms = context.anchors.get(boot)
        day = occurred_on(
            wall_ms,
            offset_ms=offset_ms,
            enrolled_ms=context.enrolled_ms,
            known_ms=self.known_ms,
            zone=self.zone,
        )
        if self.lost and self.lost.covers(seq, seq):
            return FORK_LOST, day
        allowed = ALLOWED_KINDS.get(type(data))
        if context.kind is None or (allowed is not None and context.kind not in allowed):
            return NOT_AUTHORISED, day
        if context.revoked_ms is not None:
            # An untrusted clock cannot excuse an event: then the append time decides.
            happened_ms = self.known_ms if day is None or offset_ms is None else wall_ms + offset_ms
            if happened_ms >= context.revoked_ms:
                return REVOKED, day
        return COUNTS, day
