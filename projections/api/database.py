"""The database as calls see it: one snapshot a call, and one clear problem when it is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from projections.api.problems import ProblemError
from projections.reading import Connection
from rekam.runtime.postgres import open_pool

ACQUIRE_SECONDS_MAX: Final = 3.0
"""How long a call waits for one of the pool's connections."""
STATEMENT_SECONDS_MAX: Final = 20.0
CLOSE_SECONDS_MAX: Final = 5.0
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
    asyncpg.InternalClientError,  # the server ended the session between two statements
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,  # a deadlock; ours are not to blame, nor is the caller
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
)
BEGIN: Final = """
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
LOCK TABLE projection_position IN ACCESS SHARE MODE
"""
"""A rebuild's switch locks this table first (replay/shadow.py), and whatever is read last is behind
it: who waits for a switch does so before it holds anything that the switch waits for. The lock
takes no snapshot, so who has waited sees the new tables; by its name it is theirs, too. One round
trip for both."""

_NOT_MIGRATED: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)


class Database:
    """A pool of connections that only read. Safe for concurrent calls."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str) -> AsyncIterator["Database"]:
        """Open the pool, give the database, close the pool. Raises Unavailable."""
        pool = await open_pool(
            dsn,
            command_seconds_max=STATEMENT_SECONDS_MAX,
            application_name="rekam-api",
            settings=SESSION,
            resets=False,  # nothing is set but in transactions; a round trip less
        )
        try:
            yield cls(pool)
        finally:
            try:
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Give a connection on which every read sees the same state of the database.

        Raises ProblemError when the database is away, or lacks tables.
        """
        try:
            async with self._pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
                try:
                    await connection.execute(BEGIN)
                    yield connection
                finally:
                    await connection.execute("COMMIT")  # rolls back what has failed
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
