"""A process that owns an embedded server, to be killed: `python -m tests.support.owner`."""

import asyncio
import os
import select
import shutil
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.broker import new_broker
from tests.support.database import new_server

GONE_SECONDS_MAX = 20.0


class Owner:
    """The owner as its test sees it: it has started a server and said its process id."""

    def __init__(self, kind: str, state_dir: Path, *, orphaning: bool) -> None:
        self._arguments = [kind, str(state_dir), "orphaning" if orphaning else "ordinary"]
        self._process: asyncio.subprocess.Process
        self._server: int
        self.server_pid = 0

    @classmethod
    def of(cls, kind: str, state_dir: Path, *, orphaning: bool = False) -> Self:
        """Return an owner of a `kafka` or `postgres`, to be entered.

        An `orphaning` one starts its server without the kernel's parent-death signal.
        """
        return cls(kind, state_dir, orphaning=orphaning)

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.owner",
            *self._arguments,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the owner could not start its server"
        self.server_pid = int(line.split()[-1])
        self._server = os.pidfd_open(self.server_pid)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()
        if self.server_is_alive():
            signal.pidfd_send_signal(self._server, signal.SIGKILL)
        os.close(self._server)

    async def kill(self) -> None:
        """SIGKILL the owner, not its server."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()

    def server_is_alive(self) -> bool:
        """Return whether the server still runs."""
        return not select.select([self._server], [], [], 0)[0]

    def server_children(self) -> list[Path]:
        """Return where the kernel tells of the server's children, as long as they live."""
        children = Path(f"/proc/{self.server_pid}/task/{self.server_pid}/children").read_text()
        return [Path("/proc", child) for child in children.split()]

    async def wait_until_server_is_gone(self) -> None:
        """Return when the server has ended; fail after a deadline."""
        ended, _, _ = await asyncio.to_thread(
            select.select, [self._server], [], [], GONE_SECONDS_MAX
        )
        assert ended, f"server {self.server_pid} outlived its owner"


async def own(kind: str, state_dir: Path) -> None:
    """Start a server, say its process id, and wait to be killed."""
    server = new_broker(state_dir) if kind == "kafka" else new_server(state_dir)
    await server.start()
    sys.stdout.write(f"{server.pid}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    kind, state_dir, mode = sys.argv[1:]
    if mode == "orphaning":
        commands = Path(state_dir).with_name("commands")
        commands.mkdir()
        wrapper = commands / "setpriv"
        real = shutil.which("setpriv")
        # Drops the first option, the signal. Without another, setpriv has nothing to do.
        wrapper.write_text(
            f'#!/bin/sh\nshift\n[ "$1" = -- ] && shift && exec "$@"\nexec {real} "$@"\n'
        )
        wrapper.chmod(0o755)
        os.environ["PATH"] = f"{commands}:{os.environ['PATH']}"
    asyncio.run(own(kind, Path(state_dir)))


if __name__ == "__main__":
    main()
