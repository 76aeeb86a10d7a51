"""How far an export or import is: a bar on a terminal, plain lines elsewhere; on standard error."""

import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

LINE_SECONDS: Final = 2.0


class Report(Protocol):
    """Hears how far the work is; all of it may be called as often as one likes."""

    def begin(self, phase: str, *, bytes_total: int | None) -> None:
        """Start a phase; its size may be unknown."""

    def advance(self, size: int) -> None:
        """Count bytes that are done."""


class Silent:
    """Says nothing."""

    def begin(self, phase: str, *, bytes_total: int | None) -> None:
        """Say nothing."""

    def advance(self, size: int) -> None:
        """Say nothing."""


class Bar:
    """A bar on a terminal."""

    def __init__(self) -> None:
        # `rekam device append` imports this too, and has no bar: rich takes a tenth of a second.
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            # A pipe that standard output may be must get its own bytes.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=None)

    def begin(self, phase: str, *, bytes_total: int | None) -> None:
        """Start a phase anew."""
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(phase, total=bytes_total)

    def advance(self, size: int) -> None:
        """Move the bar."""
        self._progress.advance(self._task, size)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()


@dataclass(slots=True)
class Lines:
    """A line at the start of a phase and every LINE_SECONDS."""

    _phase: str = ""
    _total: int | None = None
    _done: int = 0
    _next_at: float = 0.0

    def begin(self, phase: str, *, bytes_total: int | None) -> None:
        """Print the phase."""
        self._phase, self._total, self._done = phase, bytes_total, 0
        self._print()

    def advance(self, size: int) -> None:
        """Print how far it is, if the last line is old enough."""
        self._done += size
        if time.monotonic() >= self._next_at:
            self._print()

    def _print(self) -> None:
        self._next_at = time.monotonic() + LINE_SECONDS
        total = "" if self._total is None else f"/{_mib(self._total)}"
        sys.stderr.write(f"{self._phase}: {_mib(self._done)}{total} MiB\n")
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


def report_for_this_process() -> Bar | Lines:
    """Return a bar on a terminal, plain lines elsewhere."""
    return Bar() if sys.stderr.isatty() else Lines()


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f}"
