"""Whatever happens to the processor or the broker, the rows are those of a fresh replay."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rekam.domain.topics import Topic
from rekam.embedded.kafka import EmbeddedKafka
from tests.support.broker import Topics
from tests.support.history import PARTITIONS, random_history
from tests.support.processor import Projections, produce

SEGMENTS = 900
KILLS = 12


def history(seed: int) -> list[tuple[int, bytes]]:
    """Return a long history as (partition, bytes)."""
    return [(record.partition, record.value) for record in random_history(seed, segments=SEGMENTS)]


@pytest.fixture
async def topic(topics: Topics) -> Topic:
    """Give a topic of its own."""
    return await topics.make(partitions=PARTITIONS)


@pytest.fixture
async def projections(
    database: str, kafka: EmbeddedKafka, topic: Topic
) -> AsyncIterator[Projections]:
    """Give projections that no processor folds into yet."""
    async with Projections.of(database, kafka.bootstrap, topic) as found:
        yield found


async def test_killing_processors_at_random_points_changes_no_row(
    projections: Projections, tmp_path: Path
) -> None:
    choose = random.Random(4)
    records = history(1)
    await produce(projections.bootstrap, projections.topic, records)
    for number in range(KILLS):
        folded = await projections.folded()
        async with projections.processor(tmp_path / str(number)) as process:
            await projections.until_folded(
                min(len(records), folded + choose.randrange(1, 2 * len(records) // KILLS))
            )
            process.kill()
    async with (
        projections.processor(tmp_path / "one"),
        projections.processor(tmp_path / "other"),
    ):
        await projections.until_folded(len(records))
    found = await projections.audit()
    assert found.differences == ()
    assert sum(found.positions.values()) == len(records)


async def test_a_worker_killed_beside_another_is_taken_over(
    projections: Projections, tmp_path: Path
) -> None:
    records = history(2)
    await produce(projections.bootstrap, projections.topic, records[: len(records) // 2])
    async with projections.processor(tmp_path / "survivor"):
        async with projections.processor(tmp_path / "victim") as victim:
            await projections.until_folded(len(records) // 4)
            victim.kill()
        await produce(projections.bootstrap, projections.topic, records[len(records) // 2 :])
        await projections.until_folded(len(records))
    assert (await projections.audit()).differences == ()


async def test_the_same_segments_twice_shuffled_through_two_clients_count_once(
    projections: Projections, tmp_path: Path
) -> None:
    records = history(3)
    again = [(partition, value) for partition, value in records]
    random.Random(5).shuffle(again)
    async with projections.processor(tmp_path):
        await asyncio.gather(
            produce(projections.bootstrap, projections.topic, records),
            produce(projections.bootstrap, projections.topic, again),
        )
        await projections.until_folded(2 * len(records))
    found = await projections.audit()
    assert found.differences == ()
    distinct = await projections.pool.fetchval("SELECT count(*) FROM ledger_segment")
    copies = await projections.pool.fetchval("SELECT count(*) FROM ledger_copy")
    assert copies >= distinct


async def test_a_broker_that_is_killed_and_started_again_loses_and_doubles_nothing(
    breakable_kafka: EmbeddedKafka, database: str, tmp_path: Path
) -> None:
    topic = await Topics(breakable_kafka.bootstrap).make(partitions=PARTITIONS)
    records = history(6)
    half = len(records) // 2
    async with Projections.of(database, breakable_kafka.bootstrap, topic) as projections:
        await produce(projections.bootstrap, topic, records[:half])
        async with projections.processor(tmp_path / "processor") as process:
            await projections.until_folded(half // 2)
            await breakable_kafka.kill()
            await breakable_kafka.start()
            await produce(projections.bootstrap, topic, records[half:])
            await projections.until_folded(await projections.appended())
            assert process.returncode is None
        found = await projections.audit()
        assert found.differences == ()
        assert sum(found.positions.values()) >= len(records)


async def test_an_orderly_stop_ends_with_code_0_between_two_chunks(
    projections: Projections, tmp_path: Path
) -> None:
    records = history(7)
    await produce(projections.bootstrap, projections.topic, records)
    async with projections.processor(tmp_path) as process:
        await projections.until_folded(1)
        process.terminate()
        assert await process.wait() == 0
    assert (await projections.audit()).differences == ()
