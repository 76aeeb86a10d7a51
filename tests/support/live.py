"""Fold histories into a real PostgreSQL, and read them back for comparison."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from projections.digest import Difference, differences, digests_of, live_digests
from projections.memory_store import MemoryStore
from rekam.domain.log import Chunk, LogRecord
from stream_processors.folder import PostgresFolder
from stream_processors.worker import is_transient
from tests.support.history import REGISTRAR_KEY, RULES, new_opener

TOPIC = "rekam.segments.test"


def new_folder(pool: Any) -> PostgresFolder:
    """Return a folder of its own: a worker that has met no key yet."""
    return PostgresFolder(pool, TOPIC, RULES, REGISTRAR_KEY.public, new_opener())


def chunks(records: Iterable[LogRecord], *, records_max: int = 7) -> list[Chunk]:
    """Cut the records of each partition into chunks, in offset order."""
    partitions: dict[int, list[LogRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.offset):
        partitions[record.partition].append(record)
    return [
        Chunk(TOPIC, number, tuple(found[start:end]))
        for number, found in sorted(partitions.items())
        for start, end in pairwise([*range(0, len(found), records_max), len(found)])
    ]


async def fold(folder: PostgresFolder, chunk: Chunk) -> None:
    """Fold one chunk, again after a transient failure, as the worker does."""
    prepared = folder.prepare(chunk)
    while True:
        try:
            await folder.fold(chunk, prepared)
        except Exception as error:
            if not is_transient(error):
                raise
            await asyncio.sleep(0)
        else:
            return


async def fold_partition(folder: PostgresFolder, found: Iterable[Chunk]) -> None:
    """Fold chunks of one partition in order."""
    for chunk in found:
        await fold(folder, chunk)


async def compared(pool: Any, store: MemoryStore) -> list[Difference]:
    """Return the rows in which PostgreSQL differs from the store."""
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        live = await live_digests(connection)
    return differences(live, digests_of(store.tables()))
