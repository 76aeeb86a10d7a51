"""Framing and early admission, without a server."""

from collections.abc import Mapping

import pytest

from producers.gateway.intake import BODY_BYTES_MAX, SEGMENTS_MAX, judge, split
from producers.gateway.problems import ProblemError
from rekam.domain.ids import KeyId, ProducerId
from rekam.domain.keys import VerifyKey
from rekam.domain.segment import SEGMENT_BYTES_MAX, parse
from tests.support.gateway import framed, life, sealed
from tests.support.segments import authentic, compact, fields, frame, pack, signed

PRODUCER = life()
KEYS = {PRODUCER.key.id: PRODUCER.key.public}


def known(producer: ProducerId) -> Mapping[KeyId, VerifyKey]:
    return KEYS if producer == PRODUCER.producer else {}


def refusal(body: bytes) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        split(body)
    return caught.value


def test_segments_come_out_as_they_went_in() -> None:
    raws = [b"a", b"", b"c" * SEGMENT_BYTES_MAX]
    assert split(framed(raws)) == raws


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "the body is empty"),
        (b"\0\0\0", "at byte 0: 3 bytes are left"),
        (framed([b"abc"]) + b"\0", "at byte 7: 1 bytes are left"),
        (framed([b"abc"])[:-1], "at byte 0: a length of 3, and 2 bytes follow"),
        (b"\xff\xff\xff\xff" + b"x" * 100, "at byte 0: a length of 4294967295"),
    ],
)
def test_lengths_that_do_not_add_up_are_refused_with_the_place(body: bytes, where: str) -> None:
    problem = refusal(body)
    assert problem.code_of_problem == "body_not_framed"
    assert where in problem.detail


def test_more_segments_than_the_limit_are_refused_and_as_many_are_not() -> None:
    assert len(split(framed([b"x"] * SEGMENTS_MAX))) == SEGMENTS_MAX
    assert refusal(framed([b"x"] * (SEGMENTS_MAX + 1))).code_of_problem == "too_many_segments"


def test_four_mebibytes_of_segments_fit_into_a_body_however_they_are_cut() -> None:
    smallest = 4 * 1024 * 1024 // SEGMENTS_MAX
    assert len(framed([b"x" * smallest] * SEGMENTS_MAX)) <= BODY_BYTES_MAX


def test_a_segment_signed_by_its_producers_key_is_admissible() -> None:
    (raw,) = sealed(life())
    found = judge(raw, known)
    assert (found.outlook, found.reason) == ("admissible", None)
    assert (found.producer, found.hash) == (PRODUCER.producer, parse(raw).hash)


@pytest.mark.parametrize(
    ("name", "code"), [("recorder-1", "unknown_key"), ("stranger", "unknown_producer")]
)
def test_a_segment_whose_key_nobody_knows_is_held(name: str, code: str) -> None:
    (raw,) = sealed(life(name, seed=2))
    found = judge(raw, known)
    assert found.reason is not None
    assert (found.outlook, found.reason.code) == ("held", code)


def test_a_flipped_bit_in_body_or_signature_quarantines_a_segment_of_a_known_key() -> None:
    (raw,) = sealed(life())
    for place, code in ((-1, "body_mismatch"), (len(raw) - len(parse(raw).body) - 1, "signature")):
        damaged = bytearray(raw)
        damaged[place] ^= 1
        found = judge(bytes(damaged), known)
        assert found.reason is not None
        assert found.outlook == "quarantined"
        assert found.reason.code.startswith(code)
        assert found.producer == PRODUCER.producer


def test_bytes_that_are_no_segment_are_quarantined_without_a_name() -> None:
    found = judge(b"x" * 10_000, known)
    assert found.reason is not None
    assert (found.outlook, found.reason.code) == ("quarantined", "not_a_segment")
    assert (found.producer, found.header, found.hash) == (None, None, None)


def test_a_version_of_the_future_is_held_under_its_producer() -> None:
    raw = authentic(pack(b"{}\n"), v=2, producer="recorder-9", surprise=1)
    found = judge(raw, known)
    assert found.reason is not None
    assert (found.outlook, found.reason.code) == ("held", "unknown_version")
    assert (found.producer, found.header) == ("recorder-9", None)


def test_a_version_of_the_future_without_a_producer_cannot_be_filed() -> None:
    header = fields(v=2)
    del header["producer"]
    found = judge(signed(compact(header), b"x" * 64), known)
    assert (found.outlook, found.producer) == ("quarantined", None)


def test_no_answer_of_the_gateway_opens_a_body() -> None:
    """A body that nobody can decrypt is admissible here: the processor looks inside."""
    (raw,) = sealed(life())
    segment = parse(raw)
    again = frame(segment.header_bytes, segment.signature, segment.body)
    assert judge(again, known).outlook == "admissible"
