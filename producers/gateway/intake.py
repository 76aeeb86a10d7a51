"""From the bytes of one request to a judgement of each segment: framing and early admission.

    body = (u32 big-endian length | segment)…

Pure. It is the processor's own rule (`missing_key`, `verify`) as far as it goes without a reader
key: nothing is opened here. The processor's verdict is the one that counts; this one lets a device
hear at once that its bytes arrived damaged.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from producers.gateway.problems import ProblemError
from rekam.domain.admission import Reason, missing_key
from rekam.domain.errors import Held, SegmentRejected
from rekam.domain.ids import KeyId, ProducerId
from rekam.domain.keys import VerifyKey
from rekam.domain.segment import (
    HEADER_BYTES_MAX,
    SEGMENT_BYTES_MAX,
    Header,
    ProducerText,
    parse,
    verify,
)

MEDIA_TYPE: Final = "application/vnd.rekam.segments"
SEGMENTS_MAX: Final = 500
"""Segments of one request. Judging so many takes about 40 ms."""

LENGTH_BYTES: Final = 4
BODY_BYTES_MAX: Final = 4 * 1024 * 1024 + LENGTH_BYTES * SEGMENTS_MAX
"""4 MiB of segments with their frames: what a device's emitter takes off its queue at a time."""

KeysOf = Callable[[ProducerId], Mapping[KeyId, VerifyKey]]
"""Gives the signing keys that the registry knows of a producer; none when it knows none."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One segment and what may be said of it at once.

    `admissible`: signed by a key of its producer. `held`: nobody can say yet. `quarantined`: wrong
    for ever. `header` and `hash` are those of a segment that could be parsed; `producer` is known
    also of one whose version is of the future.
    """

    raw: bytes
    outlook: Literal["admissible", "held", "quarantined"]
    reason: Reason | None = None
    producer: ProducerId | None = None
    header: Header | None = None
    hash: str | None = None


def split(body: bytes) -> list[bytes]:
    """Return the framed segments of a body, whatever they hold.

    Raises ProblemError `body_not_framed` when the lengths do not add up or there is none, and
    `too_many_segments`. Then nothing of it may be taken: where a length is wrong, every byte after
    it may be anything.
    """
    found: list[bytes] = []
    start, end = 0, len(body)
    while start < end:
        if len(found) == SEGMENTS_MAX:
            raise ProblemError(
                "too_many_segments", f"more than {SEGMENTS_MAX}; send the rest in another request"
            )
        if end - start < LENGTH_BYTES:
            raise _not_framed(start, f"{end - start} bytes are left; a length has {LENGTH_BYTES}")
        (length,) = struct.unpack_from(">I", body, start)
        start += LENGTH_BYTES
        if length > SEGMENT_BYTES_MAX:
            raise _not_framed(
                start - LENGTH_BYTES,
                f"a length of {length}; a segment has {SEGMENT_BYTES_MAX} bytes at most",
            )
        if length > end - start:
            raise _not_framed(
                start - LENGTH_BYTES, f"a length of {length}, and {end - start} bytes follow"
            )
        found.append(body[start : start + length])
        start += length
    if not found:
        raise _not_framed(0, "the body is empty")
    return found


def _not_framed(offset: int, what: str) -> ProblemError:
    return ProblemError(
        "body_not_framed",
        f"at byte {offset}: {what}. Wanted: u32 big-endian length, segment, and so on. Nothing was "
        "taken; send all of it again",
    )


def judge(raw: bytes, keys_of: KeysOf) -> Judged:
    """Say of one segment what the registry's keys, as far as they are known here, allow to say."""
    try:
        segment = parse(raw)
    except SegmentRejected as error:
        return Judged(raw, "quarantined", Reason(error.reason, error.detail))
    except Held as error:
        reason = Reason(error.reason, error.detail)
        producer = _producer_of(raw)
        if producer is None:
            # Without a producer there is no key of the log to file it under.
            return Judged(raw, "quarantined", reason)
        return Judged(raw, "held", reason, producer)
    header = segment.header
    producer = ProducerId(header.producer)
    keys = keys_of(producer)
    reason_to_hold = missing_key(header, keys)
    if reason_to_hold is not None:
        return Judged(raw, "held", reason_to_hold, producer, header, segment.hash)
    try:
        verify(segment, keys[KeyId(header.key)])
    except SegmentRejected as error:
        reason = Reason(error.reason, error.detail)
        return Judged(raw, "quarantined", reason, producer, header, segment.hash)
    return Judged(raw, "admissible", None, producer, header, segment.hash)


class _Named(msgspec.Struct):
    producer: ProducerText


def _producer_of(raw: bytes) -> ProducerId | None:
    """Return who sealed a segment whose version is not known; its frame was found right."""
    (length,) = struct.unpack_from(">I", raw, 4)
    assert length <= HEADER_BYTES_MAX, length  # noqa: S101 - `parse` has looked
    try:
        return ProducerId(msgspec.json.decode(raw[8 : 8 + length], type=_Named).producer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
