"""Programs of this machine append events by the local endpoint, on real sockets and processes."""

import asyncio
import json
import re
import socket
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from producers.device.clock import DeviceClock
from producers.device.home import ProducerHome
from producers.device.local.desk import Desk
from producers.device.local.http import BODY_BYTES_MAX, HEAD_BYTES_MAX, BodyTooSlow, Conversation
from producers.device.local.server import CONNECTIONS_MAX, REQUEST_LINES_MAX, no_routes
from producers.device.local.standing import RouteStanding
from producers.device.stamping import Stored
from rekam.domain.events import RecordingCaptured, decode
from rekam.domain.segment import EVENT_BYTES_MAX, Sealed, open_body, parse
from tests.support.device import READER, new_home
from tests.support.local import NIK, Endpoint, RunningDevice, captured, serving
from tests.support.machine import command
from tests.support.waiting import until

DOC: Final = (Path(__file__).parents[2] / "docs" / "recording-software.md").read_text()
JSON_TYPE: Final = {"Content-Type": "application/json"}
LINES_TYPE: Final = {"Content-Type": "application/x-ndjson"}


def recordings_of(folder: Path) -> list[str]:
    """Seal what a home holds and return the recordings in it, by seq."""
    with ProducerHome.open(folder) as home:
        home.outbox.seal_pending(
            signing_key=home.signing_key, reader=home.reader, sealed=Sealed(1, 1, "b")
        )
        lines = [
            line
            for one in home.outbox.unsent(limit_bytes=10**8)
            for line in open_body(parse(one.raw), READER)
        ]
    events = [decode(line).data for line in lines]
    return [one.recording for one in events if isinstance(one, RecordingCaptured)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a fresh home."""
    path = tmp_path / "home"
    new_home(path).close()
    return path


async def test_lines_are_answered_in_order_and_a_bad_one_does_not_stop_the_next(
    folder: Path,
) -> None:
    async with serving(folder) as endpoint:
        link = await endpoint.link()
        answers = await link.ask(
            captured(1),
            b"rubbish",
            captured(2),
            b'{"type":"recording.captured.v1","data":{"nik":"%s"}}' % NIK.encode(),
            b'{"type":"device.heartbeat.v1","data":{"queue_events":3}}',
            b"x" * (EVENT_BYTES_MAX + 1),
            captured(3),
        )
        await link.close()
    errors = [answer.get("error") for answer in answers]
    assert [answer.get("seq") for answer in answers] == [1, None, 2, None, None, None, 3]
    assert answers[4] == {"lane": "health"}
    assert [error["code"] for error in errors if isinstance(error, dict)] == [
        "not_an_event",
        "schema_invalid",
        "event_too_large",
    ]
    assert NIK not in json.dumps(answers)
    assert recordings_of(folder) == ["st-1", "st-2", "st-3"]


async def test_a_line_that_comes_in_pieces_and_the_last_one_without_an_end_count(
    folder: Path,
) -> None:
    async with serving(folder) as endpoint:
        link = await endpoint.link()
        line = captured(1)
        link.writer.write(line[:20])
        await link.writer.drain()
        link.writer.write(line[20:] + b"\n\n" + captured(2))
        link.writer.write_eof()
        assert [await link.answer(), await link.answer()] == [{"seq": 1}, {"seq": 2}]
        assert await link.reader.read() == b""
        await link.close()


async def test_the_socket_is_for_its_owner_alone_and_goes_with_the_endpoint(folder: Path) -> None:
    async with serving(folder) as endpoint:
        assert stat.S_IMODE(endpoint.path.stat().st_mode) == 0o600
    assert not endpoint.path.exists()


async def test_lines_that_arrive_together_share_one_transaction(folder: Path) -> None:
    commits = 0

    def count() -> bool:
        nonlocal commits
        commits += 1
        return False

    async with Desk.open(folder, clock=DeviceClock(), routes=no_routes) as desk:
        desk._home.outbox._connection.set_commit_hook(count)
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(desk.submit([captured(n)])) for n in range(50)]
            committing = tasks.create_task(desk.commit())
            answers = [await one for one in waiting]
            committing.cancel()
    assert answers == [[Stored(seq)] for seq in range(1, 51)]
    assert commits == 1


async def test_many_writers_at_once_get_distinct_gapless_numbers(folder: Path) -> None:
    async def write(endpoint: Endpoint, start: int) -> list[int]:
        link = await endpoint.link()
        answers = [await link.ask(captured(start + number)) for number in range(50)]
        await link.close()
        return [int(str(answer["seq"])) for (answer,) in answers]

    async with serving(folder) as endpoint:
        found = await asyncio.gather(*(write(endpoint, 100 * n) for n in range(8)))
    assert sorted(seq for one in found for seq in one) == list(range(1, 401))
    by_seq = {
        seq: f"st-{100 * writer + number}"
        for writer, seqs in enumerate(found)
        for number, seq in enumerate(seqs)
    }
    assert recordings_of(folder) == [by_seq[seq] for seq in range(1, 401)]


async def test_events_posted_over_http_are_answered_one_by_one(folder: Path) -> None:
    async with serving(folder) as endpoint, endpoint.client() as client:
        one = await client.post("/v1/events", content=captured(1), headers=JSON_TYPE)
        spread = json.dumps(json.loads(captured(2)), indent=2)
        two = await client.post("/v1/events", content=spread, headers=JSON_TYPE)
        body = captured(3) + b"\nrubbish\n\n" + captured(4)
        some = await client.post("/v1/events", content=body, headers=LINES_TYPE)
        none = await client.post("/v1/events", content=b"rubbish", headers=JSON_TYPE)
        empty = await client.post("/v1/events", content=b"", headers=LINES_TYPE)
    assert (one.status_code, one.json()) == (200, {"seq": 1})
    assert (two.status_code, two.json()) == (200, {"seq": 2})
    assert some.status_code == 207
    assert some.headers["content-type"] == "application/x-ndjson"
    answers = [json.loads(line) for line in some.text.splitlines()]
    assert [answer.get("seq") for answer in answers] == [3, None, 4]
    assert (none.status_code, none.json()["error"]["code"]) == (422, "not_an_event")
    assert (empty.status_code, empty.content) == (200, b"")
    assert recordings_of(folder) == ["st-1", "st-2", "st-3", "st-4"]


async def test_a_body_in_chunks_and_a_client_that_asks_first_are_served(folder: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        line = captured(1)
        yield line[:30]
        yield line[30:]

    async with serving(folder) as endpoint, endpoint.client() as client:
        chunked = await client.post("/v1/events", content=chunks(), headers=JSON_TYPE)
        assert chunked.json() == {"seq": 1}
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        body = captured(2)
        writer.write(
            b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 100")
        await reader.readuntil(b"\r\n")
        writer.write(body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize(
    ("call", "headers", "body", "refusal"),
    [
        ("POST /v1/events", {"Host": "rekam.example"}, b"{}", "403 host_foreign"),
        ("GET /", {"Host": "127.0.0.1.example:8090"}, b"", "403 host_foreign"),
        ("GET /status", {"Host": "192.168.1.7"}, b"", "403 host_foreign"),
        ("GET /", {"Host": "["}, b"", "403 host_foreign"),
        ("POST /v1/events", {"Origin": "http://evil.example"}, b"{}", "403 origin_foreign"),
        ("POST /v1/events", {"Origin": "null"}, b"{}", "403 origin_foreign"),
        ("POST /v1/events", {"Origin": "http://127.0.0.1:1"}, b"{}", "403 origin_foreign"),
        ("POST /v1/events", {"Content-Type": "text/plain"}, b"{}", "415 media_type_unknown"),
        ("POST /v1/events", {}, b"{}", "415 media_type_unknown"),
        ("GET /v1/events", {}, b"", "405 method_not_allowed"),
        ("DELETE /status", {}, b"", "405 method_not_allowed"),
        ("GET /v1/outbox", {}, b"", "404 path_unknown"),
        ("POST /v1/events", LINES_TYPE, b"x" * (BODY_BYTES_MAX + 1), "413 body_too_large"),
        ("POST /v1/events", LINES_TYPE, b"x\n" * (REQUEST_LINES_MAX + 1), "413 body_too_large"),
        ("GET /", {"X-Long": "x" * 20 * HEAD_BYTES_MAX}, b"", "400 request_refused"),
    ],
)
async def test_what_is_no_local_request_is_refused_with_a_code(
    folder: Path, call: str, headers: dict[str, str], body: bytes, refusal: str
) -> None:
    method, path = call.split()
    async with serving(folder) as endpoint, endpoint.client() as client:
        answer = await client.request(method, path, headers=headers, content=body)
        assert f"{answer.status_code} {answer.json()['error']['code']}" == refusal
        again = await client.post("/v1/events", content=captured(1), headers=JSON_TYPE)
        assert again.json() == {"seq": 1}


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused(folder: Path, raw: bytes) -> None:
    async with serving(folder) as endpoint:
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        writer.write(raw)
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        assert b"request_refused" in await reader.read()
        writer.close()


async def test_a_page_of_its_own_may_be_asked_from_itself(folder: Path) -> None:
    async with serving(folder) as endpoint, endpoint.client() as client:
        answer = await client.get("/status", headers={"Origin": endpoint.url})
    assert answer.status_code == 200


async def test_a_request_that_does_not_end_is_given_up() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    theirs.sendall(b"POST /v1/events HTTP/1.1\r\nHost: local")
    with pytest.raises(BodyTooSlow):
        await Conversation(reader, writer, request_seconds=0.05).next_request()
    writer.close()
    theirs.close()


async def test_requests_on_one_connection_may_be_sent_ahead(folder: Path) -> None:
    async with serving(folder) as endpoint:
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        for number in (1, 2):
            body = captured(number)
            writer.write(
                b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
        for seq in (b'{"seq":1}', b'{"seq":2}'):
            await reader.readuntil(b"\r\n\r\n")
            assert (await reader.readline()).strip() == seq
        writer.close()


async def test_an_orderly_stop_leaves_nothing_stored_that_was_not_answered(folder: Path) -> None:
    count = 5_000
    async with serving(folder) as endpoint:
        link = await endpoint.link()
        for number in range(count):
            link.writer.write(captured(number) + b"\n")
        answers = [await link.answer()]
    rest = await link.reader.read()
    answers += [json.loads(line) for line in rest.splitlines()]
    await link.close()
    assert [answer["seq"] for answer in answers] == list(range(1, len(answers) + 1))
    assert recordings_of(folder) == [f"st-{number}" for number in range(len(answers))]


async def test_too_many_connections_are_told_so_and_the_rest_go_on(folder: Path) -> None:
    async with serving(folder) as endpoint, endpoint.client() as client:
        links = [await endpoint.link() for _ in range(CONNECTIONS_MAX)]
        for number, link in enumerate(links, 1):
            assert await link.ask(captured(number)) == [{"seq": number}]
        surplus = await endpoint.link()
        assert b"overloaded" in await surplus.reader.read()
        answer = await client.get("/status")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        await links.pop().close()
        await surplus.close()
        for link in links:
            await link.close()


async def test_the_page_and_the_status_say_how_the_device_stands(folder: Path) -> None:
    routes = (RouteStanding(label="relay", is_working=False),)
    async with serving(folder, routes=lambda: routes) as endpoint, endpoint.client() as client:
        await client.post("/v1/events", content=captured(1), headers=JSON_TYPE)
        page = await client.get("/")
        status = (await client.get("/status")).json()
        head = await client.head("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert "1 data" in page.text
    assert (head.status_code, head.content) == (200, b"")
    assert status["queue_events"] == status["recorded_events"] == 1
    assert status["routes"] == [{"label": "relay", "is_working": False, "problem": None}]
    assert status["what_to_do"] in page.text
    assert status["yang_harus_dilakukan"] in page.text
    assert NIK not in page.text


async def seen_by_chromium(url: str, profile: Path) -> tuple[str, str]:
    """Return the document as a browser has it, and what its console says."""
    process = await asyncio.create_subprocess_exec(
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"),
        *("--enable-logging=stderr", "--dump-dom", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    dom, said = await process.communicate()
    assert process.returncode == 0
    return dom.decode(), "\n".join(
        line for line in said.decode(errors="replace").splitlines() if "CONSOLE" in line
    )


async def test_a_browser_shows_the_page_and_its_policy_lets_its_style_in(
    folder: Path, tmp_path: Path
) -> None:
    async with serving(folder) as endpoint, endpoint.client() as client:
        await client.post("/v1/events", content=captured(1), headers=JSON_TYPE)
        dom, console = await seen_by_chromium(endpoint.url, tmp_path / "profile")
    assert "Apa yang harus dilakukan sekarang" in dom
    assert re.search(r'<section class="state (good|watch|act)">', dom)
    assert "Menunggu dikirim" in dom
    assert console == ""


async def rekam(device: RunningDevice, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command(*arguments), env=dict(device.environ), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_device_run_serves_records_while_no_route_works_and_ends_when_asked(
    folder: Path,
) -> None:
    async with RunningDevice(folder) as device:
        link = await device.endpoint.link()
        answers = await link.ask(captured(1), captured(2))
        assert all("seq" in answer for answer in answers)
        async with device.endpoint.client() as client:
            posted = await client.post("/v1/events", content=captured(3), headers=JSON_TYPE)
            assert posted.status_code == 200

            async def is_route_away() -> bool:
                status = (await client.get("/status")).json()
                return bool(
                    status["routes"] == [{"label": "kafka", "is_working": False, "problem": None}]
                )

            await until(is_route_away)
        code, told = await rekam(device, "device", "status", "--home", str(folder), "--json")
        status = json.loads(told)
        assert code == 0
        assert status["emitter_pid"] is not None
        assert status["routes"] == [{"label": "kafka", "is_working": False, "problem": None}]
        assert status["queue_events"] >= 3
        code, told = await rekam(device, "device", "status", "--home", str(folder))
        assert code == 0
        for word in ("queue", "oldest unsent", "committed", "last receipt", "route", "clock"):
            assert word in told
        assert await device.end() == 0
        assert await link.reader.read() == b""
        await link.close()
    assert not device.endpoint.path.exists()
    assert recordings_of(folder) == ["st-1", "st-2", "st-3"]


def example(language: str, endpoint: Endpoint) -> str:
    """Return the example of the documentation, with this endpoint in place of its addresses."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
    return addressed(code, endpoint)


def addressed(code: str, endpoint: Endpoint) -> str:
    """Return it with this endpoint in place of the documentation's addresses."""
    return code.replace("/run/rekam/rekam.sock", str(endpoint.path)).replace(
        "127.0.0.1:8090", f"127.0.0.1:{endpoint.port}"
    )


async def told_to(*arguments: str, lines: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(lines.encode())
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_the_python_example_records(folder: Path, tmp_path: Path) -> None:
    async with serving(folder) as endpoint:
        program = tmp_path / "record.py"
        program.write_text(example("python", endpoint))
        code, out = await told_to(sys.executable, str(program), lines=f"a-1 {NIK}\na-2 {NIK}\n")
        bad, _ = await told_to(sys.executable, str(program), lines="a-3 no-nik\n")
    assert (code, out) == (0, "saved: 1\nsaved: 2\n")
    assert bad == 1
    assert recordings_of(folder) == ["a-1", "a-2"]


async def test_the_java_example_compiles_and_records(folder: Path, tmp_path: Path) -> None:
    async with serving(folder) as endpoint:
        (tmp_path / "Record.java").write_text(example("java", endpoint))
        compiled, _ = await told_to(
            "javac", "-d", str(tmp_path), str(tmp_path / "Record.java"), lines=""
        )
        assert compiled == 0
        java = ("java", "-cp", str(tmp_path), "Record")
        code, out = await told_to(*java, lines=f"a-1 {NIK}\n")
        bad, _ = await told_to(*java, lines="a-2 no-nik\n")
    assert (code, out) == (0, 'saved: {"seq":1}\n')
    assert bad == 1
    assert recordings_of(folder) == ["a-1"]


async def test_the_csharp_example_compiles_and_records(folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "Record.exe"
    async with serving(folder) as endpoint:
        (tmp_path / "Record.cs").write_text(example("csharp", endpoint))
        compiled, told = await told_to(
            "mcs",
            "-r:System.Net.Http.dll",
            f"-out:{program}",
            str(tmp_path / "Record.cs"),
            lines="",
        )
        assert compiled == 0, told
        code, out = await told_to("mono", str(program), lines=f"a-1 {NIK}\n")
        bad, why = await told_to("mono", str(program), lines="a-2 no-nik\n")
    assert (code, out) == (0, 'saved: {"seq":1}\n')
    assert (bad, why[:9]) == (1, "NOT saved")
    assert recordings_of(folder) == ["a-1"]


async def test_the_curl_example_records(folder: Path, tmp_path: Path) -> None:
    async with serving(folder) as endpoint:
        (tmp_path / "events.jsonl").write_bytes(captured(1) + b"\n" + captured(2) + b"\n")
        (curl,) = re.findall(r"^curl .*?(?=\n\n)", DOC, re.MULTILINE | re.DOTALL)
        line = f"cd '{tmp_path}' && {addressed(curl, endpoint)}"
        code, out = await told_to("sh", "-c", line, lines="")
    assert (code, out) == (0, '{"seq":1}\n{"seq":2}\n')
    assert recordings_of(folder) == ["st-1", "st-2"]


def test_the_documentation_names_the_limits() -> None:
    text = " ".join(DOC.split())
    assert f"{REQUEST_LINES_MAX:,} lines and {BODY_BYTES_MAX // 1024**2} MiB" in text
    assert f"At most {CONNECTIONS_MAX} connections" in text
    assert f"at most {EVENT_BYTES_MAX // 1024} KiB" in text


@pytest.mark.parametrize("language", ["csharp", "java", "python"])
def test_an_example_takes_about_twenty_lines(language: str) -> None:
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
    assert len(code.splitlines()) <= 23
