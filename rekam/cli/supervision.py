"""Child processes of `rekam up`: started, watched, started again, and gone when their owner is.

Nothing of ours is left when the owner is killed at any instant: the kernel kills a child whose
owner dies (`setpriv --pdeathsig`), and one whose owner died before that was asked for sees another
parent and does not begin.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from rekam.domain.errors import Misconfigured, Unavailable
from rekam.embedded.machine import require_commands

BACK_OFF_SECONDS_MIN = 0.5
BACK_OFF_SECONDS_MAX = 10.0
PROVED_SECONDS = 60.0
"""A child that lived this long has proved itself: its next restart is quick again."""
STOP_SECONDS_MAX = 15.0
WATCH_SECONDS = 0.2
OUTPUT_LINE_BYTES_MAX = 64 * 1024
LOG_TAIL_BYTES = 4000
LOG_TAIL_LINES = 5

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True)
class BackOff:
    """How long to wait before the next start: doubling, until a life proves itself."""

    seconds: float = BACK_OFF_SECONDS_MIN

    def after(self, *, lived_seconds: float) -> float:
        """Return the wait that follows a life of `lived_seconds`."""
        if lived_seconds >= PROVED_SECONDS:
            self.seconds = BACK_OFF_SECONDS_MIN
        wait = self.seconds
        self.seconds = min(2 * wait, BACK_OFF_SECONDS_MAX)
        return wait


@dataclass(slots=True, kw_only=True)
class Child:
    """One command that is kept running until `stop`, or until it has done its work.

    Standard error goes to `log_path`, lines of standard output to `heard`. `run` is called once.
    """

    name: str
    command: Sequence[str]
    log_path: Path
    report: Callable[[str], None]
    heard: Callable[[bytes], None] = lambda _line: None
    ends_with_success: bool = False
    """Exit code 0 means that the work is done; otherwise every end is answered with a start."""
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _log_start: int = 0

    def stop(self) -> None:
        """Ask for an orderly end; `run` returns after it. Safe before `run` and twice."""
        self._stopping.set()

    async def run(self) -> None:
        """Keep the command running; return when it is done or stopped, with nothing left of it.

        Raises Misconfigured with the child's own words when it refuses to start.
        """
        rotate(self.log_path)
        back_off = BackOff()
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._live()
            lived = time.monotonic() - started
            if self._stopping.is_set() or (code == 0 and self.ends_with_success):
                return
            if code == Misconfigured.exit_code:
                raise Misconfigured([f"{self.name}: {line}" for line in self._last_words()])
            wait = back_off.after(lived_seconds=lived)
            log.warning("child_ended", child=self.name, exit_code=code, again_seconds=wait)
            self.report(
                f"{self.name} {_ending(code)}; starting it again in {wait:g} s ({self.log_path})"
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stopping.wait()

    async def _live(self) -> int:
        """Run the command once, until it ends or is to stop, and return its exit code."""
        process, output = await self._begin()
        log.info("child_started", child=self.name, pid=process.pid)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(output))
            ended = tasks.create_task(process.wait())
            told = tasks.create_task(self._stopping.wait())
            try:
                await asyncio.wait((ended, told), return_when=asyncio.FIRST_COMPLETED)
            finally:
                code = await end_group(process, name=self.name)
                told.cancel()
        return code

    async def _begin(self) -> tuple[asyncio.subprocess.Process, asyncio.StreamReader]:
        # A pipe of our own: with asyncio's, `wait` would wait for its end too, and whatever the
        # child has started may hold that open after the child has died.
        reading, writing = os.pipe()
        output = asyncio.StreamReader(limit=OUTPUT_LINE_BYTES_MAX)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), os.fdopen(reading, "rb", buffering=0)
        )
        try:
            with self.log_path.open("ab") as sink:
                self._log_start = sink.tell()
                process = await asyncio.create_subprocess_exec(
                    *owned(self.command),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=writing,
                    stderr=sink,
                    start_new_session=True,
                )
        finally:
            os.close(writing)
        return process, output

    async def _listen(self, output: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await output.readline()
            except ValueError:
                log.warning("child_line_too_long", child=self.name, limit=OUTPUT_LINE_BYTES_MAX)
                continue
            if not line:
                return
            self.heard(line)

    def _last_words(self) -> list[str]:
        with self.log_path.open("rb") as file:
            file.seek(max(self._log_start, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
        prefix = f"{Misconfigured.code}: "
        faults = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
        return faults or lines[-LOG_TAIL_LINES:] or ["it refused to start and said nothing"]


class Server(Protocol):
    """An embedded server: `start` also after its kill, on the same address."""

    @property
    def pid(self) -> int | None:
        """Return its process id while it runs."""
        ...

    async def start(self) -> None:
        """Return when it serves. Raises Unavailable when it does not come up."""
        ...


async def keep_serving(name: str, server: Server, *, report: Callable[[str], None]) -> None:
    """Start a server again whenever it has died; runs until it is cancelled."""
    back_off = BackOff()
    started = time.monotonic()
    while True:
        if server.pid is None:
            wait = back_off.after(lived_seconds=time.monotonic() - started)
            log.warning("server_ended", server=name, again_seconds=wait)
            report(f"{name} has died; starting it again in {wait:g} s")
            await asyncio.sleep(wait)
            await _start_again(name, server, report=report)
            started = time.monotonic()
        await asyncio.sleep(WATCH_SECONDS)


async def _start_again(name: str, server: Server, *, report: Callable[[str], None]) -> None:
    try:
        await server.start()
    except Unavailable as error:
        log.warning("server_start_failed", server=name, error=str(error))
        report(f"{name} does not start: {str(error).splitlines()[0]}")
    else:
        report(f"{name} is back")


async def output_of(name: str, command: Sequence[str], *, log_path: Path) -> tuple[int, bytes]:
    """Run one command that dies with us to its end; return its exit code and standard output."""
    rotate(log_path)
    with log_path.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            *owned(command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=sink,
            start_new_session=True,
        )
    try:
        output, _ = await process.communicate()
    finally:
        code = await end_group(process, name=name)
    return code, output


async def end_group(process: asyncio.subprocess.Process, *, name: str) -> int:
    """End a child in order, by force after a deadline, and whatever it left; return its exit code.

    The child leads a session of its own, so its number names all that it started.
    """
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await process.wait()
        except TimeoutError:
            log.warning("child_killed", child=name, waited_seconds=STOP_SECONDS_MAX)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return await process.wait()


def rekam_command(*arguments: str, config: Path | None) -> list[str]:
    """Return the command line of another `rekam` with the same settings file."""
    named = [] if config is None else ["--config", str(config.absolute())]
    return [sys.executable, "-m", "rekam", *named, *arguments]


def owned(command: Sequence[str]) -> list[str]:
    """Return `command` such that it dies with this process; start it from the main thread."""
    require_commands("setpriv")
    begin = '[ "$PPID" = "$0" ] && exec "$@"'
    return [
        "setpriv",
        "--pdeathsig=KILL",
        "--",
        "sh",
        "-c",
        begin,
        str(os.getpid()),
        *command,
    ]


def rotate(path: Path) -> None:
    """Make room for a new log; the one before is kept beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(path.with_suffix(".log.1"))


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
