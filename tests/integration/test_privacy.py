"""L6, UU 27/2022 on a real log, database and read API: readers are told of, the erased are gone."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from producers.device.home import ProducerHome
from producers.office.access_desk import AccessDesk
from projections.api.configured import office_of
from rekam.cli.root import run
from rekam.domain.events import RecordingCaptured
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import apply_topics
from rekam.runtime.keyring import load_api_token
from rekam.runtime.settings import Settings
from tests.support.api import Client, serving
from tests.support.office import new_office
from tests.support.privacy import (
    fold_log,
    holds,
    new_recorder,
    records,
    replayed,
    send,
    tables,
)
from tests.support.waiting import until

NIK, OTHER = "6408041101900001", "6408041101900002"
STATUSES = f"nik,status,observed_at\n{NIK},CARD_PRINTED,2018-01-01\n{OTHER},PROCESSING,2018-01-01\n"
LIST = f"nomor,nik\n1,{NIK}\n2,{OTHER}\n3,\n"


@pytest.fixture
async def office(
    breakable_kafka: EmbeddedKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Give an office that has recorded two people, seen their statuses, and been given a list."""
    await apply_topics(breakable_kafka.bootstrap)
    settings = new_office(tmp_path / "home", kafka=breakable_kafka.bootstrap)
    monkeypatch.setenv("REKAM_HOME", str(settings.home))
    monkeypatch.setenv("REKAM_KAFKA", breakable_kafka.bootstrap)
    for name, text in (("statuses", STATUSES), ("list", LIST)):
        (tmp_path / f"{name}.csv").write_text(text)
    with new_recorder(settings) as recorder:
        request = tmp_path / "request.json"
        request.write_text(json.dumps(recorder.enrolment_request()))
        await stated("enrol", str(request), "--place", "64.08.04", "--since", "2018-01-01")
        await record(settings, recorder, NIK, OTHER)
    await stated("observe-status", str(tmp_path / "statuses.csv"))
    await stated(
        *("publish-cohort", str(tmp_path / "list.csv"), "--cohort", "lapas", "--version", "1"),
        *("--title", "Lapas", "--source", "KPU"),
    )
    return settings


async def stated(*arguments: str) -> None:
    assert await asyncio.to_thread(run, ["office", *arguments]) == 0


async def record(settings: Settings, recorder: ProducerHome, *niks: str) -> None:
    captured = [
        RecordingCaptured(
            recording=f"r-{nik[-1]}",
            nik=nik,
            domicile="64.08.04.2001",
            place="64.08.04",
            mode="online",
        )
        for nik in niks
    ]
    await send(settings, recorder, captured)


@asynccontextmanager
async def answering(settings: Settings, dsn: str) -> AsyncIterator[Client]:
    """Give a client of the read API with its real desk, which sends."""
    stopping = asyncio.Event()
    with AccessDesk(settings) as desk:
        async with (
            asyncio.TaskGroup() as tasks,
            serving(dsn, served=office_of(settings, accesses=desk)) as client,
        ):
            client.http.headers["Authorization"] = f"Bearer {load_api_token(settings)}"
            tasks.create_task(desk.keep_sending(stopping))
            yield client
            stopping.set()


async def look_up(client: Client, nik: str) -> Any:
    return await client.post("/v1/people/lookup", json={"nik": nik, "reason": "asked at the desk"})


async def figures(client: Client) -> tuple[Any, ...]:
    asked = "as_of=2030-01-01"
    return (
        (await client.figures(f"/v1/coverage?region=64.08&level=regency&{asked}"))["totals"],
        (await client.figures("/v1/verification?region=64.08&level=regency"))["totals"],
        (await client.figures("/v1/cohorts/lapas"))["buckets"],
    )


async def test_a_reading_is_on_the_log_with_who_and_why_and_an_auditor_sees_it(
    office: Settings, database: str
) -> None:
    await fold_log(office, database)
    async with answering(office, database) as client:
        person = (await look_up(client, NIK)).json()["person"]
        why = {"Access-Reason": "printing the card", "Access-Caller": "siti"}
        told = await client.post(f"/v1/people/{person}/nik", json={}, headers=why)
        assert told.json() == {"person": person, "nik": NIK}
        listed = await client.figures("/v1/cohorts/lapas/entries", headers=why)
        assert [entry["token"] is None for entry in listed["entries"]] == [False, False, True]

        async def are_folded() -> bool:
            await fold_log(office, database)
            account = await client.figures("/v1/accesses")
            return [count["accesses"] for count in account["counts"]] == [1, 2, 1]

        await until(are_folded)
        account = await client.figures("/v1/accesses?caller=office/siti")
        assert [
            reading["access"]["call"]
            for reading in account["readings"]
            if reading["person"] == person
        ] == [
            "get_person_nik",
            "get_cohort_entries",
        ]
        read = await client.figures(f"/v1/people/{person}/accesses", headers=why)
        assert [(one["caller"], one["call"], one["reason"]) for one in read["accesses"]] == [
            ("office", "look_up_person", "asked at the desk"),
            ("office/siti", "get_person_nik", "printing the card"),
            ("office/siti", "get_cohort_entries", "printing the card"),
        ]
    assert (await replayed(office, database)).is_equal


async def test_an_erased_person_is_gone_sums_stay_and_late_events_change_nothing(
    office: Settings, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fold_log(office, database)
    async with answering(office, database) as client:
        person = (await look_up(client, NIK)).json()["person"]
        before = await figures(client)
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{NIK}\n"))
        await stated("order-erasure", "--order", "2018/4", "--reason", "pasal 43", "--yes")
        await fold_log(office, database)
        assert await figures(client) == before
        for answer in (
            await look_up(client, NIK),
            await client.get(f"/v1/people/{person}", headers={"Access-Reason": "curious"}),
            await client.post(f"/v1/people/{person}/nik", json={"reason": "curious"}),
            await client.get(f"/v1/people/{person}/accesses", headers={"Access-Reason": "audit"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (410, "person_erased")
            assert "by order '2018/4', known since" in answer.json()["detail"]
        with ProducerHome.open(office.home / "kit-1") as recorder:
            await record(office, recorder, NIK)
        await fold_log(office, database)
        assert (await figures(client))[0]["recorded"] == before[0]["recorded"]
        assert (await look_up(client, NIK)).status_code == 410
        why = {"Access-Reason": "audit"}
        entries = (await client.figures("/v1/cohorts/lapas/entries", headers=why))["entries"]
        assert [entry["token"] is None for entry in entries] == [True, False, True]
        assert (await look_up(client, OTHER)).status_code == 200
    assert (await replayed(office, database)).is_equal


async def test_no_number_of_a_person_stands_in_a_table_record_log_line_or_metric(
    office: Settings, database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with structlog.testing.capture_logs() as lines:
        await fold_log(office, database)
        async with answering(office, database) as client:
            answers = [
                await look_up(client, NIK),
                await look_up(client, "6408041101900009"),
                await client.post("/v1/people/lookup", json={"nik": NIK, "reason": f"he is {NIK}"}),
                await client.get(f"/v1/people/{NIK}", headers={"Access-Reason": NIK}),
            ]
            person = answers[0].json()["person"]
            answers.append(
                await client.get(f"/v1/people/{person}", headers={"Access-Reason": "desk"})
            )

            async def is_folded() -> bool:
                await fold_log(office, database)
                account = await client.figures("/v1/accesses")
                return sum(int(count["accesses"]) for count in account["counts"]) == 3

            await until(is_folded)
            metrics = (await client.get("/metrics")).text
    found = await tables(database)
    log = await records(office.kafka or "")
    output = capfd.readouterr()
    assert len(found["person"]) == 2
    assert len(log) > 20
    assert [answer.status_code for answer in answers] == [200, 404, 400, 400, 200]
    for nik in (NIK, OTHER, "6408041101900009"):
        for table, rows in found.items():
            assert not holds(rows, nik), table
        assert not holds(log, nik)
        assert not holds([repr(line) for line in lines], nik)
        assert not holds([metrics, output.out, output.err], nik)
        assert not holds([answer.text for answer in answers], nik)


async def test_nothing_is_answered_when_the_reading_cannot_be_recorded(
    office: Settings, database: str
) -> None:
    """The desk's home is there and cannot be opened, as on a disk that was taken away."""
    await fold_log(office, database)
    async with answering(office, database) as client:
        (office.home / "office" / "api").mkdir()
        refused = await look_up(client, NIK)
        assert (refused.status_code, refused.json()["code"]) == (503, "access_unrecorded")
        assert "domicile" not in refused.text
