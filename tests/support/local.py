"""Local endpoints for tests: one in this process, and `rekam device run` as its own process."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import msgspec

from producers.device.clock import DeviceClock
from producers.device.local.desk import Routes
from producers.device.local.listening import LoopbackAddress, UnixAddress
from producers.device.local.server import no_routes, serve
from tests.support.machine import command, free_port
from tests.support.waiting import until

NIK = "6408050101900001"


def captured(number: int) -> bytes:
    """Return a line as recording software writes it; `number` tells it from all others."""
    return msgspec.json.encode(
        {
            "type": "recording.captured.v1",
            "data": {
                "recording": f"st-{number}",
                "nik": NIK,
                "domicile": "64.08.05.2001",
                "place": "64.08.05",
                "mode": "offline",
            },
        }
    )


@dataclass(frozen=True)
class Endpoint:
    """Where an endpoint listens."""

    path: Path
    port: int

    @property
    def url(self) -> str:
        """Return its address for HTTP."""
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.AsyncClient:
        """Return an HTTP client of it."""
        return httpx.AsyncClient(base_url=self.url, trust_env=False)

    async def link(self) -> "Link":
        """Connect to its socket."""
        return Link(*await asyncio.open_unix_connection(self.path))

    async def is_up(self) -> bool:
        """Return whether it takes connections."""
        try:
            _, writer = await asyncio.open_unix_connection(self.path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        writer.close()
        return True


class Link:
    """A connection to the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, *lines: bytes) -> list[dict[str, object]]:
        """Send lines at once and return their answers."""
        self.writer.write(b"".join(line + b"\n" for line in lines))
        await self.writer.drain()
        return [await self.answer() for _ in lines]

    async def answer(self) -> dict[str, object]:
        """Return the next answer."""
        found: dict[str, object] = msgspec.json.decode(await self.reader.readline())
        return found

    async def close(self) -> None:
        """End it."""
        self.writer.close()
        await self.writer.wait_closed()


@asynccontextmanager
async def serving(folder: Path, *, routes: Routes = no_routes) -> AsyncIterator[Endpoint]:
    """Serve a home in this process, on a socket beside it and on a port."""
    endpoint = Endpoint(folder.parent / "rekam.sock", free_port())
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            serve(
                folder,
                [UnixAddress(endpoint.path), LoopbackAddress("127.0.0.1", endpoint.port)],
                clock=DeviceClock(),
                stopping=stopping,
                routes=routes,
            )
        )
        await until(endpoint.is_up)
        try:
            yield endpoint
        finally:
            stopping.set()


class RunningDevice:
    """`rekam device run` with an endpoint; killed when it is left."""

    def __init__(self, folder: Path, *, kafka: str | None = None) -> None:
        """Take a home. Without `kafka` its only route leads nowhere."""
        self._folder = folder
        self._route = f"kafka://{kafka or f'127.0.0.1:{free_port()}'}"
        self.endpoint = Endpoint(folder.parent / "rekam.sock", free_port())
        self._process: asyncio.subprocess.Process

    @property
    def environ(self) -> Mapping[str, str]:
        """Return the environment of its commands."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("REKAM_")}
        return {**kept, "REKAM_HOME": str(self._folder.parent)}

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *command("device", "run", "--home", str(self._folder), "--route", self._route),
            *("--listen", f"unix:{self.endpoint.path}"),
            *("--listen", f"127.0.0.1:{self.endpoint.port}"),
            env=dict(self.environ),
            stderr=sys.stderr.fileno(),
        )

        async def is_up_or_over() -> bool:
            return self._process.returncode is not None or await self.endpoint.is_up()

        await until(is_up_or_over)
        assert self._process.returncode is None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()

    async def ended(self) -> int:
        """Wait until it has ended by itself; return its exit code."""
        return await self._process.wait()

    async def end(self) -> int:
        """Ask it to end; return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return await self._process.wait()
