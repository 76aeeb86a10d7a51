"""Rows of the tables that are not cells, and what one transaction writes."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import Final, NamedTuple

import msgspec

from rekam.domain.log import ROUTE_UNTOLD
from rekam.domain.ranges import RangeSet

RecordId = tuple[int, int]
"""(partition, offset)"""
LedgerKey = tuple[str, int, int, bytes]
"""(producer, epoch, first, hash)"""
ExcludedKey = tuple[str, int, int, bytes]
"""(producer, epoch, seq, segment hash)"""
BootKey = tuple[str, str, int]
"""(producer, boot session, epoch)"""
AnchorKey = tuple[str, str]
"""(producer, boot session)"""
ContactKey = tuple[str, date]
"""(producer, day by whose end the contact is known)"""
EntityRef = tuple[int, bytes]
"""(entity kind, key)"""


class ProducerRow(NamedTuple):
    """A producer: its facts and when the log last heard of it."""

    producer: str
    facts: bytes
    contact_ms: int
    """Append time of its latest segment; 0 before the first."""


class LedgerRow(NamedTuple):
    """An admitted segment; place, time and route are those of its earliest copy."""

    producer: str
    epoch: int
    first: int
    hash: bytes
    last: int
    prev: bytes
    partition: int
    offset: int
    append_ms: int
    sealed_ms: int
    """Wall time at which the producer sealed it."""
    lost: RangeSet
    """Seqs that count from another segment."""
    contents: bytes
    """Encoded Contents: whom its events touch, so that it can be judged again."""
    route: str = ROUTE_UNTOLD

    @property
    def key(self) -> LedgerKey:
        """Return the row's primary key."""
        return (self.producer, self.epoch, self.first, self.hash)

    @property
    def copy_order(self) -> tuple[int, int, int]:
        """Return what makes one copy of a segment earlier than another."""
        return (self.append_ms, self.partition, self.offset)


class Contents(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What must be known of a segment to judge its events again without opening it again."""

    entities: list[EntityRef]
    """Whom its events touch; sorted, each once."""
    boots: list[str]
    """The boot sessions that its events name, anchored ones too; sorted, each once."""
    key: str = ""
    """Id of the key that signed it: before that was known, nothing of it could count."""


encode_contents: Final = msgspec.msgpack.Encoder().encode
decode_contents: Final = msgspec.msgpack.Decoder(Contents).decode


class BootRow(NamedTuple):
    """Between which seqs all segments of an epoch lie that name a boot session."""

    producer: str
    boot: str
    epoch: int
    first: int
    last: int

    def with_segment(self, first: int, last: int) -> "BootRow":
        """Return the row that holds one more segment: a union, so in whatever order."""
        return self._replace(first=min(self.first, first), last=max(self.last, last))


class CopyRow(NamedTuple):
    """A further copy of an admitted segment: it arrived, it is counted, it changes nothing."""

    partition: int
    offset: int
    append_ms: int
    producer: str
    epoch: int
    first: int
    hash: bytes


class HeldRow(NamedTuple):
    """A record that may count later, whole."""

    partition: int
    offset: int
    append_ms: int
    producer: str | None
    epoch: int | None
    first: int | None
    last: int | None
    reason: str
    detail: str
    value: bytes
    route: str = ROUTE_UNTOLD


class QuarantinedRow(NamedTuple):
    """A record that is wrong for ever; its bytes are in the log at its position."""

    partition: int
    offset: int
    append_ms: int
    producer: str | None
    """As the header claims: nobody has proved it."""
    epoch: int | None
    first: int | None
    last: int | None
    reason: str
    detail: str


class ExcludedRow(NamedTuple):
    """One event of an admitted segment that does not count."""

    producer: str
    epoch: int
    seq: int
    hash: bytes
    verdict: str
    """`held` or `quarantined`."""
    reason: str
    detail: str


@dataclass(slots=True)
class Changes:
    """What one fold writes, in one transaction. Owned by the fold until `Store.write`."""

    producers: dict[str, ProducerRow] = field(default_factory=dict)
    anchors: dict[AnchorKey, bytes] = field(default_factory=dict)
    """Encoded facts by boot session."""
    contacts: dict[ContactKey, int] = field(default_factory=dict)
    """Latest append time (ms) of what this fold admitted: the store keeps the later one."""
    services: dict[str, tuple[tuple[date, date], ...]] = field(default_factory=dict)
    """All the times in which a producer is known as a recorder in service: first day, day after."""
    ledger: dict[LedgerKey, LedgerRow] = field(default_factory=dict)
    boots: dict[BootKey, BootRow] = field(default_factory=dict)
    """Of the new segments alone: the store unites them with what it has."""
    copies: dict[RecordId, CopyRow] = field(default_factory=dict)
    held: dict[RecordId, HeldRow] = field(default_factory=dict)
    held_released: set[RecordId] = field(default_factory=set)
    retried: set[RecordId] = field(default_factory=set)
    """Records decided again: what is held or quarantined of them is what this fold says."""
    quarantined: dict[RecordId, QuarantinedRow] = field(default_factory=dict)
    excluded: dict[ExcludedKey, ExcludedRow] = field(default_factory=dict)
    excluded_removed: set[ExcludedKey] = field(default_factory=set)
    entities: defaultdict[int, dict[bytes, bytes]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """Encoded facts by entity kind and key."""
    niks: dict[bytes, bytes] = field(default_factory=dict)
    """Sealed NIKs by token, of those people whose rows are new or were erased."""
    cells: defaultdict[str, Counter[tuple[object, ...]]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    """Differences by table and cell."""
