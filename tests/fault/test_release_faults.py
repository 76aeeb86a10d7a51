"""A start with newer software, killed in the middle, has released each record once or not yet."""

import asyncio
import random
import sys
from pathlib import Path

from rekam.domain.topics import Topic
from rekam.embedded.kafka import EmbeddedKafka
from tests.support.broker import Topics
from tests.support.deciding import older_opener, with_discards
from tests.support.history import PARTITIONS, random_history
from tests.support.processor import Projections, produce
from tests.support.releasing import fold_log, liftable
from tests.support.waiting import until

SEGMENTS = 900
KILLS = 3
YOUNG = frozenset(("recording.captured.v1", "centre.status_observed.v1"))
ROOT = Path(__file__).parents[2]


async def releasing(projections: Projections) -> asyncio.subprocess.Process:
    """Start a process that decides again on all that newer software may take."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.releasing"),
        *(projections.dsn, projections.bootstrap, projections.topic.name),
        cwd=ROOT,
    )


async def test_a_release_killed_at_random_points_counts_everything_once(
    database: str, kafka: EmbeddedKafka, topics: Topics
) -> None:
    topic: Topic = await topics.make(partitions=PARTITIONS)
    choose = random.Random(8)
    records = with_discards(random_history(8, segments=SEGMENTS), choose)
    async with Projections.of(database, kafka.bootstrap, topic) as projections:
        await produce(
            kafka.bootstrap, topic, [(record.partition, record.value) for record in records]
        )
        await fold_log(projections, older_opener(young=YOUNG))
        waiting = await liftable(projections)
        for number in range(KILLS):
            process = await releasing(projections)
            left = waiting * (KILLS - number) // (KILLS + 1)

            async def is_on_the_way(left: int = left) -> bool:
                return await liftable(projections) <= left

            await until(is_on_the_way)
            assert process.returncode is None, "it ended before it could be killed"
            process.kill()
            await process.wait()
        assert await liftable(projections) > 0
        process = await releasing(projections)
        assert await process.wait() == 0
        assert (await projections.audit()).differences == ()
