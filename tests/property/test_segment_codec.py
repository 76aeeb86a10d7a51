"""The segment codec under any bytes: no crash, no accepted forgery, no value in an error."""

import hashlib
import json
import struct
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekam.domain.errors import Held, SegmentRejected
from rekam.domain.ids import Epoch, ProducerId, Seq
from rekam.domain.segment import (
    SEGMENT_EVENTS_MAX,
    SEQ_MAX,
    Sealed,
    open_body,
    parse,
    seal,
    verify,
)
from tests.support.segments import (
    OTHER_SIGNING_KEY,
    READER,
    SIGNING_KEY,
    authentic,
    compact,
    encrypt,
    fields,
    frame,
    opening_hash_of,
    outcome,
    pack,
    signed,
    split,
)

NIK: Final = "6408014101900001"
LINES: Final = st.lists(
    st.binary(max_size=300).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=60
)
PRODUCERS: Final = st.from_regex(r"[a-z][a-z0-9.\-]{0,14}", fullmatch=True)
AUTHENTIC: Final = tuple(
    authentic(pack(b'{"n":%d}\n' % number * count), first=number + 1, count=count)
    for number, count in enumerate((1, 2, 40))
)
"""Segments that a producer really sealed: a forger has seen them and has no key."""

JSON: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def is_refused_or_original(raw: bytes) -> bool:
    """Tell whether nothing was accepted but bytes that the producer itself sealed."""
    return outcome(raw)[1] != "accepted" or raw in AUTHENTIC


@given(
    lines=LINES,
    producer=PRODUCERS,
    epoch=st.integers(1, 2**31 - 1),
    first=st.integers(1, SEQ_MAX - SEGMENT_EVENTS_MAX),
    wall_ms=st.integers(-(2**53), 2**53),
    boot=st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=64
    ),
)
def test_any_lines_come_back_from_their_segment(
    *, lines: list[bytes], producer: str, epoch: int, first: int, wall_ms: int, boot: str
) -> None:
    raw = seal(
        lines,
        producer=ProducerId(producer),
        epoch=Epoch(epoch),
        first=Seq(first),
        prev=opening_hash_of(producer, epoch),
        sealed=Sealed(wall_ms, 0, boot),
        signing_key=SIGNING_KEY,
        reader=READER.public,
    )
    segment = parse(raw)
    verify(segment, SIGNING_KEY.public)
    assert open_body(segment, READER) == lines
    assert (segment.header.producer, segment.header.epoch) == (producer, epoch)
    assert (segment.header.first, segment.header.last) == (first, first + len(lines) - 1)
    assert (segment.header.sealed.wall_ms, segment.header.sealed.boot) == (wall_ms, boot)


@given(raw=st.binary(max_size=400) | st.binary(max_size=400).map(lambda tail: b"RKM1" + tail))
def test_arbitrary_bytes_are_refused(raw: bytes) -> None:
    assert outcome(raw)[1] != "accepted"


@given(
    raw=st.sampled_from(AUTHENTIC),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_flipped_bits_are_refused(raw: bytes, flips: list[tuple[int, int]]) -> None:
    forged = bytearray(raw)
    for place, bits in flips:
        forged[place % len(raw)] ^= bits
    assert is_refused_or_original(bytes(forged))


@given(raw=st.sampled_from(AUTHENTIC), start=st.integers(0, 2_000), length=st.integers(0, 2_000))
def test_any_part_that_is_cut_out_is_missed(raw: bytes, start: int, length: int) -> None:
    start %= len(raw)
    assert is_refused_or_original(raw[:start] + raw[start + length :])


@given(raw=st.sampled_from(AUTHENTIC), place=st.integers(0, 2_000), extra=st.binary(max_size=40))
def test_anything_put_in_is_noticed(raw: bytes, place: int, extra: bytes) -> None:
    place %= len(raw) + 1
    assert is_refused_or_original(raw[:place] + extra + raw[place:])


@given(
    one=st.sampled_from(AUTHENTIC),
    other=st.sampled_from(AUTHENTIC),
    one_end=st.integers(0, 2_000),
    other_start=st.integers(0, 2_000),
)
def test_two_segments_spliced_anywhere_are_refused(
    one: bytes, other: bytes, one_end: int, other_start: int
) -> None:
    assert is_refused_or_original(one[: one_end % len(one)] + other[other_start % len(other) :])


@given(parts=st.tuples(*[st.sampled_from(AUTHENTIC)] * 3))
def test_parts_of_different_segments_framed_anew_are_refused(
    parts: tuple[bytes, bytes, bytes],
) -> None:
    (header, _, _), (_, signature, _), (_, _, body) = map(split, parts)
    assert is_refused_or_original(frame(header, signature, body))


@given(
    raw=st.sampled_from(AUTHENTIC),
    name=st.sampled_from(sorted(fields())) | st.text(max_size=8),
    value=JSON,
)
def test_an_edited_header_is_refused(raw: bytes, name: str, value: object) -> None:
    header, signature, body = split(raw)
    edited = json.loads(header)
    edited[name] = value
    assert is_refused_or_original(frame(compact(edited), signature, body))


@given(
    raw=st.sampled_from(AUTHENTIC),
    indent=st.none() | st.integers(0, 2),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,", ":")]),
    order=st.permutations(sorted(fields())),
)
def test_the_same_header_in_other_bytes_is_refused(
    raw: bytes, indent: int | None, separators: tuple[str, str], order: list[str]
) -> None:
    """Bytes as received: nobody may re-encode a header and keep its signature."""
    header, signature, body = split(raw)
    value = json.loads(header)
    again = json.dumps({name: value[name] for name in order}, indent=indent, separators=separators)
    assert is_refused_or_original(frame(again.encode(), signature, body))


@given(lines=LINES)
def test_a_stranger_cannot_sign_in_the_producers_name(lines: list[bytes]) -> None:
    header = fields(count=len(lines))
    body = encrypt(pack(b"".join(line + b"\n" for line in lines)), header)
    header["body"] = hashlib.sha256(body).hexdigest()
    assert outcome(signed(compact(header), body, OTHER_SIGNING_KEY))[2] == "signature_invalid"


@given(
    change=st.sampled_from(["producer", "epoch", "first", "count", "prev"]).flatmap(
        lambda name: st.fixed_dictionaries(
            {
                name: {
                    "producer": PRODUCERS,
                    "prev": st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
                }.get(name, st.integers(2, 500))
            }
        )
    )
)
def test_a_body_does_not_open_under_another_header_even_when_signed(
    change: dict[str, object],
) -> None:
    """Whoever holds a signing key cannot claim another's events, or its own in another place."""
    _, _, body = split(AUTHENTIC[0])
    header = fields(body=hashlib.sha256(body).hexdigest(), **change)
    assert outcome(signed(compact(header), body)) == ("open", "rejected", "body_undecryptable")


@given(packed=st.binary(max_size=200), count=st.integers(1, 500))
def test_arbitrary_compressed_bytes_are_refused(packed: bytes, count: int) -> None:
    assert outcome(authentic(packed, count=count))[1] == "rejected"


@given(
    lines=LINES,
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_damage_done_before_encryption_never_crashes_the_reader(
    lines: list[bytes], flips: list[tuple[int, int]]
) -> None:
    packed = bytearray(pack(b"".join(line + b"\n" for line in lines)))
    for place, bits in flips:
        packed[place % len(packed)] ^= bits
    assert outcome(authentic(bytes(packed), count=len(lines)))[0] == "open"


@given(
    header=st.dictionaries(st.sampled_from(sorted(fields())) | st.text(max_size=8), JSON)
    | st.builds(
        lambda name, value: fields(**{name: value}), st.sampled_from(sorted(fields())), JSON
    )
    | JSON
)
def test_any_signed_json_as_a_header_is_judged_without_a_crash(header: object) -> None:
    assert outcome(signed(compact(header), bytes(48)))[1] in {"rejected", "held"}


@given(header=st.binary(max_size=300))
def test_any_signed_bytes_as_a_header_are_judged_without_a_crash(header: bytes) -> None:
    assert outcome(signed(header, bytes(48)))[1] in {"rejected", "held"}


@given(length=st.integers(0, 2**32 - 1), rest=st.binary(max_size=200))
def test_any_header_length_is_judged_without_a_crash(length: int, rest: bytes) -> None:
    assert outcome(b"RKM1" + struct.pack(">I", length) + rest)[1] == "rejected"


# Where a header's form allows a hash or a key id, sixteen digits are no NIK but part of a hash.
FREE_FIELDS: Final = ("v", "producer", "epoch", "first", "count", "sealed", NIK)


@given(
    name=st.sampled_from(FREE_FIELDS),
    value=st.sampled_from(
        [NIK, int(NIK), {NIK: NIK}, [NIK], {"wall_ms": int(NIK) * 10, "mono_ms": 0, "boot": NIK}]
    ),
    damage=st.sampled_from([None, b'"', b"\xff", b"}"]),
)
@settings(max_examples=200)
def test_no_error_shows_a_nik_that_stands_in_a_header(
    name: str, value: object, damage: bytes | None
) -> None:
    header = compact(fields(**{name: value}))
    if damage is not None:
        header = header.replace(NIK.encode(), NIK.encode() + damage, 1)
    with pytest.raises((SegmentRejected, Held)) as raised:
        verify(parse(signed(header, bytes(48))), SIGNING_KEY.public)
    assert NIK not in str(raised.value)
    assert raised.value.__cause__ is None
