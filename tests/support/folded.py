"""Projections of a made-up history that is in a real log, and folded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.broker import Topics
from tests.support.history import PARTITIONS, random_history
from tests.support.processor import Projections, produce
from tests.support.releasing import fold_log, folder_of


@asynccontextmanager
async def folded_history(
    database: str, bootstrap: str, topics: Topics
) -> AsyncIterator[Projections]:
    """Give them, on a topic of their own."""
    topic = await topics.make(partitions=PARTITIONS)
    async with Projections.of(database, bootstrap, topic) as found:
        await append_history(found, seed=5)
        await fold_log(found)
        await folder_of(found).require_settings()
        yield found


async def append_history(projections: Projections, *, seed: int) -> None:
    """Append a history to the log."""
    records = [(record.partition, record.value) for record in random_history(seed)]
    await produce(projections.bootstrap, projections.topic, records)
