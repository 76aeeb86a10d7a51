"""Verification on real tables and through the API: statuses, ages, letters, turns, the funnel."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest

from projections.person.facts import Suket
from projections.regions import Level, Region
from projections.verification.reads import Ages, Letters, TurnCount, Verification, verification
from rekam.runtime.postgres import connect
from tests.support.api import DOCUMENT, serving
from tests.support.rows import (
    DESA,
    KNOWN_ON,
    OTHER_DESA,
    RECORDED_ON,
    TODAY,
    Rows,
    noon_ms,
    people,
)

REGENCY = Region("64.08")
SENT = "SENT_FOR_ENROLLMENT"
SINGA_GEWEH_DESA, SINGA_GEWEH = "64.08.12.2002", "64.08.12.1002"


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    """Give a connection to a fresh migrated database."""
    opened = await connect(database)
    yield opened
    await opened.close()


async def read(
    connection: Any, *, region: Region = REGENCY, level: Level = Level.KECAMATAN, on: date = TODAY
) -> Verification:
    return await verification(connection, region=region, level=level, as_of=on)


async def test_ages_are_told_up_to_a_day_a_month_half_a_year_and_beyond_as_of_a_day(
    database: str, connection: Any
) -> None:
    rows = Rows()
    for nik, days in zip(people(7), (-3, 0, 1, 2, 30, 183, 184), strict=True):
        rows.recorded(nik, recording=nik)
        rows.observed(nik, SENT, on=TODAY - timedelta(days=days))
    await rows.write(database)
    [row] = (await read(connection)).rows
    assert row.ages == {
        SENT: Ages(
            within_1_day=2,
            within_30_days=2,
            within_183_days=1,
            stuck=1,
            later=1,
            oldest_since=TODAY - timedelta(days=184),
        )
    }
    later = await read(connection, on=TODAY + timedelta(days=1))
    assert later.totals.ages[SENT].stuck == 2


async def test_letters_are_valid_for_half_a_year_and_only_the_latest_of_a_person_counts(
    database: str, connection: Any
) -> None:
    rows = Rows()
    first, second = people(2)
    for nik, on in ((first, date(2017, 1, 5)), (first, TODAY), (second, date(2017, 10, 11))):
        rows.recorded(nik, recording=nik)
        rows.say(nik, Suket(f"s-{on}", noon_ms(on), SENT), known=on)
    await rows.write(database)
    assert (await read(connection)).totals.suket == Letters(valid=1, expired=1)
    yesterday = await read(connection, on=TODAY - timedelta(days=1))
    # Of the one, the letter before; the other's is not out of date yet.
    assert yesterday.totals.suket == Letters(valid=1, expired=1)
    half_a_year_before = await read(connection, on=date(2017, 10, 10))
    assert half_a_year_before.totals.suket == Letters(valid=0, expired=1)
    assert (await read(connection, on=date(2017, 7, 4))).totals.suket == Letters(valid=1, expired=0)
    assert (await read(connection, on=date(2017, 1, 4))).totals.suket == Letters(valid=0, expired=0)


async def test_a_reset_a_reprint_an_illegal_jump_and_an_unknown_word_are_told_with_the_statuses(
    database: str, connection: Any
) -> None:
    rows = Rows()
    told = [
        ["ENROLL_FAILURE_AT_CENTRAL", "BIO_CAPTURED", SENT],
        ["CARD_ISSUED", "SENT_FOR_CARD_PRINTING"],
        ["CARD_SHIPPED", "CARD_PRINTED"],
        ["KODE_18"],
    ]
    for nik, statuses in zip(people(4), told, strict=True):
        rows.recorded(nik, recording=nik)
        for day, status in enumerate(statuses):
            rows.observed(nik, status, on=KNOWN_ON + timedelta(days=day))
    await rows.write(database)
    [row] = (await read(connection)).rows
    assert row.statuses == {
        "CARD_PRINTED": 1,
        "KODE_18": 1,
        "SENT_FOR_CARD_PRINTING": 1,
        SENT: 1,
    }
    assert row.unknown_codes == {"KODE_18": 1}
    assert row.resets == [
        TurnCount(before="ENROLL_FAILURE_AT_CENTRAL", after="BIO_CAPTURED", people=1)
    ]
    assert row.reprints == [
        TurnCount(before="CARD_ISSUED", after="SENT_FOR_CARD_PRINTING", people=1)
    ]
    assert row.illegal_jumps == [TurnCount(before="CARD_SHIPPED", after="CARD_PRINTED", people=1)]
    assert row.funnel.residuals == {"unknown": 1}
    assert (row.funnel.stages["sent"].reached, row.funnel.stages["printed"].here) == (3, 1)


async def test_the_funnel_is_of_the_recorded_and_the_unplaced_are_a_row_of_their_own(
    database: str, connection: Any
) -> None:
    rows = Rows()
    recorded, undated, unplaced = people(3)
    rows.recorded(recorded, recording=recorded)
    rows.recorded(undated, desa=OTHER_DESA, on=None, recording=undated)
    rows.observed(unplaced, SENT)
    await rows.write(database)
    found = await read(connection)
    assert [row.region for row in found.rows] == [DESA[:8], OTHER_DESA[:8], "-"]
    assert (found.totals.people, found.totals.funnel.recorded) == (3, 2)
    assert found.rows[-1].funnel.recorded == 0
    assert found.rows[-1].ages[SENT].within_183_days == 1


async def test_people_are_counted_under_the_code_that_their_desa_has_by_then(
    database: str, connection: Any
) -> None:
    rows = Rows()
    rows.tree({"64.08": "Kutai Timur", SINGA_GEWEH_DESA: "Singa Geweh"}, version="2016",
        valid=date(2010, 1, 1))  # fmt: skip
    rows.tree(
        {"64.08": "Kutai Timur", SINGA_GEWEH: "Singa Geweh"},
        mapping={SINGA_GEWEH_DESA: SINGA_GEWEH},
    )
    for nik, desa in zip(people(2), (SINGA_GEWEH_DESA, SINGA_GEWEH), strict=True):
        rows.recorded(nik, desa=desa, recording=nik)
    await rows.write(database)
    now = await read(connection, level=Level.DESA)
    assert [(row.region, row.name, row.people) for row in now.rows] == [
        (SINGA_GEWEH, "Singa Geweh", 2)
    ]
    [asked] = (await read(connection, region=Region(SINGA_GEWEH), level=Level.DESA)).rows
    assert asked.people == 2
    then = await read(connection, level=Level.DESA, on=date(2016, 4, 11))
    assert {row.region: row.people for row in then.rows} == {SINGA_GEWEH_DESA: 1, SINGA_GEWEH: 1}


async def test_the_api_answers_as_of_a_day_and_as_csv(database: str) -> None:
    rows = Rows()
    (nik,) = people(1)
    rows.recorded(nik)
    rows.observed(nik, SENT, on=date(2017, 3, 1))
    names = {"64.08": "Kutai Timur", "64.08.04": "Sangatta Utara"}
    rows.tree(names, version="2017", valid=date(2017, 1, 1))
    await rows.write(database)
    async with serving(database) as client:
        found = await client.figures("/v1/verification?region=64.08&level=regency&as_of=2018-04-11")
        assert found["as_of"] == "2018-04-11"
        assert [(one["regency"], one["version"]) for one in found["trees"]] == [("64.08", "2017")]
        assert found["totals"]["ages"][SENT]["stuck"] == 1
        sheet = await client.get("/v1/verification?region=64.08&as_of=2018-04-11&format=csv")
        assert sheet.text.splitlines() == [
            "region,name,status,people,stuck,as_of,known_at,tree",
            f"64.08.04,Sangatta Utara,SENT_FOR_ENROLLMENT,1,1,2018-04-11,{TODAY},2017",
            f"total,,SENT_FOR_ENROLLMENT,1,1,2018-04-11,{TODAY},2017",
        ]
        before = await client.figures("/v1/verification?region=64.08&as_of=2016-04-11")
        assert before["trees"] == []


async def test_a_sheet_has_the_unplaced_and_regions_with_nobody_as_the_answer_has_them(
    database: str,
) -> None:
    rows = Rows()
    (unplaced,) = people(1)
    rows.observed(unplaced, SENT)
    rows.tree({"64.08": "Kutai Timur", "64.08.04": "Sangatta Utara"})
    await rows.write(database)
    async with serving(database) as client:
        figures = await client.figures("/v1/verification?region=64.08")
        sheet = await client.get("/v1/verification?region=64.08&format=csv")
    rows_told = [line.split(",")[:4] for line in sheet.text.splitlines()[1:]]
    assert {line[0] for line in rows_told} == {row["region"] for row in figures["rows"]} | {"total"}
    assert ["-", "", SENT, "1"] in rows_told
    assert ["64.08.04", "Sangatta Utara", "", "0"] in rows_told


async def test_what_was_recorded_or_observed_after_the_day_asked_for_is_in_the_statuses(
    database: str,
) -> None:
    """The day binds ages and letters alone, and the description of the call says so."""
    rows = Rows()
    (nik,) = people(1)
    rows.recorded(nik, on=RECORDED_ON)
    rows.observed(nik, SENT, on=KNOWN_ON)
    rows.say(nik, Suket("s-1", noon_ms(KNOWN_ON), SENT), known=KNOWN_ON)
    await rows.write(database)
    before = RECORDED_ON - timedelta(days=30)
    async with serving(database) as client:
        url = f"/v1/verification?region=64.08&level=regency&as_of={before}"
        found = await client.figures(url)
        assert (found["as_of"], found["known_at"]) == (str(before), str(TODAY))
        totals = found["totals"]
        assert (totals["people"], totals["statuses"]) == (1, {SENT: 1})
        assert totals["funnel"]["stages"]["sent"]["here"] == 1
        assert totals["ages"][SENT]["later"] == 1
        assert totals["suket"] == {"valid": 0, "expired": 0}
        refused = await client.get(f"{url}&known_at={before}")
        assert (refused.status_code, refused.json()["code"]) == (400, "unknown_parameter")
    [told] = [
        parameter["description"]
        for parameter in DOCUMENT["paths"]["/v1/verification"]["get"]["parameters"]
        if parameter["name"] == "as_of"
    ]
    assert "statuses are as they are known now" in told
    schemas = DOCUMENT["components"]["schemas"]
    answer = " ".join(schemas["Verification"]["description"].split())
    assert "does not bind who is counted, `statuses`" in answer
    assert "`known_at` is the day of the answer and bounds nothing" in answer
    assert "except those of `Verification`" in schemas["State"]["description"]
