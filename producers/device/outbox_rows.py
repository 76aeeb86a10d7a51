"""What an outbox hands out: segments, what is overdue, what a receipt did, and how things stand."""

from dataclasses import dataclass, field
from typing import Final, NewType

from rekam.domain.ids import Epoch

Place = NewType("Place", int)
"""A seq counted on through all epochs of the outbox; the seq itself while there is one epoch."""

START: Final = Place(0)
PLACE_MAX: Final = Place(2**63 - 1)


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A sealed segment as the outbox holds it. Seqs count within `epoch`, places through all."""

    first: int
    last: int
    raw: bytes
    epoch: Epoch
    place: Place
    refused_by: str | None = field(default=None, compare=False)
    """The route that refused it last: whoever sends it asks the others first."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A segment that a route refused, and why."""

    first: int
    last: int
    route: str
    code: str
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Overdue:
    """A segment that a route took long ago, and that no receipt covers."""

    first: int
    last: int
    route: str
    epoch: Epoch
    place: Place


@dataclass(frozen=True, slots=True)
class ReceiptEffect:
    """What a receipt changed."""

    receipted_events: int
    requeued_segments: int
    takers: frozenset[str] = frozenset()
    """Routes that had taken what it covers newly: they have delivered."""
    is_fork_suspected: bool = False
    """The log holds what this outbox never sealed: this home, or its double, is a copy."""


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """Where the outbox stands, of one moment. `…_through` are seqs of the open epoch."""

    epoch: Epoch
    next_seq: int
    recorded_events: int
    """All that got a seq, in all epochs that this outbox knows."""
    unsealed_events: int
    waiting_health: int
    """Health and diagnostic lines that get their seq when they are sealed."""
    unsent_segments: int
    unsent_events: int
    """All that no route has taken, sealed or not, of all epochs."""
    oldest_unsent_ms: int | None
    """Wall time of the oldest unsent event, as the producer's clock showed it."""
    taken_events: int
    """A route has them, and no receipt covers them yet."""
    taken_through: int
    """A route has taken every event up to this seq."""
    receipted_through: int
    """A receipt covers every event up to this seq."""
    refused_segments: int
    """Set aside now; those that are to be offered again count as unsent."""
    refused_events: int
    damaged_segments: int
    """Set aside because their bytes here are not what was sealed, and no receipt covers them."""
    damaged_events: int
    """Those in them, and those that were damaged before they were sealed."""
    damaged_now_events: int
    """Of those, the ones of the open epoch. A supervisor who has looked begins another one."""
    dropped_diagnostics: int
    receipt_as_of_ms: int | None
    """Broker time up to which the newest receipt speaks."""
    is_fork_suspected: bool
    """Sealing waits for a supervisor's `rekam device new-epoch`; recording goes on."""
    disk_bytes: int
    disk_bytes_max: int
    disk_percent: int
    """Of the budget; pages that pruning has freed do not count."""
    is_warning: bool
    is_full: bool
    """`append` refuses recordings."""
