"""The local endpoint of `rekam device run`: programs of this machine append events by it.

    unix:PATH          JSON lines, as `rekam device append` reads and answers them
    127.0.0.1:PORT     POST /v1/events · GET /status · GET /  (the operator's page)

Whoever may connect may record; that is all they may. Nothing of the queue can be read or removed.
"""

import asyncio
import socket
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import tzinfo
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import structlog

from producers.device.clock import Clock
from producers.device.local.advice import status_json
from producers.device.local.desk import Desk, Routes
from producers.device.local.http import (
    JSON,
    READ_BYTES,
    WRITE_SECONDS_MAX,
    BodyTooLarge,
    Conversation,
    MediaTypeUnknown,
    MethodNotAllowed,
    PathUnknown,
    Request,
    RequestRefused,
    Response,
    check_is_local,
    linger,
    refusal,
)
from producers.device.local.listening import Address, UnixAddress, bind, release
from producers.device.local.page import PAGE_HEADERS, page
from producers.device.stamping import Answer, Fault, Lines, Refused, encode_answer
from rekam.domain.errors import Corrupt, RekamError

NDJSON: Final = "application/x-ndjson"
CONNECTIONS_MAX: Final = 32
"""Of all addresses together; more are answered that there are too many."""

REQUEST_LINES_MAX: Final = 2_000
FRAMES_MAX: Final = 8
STOP_SECONDS_MAX: Final = 5.0
"""How long appends in flight may take after `stopping` is set."""

TRY_AGAIN: Final = frozenset({"outbox_busy", "unavailable", "corrupt"})
"""A damaged outbox is mended at the next start: the event is not to blame, and fits then."""

FULL: Final = frozenset({"outbox_full", "overloaded"})

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def no_routes() -> tuple[()]:
    """Say that nothing is known of routes."""
    return ()


async def serve(
    folder: Path,
    addresses: Sequence[Address],
    *,
    clock: Clock,
    stopping: asyncio.Event,
    routes: Routes = no_routes,
    zone: tzinfo | None = None,
) -> None:
    """Serve a producer's home on these addresses until `stopping` is set; answer what came in.

    `routes` is asked for how the ways to the log do; the page shows times in `zone`. Returns at
    once when there is no address. Raises Misconfigured when an address cannot be had, Corrupt when
    the outbox is found damaged (what came in is answered first), and what `ProducerHome.open`
    raises.
    """
    if not addresses:
        return
    async with AsyncExitStack() as stack:
        desk = await stack.enter_async_context(Desk.open(folder, clock=clock, routes=routes))
        sockets: list[tuple[Address, socket.socket]] = []
        for address in addresses:
            sockets.append((address, stack.enter_context(bind(address))))
            stack.callback(release, address)
        async with asyncio.TaskGroup() as tasks:
            committing = tasks.create_task(desk.commit(), name="commit-local-appends")
            await _Guests(desk, tasks, zone=zone).receive(sockets, stopping)
            committing.cancel()
        log.info("local_endpoint_stopped")
        if desk.damage.done():
            # Up, it would refuse everything for ever: the next start mends.
            raise desk.damage.result()


class _Guests:
    """The connections that are open now."""

    def __init__(self, desk: Desk, tasks: asyncio.TaskGroup, *, zone: tzinfo | None) -> None:
        self._desk, self._tasks, self._zone = desk, tasks, zone
        self._open: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None]] = set()
        """Those whose peer waits for an answer; the rest may be ended at any moment."""
        self._is_ending = False

    async def receive(
        self, sockets: Sequence[tuple[Address, socket.socket]], stopping: asyncio.Event
    ) -> None:
        """Accept connections until `stopping` is set; end when the last one is answered.

        A damaged outbox ends it in the same way.
        """
        servers = []
        try:
            for address, listening in sockets:
                servers.append(await self._listen(address, listening))
                log.info("local_endpoint_started", kind=type(address).__name__)
            await self._until_ending(stopping)
        finally:
            self._is_ending = True
            for server in servers:
                server.close()
        for task in self._open - self._busy:
            task.cancel()
        if self._busy:
            await asyncio.wait(set(self._busy), timeout=STOP_SECONDS_MAX)
        for task in set(self._open):
            task.cancel()

    async def _until_ending(self, stopping: asyncio.Event) -> None:
        noticing = self._tasks.create_task(stopping.wait(), name="notice-stopping")
        ends: set[asyncio.Future[Any]] = {noticing, self._desk.damage}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        noticing.cancel()

    async def _listen(self, address: Address, listening: socket.socket) -> asyncio.Server:
        match address:
            case UnixAddress():
                return await asyncio.start_unix_server(
                    lambda reader, writer: self._connected(self._lines, reader, writer),
                    sock=listening,
                )
            case _:
                return await asyncio.start_server(
                    lambda reader, writer: self._connected(self._http, reader, writer),
                    sock=listening,
                )

    def _connected(
        self, handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if len(self._open) >= CONNECTIONS_MAX or self._is_ending:
            handler = _too_many
        task = self._tasks.create_task(self._attend(handler, reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        task.add_done_callback(self._busy.discard)

    async def _attend(
        self, handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Attend to one connection; whatever it does, the others and the emitter go on."""
        try:
            await handler(reader, writer)
        except (ConnectionError, TimeoutError) as error:
            log.info("local_connection_lost", error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - a task's top: our bug ends this connection alone
            # Frames without the message: what an exception says may show what an event holds.
            frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
            log.error(  # noqa: TRY400 - see above
                "local_connection_failed",
                error=type(error).__name__,
                frames=[f"{frame.name}:{frame.lineno}" for frame in frames],
            )
        finally:
            writer.close()

    async def _answers(self, lines: Sequence[bytes]) -> list[Answer]:
        return await self._desk.submit(lines) if lines else []

    async def _lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer JSON lines with JSON lines, in order, until the peer has ended."""
        lines = Lines()
        while not self._is_ending:
            read = await reader.read(READ_BYTES)
            with _Busy(self._busy):
                answers = await self._answers(lines.feed(read) if read else lines.end())
                await _send_lines(writer, answers)
            if not read:
                return
        await linger(reader, writer)

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(reader, writer)
        while not self._is_ending:
            try:
                request = await conversation.next_request()
                if request is None:
                    return
                with _Busy(self._busy):
                    check_is_local(request)
                    response = await self._respond(request)
                    await conversation.respond(response, is_head=request.method == "HEAD")
            except RequestRefused as error:
                log.info("local_request_refused", code=error.code)
                await conversation.respond(refusal(error))
                await linger(reader, writer)
                return

    async def _respond(self, request: Request) -> Response:
        match request.path:
            case "/" | "/status":
                _check_method(request, "GET", "HEAD")
                return await self._show(request.path)
            case "/v1/events":
                _check_method(request, "POST")
                return await self._append(request)
            case _:
                raise PathUnknown("there are POST /v1/events, GET /status and GET /")

    async def _show(self, path: str) -> Response:
        try:
            standing = await self._desk.standing()
        except Corrupt as error:
            # We end by it, and are mended at the next start.
            return replace(refusal(error), status=HTTPStatus.SERVICE_UNAVAILABLE)
        except RekamError as error:
            # The outbox is in use for too long: the answer says so.
            return refusal(error)
        if path == "/status":
            return Response(HTTPStatus.OK, JSON, status_json(standing))
        html = page(standing, zone=self._zone).encode()
        return Response(HTTPStatus.OK, "text/html; charset=utf-8", html, PAGE_HEADERS)

    async def _append(self, request: Request) -> Response:
        match request.media_type:
            case "application/json":
                (answer,) = await self._answers([request.body])
                return Response(status_of([answer]), JSON, encode_answer(answer) + b"\n")
            case "application/x-ndjson":
                lines = Lines()
                whole = lines.feed(request.body) + lines.end()
                if len(whole) > REQUEST_LINES_MAX:
                    raise BodyTooLarge(
                        f"{len(whole)} lines; send at most {REQUEST_LINES_MAX} in a request"
                    )
                answers = await self._answers(whole)
                return Response(status_of(answers), NDJSON, _joined(answers))
            case _:
                raise MediaTypeUnknown(f"wanted {JSON} (one event) or {NDJSON} (one a line)")


class _Busy:
    """Marks the current task as busy while the block runs."""

    def __init__(self, busy: set[asyncio.Task[None]]) -> None:
        self._busy = busy

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - our own bug
        self._busy.add(task)

    def __exit__(self, *_: object) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - our own bug
        self._busy.discard(task)


def _check_method(request: Request, *allowed: str) -> None:
    if request.method not in allowed:
        raise MethodNotAllowed(f"{request.path} takes {' and '.join(allowed)}")


def status_of(answers: Sequence[Answer]) -> HTTPStatus:
    """Return what all answers together come to, so that a client may look at the status alone.

    200 all stored · 207 some · none: 507 no room, 503 try again, 422 wrong.
    """
    codes = [answer.error.code for answer in answers if isinstance(answer, Refused)]
    if not codes:
        return HTTPStatus.OK
    if len(codes) < len(answers):
        return HTTPStatus.MULTI_STATUS
    if FULL.intersection(codes):
        return HTTPStatus.INSUFFICIENT_STORAGE
    if TRY_AGAIN.intersection(codes):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.UNPROCESSABLE_ENTITY


def _joined(answers: Sequence[Answer]) -> bytes:
    return b"".join(encode_answer(answer) + b"\n" for answer in answers)


async def _send_lines(writer: asyncio.StreamWriter, answers: Sequence[Answer]) -> None:
    writer.write(_joined(answers))
    async with asyncio.timeout(WRITE_SECONDS_MAX):
        await writer.drain()


async def _too_many(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    fault = Fault("overloaded", f"more than {CONNECTIONS_MAX} connections; close some of yours")
    body = encode_answer(Refused(fault)) + b"\n"
    if writer.get_extra_info("socket").family != socket.AF_UNIX:
        body = (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nRetry-After: 1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
    writer.write(body)
    async with asyncio.timeout(WRITE_SECONDS_MAX):
        await writer.drain()
