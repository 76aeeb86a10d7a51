"""Children of `rekam up`: started again when they die, stopped when told, never orphans."""

import asyncio
import os
import select
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rekam.cli.supervision import BackOff, Child, keep_serving, output_of
from rekam.domain.errors import Misconfigured, Unavailable

DEADLINE_SECONDS = 20.0

SAY_PID = "import os; print(os.getpid(), flush=True); "
LIVE = f"{SAY_PID}import signal; signal.pause()"


class Heard:
    """What a child prints and what is reported of it, to be waited for."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.reports: list[str] = []

    async def pid(self) -> int:
        """Return the next life's process id."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return int(await self.lines.get())


def child_of(program: str, heard: Heard, log_path: Path, *, ends: bool = False) -> Child:
    return Child(
        name="child",
        command=[sys.executable, "-c", program],
        log_path=log_path,
        report=heard.reports.append,
        heard=heard.lines.put_nowait,
        ends_with_success=ends,
    )


@asynccontextmanager
async def running(child: Child) -> AsyncIterator[asyncio.Task[None]]:
    """Run a child; it is stopped afterwards."""
    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(child.run())
        yield life
        child.stop()


async def until_ended(pid: int) -> None:
    """Return when a process is gone; fail after a deadline."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = await asyncio.to_thread(select.select, [descriptor], [], [], DEADLINE_SECONDS)
    finally:
        os.close(descriptor)
    assert ended, f"process {pid} lives on"


def test_wait_doubles_up_to_its_limit_and_begins_anew_after_a_proved_life() -> None:
    back_off = BackOff()
    waits = [back_off.after(lived_seconds=0.1) for _ in range(7)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert back_off.after(lived_seconds=60.0) == 0.5


async def test_child_that_is_killed_is_started_again(tmp_path: Path) -> None:
    heard = Heard()
    async with running(child_of(LIVE, heard, tmp_path / "child.log")):
        first = await heard.pid()
        os.kill(first, signal.SIGKILL)
        second = await heard.pid()
    assert first != second
    [report] = heard.reports
    assert report.startswith("child was ended by SIGKILL; starting it again in 0.5 s")
    await until_ended(second)


async def test_child_that_ends_by_itself_is_started_again(tmp_path: Path) -> None:
    heard = Heard()
    async with running(child_of(f"{SAY_PID}raise SystemExit(75)", heard, tmp_path / "child.log")):
        assert await heard.pid() != await heard.pid()
    assert heard.reports[0].startswith("child ended with code 75")


async def test_child_whose_work_is_done_is_not_started_again(tmp_path: Path) -> None:
    heard = Heard()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await child_of("print('done')", heard, tmp_path / "child.log", ends=True).run()
    assert heard.lines.get_nowait() == b"done\n"
    assert heard.reports == []


async def test_child_that_is_misconfigured_ends_all_with_its_own_words(tmp_path: Path) -> None:
    program = (
        "import sys; print('noise', file=sys.stderr); "
        "print('misconfigured: REKAM_X: is wrong', file=sys.stderr); raise SystemExit(2)"
    )
    with pytest.raises(Misconfigured) as caught:
        await child_of(program, Heard(), tmp_path / "child.log").run()
    assert caught.value.faults == ("child: REKAM_X: is wrong",)


async def test_stop_before_the_start_starts_nothing(tmp_path: Path) -> None:
    heard = Heard()
    child = child_of(LIVE, heard, tmp_path / "child.log")
    child.stop()
    child.stop()
    await child.run()
    assert heard.lines.empty()


async def test_standard_error_is_kept_and_the_log_before_it_too(tmp_path: Path) -> None:
    path = tmp_path / "log" / "child.log"
    for word in ("first", "second"):
        program = f"import sys; print('{word}', file=sys.stderr)"
        await child_of(program, Heard(), path, ends=True).run()
    assert path.read_text() == "second\n"
    assert path.with_suffix(".log.1").read_text() == "first\n"


async def test_line_without_end_is_dropped_and_the_next_one_heard(tmp_path: Path) -> None:
    heard = Heard()
    program = "print('x' * 1_000_000); print('y')"
    await child_of(program, heard, tmp_path / "child.log", ends=True).run()
    lines = [heard.lines.get_nowait() for _ in range(heard.lines.qsize())]
    assert lines[-1] == b"y\n"


async def test_cancelled_run_leaves_no_child(tmp_path: Path) -> None:
    heard = Heard()
    life = asyncio.ensure_future(child_of(LIVE, heard, tmp_path / "child.log").run())
    pid = await heard.pid()
    life.cancel()
    with pytest.raises(asyncio.CancelledError):
        await life
    await until_ended(pid)


async def test_what_a_killed_child_had_started_is_ended_too(tmp_path: Path) -> None:
    heard = Heard()
    program = (
        "import os, signal\n"
        "if os.fork() == 0:\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.write(1, b'%d\\n' % os.getpid())\nsignal.pause()"
    )
    async with running(child_of(program, heard, tmp_path / "child.log")):
        one, other = await heard.pid(), await heard.pid()
        leader, started = (one, other) if os.getpgid(other) == one else (other, one)
        os.kill(leader, signal.SIGKILL)
        await until_ended(started)
        await heard.pid()


async def test_children_die_with_a_killed_owner(tmp_path: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        (
            "import asyncio, sys\nfrom pathlib import Path\n"
            "from rekam.cli.supervision import Child\n"
            "from rekam.runtime.logging import configure_logging\n"
            "configure_logging()\n"
            f"child = Child(name='c', command=[sys.executable, '-c', {LIVE!r}],\n"
            f"    log_path=Path({str(tmp_path / 'c.log')!r}), report=print,\n"
            "    heard=lambda line: print(line.decode(), end='', flush=True))\n"
            "asyncio.run(child.run())"
        ),
        stdout=asyncio.subprocess.PIPE,
    )
    assert owner.stdout is not None
    pid = int(await owner.stdout.readline())
    owner.kill()
    await owner.communicate()
    await until_ended(pid)


async def test_output_of_a_command_comes_with_its_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('{}'); raise SystemExit(1)"]
    assert await output_of("audit", command, log_path=tmp_path / "audit.log") == (1, b"{}\n")


class FakeServer:
    """A server that dies when told, and whose start fails as often as told."""

    def __init__(self, *, failures: int) -> None:
        self.pid: int | None = None
        self._failures = failures
        self.started = asyncio.Event()

    async def start(self) -> None:
        """Start, or fail."""
        if self._failures:
            self._failures -= 1
            raise Unavailable("its port is taken\nand more")
        self.pid = 1
        self.started.set()


@pytest.mark.parametrize("failures", [0, 1])
async def test_server_that_died_is_started_until_it_serves(failures: int) -> None:
    server, reports = FakeServer(failures=failures), list[str]()
    watch = asyncio.ensure_future(keep_serving("Kafka", server, report=reports.append))
    async with asyncio.timeout(DEADLINE_SECONDS):
        await server.started.wait()
        server.started.clear()
    watch.cancel()
    await asyncio.wait([watch])
    assert reports[0] == "Kafka has died; starting it again in 0.5 s"
    assert sum("does not start: its port is taken" in report for report in reports) == failures
