"""A server with newer software: a real log folded as before, then what is held decided again.

`python -m tests.support.releasing DSN BOOTSTRAP TOPIC` is a start with the new one, to be killed.
"""

import asyncio
import sys
from contextlib import AbstractAsyncContextManager

from projections.quarantine.reasons import LIFTED_AT_START
from rekam.runtime.postgres import open_pool
from stream_processors.folder import PostgresFolder
from stream_processors.intake import Opener
from stream_processors.places import RecordReader, open_reader
from stream_processors.release import lift
from stream_processors.replay.source import read_log
from tests.support.device_log import log_ends
from tests.support.history import REGISTRAR_KEY, RULES, new_opener
from tests.support.live import fold
from tests.support.processor import Projections


def folder_of(projections: Projections, opener: Opener | None = None) -> PostgresFolder:
    """Return a folder of the given software, or of the present one."""
    return PostgresFolder(
        projections.pool,
        projections.topic.name,
        RULES,
        REGISTRAR_KEY.public,
        opener or new_opener(),
    )


async def fold_log(projections: Projections, opener: Opener | None = None) -> None:
    """Fold all that the log holds now; what is folded already is skipped."""
    folder = folder_of(projections, opener)
    await folder.meet_known_keys()
    ends = await log_ends(projections.bootstrap, projections.topic)
    async for chunk in read_log(projections.bootstrap, projections.topic.name, ends):
        await fold(folder, chunk)


def reader_of(projections: Projections) -> AbstractAsyncContextManager[RecordReader]:
    """Return a reader of single records."""
    return open_reader(projections.bootstrap, projections.topic.name)


async def lift_all(projections: Projections) -> int:
    """Do what a processor does at its start."""
    folder = folder_of(projections)
    await folder.meet_known_keys()
    return await lift(folder, lambda: reader_of(projections))


LIFTABLE = """
SELECT (SELECT count(*) FROM held_record WHERE reason = ANY ($1::text[]))
     + (SELECT count(*) FROM excluded_event WHERE reason = ANY ($1::text[]))
"""


async def liftable(projections: Projections) -> int:
    """Return how many records and events are held for what software or keys may lift."""
    return int(await projections.pool.fetchval(LIFTABLE, LIFTED_AT_START))


async def _run(dsn: str, bootstrap: str, topic: str) -> None:
    pool = await open_pool(dsn)
    folder = PostgresFolder(pool, topic, RULES, REGISTRAR_KEY.public, new_opener())
    await folder.meet_known_keys()
    await lift(folder, lambda: open_reader(bootstrap, topic))
    await folder.close()


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
