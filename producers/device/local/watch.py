"""Watches how routes do, from outside: for people who look, and for nothing else.

`device run` keeps what it sees in `routes.json` of the home, so that `device status` can tell it.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from producers.device.local.standing import RouteStanding
from producers.device.route import Delivery, Route
from rekam.domain.errors import Overloaded, ServerDatesWrong, Unavailable
from rekam.domain.ids import ProducerId

BOARD: Final = "routes.json"
BOARD_BYTES_MAX: Final = 4096

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _Board(msgspec.Struct, frozen=True):
    """routes.json: what the process `pid` knows of its routes."""

    pid: int
    routes: tuple[RouteStanding, ...]


class RouteWatch:
    """Knows of each route whether its last send worked."""

    def __init__(self, folder: Path) -> None:
        """Keep what is seen in this home."""
        self._path = folder / BOARD
        self._watched: list[_Watched] = []

    def over(self, routes: Sequence[Route]) -> Sequence[Route]:
        """Watch these routes; use what is returned in their place."""
        self._watched = [_Watched(route, self) for route in routes]
        return self._watched

    def standings(self) -> tuple[RouteStanding, ...]:
        """Return how the routes do, in their order."""
        return tuple(
            RouteStanding(label=one.label, is_working=one.is_working, problem=one.problem)
            for one in self._watched
        )

    def note(self) -> None:
        """Write down how they do. Not durable: it is worth nothing after this process."""
        making = self._path.with_name(f".{BOARD}.{os.getpid()}")
        try:
            making.write_bytes(msgspec.json.encode(_Board(os.getpid(), self.standings())))
            making.replace(self._path)
        except OSError as error:
            # On a full disk sending must go on: it is the way out.
            making.unlink(missing_ok=True)
            log.warning("routes_not_noted", error=error.strerror)


class _Watched:
    """A route that tells its watch when it begins or ends to work."""

    def __init__(self, route: Route, watch: RouteWatch) -> None:
        self._route, self._watch = route, watch
        self.is_working: bool | None = None
        self.problem: str | None = None

    @property
    def label(self) -> str:
        return self._route.label

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> Delivery:
        try:
            delivery = await self._route.send(segments, producer=producer)
        except (Unavailable, Overloaded) as error:
            problem = error.code if isinstance(error, ServerDatesWrong) else None
            self._tell(is_working=False, problem=problem)
            raise
        self._tell(is_working=any(one.verdict != "retry" for one in delivery.verdicts))
        return delivery

    async def receipt(self, producer: ProducerId) -> bytes | None:
        return await self._route.receipt(producer)

    async def stop(self) -> None:
        await self._route.stop()

    def _tell(self, *, is_working: bool, problem: str | None = None) -> None:
        if (is_working, problem) != (self.is_working, self.problem):
            self.is_working, self.problem = is_working, problem
            self._watch.note()


def noted_routes(folder: Path, pid: int | None) -> tuple[RouteStanding, ...]:
    """Return how the routes of the process `pid` do, as far as it has told; else nothing."""
    try:
        raw = (folder / BOARD).read_bytes()
        board = msgspec.json.decode(raw[:BOARD_BYTES_MAX], type=_Board)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        # It is an aid that its process writes anew; whoever asks is told that nothing is known.
        return ()
    return board.routes if board.pid == pid else ()
