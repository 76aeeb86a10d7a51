"""Parameters are read once, typed and bounded; what is wrong is named, and no NIK is shown."""

from datetime import date
from typing import Any

import pytest

from projections.api import parameters
from projections.api.parameters import (
    VALUE_CHARACTERS_MAX,
    Parameter,
    device_cursor,
    place_cursor,
    read_arguments,
)
from projections.api.problems import ProblemError, shown
from projections.quarantine.reads import EventPlace, RecordPlace
from projections.regions import Level, Region

NIK = "6408044101900001"


def problem(parameter: Parameter[Any], text: str) -> ProblemError:
    """Return what is said of a wrong value."""
    with pytest.raises(ProblemError) as caught:
        read_arguments([parameter], query=[(parameter.name, text)], path={})
    return caught.value


def read(parameter: Parameter[Any], text: str) -> object:
    """Return the parsed value."""
    return read_arguments([parameter], query=[(parameter.name, text)], path={}).required(parameter)


@pytest.mark.parametrize("code", ["64", "64.08", "64.08.04", "64.08.04.2001"])
def test_a_region_code_of_every_level_is_taken(code: str) -> None:
    assert read(parameters.REGION, code) == Region(code)


@pytest.mark.parametrize(
    "code",
    ["", "6408", "64.8", "64.08.04.201", "64.08.", "64.08\n", "٦٤.٠٨", "64.08.04.2001.1", "%"],
)
def test_what_is_no_region_code_is_refused_with_an_example(code: str) -> None:
    found = problem(parameters.REGION, code)
    assert found.code_of_problem == "invalid_parameter"
    assert "region=" in found.detail
    assert "64.08" in found.detail


@pytest.mark.parametrize("day", ["2018-02-30", "2018-3-1", "20180301", "today", "9999-12-31", ""])
def test_what_is_no_day_is_refused(day: str) -> None:
    assert problem(parameters.AS_OF, day).detail.startswith("as_of=")


def test_a_day_is_taken() -> None:
    assert read(parameters.AS_OF, "2018-03-31") == date(2018, 3, 31)


@pytest.mark.parametrize("instant", ["2018-03-31T12:00:00Z", "2018-03-31 12:00"])
def test_knowledge_at_an_instant_is_a_replay(instant: str) -> None:
    found = problem(parameters.KNOWN_AT, instant)
    assert found.code_of_problem == "instant_is_a_replay"
    assert "rekam audit replay --known-at" in found.detail


@pytest.mark.parametrize("level", ["province", "Desa", "rt"])
def test_what_is_no_level_of_rows_is_refused_with_the_choices(level: str) -> None:
    assert "regency, kecamatan, desa" in problem(parameters.LEVEL, level).detail


def test_a_level_is_taken() -> None:
    assert read(parameters.LEVEL, "kecamatan") is Level.KECAMATAN


@pytest.mark.parametrize("limit", ["0", "501", "-1", "1.5", "٣", "", "9" * 30])
def test_a_page_has_1_to_500_entries(limit: str) -> None:
    assert "1 to 500" in problem(parameters.LIMIT, limit).detail


@pytest.mark.parametrize(
    "place", [RecordPlace(3, 10), EventPlace("recorder-1", 1, 17, bytes(range(8)))]
)
def test_a_cursor_of_a_place_comes_back_as_the_place(place: RecordPlace | EventPlace) -> None:
    assert read(parameters.PLACE_CURSOR, place_cursor(place)) == place


def test_a_cursor_of_a_device_comes_back_as_the_device() -> None:
    assert read(parameters.DEVICE_CURSOR, device_cursor("recorder-1")) == "recorder-1"


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "?",
        "ü",
        "AAAA",
        place_cursor(RecordPlace(2**40, 0)),
        place_cursor(RecordPlace(0, 2**63)),
        place_cursor(EventPlace("a\0b", 1, 1, b"")),
    ],
)
def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    assert problem(parameters.PLACE_CURSOR, cursor).code_of_problem == "invalid_parameter"


def test_an_unknown_parameter_is_refused_by_name() -> None:
    with pytest.raises(ProblemError, match="'as-of' is not a parameter"):
        read_arguments([parameters.AS_OF], query=[("as-of", "2018-03-31")], path={})


def test_a_parameter_given_twice_is_refused() -> None:
    query = [("limit", "1"), ("limit", "2")]
    with pytest.raises(ProblemError, match="given twice"):
        read_arguments([parameters.LIMIT], query=query, path={})


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ProblemError, match="region is missing"):
        read_arguments([parameters.REGION], query=[], path={})


def test_a_parameter_of_the_query_does_not_pass_for_one_of_the_path() -> None:
    with pytest.raises(ProblemError, match="not a parameter"):
        read_arguments([parameters.DEVICE], query=[("id", "other")], path={"id": "recorder-1"})


def test_a_value_is_bounded() -> None:
    assert "characters" in problem(parameters.REGION, "6" * (VALUE_CHARACTERS_MAX + 1)).detail


@pytest.mark.parametrize(
    "text", [NIK, f"nik={NIK}", "640804 410190 0001", "64.08.04.41.01.90.0001", f"x{NIK}y"]
)
def test_what_may_be_a_nik_is_never_shown(text: str) -> None:
    assert not any(character.isdigit() for character in shown(text).removesuffix("NIK)"))
    assert text not in problem(parameters.REGION, text).detail


def test_other_text_is_shown_as_it_was_written() -> None:
    assert shown("64.08.04.2001") == "'64.08.04.2001'"
