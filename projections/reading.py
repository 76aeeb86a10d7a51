"""What every read has in common: the connection as a reader sees it, and instants.

A read runs in the caller's transaction. Figures that are shown together are read in one snapshot
(READ ONLY, REPEATABLE READ), so that they and the position belong together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Protocol, TypeVar
from zoneinfo import ZoneInfo

from rekam.domain.clocks import OfficeZone

ReadT = TypeVar("ReadT")
ComputedT = TypeVar("ComputedT")
Row = Mapping[str, Any]
"""A row by column: asyncpg, which ships no types, returns it."""

DAY_MAX: Final = date(9999, 12, 30)
"""The last day that can be asked for: the next one stands for *date unknown*."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS_MIN: Final = -62_135_510_400_000  # 0001-01-02
_MS_MAX: Final = 253_402_128_000_000  # 9999-12-30


class Connection(Protocol):
    """The part of asyncpg's connection that reads use."""

    async def fetch(self, query: str, *args: object) -> Sequence[Row]:
        """Return all rows."""
        ...

    async def fetchrow(self, query: str, *args: object) -> Row | None:
        """Return the first row."""
        ...


class AskedOnce:
    """A connection that asks each question once, for a read that comes back to what it has read.

    Within one snapshot the same question has the same answer; it is remembered as long as this is.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._answers: dict[tuple[str, str], Sequence[Row]] = {}

    async def fetch(self, query: str, *args: object) -> Sequence[Row]:
        """Return all rows."""
        question = (query, repr(args))
        if question not in self._answers:
            self._answers[question] = await self._connection.fetch(query, *args)
        return self._answers[question]

    async def fetchrow(self, query: str, *args: object) -> Row | None:
        """Return the first row."""
        rows = await self.fetch(query, *args)
        return rows[0] if rows else None


async def read_beside(
    compute: Callable[[], ComputedT], read: Awaitable[ReadT]
) -> tuple[ComputedT, ReadT]:
    """Compute while the database works on the first question of a read; return both.

    The event loop is held up by `compute` as by any other call. An error of the read passes as
    it is, and then nothing more is done.
    """

    async def computed() -> ComputedT:
        return compute()

    # It begins when the read waits, which is when the loop has sent the question off.
    computing = asyncio.ensure_future(computed())
    try:
        found = await read
    except BaseException:
        computing.cancel()
        raise
    return await computing, found


def instant(ms: int) -> datetime:
    """Return the moment (ms since 1970, UTC); one beyond the calendar becomes its end.

    Producers' clocks may be wrong by more than the calendar holds.
    """
    return _EPOCH + timedelta(milliseconds=min(max(ms, _MS_MIN), _MS_MAX))


def end_of_day_ms(day: date, zone: OfficeZone) -> int:
    """Return the first moment (ms) after the office's day."""
    midnight = datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone.name))
    return int(midnight.timestamp() * 1000)
