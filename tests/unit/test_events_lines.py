"""Event lines: what is taken, what is refused, what is held, and that no value is ever told."""

import json
import traceback

import pytest

from rekam.domain.errors import EventRejected, Held
from rekam.domain.events import EVENT_TYPES, TYPE_NAMES, Event, FaultCleared, decode, encode
from rekam.domain.json_text import DEPTH_MAX, holds_nul
from rekam.domain.segment import EVENT_BYTES_MAX

NIK = "6408014101900001"
CAPTURED: dict[str, object] = {
    "recording": "r-1",
    "nik": NIK,
    "domicile": "64.08.04.2001",
    "place": "64.08.04",
    "mode": "online",
}


def line(type_name: str = "device.fault_cleared.v1", **changes: object) -> bytes:
    event: dict[str, object] = {
        "type": type_name,
        "wall_ms": 1,
        "mono_ms": 1,
        "boot": "boot-a",
        "data": {"component": "battery", "fault": "empty"},
    }
    return json.dumps(event | changes).encode()


def captured(**changes: object) -> bytes:
    return line("recording.captured.v1", data=CAPTURED | changes)


def resolved(**changes: object) -> bytes:
    data = {"cohort": "lapas", "entry": 1, "bucket": "tercetak", "source": "KPU"}
    return line("cohort.entry_resolved.v1", data=data | changes)


def refusal(raw: bytes) -> str:
    with pytest.raises((EventRejected, Held)) as raised:
        decode(raw)
    error = raised.value
    assert isinstance(error, EventRejected | Held)
    kind = "held" if isinstance(error, Held) else "rejected"
    return f"{kind} {error.reason}"


def test_types_and_names_are_one_to_one() -> None:
    assert {TYPE_NAMES[struct] for struct in EVENT_TYPES.values()} == set(EVENT_TYPES)
    assert len(TYPE_NAMES) == len(EVENT_TYPES)


def test_an_event_is_written_in_one_line_without_spaces() -> None:
    event = Event(1, 2, "boot-a", FaultCleared(component="battery", fault="empty"))
    assert encode(event) == (
        b'{"type":"device.fault_cleared.v1","wall_ms":1,"mono_ms":2,"boot":"boot-a",'
        b'"data":{"component":"battery","fault":"empty"}}'
    )
    assert decode(encode(event)) == event


def test_line_ends_inside_a_text_are_escaped() -> None:
    event = Event(1, 2, "boot-a", FaultCleared(component="a\nb", fault="\r\u2028"))
    assert b"\n" not in encode(event)
    assert decode(encode(event)) == event


def test_an_event_of_the_largest_size_is_read_and_one_byte_more_is_not() -> None:
    short = line()
    largest = short + b" " * (EVENT_BYTES_MAX - len(short))
    assert decode(largest) == decode(short)
    assert refusal(largest + b" ") == "rejected event_too_large"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "rejected not_json"),
        (b"{", "rejected not_json"),
        (b"\xff", "rejected not_json"),
        (b"\xef\xbb\xbf" + line(), "rejected not_json"),
        (line() + b"x", "rejected not_json"),
        (line(boot="\ud800"), "rejected not_json"),
        (line(boot="x\udc00"), "rejected not_json"),
        (line().replace(b"boot-a", b"boot-\xff"), "rejected not_json"),
        (line().replace(b"boot-a", b"boot-\xed\xa0\x80"), "rejected not_json"),
        (line().replace(b"boot-a", b"boot-\x01"), "rejected not_json"),
        (b"null", "rejected schema_invalid"),
        (b"[]", "rejected schema_invalid"),
        (b"{}", "rejected schema_invalid"),
        (line(wall_ms=2**53 + 1), "rejected schema_invalid"),
        (line(wall_ms=10**400), "rejected schema_invalid"),
        (line().replace(b'"wall_ms": 1', b'"wall_ms": ' + b"9" * 5_000), "rejected schema_invalid"),
        (line(wall_ms=1.0), "rejected schema_invalid"),
        (line(wall_ms="1"), "rejected schema_invalid"),
        (line(wall_ms=True), "rejected schema_invalid"),
        (line(mono_ms=-1), "rejected schema_invalid"),
        (line(boot=""), "rejected schema_invalid"),
        (line(boot="b" * 65), "rejected schema_invalid"),
        (line(boot="a\0"), "rejected schema_invalid"),
        (line(data=None), "rejected schema_invalid"),
        (line("x" * 101), "rejected schema_invalid"),
        (captured(nik="640801410190000"), "rejected schema_invalid"),
        (captured(nik=NIK + "\n"), "rejected schema_invalid"),
        (captured(nik="\uff16" * 16), "rejected schema_invalid"),
        (captured(domicile="\u0666\u0664.08.04.2001"), "rejected schema_invalid"),
        (captured(domicile="64.08.04"), "rejected schema_invalid"),
        (captured(place="\u0666\u0664"), "rejected schema_invalid"),
        (captured(mode="sometimes"), "rejected schema_invalid"),
        (captured(quality={"face": 101}), "rejected schema_invalid"),
        (captured(components={str(n): "x" for n in range(17)}), "rejected schema_invalid"),
        (captured(operator=""), "rejected schema_invalid"),
        (resolved(bucket="unresolved"), "rejected schema_invalid"),
        (resolved(bucket="unlisted"), "rejected schema_invalid"),
        (resolved(bucket="b" * 65), "rejected schema_invalid"),
        (line("recording.captured.v2"), "held unknown_type"),
        (line(NIK), "held unknown_type"),
        (line(note=1), "held unknown_field"),
        (captured(note=1), "held unknown_field"),
    ],
)
def test_a_line_that_cannot_count_says_why(raw: bytes, expected: str) -> None:
    assert refusal(raw) == expected


def test_a_bucket_that_only_begins_like_a_reserved_one_is_a_source_s_word() -> None:
    assert decode(resolved(bucket="unresolved yet")).type == "cohort.entry_resolved.v1"


def test_a_further_element_of_a_region_is_held_like_any_unknown_field() -> None:
    data = {"version": "1", "valid_from": "2018-01-01", "regions": [["64.08", "Kutai Timur", 1]]}
    assert refusal(line("region.tree_published.v1", data=data)) == "held unknown_field"


def test_a_further_element_of_a_denominator_is_held_like_any_unknown_field() -> None:
    rows = [["64.08.04.2001", 1, 2]]
    data = {"version": "1", "basis": "b", "valid_from": "2018-01-01", "rows": rows}
    assert refusal(line("denominator.published.v1", data=data)) == "held unknown_field"


def test_a_name_that_stands_twice_counts_as_its_last() -> None:
    twice = line().replace(b'"boot": "boot-a"', b'"boot": "boot-x", "boot": "boot-a"')
    assert decode(twice) == decode(line())


@pytest.mark.parametrize("type_name", ["recording.captured.v1", "recording.captured.v2"])
@pytest.mark.parametrize("levels", [DEPTH_MAX, 500, 30_000])
def test_deep_nesting_is_refused_whatever_the_type(levels: int, type_name: str) -> None:
    nested = b"[" * levels + b"]" * levels
    raw = line(type_name, data=0).replace(b'"data": 0', b'"data": ' + nested)
    assert refusal(raw) == "rejected nested_too_deeply"


def test_nesting_up_to_the_limit_is_held_for_an_unknown_type() -> None:
    nested = json.loads("[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1))
    assert refusal(line("recording.captured.v2", data=nested)) == "held unknown_type"


def test_brackets_inside_texts_are_no_nesting() -> None:
    assert decode(line(boot='["[{\\"' * 10)).boot.startswith('["')


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", False), ("\0", True), ("\\u0000", False), ("\\\0", True), ("\\\\u0000", False)],
)
def test_u0000_is_told_from_its_spelling(text: str, *, expected: bool) -> None:
    assert holds_nul(json.dumps(text).encode()) is expected


@pytest.mark.parametrize(
    "raw",
    [
        captured(mode=NIK),
        captured(**{NIK: 1}),
        captured(nik=NIK + "1"),
        captured(components={NIK * 5: "x"}),
        captured(quality={NIK: int(NIK)}),
        line(NIK),
        line("a." + NIK + ".v1"),
        line(wall_ms=int(NIK) * 100),
        line(**{NIK: NIK}),
        NIK.encode(),
        line().replace(b"boot-a", NIK.encode() + b"\xff"),
    ],
)
def test_neither_the_error_nor_its_trace_shows_a_nik(raw: bytes) -> None:
    with pytest.raises((EventRejected, Held)) as raised:
        decode(raw)
    shown = "".join(traceback.format_exception(raised.value, limit=0))
    assert NIK not in shown
