"""The read API's desk: records are durable in a home of its own, which is made with the first."""

import asyncio
import json
from pathlib import Path

import pytest
import structlog

from producers.device.home import ProducerHome
from producers.office.access_desk import DESK, AccessDesk
from producers.office.registrar import ensure_registrar, registrar_folder
from rekam.domain.errors import Misconfigured
from rekam.domain.events import PersonAccessed, ProducerEnrolled
from rekam.runtime.keyring import load_receipt_public
from rekam.runtime.settings import Settings
from tests.support.office import new_office, waiting
from tests.support.waiting import until

ACCESS = PersonAccessed(
    nik="6408041101900001", caller="office", call="get_person", reason="asked at the desk"
)


@pytest.fixture
def office(tmp_path: Path) -> Settings:
    """Give an office that has a registrar."""
    settings = new_office(tmp_path / "home")
    ensure_registrar(settings).close()
    return settings


async def test_an_api_that_nobody_asks_makes_no_home(office: Settings) -> None:
    with AccessDesk(office) as desk:
        stopping = asyncio.Event()
        sending = asyncio.create_task(desk.keep_sending(stopping))
        stopping.set()
        await sending
    assert not DESK.folder(office).exists()


async def test_records_are_kept_in_order_and_the_registrar_here_enrols_the_desk_once(
    office: Settings,
) -> None:
    for _ in range(2):
        with AccessDesk(office) as desk:
            await desk.record([ACCESS, ACCESS])
    said = [event.data for event in waiting(office, DESK.folder(office))]
    assert said == [ACCESS] * 4
    [enrolment] = [event.data for event in waiting(office, registrar_folder(office))]
    assert isinstance(enrolment, ProducerEnrolled)
    assert (enrolment.producer, enrolment.kind) == ("api", "api")


async def test_many_calls_at_once_lose_no_record(office: Settings) -> None:
    with AccessDesk(office) as desk:
        await asyncio.gather(*(desk.record([ACCESS]) for _ in range(20)))
    assert len(waiting(office, DESK.folder(office))) == 20


async def test_the_desk_trusts_the_receipts_of_its_office(office: Settings) -> None:
    """Otherwise its outbox would grow for ever."""
    with AccessDesk(office) as desk:
        await desk.record([ACCESS])
    with ProducerHome.open(DESK.folder(office)) as home:
        assert set(home.receipt_keys) == {load_receipt_public(office).id}


async def test_where_the_registrar_is_elsewhere_a_request_lies_ready(tmp_path: Path) -> None:
    office = new_office(tmp_path / "home")
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            with AccessDesk(office) as desk:
                await desk.record([ACCESS])
    [told] = [line for line in lines if line["event"] == "access_desk_must_be_enrolled"]
    request = json.loads((DESK.folder(office) / "request.json").read_bytes())
    assert request["kind"] == "api"
    assert request["producer"] == told["producer"]
    assert str(DESK.folder(office) / "request.json") in told["run"]
    assert len(waiting(office, DESK.folder(office))) == 2


async def test_a_desk_that_cannot_keep_a_record_says_so(office: Settings) -> None:
    DESK.folder(office).mkdir(parents=True)
    with (
        AccessDesk(office) as desk,
        pytest.raises(Misconfigured, match="is no producer's home"),
    ):
        await desk.record([ACCESS])


async def test_sending_waits_for_kafka_says_so_and_ends_when_told(office: Settings) -> None:
    with structlog.testing.capture_logs() as lines, AccessDesk(office) as desk:
        stopping = asyncio.Event()
        sending = asyncio.create_task(desk.keep_sending(stopping))
        await desk.record([ACCESS])

        async def has_tried() -> bool:
            return any(line["event"] in {"accesses_wait", "route_failed"} for line in lines)

        await until(has_tried)
        stopping.set()
        await sending
    assert [event.data for event in waiting(office, DESK.folder(office))] == [ACCESS]
