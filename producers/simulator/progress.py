"""How far the simulated fleet is: JSON lines for programs, a bar for people."""

import sys
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Self, TextIO

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINES_PER_SECOND_MAX: Final = 5

Phase = Literal["append", "send", "done", "trickle"]


class Line(msgspec.Struct, frozen=True):
    """What is printed when standard output is not a terminal."""

    appended: int
    sent: int
    total: int
    phase: Phase


@dataclass
class Standing:
    """Events in outboxes, of them in Kafka, and planned. Shown as it changes.

    Written by the run alone.
    """

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    total: int = 0
    appended: int = 0
    sent: int = 0
    phase: Phase = "append"
    _shown_at: float = -1.0
    _bar: Progress | None = None

    def __enter__(self) -> Self:
        if self.stream.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(file=self.stream),
            )
            self._bar.start()
            self._bar.add_task("")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def enter(self, phase: Phase) -> None:
        """Begin a phase and show it."""
        self.phase = phase
        self._show()

    def show(self) -> None:
        """Show the counts, if the last time is long enough ago."""
        if time.monotonic() - self._shown_at >= 1 / LINES_PER_SECOND_MAX:
            self._show()

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        if self._bar is None:
            line = msgspec.json.encode(Line(self.appended, self.sent, self.total, self.phase))
            self.stream.write(line.decode() + "\n")
            self.stream.flush()
        else:
            self._bar.update(
                self._bar.task_ids[0],
                total=self.total,
                completed=min(self.sent, self.total),
                description=_WORDS[self.phase],
            )


_WORDS: Final[dict[Phase, str]] = {
    "append": "mencatat dan mengirim / recording and sending",
    "send": "mengirim / sending",
    "done": "selesai / done",
    "trickle": "berjalan terus / going on",
}
