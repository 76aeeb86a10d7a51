"""`rekam up` as a process of its own, with everything that it has started."""

import asyncio
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rekam.runtime.settings import Settings

LINE_SECONDS_MAX = 60.0
GONE_SECONDS_MAX = 30.0


def free_port() -> int:
    """Return a loopback port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningUp:
    """One `rekam up`; whatever of it is left is killed when it is left."""

    def __init__(
        self,
        home: Path,
        *arguments: str,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.home, self.port = home, port or free_port()
        self.gateway_port = free_port()
        self._arguments = arguments
        self._settings = settings or {}
        self._process: asyncio.subprocess.Process
        self._started: dict[int, int] = {}
        self._errors: list[str] = []

    @property
    def environ(self) -> Mapping[str, str]:
        """Return the environment in which other commands find it."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("REKAM_")}
        own = {
            "REKAM_HOME": str(self.home),
            "REKAM_PORT": str(self.port),
            "REKAM_GATEWAY_PORT": str(self.gateway_port),
        }
        return {**kept, **own, **self._settings}

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    @property
    def errors(self) -> str:
        """Return what it has said on standard error, as far as that was waited for."""
        return "".join(self._errors)

    async def __aenter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        cache = self.home / "cache"
        if not cache.exists():
            cache.symlink_to(Settings.load(os.environ).home / "cache")
        self._process = await asyncio.create_subprocess_exec(
            *command("up", *self._arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(self.environ),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.returncode is None:
            self.parts()
            self._process.kill()
        await self._process.communicate()
        for descriptor in self._started.values():
            if not select.select([descriptor], [], [], 0)[0]:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)

    async def until_it_prints(self, text: str, *, seconds_max: float = LINE_SECONDS_MAX) -> str:
        """Return the line of standard output that holds `text`, once it is there."""
        assert self._process.stdout is not None
        return await self._line(self._process.stdout, text, seconds_max)

    async def until_it_says(self, text: str) -> str:
        """Return the line of standard error that holds `text`, once it is there."""
        assert self._process.stderr is not None
        return await self._line(self._process.stderr, text, LINE_SECONDS_MAX)

    async def _line(self, stream: asyncio.StreamReader, text: str, seconds_max: float) -> str:
        async with asyncio.timeout(seconds_max):
            while line := (await stream.readline()).decode():
                if stream is self._process.stderr:
                    self._errors.append(line)
                if text in line:
                    return line
        assert self._process.stderr is not None
        self._errors.append((await self._process.stderr.read()).decode())
        raise AssertionError(f"it ended without {text!r}; it said: {self.errors}")

    async def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if one is given, and return the exit code."""
        if number is not None:
            self._process.send_signal(number)
        _, errors = await self._process.communicate()
        self._errors.append(errors.decode())
        assert self._process.returncode is not None
        return self._process.returncode

    def parts(self) -> dict[str, int]:
        """Return the process ids of its parts by name."""
        parts = {}
        for pid in _children(self.pid):
            for name, mark in _MARKS.items():
                if mark in _command_line(pid):
                    parts[name] = pid
                    self._remember(pid)
            for grandchild in _children(pid):
                self._remember(grandchild)
        return parts

    async def until_all_parts_are_gone(self) -> None:
        """Return when nothing of what `parts` has seen lives; fail after a deadline."""
        for pid, descriptor in self._started.items():
            ended, _, _ = await asyncio.to_thread(
                select.select, [descriptor], [], [], GONE_SECONDS_MAX
            )
            assert ended, f"process {pid} outlived `rekam up`"

    def _remember(self, pid: int) -> None:
        if pid in self._started:
            return
        try:
            self._started[pid] = os.pidfd_open(pid)
        except ProcessLookupError:
            return


_MARKS = {
    "Kafka": "kafka.Kafka",
    "PostgreSQL": "/postgres\0-D",
    "processor": "rekam\0processor\0run",
    "api": "rekam\0api\0run",
    "gateway": "rekam\0gateway\0run",
}


def command(*arguments: str) -> list[str]:
    """Return the command line of a `rekam`."""
    return [sys.executable, "-m", "rekam", *arguments]


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in text.split()]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
