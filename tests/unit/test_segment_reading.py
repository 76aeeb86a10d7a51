"""What reading a segment promises beside its limits (the golden vectors hold the rest)."""

import dataclasses
import sys
from types import FrameType

import pytest

from rekam.domain.errors import Held, SegmentRejected
from rekam.domain.segment import open_body, parse, producer_id, verify
from tests.support.segments import (
    OTHER_READER,
    OTHER_SIGNING_KEY,
    READER,
    SIGNING_KEY,
    authentic,
    compact,
    fields,
    frame,
    pack,
    signed,
)

RAW = authentic(pack(b"{}\n"))


def test_two_seals_of_the_same_events_differ_so_the_first_bytes_must_be_kept() -> None:
    assert authentic(pack(b"{}\n")) != RAW


def test_the_identity_of_a_segment_covers_its_body_by_hash() -> None:
    segment = parse(RAW)
    other = parse(authentic(pack(b"[]\n")))
    assert segment.header.body != other.header.body
    assert segment.hash != other.hash


def test_another_key_than_the_headers_is_refused_by_name() -> None:
    with pytest.raises(SegmentRejected, match="key_mismatch") as raised:
        verify(parse(RAW), OTHER_SIGNING_KEY.public)
    assert SIGNING_KEY.id in str(raised.value)
    assert OTHER_SIGNING_KEY.id in str(raised.value)


def test_a_segment_for_another_reader_is_held_and_the_wanted_key_named() -> None:
    with pytest.raises(Held, match="unknown_reader") as raised:
        open_body(parse(RAW), OTHER_READER)
    assert READER.id in str(raised.value)


def test_a_body_swapped_for_that_of_another_segment_is_refused() -> None:
    other = parse(authentic(pack(b"[]\n")))
    with pytest.raises(SegmentRejected, match="body_mismatch"):
        verify(dataclasses.replace(parse(RAW), body=other.body), SIGNING_KEY.public)


@pytest.mark.parametrize("stack_left", [60, 400])
@pytest.mark.parametrize("levels", [33, 300, 900, 2_000])
@pytest.mark.parametrize("version", [1, 2])
def test_deep_nesting_gives_the_same_verdict_whatever_the_callers_stack(
    levels: int, version: int, stack_left: int
) -> None:
    """A verdict that depended on it would differ between live processing and replay."""
    nested = b'{"v":%d,"x":' % version + b"[" * levels + b"]" * levels + b"}"
    raw = frame(nested, bytes(64), bytes(48))
    with pytest.raises(SegmentRejected) as raised:
        _with_stack_left(stack_left, raw)
    assert raised.value.reason == "header_invalid"


def _with_stack_left(frames: int, raw: bytes) -> None:
    caller: FrameType | None = sys._getframe()
    depth = 0
    while caller is not None:
        depth, caller = depth + 1, caller.f_back
    _descend(sys.getrecursionlimit() - depth - frames, raw)


def _descend(levels: int, raw: bytes) -> None:
    if levels > 0:
        _descend(levels - 1, raw)
    else:
        parse(raw)


def test_an_unknown_field_of_version_one_is_named_in_no_error() -> None:
    nik = "6408014101900001"
    with pytest.raises(SegmentRejected) as raised:
        parse(signed(compact(fields(**{nik: 1})), bytes(48)))
    assert nik not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_version_is_shown_only_when_it_can_be_one() -> None:
    with pytest.raises(SegmentRejected) as raised:
        parse(signed(compact(fields(v=6408014101900001)), bytes(48)))
    assert "6408014101900001" not in str(raised.value)


@pytest.mark.parametrize("text", ["r", "recorder-64.08.04-1", "0", "a" * 64, "r-123456789012345"])
def test_a_producer_id_in_form_is_taken(text: str) -> None:
    assert producer_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-r",
        ".r",
        "R",
        "r_1",
        "r/1",
        "r\n",
        "ré",
        "a" * 65,
        "6408014101900001",
        "x" * 9 + "1" * 16,
    ],
)
def test_a_producer_id_out_of_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Expected `str` matching regex"):
        producer_id(text)
