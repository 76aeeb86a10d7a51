"""What the read API answers while a rebuild puts other tables in the place of the live ones."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest

from projections.api.office import Office
from projections.api.problems import ProblemError
from projections.rules import Rules
from rekam.domain.clocks import OfficeZone
from rekam.embedded.kafka import EmbeddedKafka
from stream_processors.intake import Opener
from stream_processors.replay.shadow import Log, Rebuilt, rebuild_tables
from tests.support.api import office, serving
from tests.support.broker import Topics
from tests.support.folded import folded_history
from tests.support.history import READER, REGISTRAR_KEY, RULES
from tests.support.processor import Projections
from tests.support.waiting import until

COVERAGE = "/v1/coverage?region=64.08&level=regency"
WAITING = """
SELECT count(*) FROM pg_locks
WHERE NOT granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
async def projections(
    database: str, kafka: EmbeddedKafka, topics: Topics
) -> AsyncIterator[Projections]:
    """Give projections of a history that is in the log, and folded."""
    async with folded_history(database, kafka.bootstrap, topics) as found:
        yield found


def office_of(projections: Projections) -> Office:
    return replace(
        office(now_ms=time.time_ns() // 1_000_000), rules=RULES, topic=projections.topic.name
    )


async def switched(projections: Projections, *, rules: Rules = RULES) -> Rebuilt:
    return await rebuild_tables(
        projections.dsn,
        Log(projections.bootstrap, projections.topic.name),
        rules=rules,
        root=REGISTRAR_KEY.public,
        opener=Opener(rules=rules, registrar_key=REGISTRAR_KEY.public, readers=[READER]),
        is_switching=True,
    )


async def until_waiting(
    projections: Projections, sessions: int, *, switch: asyncio.Task[Rebuilt]
) -> None:
    """Return when so many sessions wait for tables; fail if the switch has ended before."""

    async def are_waiting() -> bool:
        assert not switch.done(), switch
        return bool(await projections.pool.fetchval(WAITING) == sessions)

    await until(are_waiting)


@asynccontextmanager
async def switching(projections: Projections) -> AsyncIterator[asyncio.Task[Rebuilt]]:
    task = asyncio.create_task(switched(projections))
    try:
        yield task
        await task
    finally:
        task.cancel()


async def test_a_call_that_reads_while_a_switch_begins_reads_to_its_end(
    projections: Projections,
) -> None:
    """What it read first and what it reads last are tables that the switch wants, too."""
    async with serving(projections.dsn, served=office_of(projections)) as client:
        async with switching(projections) as switch, client.database.snapshot() as connection:
            await connection.fetch("SELECT FROM coverage_cell LIMIT 1")
            await until_waiting(projections, 1, switch=switch)
            assert await connection.fetch("SELECT FROM projection_position")
        assert switch.result().is_switched


async def test_a_call_that_waited_for_a_switch_answers_from_the_new_tables(
    projections: Projections,
) -> None:
    async with serving(projections.dsn, served=office_of(projections)) as client:
        before = await client.figures(COVERAGE)
        assert before["totals"]["recorded"] > 0
        await projections.pool.execute("TRUNCATE coverage_cell, coverage_duplicate")
        assert (await client.figures(COVERAGE))["totals"]["recorded"] == 0
        async with switching(projections) as switch:
            async with projections.pool.acquire() as holder, holder.transaction():
                await holder.execute("SELECT FROM verification_turn")
                await until_waiting(projections, 1, switch=switch)
                asked = asyncio.create_task(client.figures(COVERAGE))
                await until_waiting(projections, 2, switch=switch)
            assert await asked == before
    assert switch.result().is_switched


@pytest.mark.parametrize(
    "url", [COVERAGE, "/v1/verification?region=64.08", "/v1/held", "/v1/devices", "/v1/cohorts"]
)
async def test_figures_of_tables_that_are_folded_under_other_settings_are_not_answered(
    projections: Projections, url: str
) -> None:
    """The switch brings another time zone into force; the API still has the one before."""
    elsewhere = replace(RULES, zone=OfficeZone("Pacific/Pago_Pago"))
    async with serving(projections.dsn, served=office_of(projections)) as client:
        assert (await client.figures(url))["rules"] == RULES.id
        await projections.pool.execute("UPDATE projection_settings SET rules = $1", elsewhere.id)
        answer = await client.get(url)
        assert (answer.status_code, answer.json()["code"]) == (503, "settings_differ")
        assert elsewhere.id in answer.json()["detail"]


@pytest.mark.parametrize("error", [asyncpg.DeadlockDetectedError, asyncpg.InternalClientError])
async def test_what_no_call_is_to_blame_for_is_told_as_a_database_that_is_away(
    database: str, error: type[Exception]
) -> None:
    async with serving(database) as client:
        with pytest.raises(ProblemError) as told:
            async with client.database.snapshot():
                raise error
    assert (told.value.code_of_problem, told.value.status) == ("database_unavailable", 503)
