"""Calls about people: who reads and why is recorded first, and of whom; what cannot be, is told."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from projections.person.facts import Erasure
from rekam.domain.errors import OutboxFull
from rekam.runtime.postgres import connect
from tests.support.api import BEARER, READING, Client, Recorded, office, serving
from tests.support.rows import KNOWN_ON, NIK, OTHER_NIK, RULES, Rows

PERSON = f"/v1/people/{RULES.token(NIK).hex()}"
ERASED = f"/v1/people/{RULES.token(OTHER_NIK).hex()}"
TOLD = READING["Access-Reason"]


@pytest.fixture
async def dsn(database: str) -> str:
    """Give a database with two people, one of them erased, and with what was read of them."""
    rows = Rows()
    rows.recorded(NIK)
    rows.recorded(OTHER_NIK)
    rows.say(OTHER_NIK, Erasure("2018/4"), known=date(2018, 3, 9))
    rows.accessed(NIK)
    rows.accessed(NIK, caller="auditor", on=date(2018, 3, 20))
    rows.accessed(NIK, on=None)
    rows.changes.niks[RULES.token(OTHER_NIK)] = b""
    await rows.write(database)
    return database


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
async def client(recorded: Recorded, dsn: str) -> AsyncIterator[Client]:
    async with serving(dsn, served=office(accesses=recorded)) as opened:
        yield opened


def told(recorded: Recorded) -> list[tuple[str, str, str, str]]:
    return [(one.nik, one.caller, one.call, one.reason) for one in recorded.by_nik]


def told_by_token(recorded: Recorded) -> list[tuple[str, str, str, str]]:
    return [(one.person, one.caller, one.call, one.reason) for one in recorded.by_token]


async def test_each_call_about_a_person_is_recorded_with_who_why_and_whom(
    client: Client, recorded: Recorded
) -> None:
    behalf = {**READING, "Access-Caller": "siti@capil"}
    lookup = {"nik": NIK, "reason": "printing"}
    assert (await client.post("/v1/people/lookup", json=lookup, headers=BEARER)).status_code == 200
    assert (await client.get(PERSON, headers=behalf)).status_code == 200
    assert (await client.post(f"{PERSON}/nik", json={}, headers=READING)).json()["nik"] == NIK
    assert (await client.get(f"{PERSON}/accesses", headers=READING)).status_code == 200
    assert told(recorded) == [
        (NIK, "office", "look_up_person", "printing"),
        (NIK, "office/siti@capil", "get_person", TOLD),
        (NIK, "office", "get_person_nik", TOLD),
        (NIK, "office", "get_person_accesses", TOLD),
    ]


async def test_a_reason_in_the_header_needs_no_body(client: Client, recorded: Recorded) -> None:
    assert (await client.post(f"{PERSON}/nik", headers=READING)).json()["nik"] == NIK
    assert told(recorded) == [(NIK, "office", "get_person_nik", TOLD)]
    for path in (f"{PERSON}/nik", "/v1/people/lookup"):
        refused = await client.post(path, headers=BEARER)
        assert refused.status_code == 400
    assert len(recorded.accesses) == 1


async def test_a_lookup_of_somebody_unknown_is_recorded_too(
    client: Client, recorded: Recorded
) -> None:
    unknown = "6408041101900099"
    answer = await client.post("/v1/people/lookup", json={"nik": unknown}, headers=READING)
    assert answer.status_code == 404
    assert told(recorded) == [(unknown, "office", "look_up_person", TOLD)]


async def test_without_a_reason_nothing_is_answered(client: Client, recorded: Recorded) -> None:
    for answer in (
        await client.post("/v1/people/lookup", json={"nik": NIK}, headers=BEARER),
        await client.get(PERSON, headers=BEARER),
        await client.post(f"{PERSON}/nik", json={}, headers=BEARER),
        await client.get(f"{PERSON}/accesses", headers=BEARER),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "missing_parameter")
        assert "Access-Reason" in answer.json()["detail"]
    assert recorded.accesses == []


@pytest.mark.parametrize("reason", ["", "  ", f"he is {NIK}", "x" * 201])
async def test_a_reason_is_a_few_words_without_a_nik(
    client: Client, recorded: Recorded, reason: str
) -> None:
    asked = {"nik": NIK, "reason": reason}
    answer = await client.post("/v1/people/lookup", json=asked, headers=BEARER)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body")
    given = await client.get(PERSON, headers={**BEARER, "Access-Reason": reason})
    assert (given.status_code, given.json()["code"]) == (400, "invalid_parameter")
    assert NIK not in answer.text + given.text
    assert recorded.accesses == []


@pytest.mark.parametrize("caller", ["", "Siti", NIK, "a" * 32])
async def test_a_user_has_a_short_name(client: Client, recorded: Recorded, caller: str) -> None:
    answer = await client.get(PERSON, headers={**READING, "Access-Caller": caller})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert NIK not in answer.text
    assert recorded.accesses == []


async def test_what_cannot_be_recorded_is_not_answered(dsn: str) -> None:
    full = Recorded(error=OutboxFull("the disk is full; free some of it"))
    async with serving(dsn, served=office(accesses=full)) as client:
        for answer in (
            await client.post("/v1/people/lookup", json={"nik": NIK}, headers=READING),
            await client.get(PERSON, headers=READING),
            await client.post(f"{PERSON}/nik", json={}, headers=READING),
            await client.get(ERASED, headers=READING),
            await client.get(f"/v1/people/{'ab' * 16}", headers=READING),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "access_unrecorded")
            assert answer.headers["retry-after"]
            assert "the disk is full" in answer.json()["detail"]
            assert NIK not in answer.text


async def test_of_an_erased_person_only_the_order_is_told(
    client: Client, recorded: Recorded
) -> None:
    answers: list[Any] = [
        await client.post("/v1/people/lookup", json={"nik": OTHER_NIK}, headers=READING),
        await client.get(ERASED, headers=READING),
        await client.post(f"{ERASED}/nik", json={}, headers=READING),
        await client.get(f"{ERASED}/accesses", headers=READING),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (410, "person_erased")
        assert "by order '2018/4', known since 2018-03-09" in answer.json()["detail"]
        assert "64.08" not in answer.text
    assert told(recorded) == [(OTHER_NIK, "office", "look_up_person", TOLD)]
    # Nobody can say any more whose number it was: the token stands for it.
    assert told_by_token(recorded) == [
        (RULES.token(OTHER_NIK).hex(), "office", call, TOLD)
        for call in ("get_person", "get_person_nik", "get_person_accesses")
    ]


async def test_whoever_asks_by_a_token_of_nobody_is_recorded_too(
    client: Client, recorded: Recorded
) -> None:
    nobody = "ab" * 16
    path = f"/v1/people/{nobody}"
    behalf = {**READING, "Access-Caller": "siti"}
    answers: list[Any] = [
        await client.get(path, headers=behalf),
        await client.post(f"{path}/nik", json={"reason": "printing"}, headers=BEARER),
        await client.get(f"{path}/accesses", headers=READING),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (404, "person_unknown")
    assert told_by_token(recorded) == [
        (nobody, "office/siti", "get_person", TOLD),
        (nobody, "office", "get_person_nik", "printing"),
        (nobody, "office", "get_person_accesses", TOLD),
    ]
    assert told(recorded) == []
    # And without a reason nothing is said, not even that nobody is known.
    answer = await client.get(path, headers=BEARER)
    assert (answer.status_code, answer.json()["code"]) == (400, "missing_parameter")


async def test_an_order_that_is_named_like_a_nik_is_not_shown(database: str) -> None:
    rows = Rows()
    rows.say(NIK, Erasure(OTHER_NIK))
    await rows.write(database)
    async with serving(database) as client:
        answer = await client.post("/v1/people/lookup", json={"nik": NIK}, headers=READING)
    assert answer.status_code == 410
    assert OTHER_NIK not in answer.text


async def test_a_persons_readings_come_by_pages(client: Client) -> None:
    first = await client.figures(f"{PERSON}/accesses?limit=2", headers=READING)
    rest = await client.figures(
        f"{PERSON}/accesses?limit=2&cursor={first['next_cursor']}", headers=READING
    )
    assert (first["total"], rest["next_cursor"]) == (3, None)
    found = [*first["accesses"], *rest["accesses"]]
    assert [(one["caller"], one["accessed_on"]) for one in found] == [
        ("office", str(KNOWN_ON)),
        ("auditor", "2018-03-20"),
        ("office", None),
    ]


async def test_an_auditor_sees_who_read_in_some_days(client: Client, recorded: Recorded) -> None:
    account = await client.figures("/v1/accesses?from=2018-03-01&to=2018-03-10", headers=BEARER)
    assert [(one["accessed_on"], one["caller"], one["accesses"]) for one in account["counts"]] == [
        (str(KNOWN_ON), "office", 1),
        (None, "office", 1),
    ]
    assert [one["access"]["accessed_on"] for one in account["readings"]] == [str(KNOWN_ON), None]
    assert {one["person"] for one in account["readings"]} == {RULES.token(NIK).hex()}
    only = await client.figures("/v1/accesses?from=2018-03-01&caller=auditor", headers=BEARER)
    assert [one["access"]["caller"] for one in only["readings"]] == ["auditor"]
    refused = await client.get("/v1/accesses?from=2018-03-11&to=2018-03-10", headers=BEARER)
    assert refused.status_code == 400
    assert recorded.accesses == []


async def test_a_person_whose_nik_was_sealed_under_another_key_is_not_answered(
    client: Client, recorded: Recorded, dsn: str
) -> None:
    """A key file was changed, and nothing was rebuilt: whose record it would be cannot be told."""
    connection = await connect(dsn)
    try:
        await connection.execute(
            "UPDATE person SET nik = decode(repeat('00', 16), 'hex') WHERE key = $1",
            RULES.token(NIK),
        )
    finally:
        await connection.close()
    answer = await client.get(PERSON, headers=READING)
    assert (answer.status_code, answer.json()["code"]) == (503, "access_unrecorded")
    assert "REKAM_NIK_KEY" in answer.json()["detail"]
    assert recorded.accesses == []


async def test_an_api_with_another_token_key_does_not_say_that_nobody_is_known(
    client: Client, dsn: str
) -> None:
    connection = await connect(dsn)
    try:
        await connection.execute(
            "INSERT INTO projection_settings (rules) VALUES ($1)",
            replace(RULES, person_key=bytes(32)).id,
        )
    finally:
        await connection.close()
    unknown = {"nik": "6408041101900099"}
    for answer in (
        await client.post("/v1/people/lookup", json=unknown, headers=READING),
        await client.get(f"/v1/people/{'ab' * 16}", headers=READING),
        await client.get("/readyz"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "settings_differ")
        assert RULES.id in answer.json()["detail"]
