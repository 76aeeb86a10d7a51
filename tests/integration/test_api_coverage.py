"""Coverage calls on a real database: rules, series, changes, CSV; each answer conforms."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import date, timedelta

import pytest

from projections.coverage.series import POINTS_MAX
from tests.support.api import Client, serving
from tests.support.rows import (
    DESA,
    KNOWN_ON,
    NIK,
    OTHER_DESA,
    OTHER_NIK,
    RECORDED_ON,
    TODAY,
    people,
    regency,
)

EXCLUDED = "duplicates-excluded/v1"
YESTERDAY = TODAY - timedelta(days=1)
NEW_DESA = "64.09.01.2001"


@pytest.fixture
async def client(database: str) -> AsyncIterator[Client]:
    """Give a client of the API on a small regency."""
    rows = regency({DESA: 30, OTHER_DESA: 10})
    for nik in people(7):
        rows.recorded(nik)
    rows.recorded(OTHER_NIK, desa=OTHER_DESA)
    rows.observed(OTHER_NIK, "DUPLICATE_RECORD")
    rows.recorded(NIK, desa="64.08.05.2099", known=TODAY)
    await rows.write(database)
    async with serving(database) as opened:
        yield opened


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


async def test_every_answer_names_its_rule_and_each_rule_its_figure(client: Client) -> None:
    plain = await client.figures("/v1/coverage?region=64.08")
    assert (plain["rule"], plain["totals"]["recorded"]) == ("duplicates-count/v1", 9)
    other = await client.figures(f"/v1/coverage?region=64.08&rule={EXCLUDED}")
    assert (other["rule"], other["totals"]["recorded"]) == (EXCLUDED, 8)
    assert {one["remark"]: one["people"] for one in other["totals"]["remarks"]} == {
        "not_in_denominator": 1,
        "not_in_tree": 1,
        "duplicates_excluded": 1,
    }
    assert [tree["version"] for tree in other["trees"]] == ["2017"]


async def test_a_series_has_a_point_a_step_with_the_denominator_of_its_day(client: Client) -> None:
    answer = await client.figures(
        "/v1/coverage/series?region=64.08&from=2017-12-30&to=2018-03-02&step=month"
    )
    assert answer["points"] == [
        {"date": "2017-12-31", "recorded": 0, "wajib": 40, "percent": 0.0},
        {"date": "2018-01-31", "recorded": 0, "wajib": 40, "percent": 0.0},
        {"date": "2018-02-28", "recorded": 0, "wajib": 40, "percent": 0.0},
        {"date": "2018-03-02", "recorded": 9, "wajib": 40, "percent": 22.5},
    ]
    assert (answer["step"], answer["as_of"], answer["rule"]) == (
        "month",
        "2018-03-02",
        "duplicates-count/v1",
    )
    daily = await client.figures(
        f"/v1/coverage/series?region=64.08&from=2017-12-30&to=2018-03-01&step=day&rule={EXCLUDED}"
        f"&known_at={YESTERDAY}"
    )
    assert daily["points"][0] == {
        "date": "2017-12-30",
        "recorded": 0,
        "wajib": None,
        "percent": None,
    }
    assert daily["points"][-1]["recorded"] == 8
    # As of the 1st the person was no duplicate yet: that was observed on the 2nd.
    assert daily["points"][-1]["date"] == str(RECORDED_ON)


@pytest.fixture
async def split(database: str) -> AsyncIterator[Client]:
    """Give a client on a regency from which another one comes, each with several publications."""
    rows = regency({DESA: 30, OTHER_DESA: 10})
    rows.denominators({DESA: 33, OTHER_DESA: 11}, version="DKB-1-2018", valid=date(2018, 3, 31))
    rows.denominators({DESA: 34}, version="mended", valid=date(2018, 3, 31), known=TODAY)
    rows.tree(
        {NEW_DESA: "new"}, version="new", valid=date(2018, 1, 15), mapping={OTHER_DESA: NEW_DESA}
    )
    rows.tree({NEW_DESA: "renamed"}, version="renamed", valid=date(2018, 3, 31), known=TODAY)
    rows.denominators({NEW_DESA: 12}, version="own", valid=date(2018, 2, 2))
    rows.denominators({"64.09.01.2002": 5}, version="without", valid=date(2018, 3, 3))
    await rows.write(database)
    async with serving(database) as opened:
        yield opened


def denominator(regency: str, version: str, valid_from: str, *points: str) -> dict[str, str]:
    return {**tree(regency, version, valid_from, *points), "basis": "DKB"}


def tree(regency: str, version: str, valid_from: str, *points: str) -> dict[str, str]:
    named = {"regency": regency, "version": version, "valid_from": valid_from}
    return {**named, **dict(zip(("first_point", "last_point"), points, strict=False))}


OWN = denominator("64.09", "own", "2018-02-02")
WITHOUT = denominator("64.09", "without", "2018-03-03")


async def test_a_series_names_each_version_with_the_points_that_rest_on_it(split: Client) -> None:
    url = "/v1/coverage/series?from=2017-11-01&to=2018-04-11&step=month"
    old = await split.figures(f"{url}&region=64.08&known_at={YESTERDAY}")
    assert [point["wajib"] for point in old["points"]] == [None, 40, 30, 30, 33, 33]
    assert old["denominators"] == [
        denominator("64.08", "DKB-2-2017", "2017-12-31", "2017-12-31", "2018-02-28"),
        denominator("64.08", "DKB-1-2018", "2018-03-31", "2018-03-31", "2018-04-11"),
    ]
    assert old["trees"] == [tree("64.08", "2017", "2017-01-01", "2017-11-30", "2018-04-11")]
    # What became known later names its own.
    mended = await split.figures(f"{url}&region=64.08")
    assert [point["wajib"] for point in mended["points"]] == [None, 40, 30, 30, 34, 34]
    assert [one["version"] for one in mended["denominators"]] == ["DKB-2-2017", "mended"]


async def test_a_series_names_a_version_again_that_is_used_again(split: Client) -> None:
    """The former regency's word stands before and after the new one speaks for its place."""
    answer = await split.figures(
        f"/v1/coverage/series?region=64.09&from=2017-12-01&to=2018-04-11&step=month"
        f"&known_at={YESTERDAY}"
    )
    assert [point["wajib"] for point in answer["points"]] == [None, 10, 12, 16, 16]
    assert answer["denominators"] == [
        denominator("64.08", "DKB-2-2017", "2017-12-31", "2018-01-31", "2018-01-31"),
        denominator("64.08", "DKB-1-2018", "2018-03-31", "2018-03-31", "2018-04-11"),
        {**OWN, "first_point": "2018-02-28", "last_point": "2018-02-28"},
        {**WITHOUT, "first_point": "2018-03-31", "last_point": "2018-04-11"},
    ]
    assert answer["trees"] == [tree("64.09", "new", "2018-01-15", "2018-01-31", "2018-04-11")]
    weekly = await split.figures(
        "/v1/coverage/series?region=64.09&from=2018-01-20&to=2018-03-17&step=week"
    )
    assert [point["wajib"] for point in weekly["points"]] == [10, 10, 12, 12, 12, 12, 15, 15, 15]
    assert weekly["denominators"] == [
        denominator("64.08", "DKB-2-2017", "2017-12-31", "2018-01-20", "2018-01-27"),
        denominator("64.08", "DKB-2-2017", "2017-12-31", "2018-03-03", "2018-03-17"),
        {**OWN, "first_point": "2018-02-03", "last_point": "2018-02-24"},
        {**WITHOUT, "first_point": "2018-03-03", "last_point": "2018-03-17"},
    ]


async def test_changes_name_what_each_of_the_reports_rests_on(split: Client) -> None:
    answer = await split.figures(
        f"/v1/coverage/changes?region=64.08&as_of=2018-04-01&known_from={YESTERDAY}"
    )
    assert answer["delta"]["wajib"] == 1
    assert answer["denominators_from"] == [denominator("64.08", "DKB-1-2018", "2018-03-31")]
    assert answer["denominators_to"] == [denominator("64.08", "mended", "2018-03-31")]
    first = tree("64.08", "2017", "2017-01-01")
    assert (answer["trees_from"], answer["trees_to"]) == ([first], [first])
    new = await split.figures(
        f"/v1/coverage/changes?region=64.09&as_of=2018-04-01&known_from={YESTERDAY}"
    )
    assert new["trees_from"] == [tree("64.09", "new", "2018-01-15")]
    assert new["trees_to"] == [tree("64.09", "renamed", "2018-03-31")]
    before = await split.figures("/v1/coverage/changes?region=64.08&known_from=2018-01-04")
    assert (before["denominators_from"], before["trees_from"]) == ([], [])


async def test_sheets_of_a_series_and_of_changes_name_the_versions_in_each_row(
    split: Client,
) -> None:
    response = await split.get(
        f"/v1/coverage/series?region=64.09&from=2017-12-01&to=2018-04-11&step=month"
        f"&known_at={YESTERDAY}&format=csv"
    )
    both = "64.08 DKB-1-2018 DKB 2018-03-31; 64.09 without DKB 2018-03-03"
    assert [(row["denominators"], row["trees"]) for row in table(response.text)] == [
        ("", ""),
        ("64.08 DKB-2-2017 DKB 2017-12-31", "64.09 new 2018-01-15"),
        ("64.09 own DKB 2018-02-02", "64.09 new 2018-01-15"),
        (both, "64.09 new 2018-01-15"),
        (both, "64.09 new 2018-01-15"),
    ]
    response = await split.get(
        "/v1/coverage/changes?region=64&as_of=2018-04-01&known_from=2018-04-10&format=csv"
    )
    told = table(response.text)
    assert {row["cause"] for row in told} == {"denominator"}
    for row in told:
        assert row["denominators_from"] == both
        assert row["denominators_to"] == (
            "64.08 mended DKB 2018-03-31; 64.09 without DKB 2018-03-03"
        )
        assert row["trees_from"] == "64.08 2017 2017-01-01; 64.09 new 2018-01-15"
        assert row["trees_to"] == "64.08 2017 2017-01-01; 64.09 renamed 2018-03-31"


async def test_a_series_begins_a_year_before_its_end_unless_asked(client: Client) -> None:
    answer = await client.figures("/v1/coverage/series?region=64.08")
    assert (answer["points"][0]["date"], answer["points"][-1]["date"]) == (
        "2017-04-30",
        str(TODAY),
    )
    await client.figures("/v1/coverage/series?region=64.08&to=0001-01-05&step=day")


async def test_changes_tell_delta_and_causes_of_two_reports(client: Client) -> None:
    answer = await client.figures(
        f"/v1/coverage/changes?region=64.08&known_from={KNOWN_ON}&rule_to={EXCLUDED}"
    )
    assert answer["delta"] == {"recorded": 0, "date_unknown": 0, "wajib": 0}
    assert answer["causes"] == [
        {
            "measure": "recorded",
            "cause": "arrived",
            "count": 1,
            "producers": [{"producer": "recorder-1", "mode": "offline", "route": None, "count": 1}],
        },
        {"measure": "recorded", "cause": "rule", "count": -1, "producers": []},
    ]
    assert (answer["known_from"], answer["known_to"]) == (str(KNOWN_ON), str(TODAY))
    assert (answer["rule_from"], answer["rule_to"]) == ("duplicates-count/v1", EXCLUDED)
    assert (answer["before"]["recorded"], answer["after"]["recorded"]) == (8, 8)


async def test_the_sheet_of_changes_has_a_row_for_each_share(client: Client) -> None:
    url = f"/v1/coverage/changes?region=64.08&known_from={KNOWN_ON}&rule_to={EXCLUDED}"
    response = await client.get(f"{url}&format=csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    told = table(response.text)
    columns = ("region", "measure", "cause", "producer", "mode", "route", "count")
    assert [tuple(row[name] for name in columns) for row in told] == [
        ("64.08", "recorded", "arrived", "recorder-1", "offline", "", "1"),
        ("64.08", "recorded", "rule", "", "", "", "-1"),
    ]
    for row in told:
        assert (row["known_from"], row["known_to"]) == (str(KNOWN_ON), str(TODAY))
        assert (row["rule_from"], row["rule_to"]) == ("duplicates-count/v1", EXCLUDED)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/v1/coverage?region=64.08&rule=all", EXCLUDED),
        ("/v1/coverage?region=64.08&format=xml", "csv"),
        ("/v1/coverage/series?region=64.08&step=year", "week"),
        ("/v1/coverage/series?region=64.08&from=2018-02-01&to=2018-01-01", "lies after"),
        ("/v1/coverage/series?region=64.08&from=2001-01-01&step=day", str(POINTS_MAX)),
        ("/v1/coverage/changes?region=64.08&known_from=2018-04-12", "today"),
        (
            "/v1/coverage/changes?region=64.08&known_from=2018-04-02&known_to=2018-04-01",
            "exchange them",
        ),
    ],
)
async def test_a_wrong_question_is_answered_with_what_is_wanted(
    client: Client, url: str, said: str
) -> None:
    response = await client.get(url)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")
    assert said in response.json()["detail"]


async def test_csv_has_every_row_the_totals_and_what_they_rest_on(client: Client) -> None:
    response = await client.get("/v1/coverage?region=64.08&format=csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    rows = table(response.text)
    assert [(row["region"], row["name"], row["recorded"], row["wajib"]) for row in rows] == [
        ("64.08.04", "Sangatta Utara", "7", "30"),
        ("64.08.05", "Sangkulirang", "2", "10"),
        ("total", "", "9", "40"),
    ]
    assert rows[1]["remarks"] == "not_in_denominator:1 not_in_tree:1"
    columns = ("as_of", "known_at", "rule", "denominator", "basis", "tree")
    for row in rows:
        assert tuple(row[name] for name in columns) == (
            *(str(TODAY), str(TODAY), "duplicates-count/v1"),
            *("DKB-2-2017", "DKB", "2017"),
        )


async def test_each_row_of_a_sheet_names_its_own_tree_and_the_totals_the_only_one(
    split: Client,
) -> None:
    response = await split.get("/v1/coverage?region=64&level=regency&format=csv")
    told = table(response.text)
    assert [(row["region"], row["tree"]) for row in told] == [
        ("64.08", "2017"),
        ("64.09", "renamed"),
        ("total", ""),
    ]
    response = await split.get("/v1/coverage?region=64.09&level=regency&format=csv")
    assert [(row["region"], row["tree"]) for row in table(response.text)] == [
        ("64.09", "renamed"),
        ("total", "renamed"),
    ]


async def test_csv_comes_by_accept_and_format_decides_over_it(client: Client) -> None:
    url = "/v1/coverage/series?region=64.08&from=2018-03-01&to=2018-03-02&step=day"
    wanted = {"Accept": "text/csv, application/json;q=0.5"}
    response = await client.get(url, headers=wanted)
    assert [(row["date"], row["recorded"], row["percent"]) for row in table(response.text)] == [
        ("2018-03-01", "9", "22.50"),
        ("2018-03-02", "9", "22.50"),
    ]
    as_json = await client.get(f"{url}&format=json", headers=wanted)
    assert as_json.headers["content-type"] == "application/json"
    for accept in ("application/json, text/csv", "*/*", "text/html"):
        response = await client.get(url, headers={"Accept": accept})
        assert response.headers["content-type"] == "application/json"


async def test_a_name_that_a_spreadsheet_would_run_is_shown_as_text(database: str) -> None:
    rows = regency({DESA: 30})
    rows.tree({"64.08": "=1+1", "64.08.04": "@x"}, version="2018", valid=date(2018, 1, 1))
    await rows.write(database)
    async with serving(database) as client:
        response = await client.get("/v1/coverage?region=64.08&level=regency&format=csv")
    assert table(response.text)[0]["name"] == "'=1+1"
