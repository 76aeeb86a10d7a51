"""HTTP servers: uvicorn as our processes need it, stopped by an event and not by a signal."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from rekam.domain.errors import Unavailable

LOOPBACK: Final = "127.0.0.1"


@contextmanager
def listening(host: str, port: int, *, waiting_max: int, remedy: str) -> Iterator[socket.socket]:
    """Give a socket that listens; port 0 takes a free one.

    Only a listening socket keeps the port from the next program, so it comes before all else.
    Raises Unavailable, with what to do about it, when the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(waiting_max)
        except OSError as error:
            raise Unavailable(
                f"port {port} of {host} cannot be had ({error.strerror}). "
                f"End the program that listens there, or {remedy}."
            ) from error
        yield listener


def server_config(app: Any, **limits: Any) -> uvicorn.Config:
    """Return a configuration for one quiet server behind `listening`; `limits` are uvicorn's."""
    return uvicorn.Config(
        app,
        loop="none",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        **limits,
    )


async def serve_until(
    stopping: asyncio.Event,
    config: uvicorn.Config,
    listener: socket.socket,
    *,
    started: Callable[[], None],
) -> None:
    """Answer until `stopping` is set and the calls under way are answered.

    `started` is called once calls are answered. Signals are the caller's business.
    """
    server = _Server(config, started)
    try:
        async with asyncio.TaskGroup() as tasks:
            stop = tasks.create_task(_stop(server, stopping), name="stop-serving")
            await server.serve(sockets=[listener])
            stop.cancel()
    finally:
        # Cancelled, uvicorn leaves its sockets with the event loop. The next socket of the process
        # that got the number of one of them would never be told of its connections.
        for accepting in getattr(server, "servers", ()):
            accepting.close()


class _Server(uvicorn.Server):
    """A server that says when it serves, and whose caller owns the signals."""

    def __init__(self, config: uvicorn.Config, tell_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell_started = tell_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _stop(server: uvicorn.Server, stopping: asyncio.Event) -> None:
    await stopping.wait()
    server.should_exit = True
