"""Whole histories in a real PostgreSQL, folded by two workers that both believe they own them."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from rekam.domain.log import Chunk, LogRecord
from rekam.runtime.postgres import open_pool
from tests.support.history import fold_all
from tests.support.live import TOPIC, compared, fold, new_folder
from tests.support.whole_history import TIMES, seeded

RECORDS_MAX = 5
"""Of a chunk: few, so that there are many transactions to fall between."""


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Any]:
    """Give a pool on a migrated database."""
    pool = await open_pool(database)
    yield pool
    await pool.close()


async def work(pool: Any, partitions: dict[int, Sequence[LogRecord]], choose: random.Random) -> int:
    """Fold a chunk of any partition from where it is, until all are through; return how many."""
    folder, chunks = new_folder(pool), 0
    while True:
        positions = await folder.positions(TOPIC, partitions.keys())
        behind = [
            number for number in partitions if positions.get(number, 0) < len(partitions[number])
        ]
        if not behind:
            return chunks
        number = choose.choice(behind)
        first = positions.get(number, 0)
        records = partitions[number][first : first + choose.randrange(1, RECORDS_MAX + 1)]
        await fold(folder, Chunk(TOPIC, number, tuple(records)))
        chunks += 1


@pytest.mark.parametrize("seed", range(5 * TIMES))
async def test_two_workers_in_each_others_way_give_the_rows_of_the_replay(
    pool: Any, seed: int
) -> None:
    """L2, L3: one of them, after a rebalance, is a zombie that lives on; nobody knows which."""
    history = seeded(seed, turns=40)
    partitions: defaultdict[int, list[LogRecord]] = defaultdict(list)
    for record in history.records:
        partitions[record.partition].append(record)
    chunks = await asyncio.gather(
        *(work(pool, {**partitions}, random.Random(seed + worker)) for worker in (1, 2))
    )
    assert min(chunks) > 1
    assert await compared(pool, await fold_all(history.records)) == []
