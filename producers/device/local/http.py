"""HTTP/1.1 on one connection: bounded reading, refusals with a code, answers. Protocol by h11.

Everything that a peer can make us hold or wait for has a limit here. Requests that a web page of
elsewhere could have caused are refused: by their Host (DNS rebinding) and by their Origin.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar, Final
from urllib.parse import urlsplit

import h11

from producers.device.stamping import Fault, Refused, encode_answer
from rekam.domain.errors import Rejected, RekamError

HEAD_BYTES_MAX: Final = 16 * 1024
BODY_BYTES_MAX: Final = 1024 * 1024
READ_BYTES: Final = 64 * 1024

REQUEST_SECONDS_MAX: Final = 20.0
"""From the first byte of a request to its last one."""

IDLE_SECONDS_MAX: Final = 60.0
"""Between requests of one connection."""

WRITE_SECONDS_MAX: Final = 20.0
"""How long a peer may take to read an answer."""

LINGER_SECONDS_MAX: Final = 2.0
"""How long the rest of a refused request is read and thrown away."""

LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
JSON: Final = "application/json"


class RequestRefused(Rejected):
    """A request to the local endpoint cannot be answered; nothing of it was stored."""

    code = "request_refused"
    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST


class HostForeign(RequestRefused):
    """The request came by a name of this machine that is not a loopback one."""

    code = "host_foreign"
    status = HTTPStatus.FORBIDDEN


class OriginForeign(RequestRefused):
    """A web page of elsewhere sent the request."""

    code = "origin_foreign"
    status = HTTPStatus.FORBIDDEN


class PathUnknown(RequestRefused):
    """There is no such call."""

    code = "path_unknown"
    status = HTTPStatus.NOT_FOUND


class MethodNotAllowed(RequestRefused):
    """The call has other methods."""

    code = "method_not_allowed"
    status = HTTPStatus.METHOD_NOT_ALLOWED


class BodyTooSlow(RequestRefused):
    """The request did not come in time."""

    code = "body_too_slow"
    status = HTTPStatus.REQUEST_TIMEOUT


class BodyTooLarge(RequestRefused):
    """The body is larger, or has more lines, than one request may bring."""

    code = "body_too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class MediaTypeUnknown(RequestRefused):
    """The body is of another type."""

    code = "media_type_unknown"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request; header names in lower case, the last of equal ones counts."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """Return the content type without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; connection and length headers are added when it is sent."""

    status: HTTPStatus
    media_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def refusal(error: RekamError) -> Response:
    """Return the answer that tells why a request was not answered otherwise."""
    if isinstance(error, RequestRefused):
        status = error.status
    elif error.retriable:
        status = HTTPStatus.SERVICE_UNAVAILABLE
    else:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
    return Response(status, JSON, encode_answer(Refused(Fault(error.code, str(error)))) + b"\n")


def check_is_local(request: Request) -> None:
    """Raise HostForeign or OriginForeign for what no program of this machine would send."""
    host = _host_of(f"//{request.headers.get('host', '')}")
    if host not in LOOPBACK_NAMES:
        raise HostForeign("the Host header is no loopback name; ask http://127.0.0.1:PORT")
    origin = request.headers.get("origin")
    if origin is not None and origin.lower() != f"http://{request.headers['host']}".lower():
        raise OriginForeign("a web page may not write here; send the request from a program")


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


class Conversation:
    """The requests of one connection, one after the other."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        request_seconds: float = REQUEST_SECONDS_MAX,
    ) -> None:
        """Take over an accepted connection; its owner closes it."""
        self._reader, self._writer = reader, writer
        self._request_seconds = request_seconds
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._is_read = False
        """The request has been read to its end."""

    async def next_request(self) -> Request | None:
        """Return the next request; None when the peer has closed or idled, or must not go on.

        Raises RequestRefused for one that cannot be taken; after its answer the connection ends.
        """
        if self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE:
            self._protocol.start_next_cycle()
        if self._protocol.our_state is not h11.IDLE:
            return None
        self._is_read = False
        try:
            if not self._protocol.trailing_data[0]:
                async with asyncio.timeout(IDLE_SECONDS_MAX):
                    await self._receive()
        except TimeoutError:
            return None
        try:
            async with asyncio.timeout(self._request_seconds):
                return await self._read()
        except TimeoutError as error:
            raise BodyTooSlow(
                f"the request took longer than {self._request_seconds:g} s; send it again"
            ) from error
        except h11.RemoteProtocolError as error:
            raise RequestRefused(f"not HTTP/1.1 as it should be ({error})") from error

    async def _read(self) -> Request | None:
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return None  # The peer has closed.
        if self._protocol.they_are_waiting_for_100_continue:
            await self._write(
                self._protocol.send(h11.InformationalResponse(status_code=100, headers=[]))
            )
        body = bytearray()
        while isinstance(part := await self._next_event(), h11.Data):
            body += part.data
            if len(body) > BODY_BYTES_MAX:
                raise BodyTooLarge(
                    f"more than {BODY_BYTES_MAX} bytes; send the lines in several requests"
                )
        if not isinstance(part, h11.EndOfMessage):
            return None
        self._is_read = True
        return Request(
            method=head.method.decode("ascii"),
            path=head.target.decode("ascii", "replace").partition("?")[0],
            headers={name.decode("ascii"): value.decode("latin-1") for name, value in head.headers},
            body=bytes(body),
        )

    async def _next_event(self) -> object:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            await self._receive()
        return event

    async def _receive(self) -> None:
        self._protocol.receive_data(await self._reader.read(READ_BYTES))

    async def respond(self, response: Response, *, is_head: bool = False) -> None:
        """Send an answer. Raises TimeoutError when the peer does not read it."""
        if self._protocol.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        headers = [
            ("Content-Type", response.media_type),
            ("Content-Length", str(len(response.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *response.headers,
        ]
        if not self._is_read:
            headers.append(("Connection", "close"))
        parts = [
            self._protocol.send(
                h11.Response(
                    status_code=response.status.value,
                    reason=response.status.phrase,
                    headers=headers,
                )
            ),
            b"" if is_head else self._protocol.send(h11.Data(data=response.body)),
            self._protocol.send(h11.EndOfMessage()),
        ]
        await self._write(b"".join(part for part in parts if part))

    async def _write(self, data: bytes | None) -> None:
        if data:
            self._writer.write(data)
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                await self._writer.drain()


async def linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let the peer read its last answer before the connection is closed on what it still sends.

    Closing on unread bytes resets the connection, and the peer may lose what it has not read.
    """
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(LINGER_SECONDS_MAX):
            writer.write_eof()
            while await reader.read(READ_BYTES):
                pass
