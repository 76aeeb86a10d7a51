"""`rekam up`: everything on one machine, healed when a part dies, gone when it is gone."""

import asyncio
import json
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from rekam.domain.topics import RECEIPTS, SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.endpoints import endpoints_path, running_endpoints
from rekam.runtime.keyring import load_readers, load_receipt_public, load_registrar_key
from rekam.runtime.settings import Settings
from tests.support.machine import RunningUp, command
from tests.support.receipts import Receipts
from tests.support.waiting import until

PARTS = {"Kafka", "PostgreSQL", "processor", "api", "gateway"}
HEALING_SECONDS_MAX = 60.0


@pytest.fixture(scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningUp]:
    """Give a `rekam up` that serves."""
    async with RunningUp(tmp_path_factory.mktemp("up")) as running:
        await running.until_it_prints("is running")
        yield running


async def rekam(up: RunningUp, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(up.environ),
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def status_of(up: RunningUp, path: str, *, port: int | None = None) -> int:
    def get() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port or up.port}{path}") as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    return await asyncio.to_thread(get)


async def test_everything_runs_and_other_commands_find_it(up: RunningUp) -> None:
    settings = Settings.load(up.environ)
    assert set(up.parts()) == PARTS
    endpoints = running_endpoints(settings)
    assert endpoints is not None
    assert (endpoints.pid, endpoints.port) == (up.pid, up.port)
    assert await status_of(up, "/healthz") == 200

    async def takes_segments() -> bool:
        return await status_of(up, "/readyz", port=up.gateway_port) == 200

    await until(takes_segments)
    assert await rekam(up, "topics", "diff") == (0, "5 topics are as they should be\n", "")
    code, output, _ = await rekam(up, "db", "status")
    assert (code, "pending" in output) == (0, False)
    assert load_readers(settings)
    assert load_registrar_key(settings)


async def test_second_up_in_the_same_home_is_told_to_try_later(up: RunningUp) -> None:
    code, output, errors = await rekam(up, "up")
    assert (code, output) == (75, "")
    assert f"`rekam up` in {up.home} already belongs to process {up.pid}" in errors
    assert set(up.parts()) == PARTS


@pytest.mark.parametrize("name", sorted(PARTS))
async def test_part_that_is_killed_is_back_and_all_works(up: RunningUp, name: str) -> None:
    before = up.parts()
    os.kill(before[name], signal.SIGKILL)

    async def is_back() -> bool:
        parts = up.parts()
        return (
            set(parts) == PARTS
            and parts[name] != before[name]
            and await status_of(up, "/readyz") in (200, 503)
            and (await rekam(up, "topics", "diff"))[0] == 0
            and (await rekam(up, "db", "status"))[0] == 0
        )

    await until(is_back, seconds_max=HEALING_SECONDS_MAX)


async def test_end_in_order_leaves_no_part_and_no_address(tmp_path: Path) -> None:
    async with RunningUp(tmp_path) as up:
        await up.until_it_prints("is running")
        assert set(up.parts()) == PARTS
        assert await up.end(signal.SIGINT) == 0
        await up.until_all_parts_are_gone()
        assert not endpoints_path(Settings.load(up.environ)).exists()
    last = (tmp_path / "log/api.log").read_text().splitlines()[-1]
    assert json.loads(last)["event"] == "api_stopped"


async def test_nothing_is_left_of_a_killed_up_and_the_next_one_starts(tmp_path: Path) -> None:
    async with RunningUp(tmp_path) as up:
        await up.until_it_prints("is running")
        assert set(up.parts()) == PARTS
        await up.end(signal.SIGKILL)
        await up.until_all_parts_are_gone()
        assert running_endpoints(Settings.load(up.environ)) is None
    async with RunningUp(tmp_path, port=up.port) as again:
        await again.until_it_prints("is running")


async def test_signal_while_the_servers_start_leaves_none(tmp_path: Path) -> None:
    async with RunningUp(tmp_path) as up:

        async def has_begun() -> bool:
            return "Kafka" in up.parts()

        await until(has_begun)
        assert await up.end(signal.SIGTERM) == 0
        await up.until_all_parts_are_gone()


async def test_every_key_that_cannot_serve_is_named_before_anything_starts(tmp_path: Path) -> None:
    person, token = tmp_path / "keys" / "person.key", tmp_path / "keys" / "api.token"
    person.parent.mkdir()
    person.touch(mode=0o600)
    token.touch(mode=0o644)
    async with RunningUp(tmp_path) as up:
        assert await up.end() == 2
        assert f"misconfigured: REKAM_PERSON_KEY, {person}: has 0 bytes" in up.errors
        assert f"misconfigured: REKAM_API_TOKEN, {token}: others than its owner" in up.errors
    assert not (tmp_path / "kafka").exists()


async def test_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with RunningUp(tmp_path, port=port) as up:
            assert await up.end() == 75
            assert f"port {port} is held by another program" in up.errors
            assert "set REKAM_PORT" in up.errors
        gateway_port = {"REKAM_GATEWAY_PORT": str(port)}
        async with RunningUp(tmp_path, settings=gateway_port) as up:
            assert await up.end() == 75
            assert "set REKAM_GATEWAY_PORT" in up.errors
    assert not (tmp_path / "kafka").exists()


async def test_home_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    async with RunningUp(tmp_path) as up:
        await up.end(signal.SIGKILL)
        file = tmp_path / "file"
        file.touch()
        process = await asyncio.create_subprocess_exec(
            *command("up"),
            stderr=asyncio.subprocess.PIPE,
            env={**up.environ, "REKAM_HOME": str(file / "home")},
        )
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode().startswith(f"misconfigured: REKAM_HOME={file}/home: wanted a folder")


async def test_existing_servers_are_used_and_none_is_started(
    tmp_path: Path, breakable_kafka: EmbeddedKafka, empty_database: str
) -> None:
    existing = {"REKAM_KAFKA": breakable_kafka.bootstrap, "REKAM_POSTGRES": empty_database}
    home = tmp_path / "up"
    async with RunningUp(home, settings=existing) as up:
        await up.until_it_prints("is running")
        assert set(up.parts()) == {"processor", "api", "gateway"}
        assert await rekam(up, "topics", "diff") == (0, "5 topics are as they should be\n", "")
        assert (await rekam(up, "db", "status"))[0] == 0
        device = ("--producer", "recorder-1", "--home", str(tmp_path / "device"))
        code, request, _ = await rekam(up, "device", "init", "--in-container-layer", *device)
        assert code == 0
        (tmp_path / "request.json").write_text(request)
        enrolment = (str(tmp_path / "request.json"), "--place", "64.08.04")
        assert (await rekam(up, "office", "enrol", *enrolment))[0] == 0
        await until(partial(_is_known, up))
        key = load_receipt_public(Settings.load(up.environ))
        receipts = Receipts(breakable_kafka.bootstrap, RECEIPTS, trusted={key.id: key})
        enrolled = await receipts.until_it_is_of("recorder-1")
        assert enrolled.keys == (json.loads(request)["key"],)
        assert await up.end(signal.SIGTERM) == 0
    assert not (home / "kafka").exists()
    assert not (home / "postgres").exists()


async def test_several_processors_share_the_partitions(
    tmp_path: Path, breakable_kafka: EmbeddedKafka, empty_database: str
) -> None:
    existing = {"REKAM_KAFKA": breakable_kafka.bootstrap, "REKAM_POSTGRES": empty_database}
    home = tmp_path / "up"
    async with RunningUp(home, "--processors", "2", settings=existing) as up:
        await up.until_it_prints("is running")
        logs = [home / "log" / f"{name}.log" for name in ("processor", "processor-2")]

        async def shared() -> bool:
            first, second = (_taken_last(path) for path in logs)
            both = len(first | second) == SEGMENTS.partitions
            return both and bool(first) and bool(second) and first.isdisjoint(second)

        await until(shared)
        assert await up.end(signal.SIGTERM) == 0


def _taken_last(path: Path) -> set[str]:
    """Return the partitions that a processor has begun to fold after the latest rebalance."""
    lines = path.read_text().splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines if '"positions_taken"' in line]
    return set(found[-1]["partitions"]) if found else set()


async def test_other_settings_come_into_force_by_a_rebuild(tmp_path: Path) -> None:
    """The servers run inside `rekam up` alone: what it asks for must be had of itself."""
    other = {"REKAM_TIME_ZONE": "Asia/Jakarta"}
    async with RunningUp(tmp_path) as up:
        await up.until_it_prints("is running")
        device = ("--producer", "recorder-1", "--home", str(tmp_path / "device"))
        _, request, _ = await rekam(up, "device", "init", "--in-container-layer", *device)
        (tmp_path / "request.json").write_text(request)
        enrolment = (str(tmp_path / "request.json"), "--place", "64.08.04")
        assert (await rekam(up, "office", "enrol", *enrolment))[0] == 0
        await until(partial(_is_known, up))
        assert await up.end(signal.SIGTERM) == 0
    async with RunningUp(tmp_path, settings=other) as up:
        assert await up.end() == 2
        assert "`rekam up --rebuild`" in up.errors
    async with RunningUp(tmp_path, "--rebuild", settings=other) as up:
        await up.until_it_prints("is running")
        await until(partial(_is_known, up))
        _, standing, _ = await rekam(up, "projection", "list", "--json")
        assert "Asia/Jakarta" in json.loads(standing)["settings"]
        assert await up.end(signal.SIGTERM) == 0


async def test_a_rebuild_of_nothing_says_so(tmp_path: Path) -> None:
    async with RunningUp(tmp_path, "--rebuild") as up:
        assert await up.end() == 2
        assert "the rebuild ended with code 2" in up.errors
        assert "nothing is folded" in up.errors


async def _is_known(up: RunningUp) -> bool:
    return await status_of(up, "/v1/devices/recorder-1") == 200


async def test_until_drained_without_demo_is_misuse(tmp_path: Path) -> None:
    async with RunningUp(tmp_path, "--until-drained") as up:
        assert await up.end() == 2
        assert "--until-drained needs --demo" in up.errors
