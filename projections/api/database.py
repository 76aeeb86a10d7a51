"""The database as calls see it: one snapshot a call, and one clear problem when it is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from projections.api.problems import ProblemError
from projections.reading import Connection, Sessions
from rekam.runtime.postgres import POOL_CONNECTIONS_MAX, open_pool

ACQUIRE_SECONDS_MAX: Final = 3.0
"""How long a call waits for one of the pool's connections."""
STATEMENT_SECONDS_MAX: Final = 20.0
CLOSE_SECONDS_MAX: Final = 5.0
BESIDE_MAX: Final = 2
"""How many calls may read by two sessions at the same time; each of them keeps two processors of
the database busy."""
SESSION: Final = {
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "enable_bitmapscan": "off",
    "random_page_cost": "1.1",
}
"""Reads are ranges of indexes, a few ms each: starting workers or a compiler takes longer, and a
plan for any region and day at all is twice as slow as one for those that are asked for. Small
ranges in many desa are skipped to in an index; the planner thinks a bitmap of all of them cheaper,
which it is not (measured: 29 ms, 13 ms with these)."""

_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
)
_NOT_MIGRATED: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)


class Database:
    """Sessions that only read. Safe for concurrent calls."""

    def __init__(self, pool: Any, beside: Any) -> None:
        self._pool = pool
        self._beside = beside
        """Of second sessions. Who waits for a first one holds none, so nobody waits in a circle."""
        self._beside_free = BESIDE_MAX

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str) -> AsyncIterator["Database"]:
        """Open the pools, give the database, close the pools. Raises Unavailable."""
        async with _pool(dsn, POOL_CONNECTIONS_MAX) as pool, _pool(dsn, BESIDE_MAX) as beside:
            yield cls(pool, beside)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Give a connection on which every read sees the same state of the database.

        Raises ProblemError when the database is away, or lacks tables.
        """
        async with _told(), self._transaction(self._pool) as session:
            yield session

    @asynccontextmanager
    async def wide_snapshot(self) -> AsyncIterator[Sessions]:
        """Give such a connection for long reads, which may ask several questions at once.

        There are two sessions behind it, or one while other calls have the second ones.
        """
        async with _told(), self._transaction(self._pool) as session:
            if not self._beside_free:
                yield Sessions([session])
                return
            self._beside_free -= 1
            try:
                state = await session.fetchval("SELECT pg_export_snapshot()")
                async with self._transaction(self._beside) as other:
                    await other.execute(f"SET TRANSACTION SNAPSHOT '{state}'")
                    yield Sessions([session, other])
            finally:
                self._beside_free += 1

    @asynccontextmanager
    async def _transaction(self, pool: Any) -> AsyncIterator[Any]:
        async with (
            pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as session,
            session.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield session


@asynccontextmanager
async def _pool(dsn: str, connections_max: int) -> AsyncIterator[Any]:
    pool = await open_pool(
        dsn,
        connections_max=connections_max,
        command_seconds_max=STATEMENT_SECONDS_MAX,
        application_name="rekam-api",
        settings=SESSION,
    )
    try:
        yield pool
    finally:
        try:
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await pool.close()
        except TimeoutError:
            pool.terminate()


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    try:
        yield
    except _NOT_MIGRATED as error:
        raise ProblemError(
            "database_not_migrated", "tables are missing; run `rekam db migrate`"
        ) from error
    except _AWAY as error:
        raise ProblemError(
            "database_unavailable",
            f"PostgreSQL does not answer ({type(error).__name__}); try again, "
            "and have it started if this lasts",
        ) from error
