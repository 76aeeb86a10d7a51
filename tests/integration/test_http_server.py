"""Our HTTP server beside whatever else the process does in its event loop."""

import asyncio
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rekam.runtime.http_server import LOOPBACK, listening, serve_until, server_config


async def _hello(_: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def _answers_until_cancelled() -> tuple[int, str]:
    """Serve, ask once, and cancel the server; return its socket's number and the answer."""
    started = asyncio.Event()
    app = Starlette(routes=[Route("/", _hello)])
    with listening(LOOPBACK, 0, waiting_max=8, remedy="wait") as listener:
        number, port = listener.fileno(), listener.getsockname()[1]
        serving = asyncio.create_task(
            serve_until(asyncio.Event(), server_config(app), listener, started=started.set)
        )
        await started.wait()
        async with httpx.AsyncClient() as client:
            response = await client.get(f"http://{LOOPBACK}:{port}/")
        serving.cancel()
        await asyncio.wait({serving})
    return number, response.text


async def test_the_server_that_gets_the_socket_number_of_a_cancelled_one_is_answering() -> None:
    first, second = await _answers_until_cancelled(), await _answers_until_cancelled()
    assert first[0] == second[0]  # else this shows nothing
    assert (first[1], second[1]) == ("hello", "hello")
