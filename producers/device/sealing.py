"""From stored lines to a segment: which lines fit, which are whole, and how many seal together."""

import hashlib
import zlib
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec

from rekam.domain import segment as segments
from rekam.domain.errors import EventRejected, SegmentRejected
from rekam.domain.events import Event, EventData, FaultReported, encode
from rekam.domain.ids import Epoch, ProducerId, Seq
from rekam.domain.keys import ReaderPublicKey, SigningKey
from rekam.domain.segment import DECOMPRESSED_BYTES_MAX, EVENT_BYTES_MAX, Sealed

COMPONENT: Final = "outbox"
"""What fault events name."""

_TOO_LARGE = frozenset({"body_too_large", "body_expands_too_much"})


class Head(msgspec.Struct):
    """What the outbox itself needs of an event line."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    wall_ms: Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
    boot: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


_decode_head = msgspec.json.Decoder(Head).decode


def head_of(line: bytes) -> Head:
    """Read a line's head. Raises EventRejected for what no segment can carry as an event."""
    if len(line) > EVENT_BYTES_MAX:
        raise EventRejected(
            "event_too_large",
            f"{len(line)} bytes; the limit is {EVENT_BYTES_MAX}. Split it or leave details out",
        )
    if b"\n" in line:
        raise EventRejected("not_json", "an event is one line; encode it without line ends")
    try:
        return _decode_head(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventRejected("not_json", "the line is no encoded event") from error


def is_event(line: bytes) -> bool:
    """Tell whether a line can be sealed."""
    try:
        head_of(line)
    except EventRejected:
        return False
    return True


def is_segment_whole(segment: segments.Segment) -> bool:
    """Tell whether a body is the one that its header names."""
    return hashlib.sha256(segment.body).hexdigest() == segment.header.body


def is_line_whole(line: bytes, crc: int) -> bool:
    """Tell whether a stored line is what was appended."""
    return zlib.crc32(line) == crc


def line_of(sealed: Sealed, data: EventData) -> bytes:
    """Encode an event of the outbox itself, with the clocks of a sealing."""
    return encode(Event(sealed.wall_ms, sealed.mono_ms, sealed.boot, data))


def sealable(
    rows: Iterable[tuple[int, int, bytes]], sealed: Sealed
) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
    """Take lines (seq, crc, line) until they would not fit into a segment; one, if there is any.

    Returns them, and those of them whose bits have changed: a fault stands under their seqs then,
    because such a line could name another person.
    """
    taken: list[tuple[int, bytes]] = []
    damaged: list[tuple[int, bytes]] = []
    room = DECOMPRESSED_BYTES_MAX
    for seq, crc, stored in rows:
        line = stored
        if not is_line_whole(stored, crc):
            line = line_of(
                sealed,
                FaultReported(
                    component=COMPONENT, fault="event_damaged", detail=f"its seq was {seq}"
                ),
            )
        room -= len(line) + 1
        if taken and room < 0:
            break
        if line is not stored:
            damaged.append((seq, stored))
        taken.append((seq, line))
    return taken, damaged


def seal_prefix(
    lines: list[bytes],
    *,
    producer: ProducerId,
    epoch: Epoch,
    first: Seq,
    prev: str,
    sealed: Sealed,
    signing_key: SigningKey,
    reader: ReaderPublicKey,
) -> tuple[bytes, int]:
    """Seal as many of the first lines as the limits allow, halving; one always fits."""
    count = len(lines)
    while True:
        try:
            raw = segments.seal(
                lines[:count],
                producer=producer,
                epoch=epoch,
                first=first,
                prev=prev,
                sealed=sealed,
                signing_key=signing_key,
                reader=reader,
            )
        except SegmentRejected as error:
            if error.reason not in _TOO_LARGE or count == 1:
                raise
            count = (count + 1) // 2
        else:
            return raw, count
