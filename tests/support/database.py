"""Real databases for tests: one server a session, one database a test."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rekam.embedded.postgres import EmbeddedPostgres

TEST_SETTINGS = {
    # Tests kill processes, not the machine: what a killed server wrote is in the page cache.
    "fsync": "off",
    "shared_buffers": "64MB",
}


def new_server(state_dir: Path) -> EmbeddedPostgres:
    """Return a server that is not started."""
    return EmbeddedPostgres(state_dir=state_dir, settings=TEST_SETTINGS)


@asynccontextmanager
async def temporary_database(
    server: EmbeddedPostgres, template: str | None = None
) -> AsyncIterator[str]:
    """Give the DSN of a database of one's own; it is gone afterwards, sessions and all."""
    name = f"test_{secrets.token_hex(6)}"
    await server.create_database(name, template=template)
    try:
        yield server.dsn(name)
    finally:
        await server.drop_database(name)
