"""A small HTTP server that says what a test tells it, down to the bytes."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from rekam.domain.segment import parse


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def segments(self) -> list[bytes]:
        """Return the segments of a body of framed ones."""
        found, rest = [], self.body
        while rest:
            size = int.from_bytes(rest[:4])
            found.append(rest[4 : 4 + size])
            assert len(found[-1]) == size
            rest = rest[4 + size :]
        return found


def results(request: Request, verdict: Callable[[bytes], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a result about each segment, with what `verdict` says of it."""
    found = []
    for raw in request.segments:
        header = parse(raw).header
        about = {
            "producer": header.producer,
            "epoch": header.epoch,
            "first": header.first,
            "last": header.last,
        }
        found.append(about | verdict(raw))
    return found


def answer(body: Any, *, status: str = "200 OK", **headers: str) -> bytes:
    """Return an HTTP answer; JSON unless the body is bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"content-length": str(len(raw)), "connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + raw


@dataclass
class Server:
    """Answers with what `say` makes of a request; remembers the requests."""

    say: Callable[[Request], bytes]
    port: int = 0
    scheme: str = "http"
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Return its address."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *rest = head.split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (one.partition(":") for one in rest if one)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            request = Request(line, headers, body)
            self.requests.append(request)
            writer.write(self.say(request))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def saying(
    say: Callable[[Request], bytes], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """Give a server on loopback."""
    server = Server(say, scheme="http" if tls is None else "https")
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
