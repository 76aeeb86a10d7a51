"""PostgreSQL ends a session between two statements, as a restart or an administrator does."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import pytest

from projections.api.database import Database
from projections.api.problems import ProblemError
from rekam.runtime.postgres import connect
from stream_processors.worker import is_transient
from tests.support.waiting import until


def end(dsn: str, pid: int) -> None:
    """End a session from a loop of its own, and return when PostgreSQL has no such one."""

    async def ending() -> None:
        other = await asyncpg.connect(dsn)
        try:
            await other.execute("SELECT pg_terminate_backend($1)", pid)

            async def is_gone() -> bool:
                return not await other.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid
                )

            await until(is_gone)
        finally:
            await other.close()

    asyncio.run(ending())


async def ask_after_the_end(dsn: str, connection: Any) -> None:
    """Ask when the client has read that its session is over, and not that the socket is closed."""
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    with ThreadPoolExecutor(1) as executor:
        executor.submit(end, dsn, pid).result()  # meanwhile this loop reads nothing
    read = asyncio.Event()
    loop = asyncio.get_running_loop()
    # What came is read in the next turn but after what is called in it; its end in the one after.
    loop.call_soon(loop.call_soon, read.set)
    await read.wait()
    await connection.fetchval("SELECT 1")


async def test_for_a_fold_it_is_transient(database: str) -> None:
    connection = await connect(database)
    with pytest.raises(asyncpg.InternalClientError) as told:
        await ask_after_the_end(database, connection)
    assert is_transient(told.value)


async def test_for_a_call_the_database_is_away(database: str) -> None:
    async with Database.open(database) as calls:
        with pytest.raises(ProblemError) as told:
            async with calls.snapshot() as connection:
                await ask_after_the_end(database, connection)
        assert told.value.code_of_problem == "database_unavailable"
        async with calls.snapshot() as connection:
            assert await connection.fetchrow("SELECT 1")
