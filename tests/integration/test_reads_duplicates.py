"""Duplicates on real tables and through the API: cases, devices, pages, the person of a case."""

from datetime import date

from projections.person.facts import CaseResolved
from tests.support.api import READING, serving
from tests.support.rows import DESA, OTHER_DESA, Rows, noon_ms, people

CASES = "/v1/duplicates?region=64.08"
RESOLVED_ON = date(2018, 3, 20)


def recorded_twice(*niks: str) -> Rows:
    """Return people whom two devices recorded in two kecamatan."""
    rows = Rows()
    for nik in niks:
        rows.recorded(nik, recording=f"a-{nik[-3:]}", on=date(2018, 3, 5))
        rows.recorded(nik, recording=f"b-{nik[-3:]}", desa=OTHER_DESA, producer="recorder-2")
    return rows


async def test_a_case_names_both_devices_and_no_person(database: str) -> None:
    (nik,) = people(1)
    await recorded_twice(nik).write(database)
    async with serving(database) as client:
        answer = await client.figures(CASES)
        [case] = answer["cases"]
        assert (case["kind"], case["state"], case["region"]) == ("two_recordings", "open", DESA)
        assert [device["producer"] for device in case["devices"]] == ["recorder-1", "recorder-2"]
        assert answer["counts"] == {"two_recordings": {"open": 1}}
        assert answer["pairs"] == [{"producers": ["recorder-1", "recorder-2"], "cases": 1}]
        assert answer["rule"] == "counted-once/v1"
        found = await client.figures(f"/v1/duplicates/{case['case']}", headers=READING)
        assert (found["domicile"], found["recorded_on"]) == (DESA, "2018-03-01")
        assert found["cases"] == [{"case": case["case"], "kind": "two_recordings", "outcome": None}]
        assert len(found["recordings"]) == 2


async def test_a_pair_counts_each_person_once_whatever_the_centre_says_besides(
    database: str,
) -> None:
    (nik,) = people(1)
    rows = recorded_twice(nik)
    rows.observed(nik, "DUPLICATE_RECORD")
    await rows.write(database)
    async with serving(database) as client:
        answer = await client.figures(CASES)
    assert answer["counts"] == {"two_recordings": {"open": 1}, "centre_duplicate": {"open": 1}}
    assert answer["pairs"] == [{"producers": ["recorder-1", "recorder-2"], "cases": 1}]


async def test_a_case_is_of_the_regency_that_has_its_desa_by_now(database: str) -> None:
    (nik,) = people(1)
    rows = recorded_twice(nik)
    moved = {DESA[:8]: "64.11.01"}
    rows.tree({"64.11": "Mahakam Ulu", "64.11.01": "Long Bagun"}, version="b", mapping=moved)
    await rows.write(database)
    async with serving(database) as client:
        for region, cases in (("64.08", 0), ("64.11", 1), ("64", 1)):
            answer = await client.figures(f"/v1/duplicates?region={region}")
            assert [case["region"] for case in answer["cases"]] == cases * [f"64.11.01{DESA[8:]}"]
            assert answer["counts"] == ({"two_recordings": {"open": 1}} if cases else {})
            assert len(answer["pairs"]) == cases


async def test_a_producer_that_is_no_id_is_refused(database: str) -> None:
    await Rows().write(database)
    async with serving(database) as client:
        answer = await client.get(f"{CASES}&producer=%00")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


async def test_cases_are_asked_for_by_region_state_kind_and_device_and_come_in_pages(
    database: str,
) -> None:
    first, second, third = people(3)
    rows = recorded_twice(first, second)
    rows.recorded(third, recording="c", desa=OTHER_DESA, producer="recorder-3")
    rows.observed(third, "DUPLICATE_RECORD")
    names = tuple(f"{fact.producer}/1/{fact.seq}" for fact in next(iter(rows.people.values())))
    rows.say(first, CaseResolved("two_recordings", "same_person", names, noon_ms(RESOLVED_ON)))
    await rows.write(database)
    async with serving(database) as client:

        async def kinds(query: str) -> list[tuple[str, str]]:
            answer = await client.figures(f"{CASES}&{query}")
            return sorted((case["kind"], case["state"]) for case in answer["cases"])

        assert await kinds("state=resolved") == [("two_recordings", "resolved")]
        assert await kinds("kind=centre_duplicate") == [("centre_duplicate", "open")]
        assert await kinds("producer=recorder-3") == [("centre_duplicate", "open")]
        assert len(await kinds("producer=recorder-2")) == 2
        elsewhere = await client.figures(f"/v1/duplicates?region={OTHER_DESA[:8]}")
        assert [case["kind"] for case in elsewhere["cases"]] == ["centre_duplicate"]

        page, seen = await client.figures(f"{CASES}&limit=2"), []
        seen += [case["case"] for case in page["cases"]]
        page = await client.figures(f"{CASES}&limit=2&cursor={page['next_cursor']}")
        seen += [case["case"] for case in page["cases"]]
        assert (len({*seen}), page["next_cursor"]) == (3, None)


async def test_what_is_no_case_is_told_apart_from_one_that_is_not_there(database: str) -> None:
    await recorded_twice().write(database)
    async with serving(database) as client:
        unknown = await client.get(f"/v1/duplicates/{'0' * 24}", headers=READING)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "case_unknown")
        wrong = await client.get("/v1/duplicates/6408", headers=READING)
        assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_parameter")
        assert (await client.get(f"{CASES}&state=lost")).status_code == 400
