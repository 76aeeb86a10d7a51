"""The read API in a process of its own, as `rekam api run` serves it, over a benchmark's database.

Writes one line when it answers: its port. Ends at SIGTERM.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import uvloop

from producers.device.http_client import HttpClient
from projections.api.app import HOST, serve
from rekam.runtime.collection import leave_loaded_alone
from rekam.runtime.logging import configure_logging
from tests.benchmarks.machine import ROOT, ProcessFailed
from tests.support.api import office

START_SECONDS_MAX: Final = 30.0
CONNECT_SECONDS_MAX: Final = 5.0
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


@asynccontextmanager
async def running_api(dsn: str, *, now_ms: int) -> AsyncIterator[HttpClient]:
    """Give a client of a server that has started and thinks that it is `now_ms`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.api_server", dsn, str(now_ms)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS_MAX):
            port = (await process.stdout.readline()).decode().strip()
        if not port:
            raise ProcessFailed(f"the API did not start; it ended with {await process.wait()}")
        client = HttpClient(
            f"http://{HOST}:{port}",
            tls=None,
            connect_seconds_max=CONNECT_SECONDS_MAX,
            write_seconds_max=CONNECT_SECONDS_MAX,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        yield client
        await client.close()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _run(dsn: str, now_ms: str) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)

    def tell(port: int) -> None:
        leave_loaded_alone()
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()

    await serve(office(now_ms=int(now_ms)), dsn=dsn, port=0, stopping=stopping, started=tell)


if __name__ == "__main__":
    configure_logging(json=True, level=logging.WARNING)
    uvloop.run(_run(*sys.argv[1:]))
