"""A rebuild killed at any point has replaced all tables or none, and leaves nothing for ever."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from projections.digest import live_digests, projection_digests
from projections.tables import PROJECTIONS
from rekam.embedded.kafka import EmbeddedKafka
from stream_processors.replay.shadow import REBUILD_LOCK, REPLACED, SHADOW, drop_leftovers
from tests.support.broker import Topics
from tests.support.folded import append_history, folded_history
from tests.support.processor import Projections
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
WATCHED = f"{SHADOW}.watched"
"""A sequence that the switch leaves in place, and the dropping after it does not."""


@pytest.fixture
async def projections(
    database: str, kafka: EmbeddedKafka, topics: Topics
) -> AsyncIterator[Projections]:
    """Give projections of a history that is in the log, and folded."""
    async with folded_history(database, kafka.bootstrap, topics) as found:
        yield found


async def digests(projections: Projections) -> dict[str, str]:
    async with projections.pool.acquire() as connection, connection.transaction():
        return projection_digests(await live_digests(connection))


async def oids(projections: Projections) -> set[int]:
    """Tell the live tables of projections from others of the same names."""
    names = [table for tables in PROJECTIONS.values() for table in tables]
    rows = await projections.pool.fetch(
        "SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relname = ANY ($1::text[])",
        [*names, "projection_position", "projection_settings"],
    )
    assert len(rows) == len(names) + 2
    return {row["oid"] for row in rows}


async def leftovers(projections: Projections) -> set[str]:
    rows = await projections.pool.fetch("SELECT nspname::text FROM pg_namespace")
    return {row["nspname"] for row in rows} & {SHADOW, REPLACED}


@asynccontextmanager
async def locked(projections: Projections, statement: str) -> AsyncIterator[None]:
    """Hold the locks that a statement takes."""
    async with projections.pool.acquire() as connection, connection.transaction():
        await connection.execute(statement)
        yield


@asynccontextmanager
async def rebuilding(projections: Projections) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start `rebuild --switch` in a process; killed at the end if it has not ended by then."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.rebuilding"),
        *(projections.dsn, projections.bootstrap, projections.topic.name),
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_waiting_for(projections: Projections, relation: str) -> None:
    async def is_waiting() -> bool:
        return bool(
            await projections.pool.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
                "AND relation = to_regclass($1)",
                relation,
            )
        )

    await until(is_waiting)


async def until_noticed(projections: Projections) -> None:
    """Return when PostgreSQL has ended what it still did for a process that is gone."""

    async def is_ended() -> bool:
        return not await projections.pool.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            REBUILD_LOCK,
        )

    await until(is_ended)


async def goes_on_and_is_whole(projections: Projections, old: set[int]) -> None:
    """Check that the processor folds what comes, and that the next rebuild succeeds."""
    await append_history(projections, seed=6)
    await projections.until_folded(await projections.appended())
    async with rebuilding(projections) as process:
        assert await process.wait() == 0
    assert await leftovers(projections) == set()
    assert old.isdisjoint(await oids(projections))
    await append_history(projections, seed=7)
    await projections.until_folded(await projections.appended())
    assert (await projections.audit()).differences == ()


@pytest.mark.parametrize(
    ("held", "waits_for"),
    [
        # The new tables are made, and empty.
        ("LOCK TABLE public.verification_turn", "public.verification_turn"),
        # They are full; the switch's transaction has begun.
        ("SELECT FROM public.projection_position FOR UPDATE", "public.projection_position"),
        # Some have changed places.
        ("SELECT FROM public.ledger_segment LIMIT 1", "public.ledger_segment"),
        # All but the last have.
        ("SELECT FROM public.verification_turn", "public.verification_turn"),
    ],
    ids=["before", "at its begin", "in the middle", "near its end"],
)
async def test_a_rebuild_killed_before_its_switch_has_ended_changes_nothing(
    projections: Projections, tmp_path: Path, held: str, waits_for: str
) -> None:
    await projections.pool.execute("INSERT INTO coverage_duplicate VALUES ('x', now(), now(), 1)")
    before, old = await digests(projections), await oids(projections)
    async with projections.processor(tmp_path):
        async with locked(projections, held), rebuilding(projections) as process:
            await until_waiting_for(projections, waits_for)
            process.kill()
            await process.wait()
        await until_noticed(projections)
        assert await leftovers(projections) == {SHADOW}
        assert (await oids(projections), await digests(projections)) == (old, before)
        await goes_on_and_is_whole(projections, old)


async def test_a_rebuild_killed_while_it_folds_changes_nothing(
    projections: Projections, tmp_path: Path
) -> None:
    before, old = await digests(projections), await oids(projections)
    new_table = f"{SHADOW}.verification_turn"
    async with projections.processor(tmp_path), rebuilding(projections) as process:
        async with AsyncExitStack() as keeping:
            async with locked(projections, "LOCK TABLE public.verification_turn"):
                await until_waiting_for(projections, "public.verification_turn")
                lock = f"LOCK TABLE {new_table} IN SHARE MODE"  # a fold writes no row of it
                await keeping.enter_async_context(locked(projections, lock))
            await until_waiting_for(projections, new_table)
            process.kill()
            await process.wait()
        await until_noticed(projections)
        assert await leftovers(projections) == {SHADOW}
        assert (await oids(projections), await digests(projections)) == (old, before)
        await goes_on_and_is_whole(projections, old)


async def test_a_rebuild_killed_after_its_switch_has_replaced_everything(
    projections: Projections, tmp_path: Path
) -> None:
    wanted, old = await digests(projections), await oids(projections)
    await projections.pool.execute("INSERT INTO coverage_duplicate VALUES ('x', now(), now(), 1)")
    async with AsyncExitStack() as keeping, projections.processor(tmp_path):
        async with rebuilding(projections) as process:
            async with locked(projections, "SELECT FROM public.verification_turn"):
                await until_waiting_for(projections, "public.verification_turn")
                await projections.pool.execute(f"CREATE SEQUENCE {WATCHED}")
                await keeping.enter_async_context(locked(projections, f"SELECT FROM {WATCHED}"))
            await until_waiting_for(projections, WATCHED)
            process.kill()
        await projections.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND objid = $1 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            REBUILD_LOCK,
        )
        await until_noticed(projections)
        await keeping.aclose()
        # An order to erase reaches the live tables alone: the old ones went with the switch.
        assert await leftovers(projections) == {SHADOW}
        assert not await projections.pool.fetch(
            "SELECT FROM pg_tables WHERE schemaname = $1", SHADOW
        )
        assert await digests(projections) == wanted
        now = await oids(projections)
        assert old.isdisjoint(now)
        await goes_on_and_is_whole(projections, now)


async def test_a_processor_that_starts_drops_what_a_killed_rebuild_left_and_no_running_one(
    projections: Projections,
) -> None:
    """Sealed NIKs stand in it, and no order to erase reaches them."""
    async with projections.pool.acquire() as running:
        await running.execute(f"CREATE SCHEMA {SHADOW}")
        await running.execute(f"CREATE TABLE {SHADOW}.person (nik bytea)")
        await running.fetchval("SELECT pg_advisory_lock($1)", REBUILD_LOCK)
        await drop_leftovers(projections.pool)
        assert await leftovers(projections) == {SHADOW}
        await running.fetchval("SELECT pg_advisory_unlock($1)", REBUILD_LOCK)
    await drop_leftovers(projections.pool)
    assert await leftovers(projections) == set()
    await drop_leftovers(projections.pool)
