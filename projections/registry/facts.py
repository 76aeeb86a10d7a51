"""What is remembered of a producer: what the registrar says of it, and what it says of itself."""

from collections.abc import Iterable
from typing import Final

import msgspec

from projections.facts import Fact, FactId, fact_id


class Enrolled(msgspec.Struct, frozen=True, array_like=True, tag=0, gc=False):
    """The registrar enrolled it."""

    kind: str
    place: str
    key: bytes
    enrolled_ms: int


class KeyAdded(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """The registrar gave it a further key."""

    key: bytes


class Revoked(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The registrar took its trust away from a moment on."""

    effective_ms: int
    reason: str


class DeclaredLost(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """A person gave up waiting for a range."""

    epoch: int
    first: int
    last: int
    reason: str


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Its last heartbeat."""

    queue_events: int
    oldest_unsent_ms: int | None
    route: str | None
    disk_free_bytes: int | None
    software: str | None


class Fault(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Last word on one fault of one component."""

    component: str
    fault: str
    is_present: bool
    detail: str | None


class Swap(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """A component left or entered."""

    slot: str
    removed: str | None
    installed: str | None


class Route(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """The route it chose last."""

    route: str
    previous: str | None
    reason: str | None


class Anchor(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """A word on the clock of one boot session; the latest by (epoch, seq) stands.

    A relay's (RELAY_SOURCES) stands only as long as there is no other.
    """

    boot: str
    offset_ms: int
    source: str


class EpochBegan(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """It began a new outbox."""

    reason: str
    previous_epoch: int | None
    previous_head: str | None


class Ticket(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """Something happened to a repair of it."""

    ticket: str
    step: str
    text: str


class Diagnostic(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """Its programs' last trace, for those who mend it."""

    area: str
    code: str
    measures: tuple[tuple[str, int], ...]
    """Sorted by name."""


ProducerData = (
    Enrolled
    | KeyAdded
    | Revoked
    | DeclaredLost
    | Beat
    | Fault
    | Swap
    | Route
    | Anchor
    | EpochBegan
    | Ticket
    | Diagnostic
)
ProducerFact = Fact[ProducerData]

decode_facts: Final = msgspec.msgpack.Decoder(list[Fact[ProducerData]]).decode


LATEST_WINS: Final = frozenset((Beat, Route, Fault, Anchor, Diagnostic))
"""Self-descriptions: evidence about the device that never enters a figure."""


def latest_wins_slot(data: ProducerData) -> tuple[str, ...] | None:
    """Return what a self-description replaces, or None for a fact that is kept for ever.

    The latest by (epoch, seq) stands for all: a maximum, hence independent of order.
    """
    match data:
        case Beat():
            return ("beat",)
        case Route():
            return ("route",)
        case Diagnostic():
            # One for all of them: a device may send as many as it likes.
            return ("diagnostic",)
        case Fault():
            return ("fault", data.component, data.fault)
        case _:
            # Anchors too: what a clock was thought to be is part of what was known then. There is
            # one when a session is first heard, and one whenever its clock is found to be moved.
            return None


def union(facts: Iterable[ProducerFact]) -> list[ProducerFact]:
    """Return the set in identity order, of each latest-wins slot only its latest fact."""
    kept: dict[FactId, ProducerFact] = {}
    slots: dict[tuple[str, ...], ProducerFact] = {}
    for fact in facts:
        slot = latest_wins_slot(fact.data)
        if slot is None:
            kept[fact.id] = fact
        elif slot not in slots or _place_in_life(fact) >= _place_in_life(slots[slot]):
            slots[slot] = fact
    return sorted([*kept.values(), *slots.values()], key=fact_id)


def _place_in_life(fact: ProducerFact) -> tuple[int, int, bytes]:
    return (fact.epoch, fact.seq, fact.variant)
