"""The disk damages the outbox while `device run` serves it: it says so, ends, and is mended."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from producers.device.home import ProducerHome
from producers.device.salvage import REASON
from rekam.domain.errors import Corrupt
from rekam.domain.events import EpochOpened, RecordingCaptured, decode
from rekam.domain.segment import Sealed, open_body, parse
from tests.support.device import READER, new_home
from tests.support.local import Endpoint, Link, RunningDevice, captured, serving
from tests.support.machine import command

JSON_TYPE: Final = {"Content-Type": "application/json"}
ACKNOWLEDGED: Final = 20
ALL_BYTES: Final = 10**8
SECONDS_MAX: Final = 60

DAMAGE: Final = """
import sys
from pathlib import Path
import apsw
from producers.device.home import ProducerHome
from tests.support.device import beat
from producers.device.clock import DeviceClock
folder = Path(sys.argv[1])
with ProducerHome.open(folder) as home:
    # So that the others read again what they have in memory,
    home.outbox.append([beat(DeviceClock(), 1)])
connection = apsw.Connection(str(folder / "outbox.db"), flags=apsw.SQLITE_OPEN_READWRITE)
# and from the file, not from its log (which a connection finds when it reads).
connection.pragma("user_version")
connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
connection.close()
with (folder / "outbox.db").open("r+b") as file:
    file.write(bytes([0xA5]) * 4096)
"""
"""A process of its own: closing a file lets go of all locks that its process has on it."""

Asked = Callable[[httpx.AsyncClient], Coroutine[None, None, httpx.Response]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a fresh home."""
    path = tmp_path / "home"
    new_home(path).close()
    return path


async def damage(folder: Path) -> None:
    """Let the first page go bad, the one without which SQLite finds nothing."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", DAMAGE, str(folder))
    assert await process.wait() == 0


def recordings_of(home: ProducerHome) -> list[str]:
    """Seal what a home holds and return the recordings in it, in the order they are sent."""
    home.outbox.seal_pending(
        signing_key=home.signing_key, reader=home.reader, sealed=Sealed(1, 1, "b")
    )
    found = [
        decode(line).data
        for one in home.outbox.unsent(limit_bytes=ALL_BYTES)
        for line in open_body(parse(one.raw), READER)
    ]
    assert [one.reason for one in found if isinstance(one, EpochOpened)] == [REASON]
    return [one.recording for one in found if isinstance(one, RecordingCaptured)]


async def record(endpoint: Endpoint) -> list[str]:
    """Record some, each acknowledged."""
    async with endpoint.client() as client:
        for number in range(ACKNOWLEDGED):
            answer = await client.post("/v1/events", content=captured(number), headers=JSON_TYPE)
            assert answer.status_code == 200
    return [f"st-{number}" for number in range(ACKNOWLEDGED)]


@asynccontextmanager
async def serving_until_damaged(folder: Path) -> AsyncIterator[Endpoint]:
    """Serve a home; the damage must end that before the block ends."""
    ends: list[ExceptionGroup[Corrupt]] = []
    try:
        async with serving(folder) as endpoint:
            yield endpoint
    except* Corrupt as end:
        ends.append(end)
    assert ends
    assert "Start again" in repr(ends[0])


async def rest_of(link: Link) -> bytes:
    """Return what comes until the other side closes."""
    async with asyncio.timeout(SECONDS_MAX):
        rest = await link.reader.read()
    await link.close()
    return rest


async def an_event(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/v1/events", content=captured(900), headers=JSON_TYPE)


async def several_events(client: httpx.AsyncClient) -> httpx.Response:
    body = captured(901) + b"\n" + captured(902) + b"\n"
    return await client.post(
        "/v1/events", content=body, headers={"Content-Type": "application/x-ndjson"}
    )


async def a_health_line(client: httpx.AsyncClient) -> httpx.Response:
    line = b'{"type":"device.heartbeat.v1","data":{"queue_events":3}}'
    return await client.post("/v1/events", content=line, headers=JSON_TYPE)


async def the_status(client: httpx.AsyncClient) -> httpx.Response:
    return await client.get("/status")


async def the_page(client: httpx.AsyncClient) -> httpx.Response:
    return await client.get("/")


@pytest.mark.parametrize("ask", [an_event, several_events, a_health_line, the_status, the_page])
async def test_who_meets_the_damage_is_told_to_try_again_and_the_endpoint_ends(
    folder: Path, ask: Asked
) -> None:
    async with serving_until_damaged(folder) as endpoint, endpoint.client() as client:
        recorded = await record(endpoint)
        link = await endpoint.link()
        await damage(folder)
        answer = await ask(client)
        # Whoever only waits is let go.
        assert await rest_of(link) == b""
    assert answer.status_code == 503
    assert '"corrupt"' in answer.text
    with ProducerHome.open(folder) as home:
        assert home.epoch == 2
        assert recordings_of(home) == recorded


async def test_lines_on_the_socket_are_told_so_too(folder: Path) -> None:
    async with serving_until_damaged(folder) as endpoint:
        recorded = await record(endpoint)
        link = await endpoint.link()
        await damage(folder)
        answers = await link.ask(captured(900), captured(901))
        assert await rest_of(link) == b""
    codes = [answer["error"]["code"] for answer in answers]  # type: ignore[index]  # JSON
    assert codes == ["corrupt", "corrupt"]
    with ProducerHome.open(folder) as home:
        assert recordings_of(home) == recorded


async def test_device_run_ends_and_its_next_start_goes_on_with_all_that_was_acknowledged(
    folder: Path,
) -> None:
    async with RunningDevice(folder) as device:
        recorded = await record(device.endpoint)
        await damage(folder)
        async with device.endpoint.client() as client:
            try:
                answer = await an_event(client)
            except httpx.TransportError:
                pass  # The emitter has met it before.
            else:
                assert answer.status_code == 503
        async with asyncio.timeout(SECONDS_MAX):
            assert await device.ended() == Corrupt.exit_code
    assert not device.endpoint.path.exists()
    async with RunningDevice(folder) as device:
        async with device.endpoint.client() as client:
            answer = await an_event(client)
            status = (await client.get("/status")).json()
        assert answer.status_code == 200
        assert status["epoch"] == 2
        assert await device.end() == 0
    with ProducerHome.open(folder) as home:
        assert recordings_of(home) == [*recorded, "st-900"]


async def test_device_append_ends_at_the_damage(folder: Path) -> None:
    """It does not go on refusing line by line what it reads for hours."""
    process = await asyncio.create_subprocess_exec(
        *command("device", "append", "--home", str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(captured(1) + b"\n")
    assert await process.stdout.readline() == b'{"seq":1}\n'
    await damage(folder)
    process.stdin.write(captured(2) + b"\n")
    # Its standard input stays open: it ends by itself.
    async with asyncio.timeout(SECONDS_MAX):
        told = await process.stdout.read()
    assert await process.wait() == Corrupt.exit_code
    assert b'"corrupt"' in told
    with ProducerHome.open(folder) as home:
        assert recordings_of(home) == ["st-1"]
