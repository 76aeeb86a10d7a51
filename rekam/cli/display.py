"""What `rekam up` shows while it works: two bars on a terminal, plain lines elsewhere.

All of it goes to standard error; standard output is for results.
"""

import sys
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from rekam.cli.figures import grouped
from rekam.cli.standing import Standing

DRAINING_LINE_SECONDS = 2.0
LIVING_LINE_SECONDS = 30.0


class Display(Protocol):
    """Where a person looks. Enter it before use; leaving it twice is harmless."""

    def say(self, line: str) -> None:
        """Tell one thing that happened."""
        ...

    def show(self, standing: Standing, *, is_drained: bool) -> None:
        """Show how far it has come; may be called as often as one likes."""
        ...

    def conclude(self, text: str) -> None:
        """Print a result to standard output."""
        ...

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        ...


def display_for_this_process() -> Display:
    """Return bars on a terminal, plain lines elsewhere."""
    return Bars() if sys.stderr.isatty() else Lines()


class Bars:
    """Two bars, sent and folded; what is said appears above them."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[figure]}"),
            TimeElapsedColumn(),
            console=self._console,
            # Their text changes each second; more often would only cost.
            refresh_per_second=4,
            # Both on one terminal are kept apart by `conclude`; a pipe must get its own bytes.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._sent = self._progress.add_task(
            "terkirim ke Kafka / sent", total=None, figure="", visible=False
        )
        self._folded = self._progress.add_task(
            "terproyeksi / folded", total=None, figure="", visible=False
        )

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._console.print(line, markup=False)

    def show(self, standing: Standing, *, is_drained: bool) -> None:
        """Move the bars."""
        sending = standing.sending
        # A trickle that goes on after the history is on top of what was planned.
        total = max(sending.total, sending.sent) or None
        self._progress.update(
            self._sent,
            completed=sending.sent,
            total=total,
            figure=f"{grouped(sending.sent)} events",
            visible=sending.total > 0 or is_drained,
        )
        self._progress.update(
            self._folded,
            completed=standing.folded_events,
            total=total,
            figure=f"{grouped(standing.recorded)} sudah rekam / recorded",
            visible=True,
        )

    def conclude(self, text: str) -> None:
        """Print a result to standard output, out of the way of the bars."""
        self._progress.stop()
        click.echo(text)
        self._progress.start()

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
    """One line at a time, not more often than a log can bear."""

    _next_line: float = field(default=0.0)

    def say(self, line: str) -> None:
        """Print the line."""
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def show(self, standing: Standing, *, is_drained: bool) -> None:
        """Print a line if the last one is old enough."""
        now = time.monotonic()
        if now < self._next_line:
            return
        self._next_line = now + (LIVING_LINE_SECONDS if is_drained else DRAINING_LINE_SECONDS)
        sending = standing.sending
        self.say(
            f"sent {sending.sent}/{sending.total} events · folded {standing.folded_records}/"
            f"{standing.records} segments · recorded {standing.recorded}"
            + (f" · {sending.phase}" if sending.phase else "")
        )

    def conclude(self, text: str) -> None:
        """Print a result to standard output."""
        click.echo(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass
