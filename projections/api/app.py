"""The read API's composition root: settings in, an ASGI application or a running server out."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import groupby
from typing import Final

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.routing import Route as PathRoute

from projections.api.database import Database
from projections.api.office import Office
from projections.api.routes import ROUTES
from projections.api.serving import Endpoint, answer_unknown_path
from rekam.domain.errors import Unavailable

HOST: Final = "127.0.0.1"
"""Loopback only: who wants it elsewhere puts a proxy with TLS and a login in front."""
CONNECTIONS_MAX: Final = 512
CONNECTIONS_WAITING_MAX: Final = 128
IDLE_SECONDS_MAX: Final = 30
STOP_SECONDS_MAX: Final = 10

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def create_app(office: Office, *, dsn: str) -> Starlette:
    """Return the application; its lifespan opens and closes the database pool.

    Entering the lifespan raises Unavailable while PostgreSQL does not answer.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with Database.open(dsn) as database:
            app.state.database = database
            yield

    app = Starlette(
        routes=list(_path_routes(office)),
        exception_handlers={HTTPException: answer_unknown_path},
        lifespan=lifespan,
    )
    # A redirect would send a client to what it did not ask for.
    app.router.redirect_slashes = False
    return app


async def serve(
    office: Office,
    *,
    dsn: str,
    port: int,
    stopping: asyncio.Event,
    started: Callable[[int], None] = lambda _port: None,
) -> None:
    """Answer on 127.0.0.1:`port` until `stopping` is set and the calls under way are answered.

    Port 0 takes a free one. `started` hears the port once calls are answered.
    Raises Unavailable when the port is taken or PostgreSQL does not answer.
    """
    app = create_app(office, dsn=dsn)
    with _listening(port) as listener:
        async with app.router.lifespan_context(app), asyncio.TaskGroup() as tasks:
            server = _Server(
                config=uvicorn.Config(
                    app,
                    loop="none",
                    http="httptools",
                    ws="none",
                    lifespan="off",
                    access_log=False,
                    log_config=None,
                    server_header=False,
                    proxy_headers=False,
                    limit_concurrency=CONNECTIONS_MAX,
                    backlog=CONNECTIONS_WAITING_MAX,
                    timeout_keep_alive=IDLE_SECONDS_MAX,
                    timeout_graceful_shutdown=STOP_SECONDS_MAX,
                ),
                started=lambda: _tell(listener, started),
            )
            serving = tasks.create_task(server.serve(sockets=[listener]), name="serve")
            stop = tasks.create_task(_stop(server, stopping), name="stop")
            await serving
            stop.cancel()
    log.info("api_stopped")


class _Server(uvicorn.Server):
    """A server that says when it serves, and whose caller owns the signals."""

    def __init__(self, *, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _tell(listener: socket.socket, started: Callable[[int], None]) -> None:
    port = listener.getsockname()[1]
    log.info("api_started", host=HOST, port=port)
    started(port)


async def _stop(server: uvicorn.Server, stopping: asyncio.Event) -> None:
    await stopping.wait()
    server.should_exit = True


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            # Only a listening socket keeps the port from the next program.
            listener.listen(CONNECTIONS_WAITING_MAX)
        except OSError as error:
            raise Unavailable(
                f"port {port} of {HOST} cannot be had ({error.strerror}). "
                "End the program that listens there, or set REKAM_PORT to another port."
            ) from error
        yield listener


def _path_routes(office: Office) -> Iterator[BaseRoute]:
    """Yield the routes; fixed paths come before those with a parameter in the same place."""
    by_path = sorted(ROUTES, key=lambda route: ("{" in route.path, route.path))
    for path, routes in groupby(by_path, key=lambda route: route.path):
        yield PathRoute(path, Endpoint({route.method: route for route in routes}, office))
