"""A sender that is a process of its own, and is killed in the middle: SIGKILL, no warning.

It reports over a pipe what it was told is durable; the parent holds that against the outbox
afterwards. Started by `multiprocessing` with a fresh interpreter, never by fork: the parent has
threads and open SQLite files.
"""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from producers.device.clock import DeviceClock
from producers.device.home import ProducerHome
from producers.simulator.faulty.plan import KillStep
from producers.simulator.faulty.ways import SENT_VERDICTS, Ways
from rekam.domain.errors import Overloaded, ProblemFound, Unavailable
from rekam.domain.segment import Sealed
from rekam.runtime.logging import configure_logging

PIECES: Final = 3
"""Transactions of a visit, so that a kill leaves some events durable and some not."""

SEND_BYTES_MAX: Final = 512 * 1024
RETRY_SECONDS: Final = 0.5
SILENCE_SECONDS_MAX: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a killed process had been told before it died."""

    durable_through: int
    """`append` returned this seq; 0: none."""
    sent_segments: int
    """A route took them; the outbox may not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the process does, and where it ends."""

    folder: Path
    lines: tuple[bytes, ...]
    segment_events_max: int
    killed_at: KillStep
    ways: Ways
    way: int


async def run_and_kill(task: Task) -> Told:
    """Let a process of its own do the task until it is killed; return what it was told.

    Raises ProblemFound when it ended in another way: then it did not do what was planned.
    """
    return await asyncio.to_thread(_run, task)


def _run(task: Task) -> Told:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_live, args=(task, theirs), daemon=True)
    process.start()
    theirs.close()
    durable, sent = 0, 0
    try:
        while ours.poll(SILENCE_SECONDS_MAX):
            what, count = ours.recv()
            durable, sent = (count, sent) if what == "durable" else (durable, sent + count)
    except EOFError:
        # The pipe closes with its process: how that ends must be its own doing.
        process.join(SILENCE_SECONDS_MAX)
    finally:
        ours.close()
        # Silent for too long, it waits for a route that is away: then it is killed while it waits.
        process.kill()
        process.join()
    if process.exitcode != -signal.SIGKILL:
        raise ProblemFound(
            f"{task.folder.name}: the process that was to be killed at '{task.killed_at}' ended "
            f"with {process.exitcode}; see its lines on standard error"
        )
    return Told(durable_through=durable, sent_segments=sent)


def _live(task: Task, pipe: "Connection[tuple[str, int], tuple[str, int]]") -> None:
    configure_logging()
    asyncio.run(_append_and_send(task, pipe))


async def _append_and_send(
    task: Task, pipe: "Connection[tuple[str, int], tuple[str, int]]"
) -> None:
    now = DeviceClock().read()
    with ProducerHome.open(task.folder) as home, home.emitting():
        for number, piece in enumerate(_pieces(task.lines), start=1):
            pipe.send(("durable", home.outbox.append(piece)[-1]))
            if task.killed_at == "appended" and number == PIECES - 1:
                _die()
        home.outbox.seal_pending(
            signing_key=home.signing_key,
            reader=home.reader,
            sealed=Sealed(now.wall_ms, now.mono_ms, now.boot),
            events_max=task.segment_events_max,
        )
        if task.killed_at == "sealed":
            _die()
        route = task.ways.open(task.way)
        segments = home.outbox.unsent(limit_bytes=SEND_BYTES_MAX)
        while True:
            try:
                delivery = await route.send([one.raw for one in segments], producer=home.producer)
            except (Unavailable, Overloaded):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            taken = sum(one.verdict in SENT_VERDICTS for one in delivery.verdicts)
            pipe.send(("sent", taken))
            _die()


def _pieces(lines: Sequence[bytes]) -> list[Sequence[bytes]]:
    """Cut the lines of a visit, of which there are more than PIECES, into as many parts."""
    bounds = [len(lines) * number // PIECES for number in range(PIECES + 1)]
    return [lines[start:stop] for start, stop in pairwise(bounds)]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
