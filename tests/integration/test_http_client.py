"""The device's HTTP client against servers that are slow, early, gone, or say too much."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from producers.device.http_client import WRITE_BYTES, AnswerTooLarge, HttpClient, NoAnswer
from tests.support.http_answers import saying
from tests.support.tls import make_certificate
from tests.support.waiting import until

LARGE = 8 * 1024 * 1024
"""More than the buffers between two sockets take."""
SECONDS_MAX = 0.3
PATIENT_SECONDS = 20.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """What a test's server saw."""

    port: int = 0
    connections: int = 0
    ended: int = 0
    heads: list[str] = field(default_factory=list)

    async def head(self, reader: asyncio.StreamReader) -> bytes:
        """Read a request without a body; nothing when the client has closed."""
        try:
            found = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        self.heads.append(found.decode())
        return found


@asynccontextmanager
async def serving(
    serve: Callable[[Server], Serve], *, host: str = "127.0.0.1"
) -> AsyncIterator[Server]:
    """Give a running server; `serve` makes of it what is done with each connection."""
    server = Server()
    handle = serve(server)

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            await handle(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            server.ended += 1

    listening = await asyncio.start_server(counted, host, 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


@asynccontextmanager
async def client_of(url: str, *, answer_bytes_max: int = 1_000) -> AsyncIterator[HttpClient]:
    """Give a client with little patience."""
    client = HttpClient(
        url,
        tls=None,
        connect_seconds_max=SECONDS_MAX,
        write_seconds_max=SECONDS_MAX,
        answer_bytes_max=answer_bytes_max,
    )
    try:
        yield client
    finally:
        await client.close()
        await client.close()


def answering(*answers: bytes) -> Callable[[Server], Serve]:
    """Answer the requests of each connection with these, then close."""

    def serve(server: Server) -> Serve:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for answer in answers:
                if await server.head(reader):
                    writer.write(answer)
                    await writer.drain()

        return handle

    return serve


async def test_requests_in_turn_use_one_connection_and_say_where_they_go() -> None:
    async with (
        serving(answering(OK, OK)) as server,
        client_of(f"http://127.0.0.1:{server.port}/below/") as client,
    ):
        for path in ("/v1/one", "/v1/two"):
            answer = await client.request("GET", path)
            assert (answer.status, answer.body) == (200, b"ok")
    assert server.connections == 1
    assert [head.splitlines()[0] for head in server.heads] == [
        "GET /below/v1/one HTTP/1.1",
        "GET /below/v1/two HTTP/1.1",
    ]
    assert f"host: 127.0.0.1:{server.port}" in server.heads[0]


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    async with (
        serving(answering(OK)) as server,
        client_of(f"http://127.0.0.1:{server.port}") as client,
    ):
        for number in (1, 2, 3):
            assert (await client.request("GET", "/")).status == 200

            async def is_closed(ended: int = number) -> bool:
                return server.ended == ended

            await until(is_closed)
            await asyncio.sleep(0)  # the end is in the socket: one look there
    assert server.connections == 3


async def test_requests_at_once_have_connections_of_their_own() -> None:
    both = asyncio.Barrier(2)

    def serve(server: Server) -> Serve:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.head(reader)
            await both.wait()
            writer.write(OK)
            await writer.drain()

        return handle

    async with (
        serving(serve) as server,
        client_of(f"http://127.0.0.1:{server.port}") as client,
        asyncio.timeout(10),
    ):
        answers = await asyncio.gather(client.request("GET", "/"), client.request("GET", "/"))
    assert [answer.status for answer in answers] == [200, 200]


@pytest.mark.parametrize("closes", [False, True], ids=["and stops reading", "and closes"])
async def test_an_answer_before_the_end_of_the_request_is_heard(*, closes: bool) -> None:
    gone = asyncio.Event()

    def serve(server: Server) -> Serve:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.head(reader)
            writer.write(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig")
            await writer.drain()
            if not closes:
                await gone.wait()

        return handle

    async with (
        serving(serve) as server,
        client_of(f"http://127.0.0.1:{server.port}") as client,
        asyncio.timeout(10),
    ):
        answer = await client.request("POST", "/", body=bytes(LARGE), media_type="a/b")
        assert (answer.status, answer.body) == (413, b"big")
        gone.set()
    assert server.connections == 1


async def test_a_server_that_takes_nothing_is_given_up() -> None:
    gone = asyncio.Event()

    def serve(_: Server) -> Serve:
        async def handle(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await gone.wait()

        return handle

    async with (
        serving(serve) as server,
        client_of(f"http://127.0.0.1:{server.port}") as client,
        asyncio.timeout(10),
    ):
        with pytest.raises(TimeoutError):
            await client.request("POST", "/", body=bytes(LARGE), media_type="a/b")
        gone.set()


async def test_a_request_that_is_given_up_leaves_no_connection() -> None:
    def serve(server: Server) -> Serve:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nslow")
            await writer.drain()
            await reader.read()  # until the client has gone

        return handle

    async with (
        serving(serve) as server,
        client_of(f"http://127.0.0.1:{server.port}") as client,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SECONDS_MAX):
                await client.request("GET", "/")

        async def is_gone() -> bool:
            return server.ended == 1

        await until(is_gone)


async def test_what_comes_before_the_answer_is_no_answer_and_pieces_are_put_together() -> None:
    pieces = (
        b"HTTP/1.1 103 Early Hints\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nX-Told: first\r\nX-Told: last\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nto\r\n6\r\ngether\r\n0\r\n\r\n"
    )
    async with (
        serving(answering(pieces)) as server,
        client_of(f"http://127.0.0.1:{server.port}") as client,
    ):
        answer = await client.request("GET", "/")
    assert (answer.status, answer.body) == (200, b"together")
    assert answer.headers["x-told"] == "last"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", NoAnswer),
        (b"\x16\x03\x01 hello", NoAnswer),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", NoAnswer),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000 + b"\r\n\r\n", NoAnswer),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n" + bytes(1_001), AnswerTooLarge),
    ],
    ids=["nothing", "no HTTP", "half", "a long head", "a long body"],
)
async def test_what_is_no_whole_answer_is_none(answer: bytes, error: type[Exception]) -> None:
    async with (
        serving(answering(answer)) as server,
        client_of(f"http://127.0.0.1:{server.port}") as client,
    ):
        with pytest.raises(error):
            await client.request("GET", "/")


async def test_more_than_was_asked_for_is_nobody_elses_answer() -> None:
    async with (
        serving(answering(OK + OK, OK)) as server,
        client_of(f"http://127.0.0.1:{server.port}") as client,
    ):
        for _ in range(2):
            assert (await client.request("GET", "/")).body == b"ok"
    assert server.connections == 2


async def test_an_address_in_brackets_is_reached() -> None:
    async with (
        serving(answering(OK), host="::1") as server,
        client_of(f"http://[::1]:{server.port}") as client,
    ):
        assert (await client.request("GET", "/")).status == 200
    assert f"host: [::1]:{server.port}" in server.heads[0]


async def test_nobody_there_is_an_error_of_the_system() -> None:
    async with serving(answering()) as server:
        port = server.port
    async with client_of(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(OSError, match="onnect"):
            await client.request("GET", "/")


@pytest.mark.parametrize("pieces", range(1, 6))
async def test_over_tls_every_piece_of_a_body_leaves(pieces: int, tmp_path: Path) -> None:
    """A high-water mark of 0 left asyncio's TLS transport paused after every other write."""
    shown = make_certificate(tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(shown.certificate, shown.key)
    async with saying(lambda _: OK, tls=server_side) as server:
        client = HttpClient(
            server.url,
            tls=ssl.create_default_context(cafile=str(shown.ca)),
            connect_seconds_max=PATIENT_SECONDS,
            write_seconds_max=PATIENT_SECONDS,
            answer_bytes_max=1_000,
        )
        try:
            async with asyncio.timeout(PATIENT_SECONDS):
                for _ in range(10):
                    body = b"x" * (pieces * WRITE_BYTES)
                    answered = await client.request("POST", "/", body=body, media_type="text/x")
                    assert answered.body == b"ok"
        finally:
            await client.close()
    assert [len(request.body) for request in server.requests] == [pieces * WRITE_BYTES] * 10
