"""What is remembered of a record of the log: whether the registrar decided that it never counts."""

import struct
from collections.abc import Iterable
from datetime import date
from typing import Final

import msgspec

from projections.facts import Fact, known_days
from rekam.domain.clocks import OfficeZone
from rekam.domain.ranges import RangeSet
from rekam.domain.segment import SEQ_MAX

WHOLE: Final = (0, SEQ_MAX)
"""The seqs of a decision on a whole record: also of one whose header nobody could read."""

_PLACE: Final = struct.Struct(">IQ")


class Discarded(msgspec.Struct, frozen=True, array_like=True, tag=0, gc=False):
    """The registrar decided that these seqs of the record never count."""

    partition: int
    offset: int
    record_hash: bytes
    """SHA-256 of the record, for who checks what was meant: the log never changes a record."""
    first: int
    last: int
    reason: str

    @property
    def is_whole(self) -> bool:
        """Tell whether it is about all of the record."""
        return (self.first, self.last) == WHOLE


DecisionFact = Fact[Discarded]

decode_facts: Final = msgspec.msgpack.Decoder(list[Fact[Discarded]]).decode


def record_key(partition: int, offset: int) -> bytes:
    """Return the key of a record's decisions; keys sort as places do."""
    return _PLACE.pack(partition, offset)


def place_of(key: bytes) -> tuple[int, int]:
    """Return (partition, offset) of a key."""
    partition, offset = _PLACE.unpack(key)
    return partition, offset


def discarded_since(
    facts: Iterable[DecisionFact], zone: OfficeZone
) -> tuple[tuple[date, RangeSet], ...]:
    """Return which seqs of a record are discarded, and since which day that is known."""
    found: list[tuple[date, RangeSet]] = []
    known = RangeSet()
    for day, standing in known_days(facts, zone):
        now = RangeSet()
        for fact in standing:
            # Seqs begin at 1, ranges of seqs too.
            now = now.union(RangeSet.of((max(1, fact.data.first), fact.data.last)))
        if now != known:
            found.append((day, now))
            known = now
    return tuple(found)
