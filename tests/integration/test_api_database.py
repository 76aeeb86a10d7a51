"""The read API's sessions on a real PostgreSQL: several questions at once, of one state."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from projections.api.database import BESIDE_MAX, Database
from projections.api.problems import ProblemError
from projections.reading import Connection, at_once
from rekam.runtime.postgres import connect
from tests.support.rows import DESA, NIK, Rows, people, regency

PEOPLE = "SELECT sum(people)::int AS people FROM coverage_cell"
SESSION = "SELECT pg_backend_pid() AS session FROM pg_sleep(0.01)"


async def _sessions(connection: Connection) -> set[int]:
    found = await at_once(connection.fetch(SESSION), connection.fetch(SESSION))
    return {row["session"] for rows in found for row in rows}


async def test_two_questions_at_once_are_asked_of_two_sessions(database: str) -> None:
    async with Database.open(database) as opened, opened.wide_snapshot() as connection:
        assert len(await _sessions(connection)) == 2


async def test_both_sessions_see_what_was_committed_when_the_first_one_began(
    database: str,
) -> None:
    rows = regency({DESA: 10})
    rows.recorded(NIK)
    await rows.write(database)
    later = Rows(position={1: 1})
    for nik in people(3):
        later.recorded(nik)
    async with Database.open(database) as opened:
        async with opened.wide_snapshot() as connection:
            await later.write(database)
            seen = await at_once(
                connection.fetch(f"{PEOPLE}, pg_sleep(0.01)"),
                connection.fetch(f"{PEOPLE}, pg_sleep(0.01)"),
            )
        async with opened.snapshot() as connection:
            now = await connection.fetch(PEOPLE)
    assert [row["people"] for rows in seen for row in rows] == [1, 1]
    assert [row["people"] for row in now] == [4]


async def test_more_calls_than_there_are_second_sessions_read_by_one_each(database: str) -> None:
    async with Database.open(database) as opened:
        async with AsyncExitStack() as stack:
            for _ in range(BESIDE_MAX):
                wide = await stack.enter_async_context(opened.wide_snapshot())
                assert len(await _sessions(wide)) == 2
            narrow = await stack.enter_async_context(opened.wide_snapshot())
            assert len(await _sessions(narrow)) == 1
        async with opened.wide_snapshot() as again:
            assert len(await _sessions(again)) == 2


async def test_when_one_question_fails_the_other_is_given_up_and_both_sessions_serve_again(
    database: str,
) -> None:
    watcher: Any = await connect(database)
    try:
        async with Database.open(database) as opened:
            with pytest.raises(ProblemError, match="rekam db migrate"):
                async with opened.wide_snapshot() as connection:
                    await at_once(
                        connection.fetch("SELECT pg_sleep(600)"),
                        connection.fetch("SELECT 1 FROM a_table_that_is_not_there"),
                    )
            sleeping = await watcher.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)%'"
                " AND state = 'active'"
            )
            assert sleeping == 0
            async with opened.wide_snapshot() as connection:
                assert len(await _sessions(connection)) == 2
    finally:
        await watcher.close()


async def test_a_call_that_is_given_up_gives_both_sessions_back(database: str) -> None:
    async with Database.open(database) as opened:
        asked = asyncio.Event()

        async def call() -> None:
            async with opened.wide_snapshot() as connection:
                asked.set()
                await at_once(
                    connection.fetch("SELECT pg_sleep(600)"),
                    connection.fetch("SELECT pg_sleep(600)"),
                )

        for _ in range(2 * BESIDE_MAX):
            asked.clear()
            task = asyncio.create_task(call())
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with opened.wide_snapshot() as connection:
            assert len(await _sessions(connection)) == 2
