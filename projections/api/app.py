"""The read API's composition root: settings in, an ASGI application or a running server out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.routing import Route as PathRoute

from projections.api.database import Database
from projections.api.office import Office
from projections.api.routes import ROUTES
from projections.api.serving import Endpoint, answer_unknown_path
from rekam.runtime.http_server import LOOPBACK, listening, serve_until, server_config

HOST: Final = LOOPBACK
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
    config = server_config(
        app,
        http="httptools",
        limit_concurrency=CONNECTIONS_MAX,
        backlog=CONNECTIONS_WAITING_MAX,
        timeout_keep_alive=IDLE_SECONDS_MAX,
        timeout_graceful_shutdown=STOP_SECONDS_MAX,
    )
    remedy = "set REKAM_PORT to another port"
    with listening(HOST, port, waiting_max=CONNECTIONS_WAITING_MAX, remedy=remedy) as listener:

        def tell() -> None:
            found = listener.getsockname()[1]
            log.info("api_started", host=HOST, port=found)
            started(found)

        async with app.router.lifespan_context(app):
            await serve_until(stopping, config, listener, started=tell)
    log.info("api_stopped")


def _path_routes(office: Office) -> Iterator[BaseRoute]:
    """Yield the routes; fixed paths come before those with a parameter in the same place."""
    by_path = sorted(ROUTES, key=lambda route: ("{" in route.path, route.path))
    for path, routes in groupby(by_path, key=lambda route: route.path):
        yield PathRoute(path, Endpoint({route.method: route for route in routes}, office))
