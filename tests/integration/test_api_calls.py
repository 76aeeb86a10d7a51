"""The read API's calls on a real database; the client checks each answer against OpenAPI."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
import structlog

from projections.api.parameters import device_cursor
from projections.api.serving import BODY_BYTES_MAX
from projections.reading import instant
from rekam.embedded.postgres import EmbeddedPostgres
from tests.support.api import BEARER, READING, Client, office, serving
from tests.support.rows import (
    DESA,
    KNOWN_ON,
    NIK,
    OTHER_DESA,
    OTHER_NIK,
    RULES,
    TODAY,
    Rows,
    noon_ms,
    people,
    regency,
)


@pytest.fixture
async def client(database: str) -> AsyncIterator[Client]:
    """Give a client of the API on a small regency."""
    rows = regency({DESA: 30, OTHER_DESA: 10})
    for nik in people(7):
        rows.recorded(nik)
    rows.recorded(OTHER_NIK, desa=OTHER_DESA)
    rows.observed(OTHER_NIK, "PRINT_READY_RECORD")
    rows.observed("6408040000000099", "SENT_FOR_ENROLLMENT")
    rows.cohort("bontang", {"verified": 184, "printed": 127, "unrecorded": 83}, unresolved=33)
    rows.enrolled("recorder-1")
    rows.enrolled("recorder-2", place="64.08.05")
    hash_ = rows.segment("recorder-1", 1, 10)
    rows.excluded("recorder-1", 3, hash_, verdict="quarantined")
    rows.quarantined(4)
    rows.held(5)
    rows.position = {0: 17, 3: 5}
    await rows.write(database)
    async with serving(database) as opened:
        yield opened


async def test_every_answer_about_figures_says_of_which_state_it_is(client: Client) -> None:
    for url in (
        "/v1/coverage?region=64.08",
        "/v1/verification?region=64.08",
        "/v1/devices",
        "/v1/devices/recorder-1",
        "/v1/devices/recorder-1/ledger",
        "/v1/cohorts",
        "/v1/cohorts/bontang",
        "/v1/quarantine",
        "/v1/held",
    ):
        answer = await client.figures(url)
        assert (answer["as_of"], answer["known_at"]) == ("2018-04-11", "2018-04-11"), url
        assert answer["position"] == {"0": 17, "3": 5}
        assert answer["complete_through"] == "2018-03-02T04:00:00Z"
        assert answer["rules"] == RULES.id


async def test_coverage_answers_rows_and_totals_with_two_decimals(client: Client) -> None:
    response = await client.get("/v1/coverage?region=64.08&level=kecamatan&as_of=2018-03-31")
    answer = response.json()
    assert [(row["region"], row["name"]) for row in answer["rows"]] == [
        ("64.08.04", "Sangatta Utara"),
        ("64.08.05", "Sangkulirang"),
    ]
    assert answer["totals"] == {
        "wajib": 40,
        "recorded": 8,
        "unrecorded": 32,
        "date_unknown": 0,
        "percent": 20.0,
        "reason": None,
        "remarks": [],
    }
    assert answer["denominator"]["version"] == "DKB-2-2017"
    assert answer["rule"] == "duplicates-count/v1"
    # As written: a number with exactly two decimals.
    assert re.findall(r'"percent":([^,}]+)', response.text) == ["23.33", "10.00", "20.00"]


async def test_coverage_asked_again_as_known_then_answers_as_then(client: Client) -> None:
    before = KNOWN_ON - timedelta(days=1)
    answer = await client.figures(f"/v1/coverage?region=64.08&level=regency&known_at={before}")
    assert answer["totals"]["recorded"] == 0
    assert answer["known_at"] == str(before)
    # Neither recorder was enrolled then, so nobody can say who was missing.
    assert answer["complete_through"] is None


async def test_without_a_level_the_rows_are_one_below_the_region(client: Client) -> None:
    assert (await client.figures("/v1/coverage?region=64.08"))["level"] == "kecamatan"
    assert (await client.figures("/v1/coverage?region=64.08.04.2001"))["level"] == "desa"


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("/v1/coverage", "missing_parameter", "region"),
        ("/v1/coverage?region=6408", "invalid_parameter", "64.08.04.2001"),
        ("/v1/coverage?region=64.08&level=rt", "invalid_parameter", "kecamatan"),
        ("/v1/coverage?region=64.08.04&level=regency", "invalid_parameter", "above"),
        ("/v1/coverage?region=64.08&as_of=31-03-2018", "invalid_parameter", "2018-03-31"),
        ("/v1/coverage?region=64.08&as_off=2018-03-31", "unknown_parameter", "as_off"),
        ("/v1/coverage?region=64.08&known_at=2018-04-12", "invalid_parameter", "today"),
        ("/v1/coverage?region=64.08&known_at=2018-04-01T00:00Z", "instant_is_a_replay", "rekam"),
        ("/v1/devices?label=BROKEN", "invalid_parameter", "REPORTED_FAULT"),
        ("/v1/devices?cursor=!", "invalid_parameter", "next_cursor"),
        ("/v1/devices/UPPER", "invalid_parameter", "producer id"),
        ("/v1/held?limit=0", "invalid_parameter", "1 to 500"),
        ("/healthz?x=1", "unknown_parameter", "none"),
    ],
)
async def test_a_wrong_parameter_is_named_with_what_is_wanted(
    client: Client, url: str, code: str, said: str
) -> None:
    response = await client.get(url)
    assert (response.status_code, response.json()["code"]) == (400, code)
    assert said in response.json()["detail"]
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("/v1/devices/nobody", "device_unknown"),
        ("/v1/devices/nobody/ledger", "device_unknown"),
        ("/v1/cohorts/nobody", "cohort_unknown"),
        ("/v1/nothing", "path_unknown"),
        ("/v1/coverage/", "path_unknown"),
    ],
)
async def test_what_is_not_there_is_404_with_its_own_code(
    client: Client, url: str, code: str
) -> None:
    response = await client.get(url)
    assert (response.status_code, response.json()["code"]) == (404, code)


async def test_verification_counts_by_status_with_the_unplaced_apart(client: Client) -> None:
    answer = await client.figures("/v1/verification?region=64.08&level=kecamatan")
    rows = {row["region"]: row["statuses"] for row in answer["rows"]}
    assert rows == {
        "64.08.04": {"BIO_CAPTURED": 7},
        "64.08.05": {"PRINT_READY_RECORD": 1},
        "-": {"SENT_FOR_ENROLLMENT": 1},
    }
    assert answer["totals"]["people"] == 9


async def test_a_cohorts_buckets_sum_to_the_list_and_show_the_residual(client: Client) -> None:
    answer = await client.figures("/v1/cohorts/bontang")
    assert (answer["total"], answer["announced"], answer["residual"]) == (427, 427, 33)
    assert sum(answer["buckets"].values()) == answer["total"]
    [listed] = (await client.figures("/v1/cohorts"))["cohorts"]
    assert listed["buckets"] == answer["buckets"]


async def test_pages_of_devices_go_on_where_the_cursor_says(client: Client) -> None:
    first = await client.figures("/v1/devices?limit=1")
    assert [device["id"] for device in first["devices"]] == ["recorder-1"]
    second = await client.figures(f"/v1/devices?limit=1&cursor={first['next_cursor']}")
    assert [device["id"] for device in second["devices"]] == ["recorder-2"]
    assert second["next_cursor"] is None
    empty = await client.figures(f"/v1/devices?cursor={device_cursor('z')}")
    assert empty["devices"] == []


async def test_quarantine_and_held_say_reason_range_and_since(client: Client) -> None:
    answer = await client.figures("/v1/quarantine?limit=1")
    assert (answer["total"], answer["reasons"]) == (2, {"bad_signature": 1, "schema_invalid": 1})
    rest = await client.figures(f"/v1/quarantine?limit=1&cursor={answer['next_cursor']}")
    [event] = rest["entries"]
    assert (event["producer"], event["range"]) == ("recorder-1", [3, 3])
    [held] = (await client.figures("/v1/held"))["entries"]
    assert (held["reason"], held["since"]) == ("unknown_producer", "2018-03-02T04:00:00Z")


async def test_what_does_not_count_is_asked_for_by_filter_and_by_place(client: Client) -> None:
    entries = (await client.figures("/v1/quarantine?producer=recorder-1"))["entries"]
    assert [entry["range"] for entry in entries] == [[3, 3]]
    assert entries[0]["releases_when"].endswith(".")
    assert entries[0]["age_days"] > 0
    assert (await client.figures("/v1/held?reason=unknown_key"))["entries"] == []
    assert (await client.figures("/v1/held?older_than_days=36500"))["entries"] == []
    [held] = (await client.figures("/v1/held"))["entries"]
    place = f"{held['partition']}:{held['offset']}"
    assert (await client.figures(f"/v1/held/{place}"))["entries"] == [held]
    missing = await client.get(f"/v1/quarantine/{place}")
    assert (missing.status_code, missing.json()["code"]) == (404, "entry_unknown")
    assert (await client.figures("/v1/discards"))["discards"] == []


async def test_a_person_is_found_by_nik_and_then_by_token(client: Client) -> None:
    response = await client.post("/v1/people/lookup", json={"nik": OTHER_NIK}, headers=READING)
    person = response.json()
    assert (person["recorded"], person["domicile"]) == (True, OTHER_DESA)
    assert (person["status"], person["person"]) == (
        "PRINT_READY_RECORD",
        RULES.token(OTHER_NIK).hex(),
    )
    assert OTHER_NIK not in response.text
    again = await client.figures(f"/v1/people/{person['person']}", headers=READING)
    assert again == person


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": BEARER["Authorization"].replace("Bearer", "Basic")},
        {"Authorization": "Bearer "},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
)
async def test_people_are_not_told_without_the_token(
    client: Client, headers: dict[str, str]
) -> None:
    for response in (
        await client.post("/v1/people/lookup", json={"nik": NIK}, headers=headers),
        await client.get(f"/v1/people/{RULES.token(NIK).hex()}", headers=headers),
    ):
        assert (response.status_code, response.json()["code"]) == (401, "unauthorised")
        assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("content", "code", "status"),
    [
        (b"", "invalid_body", 400),
        (b"{", "invalid_body", 400),
        (b"\xff\xff", "invalid_body", 400),
        (b"[" * 4000, "invalid_body", 400),
        (json.dumps([NIK]).encode(), "invalid_body", 400),
        (json.dumps({"nik": int(NIK)}).encode(), "invalid_body", 400),
        (json.dumps({"nik": f"{NIK}0"}).encode(), "invalid_body", 400),
        (json.dumps({"nik": NIK, NIK: 1}).encode(), "invalid_body", 400),
        (json.dumps({"nik": "٦٤٠٨٠٤٤١٠١٩٠٠٠٠١"}).encode(), "invalid_body", 400),
        (json.dumps({"nik": "1234567890123456"}).encode(), "person_unknown", 404),
        (json.dumps({"nik": NIK}).encode() + b" " * BODY_BYTES_MAX, "body_too_large", 413),
    ],
)
async def test_a_wrong_lookup_is_refused_and_never_shows_a_nik(
    client: Client, content: bytes, code: str, status: int
) -> None:
    with structlog.testing.capture_logs() as lines:
        response = await client.post(
            "/v1/people/lookup",
            content=content,
            headers={**READING, "Content-Type": "application/json"},
        )
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert not re.search(r"\d{16}", response.text)
    assert lines == []


async def test_a_nik_in_the_wrong_place_is_not_shown(client: Client) -> None:
    for url in (
        f"/v1/coverage?region={NIK}",
        f"/v1/coverage?{NIK}=1",
        f"/v1/coverage?region=64.08&as_of={NIK}",
        f"/v1/devices/{NIK}",
        f"/v1/cohorts/{NIK}",
        f"/v1/people/{NIK}",
        f"/{NIK}",
    ):
        response = await client.get(url, headers=READING)
        assert response.status_code in (400, 404)
        assert NIK not in response.text


async def test_a_body_of_another_type_is_refused(client: Client) -> None:
    response = await client.post(
        "/v1/people/lookup",
        content=b"nik=1",
        headers={**READING, "Content-Type": "application/x-www-form-urlencoded"},
    )
    assert response.status_code == 415


async def test_methods_are_told(client: Client) -> None:
    refused = await client.send("DELETE", "/v1/coverage")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (await client.get("/v1/people/lookup")).status_code == 405
    told = await client.send("OPTIONS", "/v1/people/lookup")
    assert (told.status_code, told.headers["allow"], told.content) == (204, "POST, OPTIONS", b"")


async def test_head_answers_the_headers_of_get_without_its_body(client: Client) -> None:
    got = await client.get("/v1/coverage?region=64.08")
    head = await client.send("HEAD", "/v1/coverage?region=64.08")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == got.headers


async def test_the_index_links_to_every_call(client: Client) -> None:
    index = await client.figures("/")
    assert "GET /v1/coverage" in index["calls"]
    assert (await client.get(index["openapi"])).json()["openapi"] == "3.1.0"


async def test_metrics_tell_of_answers_and_of_the_tables(client: Client) -> None:
    await client.get("/v1/devices/nobody")
    text = (await client.get("/metrics")).text
    assert 'route="/v1/devices/{id}",status="404"} 1.0' in text
    assert "rekam_database_up 1.0" in text
    assert 'rekam_position_next_offset{partition="3"} 5.0' in text
    assert 'rekam_held_entries{reason="unknown_producer"} 1.0' in text
    assert "nobody" not in text


async def test_it_is_ready_with_tables_and_positions(client: Client) -> None:
    answer = await client.figures("/readyz")
    assert answer == {"status": "ready", "position": {"0": 17, "3": 5}}
    assert (await client.figures("/healthz")) == {"status": "alive"}


async def test_without_a_position_it_is_not_ready(database: str) -> None:
    async with serving(database) as client:
        response = await client.get("/readyz")
    assert (response.status_code, response.json()["code"]) == (503, "nothing_folded")
    assert response.headers["retry-after"]


async def test_without_tables_it_says_what_to_run(empty_database: str) -> None:
    async with serving(empty_database) as client:
        for url in ("/readyz", "/v1/coverage?region=64.08"):
            response = await client.get(url)
            assert (response.status_code, response.json()["code"]) == (503, "database_not_migrated")
            assert "rekam db migrate" in response.json()["detail"]


async def test_an_empty_database_answers_nobody_and_no_denominator(database: str) -> None:
    async with serving(database) as client:
        answer = await client.figures("/v1/coverage?region=64.08&level=regency")
    assert answer["rows"] == []
    assert (answer["totals"]["recorded"], answer["totals"]["reason"]) == (0, "no_denominator")
    assert (answer["denominator"], answer["complete_through"]) == (None, None)


async def test_a_bug_is_answered_and_logged_without_values(database: str) -> None:
    def broken() -> int:
        raise ValueError(NIK)

    async with serving(database, served=replace(office(), now_ms=broken)) as client:
        with structlog.testing.capture_logs() as lines:
            response = await client.get("/v1/coverage?region=64.08")
    assert (response.status_code, response.json()["code"]) == (500, "bug")
    [line] = lines
    assert (line["event"], line["error_type"]) == ("call_failed", "ValueError")
    assert NIK not in response.text + repr(lines)


async def test_figures_and_position_are_of_one_snapshot(database: str) -> None:
    """Rows that another transaction commits between two statements of a call are in neither."""
    rows = regency({DESA: 10})
    await rows.write(database)
    later = Rows(position={1: 1})
    later.recorded(NIK)
    async with serving(database) as client:
        async with client.database.snapshot() as connection:
            await connection.fetch("SELECT 1 FROM coverage_cell")
            await later.write(database)
            seen = await connection.fetch("SELECT 1 FROM coverage_cell")
            positions = await connection.fetch("SELECT 1 FROM projection_position")
        assert (len(seen), len(positions)) == (0, 1)
        answer = await client.figures("/v1/coverage?region=64.08")
    assert (answer["totals"]["recorded"], answer["position"]) == (1, {"0": 1, "1": 1})


async def test_while_the_database_is_away_it_says_try_again_and_then_answers(
    breakable_postgres: EmbeddedPostgres,
) -> None:
    await breakable_postgres.create_database("rekam_test")
    async with serving(breakable_postgres.dsn("rekam_test")) as client:
        await breakable_postgres.stop()
        for url in ("/v1/coverage?region=64.08", "/readyz"):
            response = await client.get(url)
            assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
            assert int(response.headers["retry-after"]) > 0
        assert (await client.get("/healthz")).status_code == 200
        scraped: httpx.Response = await client.get("/metrics")
        assert "rekam_database_up 0.0" in scraped.text
        assert "rekam_api_database_failures_total 2.0" in scraped.text
        await breakable_postgres.start()
        assert (await client.get("/readyz")).json()["code"] == "database_not_migrated"


def test_noon_is_noon_in_the_office() -> None:
    assert instant(noon_ms(TODAY)).isoformat() == "2018-04-11T04:00:00+00:00"
