"""The live fold in a real PostgreSQL equals the replay in memory, whatever the workers do."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from projections.store import QUERIES
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.log import Chunk, LogRecord
from rekam.runtime.postgres import open_pool
from stream_processors.worker import PositionMoved
from tests.support.deciding import discarding
from tests.support.history import (
    DAY_MS,
    REGISTRAR,
    REGISTRAR_KEY,
    START_MS,
    Life,
    Log,
    anchored,
    captured,
    fold_all,
    random_history,
)
from tests.support.live import TOPIC, chunks, compared, fold, fold_partition, new_folder
from tests.support.waiting import until


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Any]:
    """Give a pool on a migrated database."""
    pool = await open_pool(database)
    yield pool
    await pool.close()


def crowd(people: int) -> list[LogRecord]:
    """Return two recorders on two partitions that record the same people in opposite orders."""
    registrar = Life(REGISTRAR, REGISTRAR_KEY)
    lives = [
        Life(ProducerId(f"dev-{name}"), SigningKey.from_seed(bytes([number]) * 32))
        for number, name in enumerate("ab", start=31)
    ]
    log = Log()
    log.append(registrar.seal(*[registrar.event(life.enrolment()) for life in lives]), partition=2)
    for number, life in enumerate(lives):
        order = range(people) if number == 0 else range(people - 1, -1, -1)
        log.append(life.seal(life.event(anchored("boot-1"))), partition=number)
        for person in order:
            recorded = captured(person, f"{life.producer}-{person}")
            log.append(
                life.seal(life.event(recorded, wall_ms=START_MS + number * DAY_MS)),
                partition=number,
            )
    return log.records


async def test_postgres_and_memory_give_the_same_rows(pool: Any) -> None:
    """L3, on a history in which everything happens."""
    records = random_history(11, segments=120)
    folder = new_folder(pool)
    for chunk in chunks(records):
        await fold(folder, chunk)
    assert await compared(pool, await fold_all(records)) == []


async def test_two_workers_fold_the_same_people_from_two_partitions(pool: Any) -> None:
    """L2: no update lost, no deadlock that does not heal, nothing doubled."""
    records = crowd(150)
    found = chunks(records, records_max=5)
    await asyncio.gather(
        *(
            fold_partition(
                new_folder(pool), [chunk for chunk in found if chunk.partition == number]
            )
            for number in range(3)
        )
    )
    assert await compared(pool, await fold_all(records)) == []
    assert await pool.fetchval("SELECT sum(people) FROM coverage_cell") == 150


@pytest.mark.parametrize("seed", range(6))
async def test_random_histories_survive_workers_that_race(pool: Any, seed: int) -> None:
    records = random_history(seed, segments=60)
    found = chunks(records, records_max=3)
    await asyncio.gather(
        *(
            fold_partition(
                new_folder(pool), [chunk for chunk in found if chunk.partition == number]
            )
            for number in range(3)
        )
    )
    assert await compared(pool, await fold_all(records)) == []


def decided_of_each_other() -> list[LogRecord]:
    """Return two partitions, each with a recording and a decision on the other's."""
    registrar = Life(REGISTRAR, REGISTRAR_KEY)
    log = Log()
    lives = [
        Life(ProducerId(f"dev-{number}"), SigningKey.from_seed(bytes([41 + number]) * 32))
        for number in range(2)
    ]
    log.append(registrar.seal(*[registrar.event(life.enrolment()) for life in lives]), partition=2)
    for number, life in enumerate(lives):
        log.append(life.seal(life.event(captured(number, f"r{number}"))), partition=number)
    of_device = {record.partition: record for record in log.records}
    for number in range(2):
        log.append(registrar.seal(discarding(of_device[1 - number])), partition=number)
    return log.records


@pytest.mark.parametrize("operation", ["fold", "fold_again", "judge_again"])
async def test_transactions_that_wait_for_each_other_both_end(pool: Any, operation: str) -> None:
    """Each holds its own partition's position and asks for the other's."""
    records = decided_of_each_other()
    parts = [[record for record in records if record.partition == number] for number in range(3)]
    is_first = operation == "fold"
    for part in parts:
        for chunk in chunks(part[:1] if is_first else part):
            await fold(new_folder(pool), chunk)

    async def operate(number: int) -> None:
        folder, decision = new_folder(pool), parts[number][-1]
        if operation == "fold":
            chunk = Chunk(TOPIC, number, (decision,))
            await folder.fold(chunk, folder.prepare(chunk))
        elif operation == "fold_again":
            await folder.fold_again([decision])
        else:
            await folder.judge_again([(number, decision.offset)])

    async with pool.acquire() as gate:

        async def both_wait() -> bool:
            waiting = "SELECT count(*) FROM pg_locks WHERE relation = $1::regclass AND NOT granted"
            return bool(await gate.fetchval(waiting, "projection_settings") == 2)

        async with gate.transaction():
            # They read it when they hold their first lock.
            await gate.execute("LOCK TABLE projection_settings")
            both = asyncio.gather(operate(0), operate(1))
            await until(both_wait)
    await both
    assert await compared(pool, await fold_all(records)) == []
    assert (
        await pool.fetchval("SELECT count(*) FROM excluded_event WHERE reason = 'discarded'") == 2
    )


@pytest.mark.parametrize("attempt", range(5))
async def test_an_enrolment_and_the_segments_that_wait_for_it_pass_each_other(
    pool: Any, attempt: int
) -> None:
    """Lock, then look: without the lock both would miss each other, and the segment stay held."""
    registrar = Life(REGISTRAR, REGISTRAR_KEY)
    log = Log()
    lives = [
        Life(ProducerId(f"dev-{number}"), SigningKey.from_seed(bytes([100 + number]) * 32))
        for number in range(20)
    ]
    for number, life in enumerate(lives):
        log.append(registrar.seal(registrar.event(life.enrolment())), partition=0)
        log.append(
            life.seal(
                life.event(anchored("boot-1")),
                life.event(captured(number, f"r{attempt}"), wall_ms=START_MS),
            ),
            partition=1,
        )
    found = chunks(log.records, records_max=1)
    # Rows that are there already: making them would line the two up before they look.
    await pool.execute(QUERIES["make_producers"], [life.producer for life in lives])
    await asyncio.gather(
        *(
            fold_partition(
                new_folder(pool), [chunk for chunk in found if chunk.partition == number]
            )
            for number in range(2)
        )
    )
    assert await pool.fetchval("SELECT count(*) FROM held_record") == 0
    assert await pool.fetchval("SELECT sum(people) FROM coverage_cell") == len(lives)
    assert await compared(pool, await fold_all(log.records)) == []


async def test_a_chunk_folded_again_wholly_or_in_part_changes_nothing(pool: Any) -> None:
    records = crowd(30)
    folder = new_folder(pool)
    for chunk in [*chunks(records, records_max=9), *chunks(records, records_max=13)]:
        await fold(folder, chunk)
    assert await compared(pool, await fold_all(records)) == []
    assert await folder.positions(TOPIC, [0, 2]) == {0: 31, 2: 1}


async def test_a_chunk_ahead_of_the_position_is_refused_and_nothing_is_written(pool: Any) -> None:
    first, second = chunks(crowd(10), records_max=6)[:2]
    folder = new_folder(pool)
    with pytest.raises(PositionMoved):
        await folder.fold(second, folder.prepare(second))
    assert await folder.positions(TOPIC, range(3)) == {}
    assert await pool.fetchval("SELECT count(*) FROM ledger_segment") == 0
    await fold(folder, first)
    await fold(folder, second)
    assert await folder.positions(TOPIC, range(3)) == {0: 11}
