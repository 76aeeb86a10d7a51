"""`rekam api run` as a process: real sockets, its signals, and how it refuses to start."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from producers.office.registrar import ensure_registrar
from rekam.domain.events import PersonAccessed, decode
from rekam.domain.topics import SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import apply_topics
from rekam.runtime.keyring import (
    load_api_token,
    load_person_key,
    load_readers,
    load_registrar_key,
    make_missing_keys,
)
from rekam.runtime.settings import Settings
from tests.support.device_log import in_the_log
from tests.support.rows import DESA, NIK, regency
from tests.support.simulated import opened
from tests.support.waiting import until

END_SECONDS_MAX = 30.0


@contextmanager
def port_in_use() -> Iterator[int]:
    """Give a port of loopback on which somebody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def environ(database: str, tmp_path: Path) -> dict[str, str]:
    """Give the settings of an office with all its keys."""
    with port_in_use() as port:
        # Free again, and the kernel gives it to nobody else soon.
        found = {
            "REKAM_HOME": str(tmp_path),
            "REKAM_POSTGRES": database,
            "REKAM_PORT": str(port),
        }
    make_missing_keys(Settings.load(found))
    return found


async def start(environ: dict[str, str]) -> asyncio.subprocess.Process:
    """Start the command."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("REKAM_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "rekam", "api", "run"),
        env={**ours, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    """Wait for the process and return exit code, standard output, standard error."""
    try:
        async with asyncio.timeout(END_SECONDS_MAX):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return process.returncode, output.decode(), errors.decode()


@asynccontextmanager
async def running(
    environ: dict[str, str],
) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.subprocess.Process]]:
    """Give a client of a running server, and its process."""
    process = await start(environ)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(END_SECONDS_MAX):
            url = (await process.stdout.readline()).decode().strip()
        assert url == f"http://127.0.0.1:{environ['REKAM_PORT']}/", await ended(process)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield client, process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_it_answers_over_http_and_ends_in_order_when_told(
    environ: dict[str, str], database: str
) -> None:
    rows = regency({DESA: 10})
    rows.recorded(NIK)
    await rows.write(database)
    async with running(environ) as (client, process):
        got = await client.get("/v1/coverage?region=64.08&level=regency&as_of=2018-03-31")
        assert (got.status_code, got.json()["totals"]["recorded"]) == (200, 1)
        assert b'"percent":10.00' in got.content
        head = await client.head("/v1/coverage?region=64.08&level=regency&as_of=2018-03-31")
        assert (head.content, head.headers["content-length"]) == (b"", str(len(got.content)))
        assert "server" not in got.headers
        process.send_signal(signal.SIGTERM)
        code, _, errors = await ended(process)
    assert code == 0
    assert "api_stopped" in errors


async def test_a_lookup_leaves_no_trace_of_the_nik(environ: dict[str, str]) -> None:
    settings = Settings.load(environ)
    token = load_api_token(settings)
    async with running(environ) as (client, process):
        found = await client.post(
            "/v1/people/lookup",
            json={"nik": NIK},
            headers={"Authorization": f"Bearer {token}", "Access-Reason": "asked at the desk"},
        )
        wrong = await client.get(f"/v1/coverage?region={NIK}")
        refused = await client.post("/v1/people/lookup", json={"nik": NIK})
        process.send_signal(signal.SIGINT)
        code, output, errors = await ended(process)
    assert (found.status_code, wrong.status_code, refused.status_code) == (404, 400, 401)
    told = output + errors + found.text + wrong.text + refused.text
    for secret in (NIK, token, load_person_key(settings).hex()):
        assert secret not in told
    assert code == 0


async def test_a_reading_reaches_the_log_and_its_producer_is_enrolled_by_itself(
    environ: dict[str, str], breakable_kafka: EmbeddedKafka
) -> None:
    await apply_topics(breakable_kafka.bootstrap)
    settings = Settings.load({**environ, "REKAM_KAFKA": breakable_kafka.bootstrap})
    ensure_registrar(settings).close()
    headers = {"Authorization": f"Bearer {load_api_token(settings)}", "Access-Reason": "desk"}
    (reader,) = load_readers(settings)

    async def has_arrived() -> bool:
        lines = opened(
            await in_the_log(breakable_kafka.bootstrap, SEGMENTS),
            registrar=load_registrar_key(settings),
            reader=reader,
        )
        said = [decode(line).data for line in lines.values()]
        return any(isinstance(data, PersonAccessed) and data.nik == NIK for data in said)

    async with running({**environ, "REKAM_KAFKA": breakable_kafka.bootstrap}) as (client, process):
        found = await client.post("/v1/people/lookup", json={"nik": NIK}, headers=headers)
        assert found.status_code == 404
        await until(has_arrived)
        process.send_signal(signal.SIGTERM)
        code, output, errors = await ended(process)
    assert code == 0
    assert NIK not in output + errors


async def test_what_is_no_http_is_refused_and_the_next_call_is_answered(
    environ: dict[str, str],
) -> None:
    async with running(environ) as (client, _process):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(environ["REKAM_PORT"]))
        writer.write(b"\0\1\2 this is no HTTP\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        assert (await client.get("/healthz")).json() == {"status": "alive"}


def listening_addresses(pid: int, port: int) -> list[str]:
    """Return the addresses on which a port is listened to, as the kernel writes them."""
    entries = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    listening = "0A"
    return [
        local.split(":")[0]
        for _, local, _, state, *_ in entries
        if local.endswith(f":{port:04X}") and state == listening
    ]


async def test_it_listens_on_loopback_only(environ: dict[str, str]) -> None:
    async with running(environ) as (_client, process):
        addresses = listening_addresses(process.pid, int(environ["REKAM_PORT"]))
    assert addresses == ["0100007F"]  # 127.0.0.1 in /proc's byte order


async def test_a_taken_port_is_named_with_what_to_do(environ: dict[str, str]) -> None:
    with port_in_use() as port:
        code, output, errors = await ended(await start({**environ, "REKAM_PORT": str(port)}))
    assert code == 75
    assert f"unavailable: port {port}" in errors
    assert "REKAM_PORT" in errors
    assert output == ""


async def test_without_a_database_it_says_try_again(environ: dict[str, str]) -> None:
    with port_in_use() as port:
        nobody = f"postgresql://rekam@127.0.0.1:{port}/rekam"
    code, _, errors = await ended(await start({**environ, "REKAM_POSTGRES": nobody}))
    assert code == 75
    assert "unavailable: PostgreSQL does not answer" in errors


async def test_without_its_token_file_it_refuses_to_start(environ: dict[str, str]) -> None:
    Settings.load(environ).api_token.unlink()
    code, _, errors = await ended(await start(environ))
    assert code == 2
    assert "REKAM_API_TOKEN" in errors
