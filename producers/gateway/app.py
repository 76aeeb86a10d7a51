"""The composition root of gateway and relay: a backend in, a running server out."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route as PathRoute

from producers.gateway.backend import Backend
from producers.gateway.connections import BoundedProtocol
from producers.gateway.serving import CALLS, Desk, Endpoint, answer_unknown_path
from rekam.domain.errors import Misconfigured
from rekam.runtime.http_server import LOOPBACK, listening, serve_until, server_config

EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - with TLS, it is there for all devices
CONNECTIONS_MAX: Final = 1000
"""Below the 1024 open files that a process mostly may have."""
CONNECTIONS_WAITING_MAX: Final = 256
IDLE_SECONDS_MAX: Final = 10
STOP_SECONDS_MAX: Final = 12
"""A little longer than an append may take: what is under way gets its answer."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate with its chain, and its private key, both PEM."""

    certificate: Path
    key: Path


class RunningBackend(Backend, Protocol):
    """A backend with work of its own."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set. Calls of `take` have ended before."""


def create_app(desk: Desk) -> Starlette:
    """Return the application; whoever serves it runs the backend."""
    app = Starlette(
        routes=[
            PathRoute(path, Endpoint(desk, path, method, call)) for method, path, call in CALLS
        ],
        exception_handlers={HTTPException: answer_unknown_path},
    )
    # A redirect would send a client to what it did not ask for.
    app.router.redirect_slashes = False
    return app


async def serve(
    desk: Desk,
    backend: RunningBackend,
    *,
    port: int,
    tls: Tls | None,
    stopping: asyncio.Event,
    started: Callable[[str], None] = lambda _address: None,
) -> None:
    """Answer until `stopping` is set, the calls under way are answered and the backend has ended.

    Everywhere with TLS, without it on the loopback alone. Port 0 takes a free one. `started` hears
    the address once calls are answered. Raises Unavailable when the port is taken, Misconfigured
    when certificate and key cannot serve. Closes the desk.
    """
    config = _config(create_app(desk), tls, head_seconds_max=desk.limits.head_seconds_max)
    host = LOOPBACK if tls is None else EVERYWHERE
    served = asyncio.Event()
    remedy = "take another port (REKAM_GATEWAY_PORT, or --port of a relay)"
    with listening(host, port, waiting_max=CONNECTIONS_WAITING_MAX, remedy=remedy) as listener:
        address = f"{'http' if tls is None else 'https'}://{host}:{listener.getsockname()[1]}"

        def tell() -> None:
            log.info("gateway_started", address=address)
            started(address)

        async with asyncio.TaskGroup() as tasks:
            # The backend outlives the calls that need it.
            tasks.create_task(backend.run(served), name="backend")
            try:
                await serve_until(stopping, config, listener, started=tell)
            finally:
                served.set()
                desk.close()
    log.info("gateway_stopped")


def _config(app: Starlette, tls: Tls | None, *, head_seconds_max: float) -> uvicorn.Config:
    config = server_config(
        app,
        http=BoundedProtocol.within(head_seconds_max),
        limit_concurrency=CONNECTIONS_MAX,
        backlog=CONNECTIONS_WAITING_MAX,
        timeout_keep_alive=IDLE_SECONDS_MAX,
        timeout_graceful_shutdown=STOP_SECONDS_MAX,
        ssl_certfile=None if tls is None else str(tls.certificate),
        ssl_keyfile=None if tls is None else str(tls.key),
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        assert tls is not None  # noqa: S101 - nothing else is read here
        raise Misconfigured(
            [
                (
                    f"REKAM_GATEWAY_TLS_CERT={tls.certificate} and REKAM_GATEWAY_TLS_KEY={tls.key} "
                    "cannot serve together; wanted a PEM certificate (with its chain) and its "
                    "unencrypted PEM key"
                )
            ]
        ) from error
    return config
