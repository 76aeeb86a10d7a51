"""Event lines under any bytes: one of three answers, never a crash, never a value in an error."""

import json
import re
from datetime import date
from typing import Final, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekam.domain.errors import EventRejected, Held
from rekam.domain.events import EVENT_TYPES, Event, EventData, decode, encode, stray_nik
from tests.support.golden_events import EVENTS
from tests.support.golden_events import NIK as GOLDEN_NIK

NIK: Final = "6408014101909999"
"""Planted; it stands in no golden event."""

TEXT: Final = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
GOLDEN: Final = tuple(encode(event) for event in EVENTS)

JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def values(kind: msgspec.inspect.Type) -> st.SearchStrategy[object]:  # noqa: C901, PLR0911 - one arm a kind
    """Return values of a field's type, as its struct declares it."""
    match kind:
        case msgspec.inspect.IntType(ge=low, le=high):
            return st.integers(low, high)
        case msgspec.inspect.StrType(pattern=str(pattern), min_length=int(low), max_length=high):
            # Beside a least length, a pattern says what a text may not be.
            texts = st.text(TEXT, min_size=low, max_size=high)
            return texts.filter(lambda text: re.search(pattern, text) is not None)
        case msgspec.inspect.StrType(pattern=str(pattern), max_length=longest):
            return st.from_regex(
                re.compile(pattern.replace("(?!.*[0-9]{16})", "")), fullmatch=True
            ).filter(
                lambda text: (
                    re.search(pattern, text) is not None
                    and (longest is None or len(text) <= longest)
                )
            )
        case msgspec.inspect.StrType(min_length=low, max_length=high):
            return st.text(TEXT, min_size=low or 0, max_size=high)
        case msgspec.inspect.LiteralType(values=choices):
            return st.sampled_from(choices)
        case msgspec.inspect.DateType():
            return st.dates(date(1, 1, 1), date(9999, 12, 31))
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.UnionType(types=kinds):
            return st.one_of([values(kind) for kind in kinds])
        case msgspec.inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(values(key), values(value), max_size=4)
        case msgspec.inspect.VarTupleType(item_type=item, min_length=low):
            return st.lists(values(item), min_size=low or 0, max_size=4).map(tuple)
        case msgspec.inspect.StructType(cls=struct, fields=fields):
            return st.builds(struct, **{field.name: values(field.type) for field in fields})
        case _:
            raise AssertionError(f"no values known for {kind}")


def data_of(struct: type[EventData]) -> st.SearchStrategy[EventData]:
    # `values` builds a struct's type from its own declaration.
    return cast("st.SearchStrategy[EventData]", values(msgspec.inspect.type_info(struct)))


ANY_EVENT: Final = st.builds(
    Event,
    wall_ms=st.integers(-(2**53), 2**53),
    mono_ms=st.integers(0, 2**53),
    boot=st.text(TEXT, min_size=1, max_size=64),
    data=st.sampled_from(sorted(EVENT_TYPES)).flatmap(lambda name: data_of(EVENT_TYPES[name])),
)


def answer(line: bytes) -> Event | EventRejected | Held:
    """Read a line; anything but the three answers leaves as a crash."""
    try:
        return decode(line)
    except (EventRejected, Held) as error:
        return error


@given(event=ANY_EVENT)
@settings(max_examples=300)
def test_any_event_comes_back_from_its_line(event: Event) -> None:
    line = encode(event)
    assert b"\n" not in line
    if stray_nik(event.data) is not None:
        with pytest.raises(EventRejected, match="nik_in_text"):
            decode(line)
        return
    assert decode(line) == event
    assert encode(decode(line)) == line


@given(line=st.binary(max_size=300))
def test_arbitrary_bytes_get_an_answer(line: bytes) -> None:
    assert not isinstance(answer(line), Event)


@given(value=JSON)
def test_arbitrary_json_gets_an_answer(value: object) -> None:
    answer(json.dumps(value).encode())


@given(
    line=st.sampled_from(GOLDEN),
    where=st.sampled_from(["type", "wall_ms", "mono_ms", "boot", "data"]) | st.text(max_size=8),
    value=JSON,
)
def test_any_value_in_any_place_of_the_envelope_gets_an_answer(
    line: bytes, where: str, value: object
) -> None:
    answer(json.dumps(json.loads(line) | {where: value}).encode())


@given(line=st.sampled_from(GOLDEN), value=JSON, pick=st.integers(0, 20))
def test_any_value_in_any_place_of_the_data_gets_an_answer(
    line: bytes, value: object, pick: int
) -> None:
    event = json.loads(line)
    names = sorted(event["data"])
    event["data"][names[pick % len(names)]] = value
    answer(json.dumps(event).encode())


@given(
    line=st.sampled_from(GOLDEN),
    flips=st.lists(st.tuples(st.integers(0, 1_000), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_damaged_lines_get_an_answer_and_are_clean_text_when_taken(
    line: bytes, flips: list[tuple[int, int]]
) -> None:
    damaged = bytearray(line)
    for place, bits in flips:
        damaged[place % len(line)] ^= bits
    found = answer(bytes(damaged))
    if isinstance(found, Event):
        # What is taken can be written again: no lone surrogate, no U+0000.
        again = encode(found)
        assert decode(again) == found
        assert b"\\u0000" not in again.replace(b"\\\\", b"")


@given(line=st.sampled_from(GOLDEN), start=st.integers(0, 500), length=st.integers(1, 500))
def test_cut_lines_get_an_answer(line: bytes, start: int, length: int) -> None:
    start %= len(line)
    answer(line[:start] + line[start + length :])


@given(
    opener=st.sampled_from([b"[", b'{"a":', b'[{"data":', b'{"data":']),
    levels=st.integers(1, 20_000),
    is_closed=st.booleans(),
)
def test_any_depth_gets_an_answer(opener: bytes, levels: int, *, is_closed: bool) -> None:
    closer = b"".join(
        b"]" if mark == ord("[") else b"}" for mark in reversed(opener) if mark in b"[{"
    )
    raw = (opener * levels)[:30_000] + b"0" + (closer * levels if is_closed else b"")[:30_000]
    assert not isinstance(answer(raw), Event)


@given(
    digits=st.integers(1, 6_000),
    sign=st.sampled_from(["", "-"]),
    tail=st.sampled_from(["", ".5", "e9"]),
)
def test_numbers_of_any_length_get_an_answer(digits: int, sign: str, tail: str) -> None:
    number = (sign + "9" * digits + tail).encode()
    for field in (b'"wall_ms":1522454400000', b'"mono_ms":60000', b'"queue_events":412'):
        for line in GOLDEN:
            if field in line:
                answer(line.replace(field, field.partition(b":")[0] + b":" + number))


@given(line=st.sampled_from(GOLDEN), name=st.sampled_from(["type", "boot", "data"]), value=JSON)
def test_a_name_that_stands_twice_is_the_last_of_the_two(
    line: bytes, name: str, value: object
) -> None:
    twice = b'{"%b":%b,' % (name.encode(), json.dumps(value).encode()) + line[1:]
    found = answer(twice)
    assert isinstance(found, EventRejected) or found == decode(line)


@given(
    line=st.sampled_from(GOLDEN),
    place=st.integers(0, 1_000),
    form=st.sampled_from(
        [NIK, f'"{NIK}"', f'{{"{NIK}":"{NIK}"}}', f'"{NIK}":"{NIK}",', f"{NIK}\0"]
    ),
)
@settings(max_examples=500)
def test_no_error_shows_a_nik_wherever_it_stands(line: bytes, place: int, form: str) -> None:
    place %= len(line) + 1
    told(line[:place] + form.encode() + line[place:])


@given(line=st.sampled_from(GOLDEN), pick=st.integers(0, 40), as_name=st.booleans())
def test_no_error_shows_a_nik_in_place_of_any_value_or_name(
    line: bytes, pick: int, *, as_name: bool
) -> None:
    event = json.loads(line)
    target = event if pick % 2 else event["data"]
    names = sorted(target)
    name = names[pick % len(names)]
    target[NIK if as_name else name] = NIK if not as_name else target.pop(name)
    told(json.dumps(event).encode())


def told(line: bytes) -> None:
    found = answer(line)
    if not isinstance(found, Event):
        for nik in (NIK, GOLDEN_NIK):
            assert nik not in str(found)
        assert found.__cause__ is None
