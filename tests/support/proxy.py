"""A TCP proxy between a client and a server, which does to the link what links do."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

PIECE_BYTES = 16 * 1024
GARBAGE = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n\x00\xff garbage" * 20


@dataclass
class Proxy:
    """What the link does now; a test sets it at any time."""

    host: str
    target: int
    port: int = 0
    mode: Literal["pass", "refuse", "stall", "garbage"] = "pass"
    """`stall`: connections stay open and nothing goes through: a link that dies without a FIN."""
    bytes_per_second: int | None = None
    upstream_bytes: int = 0
    """What went to the server, since the proxy began."""
    answers_lost: int = 0
    _lose_after: int | None = None
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def address(self) -> str:
        """Return `host:port` for clients."""
        return f"{self.host}:{self.port}"

    def set_mode(self, mode: Literal["pass", "refuse", "stall", "garbage"]) -> None:
        """Change what happens from now on, on open connections too."""
        self.mode = mode
        self._moved.set()
        self._moved = asyncio.Event()

    def lose_answer(self, *, after_bytes: int) -> None:
        """Drop the next answer after so many more bytes went to the server, and the link with it.

        It stays away until the mode is set again: an idempotent client would repeat it by itself.
        """
        self._lose_after = self.upstream_bytes + after_bytes

    def cut(self) -> None:
        """Reset all open connections."""
        for writer in tuple(self._writers):
            _reset(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        self._writers.add(writer)
        try:
            await self._carry(reader, writer)
        except OSError:
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "refuse":
            _reset(writer)
            return
        if self.mode == "garbage":
            await reader.read(1)
            writer.write(GARBAGE)
            await writer.drain()
            return
        back, forth = await asyncio.open_connection(self.host, self.target)
        self._writers.add(forth)
        try:
            both = {
                asyncio.create_task(self._up(reader, forth), name="proxy-up"),
                asyncio.create_task(self._down(back, writer), name="proxy-down"),
            }
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in both:
                    task.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        finally:
            self._writers.discard(forth)
            forth.close()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE_BYTES):
            await self._passable()
            if self.bytes_per_second is not None:
                # What a slow link is: time for each byte.
                await asyncio.sleep(len(piece) / self.bytes_per_second)
            self.upstream_bytes += len(piece)
            writer.write(piece)
            await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE_BYTES):
            await self._passable()
            if self._lose_after is not None and self.upstream_bytes >= self._lose_after:
                self._lose_after = None
                self.answers_lost += 1
                self.set_mode("refuse")
                self.cut()
                return
            writer.write(piece)
            await writer.drain()

    async def _passable(self) -> None:
        while self.mode == "stall":
            await self._moved.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def proxy_before(target: int, *, host: str = "127.0.0.1") -> AsyncIterator[Proxy]:
    """Give a proxy before a port, which need not be open yet."""
    proxy = Proxy(host, target)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer), name="proxy")
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, host, 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
