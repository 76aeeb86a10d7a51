"""The folder of a command that decides or judges again, beside the processors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from rekam.domain.topics import SEGMENTS
from rekam.runtime.endpoints import postgres_dsn
from rekam.runtime.postgres import open_pool
from rekam.runtime.settings import Settings
from stream_processors.configured import folding_settings
from stream_processors.folder import PostgresFolder
from stream_processors.worker import transient_as_unavailable

CONNECTIONS_MAX: Final = 2


@asynccontextmanager
async def open_folder(
    settings: Settings, *, application_name: str
) -> AsyncIterator[PostgresFolder]:
    """Give a folder that knows every key of the registry; its connections end with the block.

    Raises Misconfigured when the tables are folded under other settings, Unavailable when
    PostgreSQL is away, or goes away in the middle.
    """
    rules, root, opener = folding_settings(settings)
    with transient_as_unavailable():
        pool = await open_pool(
            postgres_dsn(settings),
            connections_max=CONNECTIONS_MAX,
            application_name=application_name,
        )
        folder = PostgresFolder(pool, SEGMENTS.name, rules, root, opener)
        try:
            await folder.require_settings()
            await folder.meet_known_keys()
            yield folder
        finally:
            await folder.close()
