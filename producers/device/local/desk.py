"""The one place where the local endpoint touches the outbox: group commit, and how things stand.

A connection of its own, used by one thread: while a transaction waits for the disk the event loop
goes on, and what arrives meanwhile shares the next transaction.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from producers.device.clock import Clock, Reading
from producers.device.home import ProducerHome
from producers.device.local.standing import RouteStanding, Standing, standing_of
from producers.device.stamping import BATCH_LINES_MAX, Answer, append_lines, damage_of, refused
from rekam.domain.errors import Corrupt

STANDING_SECONDS: Final = 1.0
"""How long a standing is shown before the outbox is asked again."""

Routes = Callable[[], tuple[RouteStanding, ...]]


@dataclass(frozen=True, slots=True)
class _Request:
    lines: Sequence[bytes]
    now: Reading
    answers: asyncio.Future[list[Answer]]


class Desk:
    """Takes lines from all connections of an endpoint."""

    def __init__(
        self, home: ProducerHome, thread: ThreadPoolExecutor, *, clock: Clock, routes: Routes
    ) -> None:
        """Take what it works with; use `open`. `home` is used in `thread` alone."""
        self._home, self._thread = home, thread
        self._clock, self._routes = clock, routes
        self._requests: asyncio.Queue[_Request] = asyncio.Queue()
        self.damage: asyncio.Future[Corrupt] = asyncio.get_running_loop().create_future()
        """Done once the outbox was found damaged, whoever asked; nothing is stored from then on."""
        self._standing: Standing | None = None
        self._standing_until = 0.0

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, *, clock: Clock, routes: Routes) -> AsyncIterator[Self]:
        """Open a home for the endpoint. Raises what `ProducerHome.open` raises."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-append") as thread:
            home = await loop.run_in_executor(thread, ProducerHome.open, folder)
            try:
                yield cls(home, thread, clock=clock, routes=routes)
            finally:
                # Behind whatever the thread still does.
                await loop.run_in_executor(thread, home.close)

    async def submit(self, lines: Sequence[bytes]) -> list[Answer]:
        """Append lines stamped with this moment; return their answers, in order, once durable.

        A caller that is cancelled does not learn whether its lines were stored.
        """
        now = self._clock.read()
        answers: list[Answer] = []
        for start in range(0, len(lines), BATCH_LINES_MAX):
            request = _Request(
                lines[start : start + BATCH_LINES_MAX],
                now,
                asyncio.get_running_loop().create_future(),
            )
            # Bounded by the number of connections: each waits for its answers here.
            self._requests.put_nowait(request)
            answers += await request.answers
        return answers

    async def commit(self) -> None:
        """Append what is submitted until cancelled: all that has arrived, in one transaction.

        In a damaged outbox the answers say so, and `damage` is done. A failure that is not an
        answer to a line is a bug; it ends this and the waiting callers.
        """
        while True:
            group = [await self._requests.get()]
            lines = len(group[0].lines)
            while lines < BATCH_LINES_MAX and not self._requests.empty():
                group.append(self._requests.get_nowait())
                lines += len(group[-1].lines)
            try:
                answers = await self._append(
                    [(line, request.now) for request in group for line in request.lines]
                )
            except BaseException:
                for request in group:
                    request.answers.cancel()
                raise
            start = 0
            for request in group:
                end = start + len(request.lines)
                if not request.answers.done():
                    request.answers.set_result(answers[start:end])
                start = end

    async def _append(self, arrived: Sequence[tuple[bytes, Reading]]) -> list[Answer]:
        if self.damage.done():
            # What would be stored might not be found again when the file is mended.
            return [refused(self.damage.result())] * len(arrived)
        answers = await asyncio.get_running_loop().run_in_executor(
            self._thread, append_lines, self._home.outbox, arrived
        )
        if (damage := damage_of(answers)) and not self.damage.done():
            self.damage.set_result(damage)
        return answers

    async def standing(self) -> Standing:
        """Return how the device stands, at most STANDING_SECONDS old.

        Raises Corrupt when the outbox is damaged, and `damage` is done.
        """
        if self._standing is None or time.monotonic() >= self._standing_until:
            try:
                self._standing = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._read_standing
                )
            except Corrupt as error:
                if not self.damage.done():
                    self.damage.set_result(error)
                raise
            self._standing_until = time.monotonic() + STANDING_SECONDS
        return self._standing

    def _read_standing(self) -> Standing:
        return standing_of(self._home, now=self._clock.read(), routes=self._routes())
