"""Each limit of a segment: exactly at it, and one past it."""

import hashlib
import random
from collections.abc import Sequence

import pytest

from rekam.domain.errors import SegmentRejected
from rekam.domain.ids import Epoch, ProducerId, Seq
from rekam.domain.segment import (
    BODY_BYTES_MAX,
    DECOMPRESSED_BYTES_MAX,
    EVENT_BYTES_MAX,
    HEADER_BYTES_MAX,
    RATIO_CHECKED_ABOVE_BYTES,
    RATIO_MAX,
    SEGMENT_BYTES_MAX,
    SEGMENT_EVENTS_MAX,
    SEQ_MAX,
    Sealed,
    open_body,
    parse,
    seal,
    verify,
)
from rekam.domain.topics import RECORD_BYTES_MAX
from tests.support.segments import (
    READER,
    SIGNING_KEY,
    authentic,
    compact,
    encrypt,
    fields,
    opening_hash_of,
    outcome,
    pack,
    signed,
)


def sealed(
    lines: Sequence[bytes],
    *,
    producer: str = "recorder-1",
    epoch: int = 1,
    first: int = 1,
    prev: str | None = None,
    boot: str = "boot-a",
    wall_ms: int = 0,
    mono_ms: int = 0,
) -> bytes:
    return seal(
        lines,
        producer=ProducerId(producer),
        epoch=Epoch(epoch),
        first=Seq(first),
        prev=opening_hash_of(producer, epoch) if prev is None else prev,
        sealed=Sealed(wall_ms, mono_ms, boot),
        signing_key=SIGNING_KEY,
        reader=READER.public,
    )


def opened(raw: bytes) -> list[bytes]:
    segment = parse(raw)
    verify(segment, SIGNING_KEY.public)
    return open_body(segment, READER)


def refusal_to_seal(lines: Sequence[bytes]) -> str:
    with pytest.raises(SegmentRejected) as raised:
        sealed(lines)
    return raised.value.reason


def noise(size: int) -> bytes:
    """Return bytes without a line end that do not compress."""
    return random.Random(size).randbytes(size).replace(b"\n", b"\r")


def test_a_full_segment_is_sealed_and_one_more_event_is_not() -> None:
    lines = [b"%d" % number for number in range(SEGMENT_EVENTS_MAX)]
    assert opened(sealed(lines)) == lines
    assert refusal_to_seal([*lines, b"x"]) == "too_many_events"


def test_a_segment_without_events_is_not_sealed() -> None:
    assert refusal_to_seal([]) == "too_many_events"


@pytest.mark.parametrize("fill", ["equal bytes", "noise"])
def test_one_event_of_the_largest_size_always_fits(fill: str) -> None:
    line = b"a" * EVENT_BYTES_MAX if fill == "equal bytes" else noise(EVENT_BYTES_MAX)
    assert opened(sealed([line])) == [line]


def test_an_event_one_byte_too_large_is_not_sealed() -> None:
    assert refusal_to_seal([b"a" * (EVENT_BYTES_MAX + 1)]) == "event_too_large"


def test_an_event_with_a_line_end_inside_is_not_sealed() -> None:
    assert refusal_to_seal([b'{"a":\n1}']) == "event_too_large"


def test_events_that_compress_to_more_than_the_body_limit_are_not_sealed() -> None:
    lines = [noise(EVENT_BYTES_MAX - place) for place in range(5)]
    assert refusal_to_seal(lines) == "body_too_large"
    assert opened(sealed(lines[:3])) == lines[:3]


def test_events_that_expand_too_much_are_not_sealed_together_but_one_by_one() -> None:
    line = b"a" * EVENT_BYTES_MAX
    assert refusal_to_seal([line] * 2) == "body_expands_too_much"
    assert opened(sealed([line])) == [line]


def test_the_largest_decompressed_size_opens_and_one_byte_more_does_not() -> None:
    # 80 blocks of noise keep the ratio legal: 4 MiB become about 160 KiB.
    block = noise(2_000)
    lines = [(block * 32)[: 52_428 - 1] for _ in range(80)]
    lines[-1] += b"b" * (DECOMPRESSED_BYTES_MAX - sum(len(line) + 1 for line in lines))
    plain = b"".join(line + b"\n" for line in lines)
    assert len(plain) == DECOMPRESSED_BYTES_MAX
    varied = _varied(plain)
    assert outcome(authentic(pack(varied), count=80))[1] == "accepted"
    longer = _varied(plain[:-1] + b"c\n")
    assert outcome(authentic(pack(longer), count=80)) == (
        "open",
        "rejected",
        "body_expands_too_much",
    )


def _varied(plain: bytes) -> bytes:
    """Return the same lines with noise sprinkled in, so that the ratio stays below the limit."""
    varied = bytearray(plain)
    source = random.Random(7)
    for place in range(0, len(varied) - 1, 40):
        if varied[place] != ord("\n"):
            varied[place] = source.randrange(32, 127)
    return bytes(varied)


def test_the_ratio_is_asked_only_above_one_event() -> None:
    small = b"0" * (RATIO_CHECKED_ABOVE_BYTES - 1) + b"\n"
    assert len(small) > RATIO_MAX * len(pack(small))
    assert outcome(authentic(pack(small)))[1] == "accepted"
    large = b"0" * RATIO_CHECKED_ABOVE_BYTES + b"\n"
    assert outcome(authentic(pack(large)))[2] == "body_expands_too_much"


def test_a_ratio_of_exactly_the_limit_is_accepted() -> None:
    packed, plain = _at_ratio_limit()
    assert len(plain) == RATIO_MAX * len(packed)
    assert outcome(authentic(packed))[1] == "accepted"


def _at_ratio_limit() -> tuple[bytes, bytes]:
    for noise_bytes in range(640, 900):
        head = noise(noise_bytes)
        packed_bytes = len(pack(head + b"0" * 70_000 + b"\n"))
        plain = head + b"0" * (RATIO_MAX * packed_bytes - len(head) - 1) + b"\n"
        packed = pack(plain)
        if len(plain) > RATIO_CHECKED_ABOVE_BYTES and len(packed) == packed_bytes:
            return packed, plain
    raise AssertionError("no such frame found")


def test_a_header_of_the_largest_size_is_read_and_one_byte_more_is_not() -> None:
    body = encrypt(pack(b"{}\n"), fields())
    header = compact(fields(body=hashlib.sha256(body).hexdigest()))
    largest = header + b" " * (HEADER_BYTES_MAX - len(header))
    assert outcome(signed(largest, body))[1] == "accepted"
    assert outcome(signed(largest + b" ", body))[2] == "header_too_large"


def test_a_body_of_the_largest_size_is_read_and_one_byte_more_is_not() -> None:
    body = bytes(BODY_BYTES_MAX)
    header = compact(fields(body=hashlib.sha256(body).hexdigest()))
    assert outcome(signed(header, body))[2] == "body_undecryptable"
    assert outcome(signed(header, body + b"\0"))[2] == "body_too_large"


def test_a_record_longer_than_any_segment_is_refused_before_it_is_looked_at() -> None:
    assert outcome(b"RKM1" + bytes(SEGMENT_BYTES_MAX - 3))[2] == "segment_too_large"
    assert outcome(b"RKM1" + bytes(SEGMENT_BYTES_MAX - 4))[2] == "header_too_large"


def test_the_largest_segment_fits_into_a_kafka_record() -> None:
    assert SEGMENT_BYTES_MAX + 1024 < RECORD_BYTES_MAX


def test_the_last_seq_of_an_epoch_can_be_sealed_and_read() -> None:
    first = SEQ_MAX - SEGMENT_EVENTS_MAX
    assert parse(sealed([b"{}"] * SEGMENT_EVENTS_MAX, first=first)).header.last == SEQ_MAX - 1


@pytest.mark.parametrize(
    "change",
    [
        {"producer": "Recorder"},
        {"producer": ""},
        {"producer": "r-6408014101900001"},
        {"epoch": 0},
        {"epoch": 2**31},
        {"first": 0},
        {"first": SEQ_MAX},
        {"prev": "abc"},
        {"boot": ""},
        {"boot": "b" * 65},
        {"boot": "a\0"},
        {"wall_ms": 2**53 + 1},
        {"wall_ms": -(2**53) - 1},
        {"mono_ms": -1},
    ],
    ids="-".join,
)
def test_what_a_reader_would_refuse_is_not_sealed(change: dict[str, object]) -> None:
    with pytest.raises(SegmentRejected) as raised:
        sealed([b"{}"], **change)  # type: ignore[arg-type]  # values out of form are the point
    assert raised.value.reason == "header_invalid"


def test_a_frame_that_asks_for_a_window_of_terabytes_is_refused() -> None:
    magic, four_byte_size, window_of_3_tb = b"\x28\xb5\x2f\xfd", b"\x80", b"\xff"
    raw_block = (3 << 3 | 1).to_bytes(3, "little") + b"{}\n"
    packed = magic + four_byte_size + window_of_3_tb + (3).to_bytes(4, "little") + raw_block
    assert outcome(authentic(packed)) == ("open", "rejected", "body_undecodable")
