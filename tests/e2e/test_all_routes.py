"""One device, every way to the log: relay, gateway, Kafka, a stick; each of them fails once."""

import asyncio
import json
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.machine import RunningUp, command, free_port
from tests.support.waiting import until

PRODUCER = "recorder-1"
COMMITTED_SECONDS_MAX = 60.0
FAIL_BACK_SECONDS_MAX = 120.0


class Person:
    """Somebody who types commands on this machine."""

    def __init__(self, up: RunningUp, folder: Path) -> None:
        self.up, self.device, self.stick = up, folder / "device", folder / "stick"
        self.recorded = 0

    async def rekam(self, *arguments: str, text: str = "", codes: Sequence[int] = (0,)) -> str:
        """Run a command to its end; its exit code must be one of those expected."""
        process = await self._start(*arguments)
        output, errors = await process.communicate(text.encode())
        assert process.returncode in codes, errors.decode()
        return output.decode()

    @asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Keep a command running beside the block."""
        process = await self._start(*arguments)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.communicate()

    async def record(self, people: int) -> None:
        """Record further people; durable when this returns."""
        lines = []
        for number in range(self.recorded + 1, self.recorded + people + 1):
            data = {
                "recording": f"r{number}",
                "nik": f"64080401019{number:05}",
                "domicile": "64.08.04.2001",
                "place": "64.08.04",
                "mode": "offline",
            }
            lines.append(json.dumps({"type": "recording.captured.v1", "data": data}))
        await self.rekam("device", "append", "--home", str(self.device), text="\n".join(lines))
        self.recorded += people

    async def status(self) -> dict[str, Any]:
        """Return what the device says of itself."""
        told = await self.rekam("device", "status", "--home", str(self.device), "--json")
        status: dict[str, Any] = json.loads(told)
        return status

    async def until_all_is_committed(self) -> dict[str, Any]:
        """Wait until a receipt covers everything that was recorded, and return the status."""
        found: dict[str, Any] = {}

        async def is_committed() -> bool:
            found.update(await self.status())
            through = max((last for _, last in found["committed"]), default=0)
            return bool(found["queue_events"] == 0 and through == found["next_seq"] - 1)

        await until(is_committed, seconds_max=COMMITTED_SECONDS_MAX)
        return found

    async def works(self, label: str) -> bool:
        """Return whether the device says that it sends by this route."""
        routes = (await self.status())["routes"]
        return any(one["label"] == label and one["is_working"] for one in routes)

    async def record_until_route_works(self, label: str) -> None:
        """Go on recording, one by one, until the device sends by this route."""

        async def works() -> bool:
            await self.record(1)
            return await self.works(label)

        await until(works, seconds_max=FAIL_BACK_SECONDS_MAX)

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command(*arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(self.up.environ),
        )


async def answer(up: RunningUp, path: str) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        found = await client.get(f"http://127.0.0.1:{up.port}{path}")
    assert found.status_code == 200, found.text
    told: dict[str, Any] = found.json()
    return told


async def enrol(person: Person, folder: Path) -> None:
    home = ("--producer", PRODUCER, "--home", str(person.device), "--in-container-layer")
    request = folder / "request.json"
    request.write_text(await person.rekam("device", "init", *home))
    await person.rekam("office", "enrol", str(request), "--place", "64.08.04")


async def people_by_route(up: RunningUp) -> Counter[str]:
    """Return the people who became known, by how their recordings came, as officers read it.

    Of all causes: a clock that is anchored later moves people within their route.
    """
    found = await answer(up, "/v1/coverage/changes?region=64.08&known_from=2018-01-01")
    people = Counter[str]()
    for cause in found["causes"]:
        for share in cause["producers"]:
            assert share["producer"] == PRODUCER
            people[share["route"]] += share["count"]
    return people


def routes_of(device: Path) -> set[str]:
    """Return by which routes segments left, as the outbox remembers it."""
    with sqlite3.connect(f"file:{device / 'outbox.db'}?mode=ro", uri=True) as outbox:
        return {route for (route,) in outbox.execute("SELECT route FROM delivery") if route}


async def is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def listening(port: int) -> Callable[[], Awaitable[bool]]:
    return lambda: is_listening(port)


async def test_every_way_brings_each_event_once_and_a_receipt_back(tmp_path: Path) -> None:
    async with RunningUp(tmp_path / "up") as up:
        await up.until_it_prints("is running")
        person = Person(up, tmp_path)
        person.stick.mkdir()
        await enrol(person, tmp_path)
        gateway, port = f"http://127.0.0.1:{up.gateway_port}", free_port()
        custody = ("--home", str(tmp_path / "relay"), "--in-container-layer")
        relay = ("relay", "run", *custody, "--port", str(port))
        ways = ("--route", f"relay+http://127.0.0.1:{port}", "--route", gateway)
        device = ("device", "run", "--home", str(person.device), *ways)

        async with person.running(*relay, "--route", gateway) as district:
            await until(listening(port))
            async with person.running(*device):
                # The relay only promises; the receipt comes through it from the processor.
                await person.record(3)
                await person.until_all_is_committed()
                # The relay's server breaks: the device goes on by the gateway.
                district.kill()
                await district.wait()
                await person.record(4)
                await person.until_all_is_committed()
                assert await person.works("gateway")
                # It is mended: the device tries it with one of the next events, and goes back.
                async with person.running(*relay, "--route", gateway):
                    await person.record_until_route_works("relay")
                    await person.until_all_is_committed()
        assert len(routes_of(person.device)) >= 2

        # No line at all: a stick goes to the office and comes back.
        await person.record(6)
        stick = str(person.stick)
        home = ("--home", str(person.device))
        await person.rekam("device", "export", *home, "--to", stick)
        imported = json.loads(await person.rekam("usb", "import", stick, "--json"))
        await person.rekam("usb", "import", stick)  # somebody does it twice
        await person.rekam("device", "import-receipts", *home, "--from", stick)
        status = await person.status()
        assert status["queue_events"] == 0, imported

        # Straight to Kafka, what is new and nothing else.
        await person.record(2)
        await person.rekam("device", "sync", *home)

        async def is_all_there() -> bool:
            (epoch,) = (await answer(up, f"/v1/devices/{PRODUCER}/ledger"))["epochs"]
            last = (await person.status())["next_seq"] - 1
            return bool(epoch["received"] == [[1, last]])

        await until(is_all_there)
        (epoch,) = (await answer(up, f"/v1/devices/{PRODUCER}/ledger"))["epochs"]
        assert (epoch["gaps"], epoch["forks"], epoch["chain_breaks"]) == ([], [], [])
        found = await answer(up, "/v1/coverage?region=64.08&level=regency")
        assert found["totals"]["recorded"] == person.recorded
        people = await people_by_route(up)
        assert (people["usb"], people["kafka"]) == (6, 2)
        assert people["relay"] >= 3
        assert people["gateway"] >= 4
        assert people.total() == person.recorded
        await person.rekam("audit", "replay", "--compare")


async def test_the_same_segments_by_three_ways_count_once(tmp_path: Path) -> None:
    async with RunningUp(tmp_path / "up") as up:
        await up.until_it_prints("is running")
        person = Person(up, tmp_path)
        person.stick.mkdir()
        await enrol(person, tmp_path)
        await person.record(7)
        # The export seals, so that three homes hold the same bytes. What each of them later adds
        # of its own (the offset of its clock) forks; whoever hears of that waits for a supervisor.
        await person.rekam(
            "device", "export", "--home", str(person.device), "--to", str(person.stick)
        )
        last = (await person.status())["next_seq"] - 1
        copies = [tmp_path / f"copy-{number}" for number in range(2)]
        for copy in copies:
            shutil.copytree(person.device, copy)
        ways: list[tuple[str, ...]] = [(), ("--route", f"http://127.0.0.1:{up.gateway_port}")]
        for copy, way in zip(copies, ways, strict=True):
            await person.rekam("device", "sync", "--home", str(copy), *way, codes=(0, 75))
        await person.rekam("usb", "import", str(person.stick))

        async def is_all_there() -> bool:
            epochs = (await answer(up, f"/v1/devices/{PRODUCER}/ledger"))["epochs"]
            return bool(epochs) and epochs[0]["received"][0][1] >= last

        await until(is_all_there)
        (epoch,) = (await answer(up, f"/v1/devices/{PRODUCER}/ledger"))["epochs"]
        assert epoch["gaps"] == []
        found = await answer(up, "/v1/coverage?region=64.08&level=regency")
        assert found["totals"]["recorded"] == person.recorded
        await person.rekam("audit", "replay", "--compare")
