"""An HTTP/1.1 client for one server: bounded in size and time, and small. Protocol by h11.

A device with an old disk and a long queue has no memory to spare for a general client. What this
one leaves out is left out on purpose: proxies, redirects, cookies, compression, and asking again.

    idle connection, or a new one ─► request, body in pieces ─┐
                                     answer, whole ◄──────────┴─► idle again, or closed
"""

import asyncio
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import h11

HEAD_BYTES_MAX: Final = 16 * 1024
READ_BYTES: Final = 16 * 1024

WRITE_BYTES: Final = 16 * 1024
"""A piece of a body; each has its own time-out, so that a dead link is noticed early."""

KEEPALIVE_SECONDS: Final = 3.0
"""Shorter than servers keep an idle connection, so that none is used that they just close."""

_PORTS: Final = {"http": 80, "https": 443}


class NoAnswer(Exception):  # noqa: N818 - says what there is: none that can be used
    """What came is no whole answer: no HTTP, cut off, or more than was asked for."""


class AnswerTooLarge(NoAnswer):
    """The answer has more bytes than the caller wants."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names in lower case, the last of equal ones counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    http: h11.Connection
    idle_since: float = field(default_factory=time.monotonic)

    def is_usable(self) -> bool:
        """Tell whether a request may be sent: not closed by the server, and not just about to."""
        return (
            time.monotonic() - self.idle_since < KEEPALIVE_SECONDS
            and not self.reader.at_eof()
            and not self.writer.is_closing()
        )

    def renewed(self) -> "_Connection | None":
        """Return it ready for the next request; None: the server or an early answer ended it."""
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
            return None
        if self.http.trailing_data != (b"", False):
            return None  # more than was asked for: whose answer would that be?
        self.http.start_next_cycle()
        return _Connection(self.reader, self.writer, self.http)


class HttpClient:
    """Asks one server. Requests may run at once, each on a connection of its own."""

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None,
        connect_seconds_max: float,
        write_seconds_max: float,
        answer_bytes_max: int,
    ) -> None:
        """Name the server, `scheme://host[:port][/path]`; nothing is opened yet.

        `write_seconds_max` is how long each WRITE_BYTES of a body may take to leave this machine.
        """
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        self._netloc, self._path = parts.netloc, parts.path.rstrip("/")
        self._tls = tls
        self._connect_seconds_max = connect_seconds_max
        self._write_seconds_max = write_seconds_max
        self._answer_bytes_max = answer_bytes_max
        self._idle: list[_Connection] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        media_type: str = "",
        headers: Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """Send one request, once, and return the whole answer, which may come before all is sent.

        `headers` are given besides those that every request has.

        How long the answer may take is the caller's to bound; a cancelled request is gone with its
        connection. Raises OSError (ssl.SSLError is one), TimeoutError, or NoAnswer.
        """
        connection = await self._connection()
        answered = None
        try:
            answered = await self._exchange(
                connection, self._head(method, path, body, media_type, headers), body
            )
        except h11.ProtocolError as error:
            raise NoAnswer("no answer in HTTP") from error
        finally:
            renewed = connection.renewed() if answered is not None else None
            if renewed is None:
                connection.writer.transport.abort()
            else:
                self._idle.append(renewed)
        return answered

    async def close(self) -> None:
        """Close what is open; safe to call twice."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.writer.close()
        for connection in idle:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(self._write_seconds_max):
                    await connection.writer.wait_closed()

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable():
                return connection
            connection.writer.transport.abort()
        async with asyncio.timeout(self._connect_seconds_max):
            reader, writer = await asyncio.open_connection(
                self._host,
                self._port,
                limit=READ_BYTES,
                ssl=self._tls,
                server_hostname=self._host if self._tls else None,
            )
        # `drain` returns when all of a piece has left (over TLS, to the transport below). Not 0:
        # asyncio's TLS transport counts an empty buffer as one that has reached 0, and then pauses
        # the writer for good.
        writer.transport.set_write_buffer_limits(high=1, low=0)
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        return _Connection(reader, writer, http)

    def _head(
        self,
        method: str,
        path: str,
        body: bytes,
        media_type: str,
        headers: Sequence[tuple[str, str]],
    ) -> h11.Request:
        given = [
            ("host", self._netloc),
            ("user-agent", "rekam"),
            ("accept-encoding", "identity"),
            *headers,
        ]
        if body:
            given += [("content-length", str(len(body))), ("content-type", media_type)]
        return h11.Request(method=method, target=f"{self._path}{path}", headers=given)

    async def _exchange(self, connection: _Connection, head: h11.Request, body: bytes) -> Answer:
        """Send and read at once: a server that will not have a request says so before its end."""
        sending = asyncio.ensure_future(self._send(connection, head, body))
        reading = asyncio.ensure_future(self._read(connection))
        try:
            await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and (broken := sending.exception()) is not None:
                if not isinstance(broken, ConnectionError):
                    raise broken
                # It may have answered before it closed; what it said is worth more than how.
                try:
                    return await reading
                except (OSError, NoAnswer, h11.ProtocolError):
                    raise broken from None
            return await reading
        finally:
            for task in (sending, reading):
                task.cancel()
            await asyncio.wait((sending, reading))
            for task in (sending, reading):
                if not task.cancelled():
                    task.exception()  # it was raised, or another one in its place

    async def _send(self, connection: _Connection, head: h11.Request, body: bytes) -> None:
        for event in (head, *_data(body), h11.EndOfMessage()):
            raw = connection.http.send(event)
            if raw:
                connection.writer.write(raw)
                async with asyncio.timeout(self._write_seconds_max):
                    await connection.writer.drain()

    async def _read(self, connection: _Connection) -> Answer:
        http, found = connection.http, bytearray()
        head: h11.Response | None = None
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await connection.reader.read(READ_BYTES))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                found += event.data
                if len(found) > self._answer_bytes_max:
                    raise AnswerTooLarge
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = {
                    name.decode("ascii"): value.decode("latin-1") for name, value in head.headers
                }
                return Answer(head.status_code, headers, bytes(found))
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                raise NoAnswer("the connection was closed")


def _data(body: bytes) -> Iterator[h11.Data]:
    view = memoryview(body)
    for start in range(0, len(body), WRITE_BYTES):
        yield h11.Data(data=bytes(view[start : start + WRITE_BYTES]))
