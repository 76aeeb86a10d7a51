"""How far the projections have folded, and whether the database is what this program expects."""

from typing import Final

from projections.reading import Connection
from rekam.runtime.postgres import load_migrations
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.position", "queries_read.sql")

Position = dict[int, int]
"""Next offset by partition; a partition of which nothing was folded is absent."""


async def position(connection: Connection, *, topic: str) -> Position:
    """Return how far a topic is folded; empty before the first record."""
    rows = await connection.fetch(_QUERIES["list_positions"], topic)
    return {row["partition"]: row["next_offset"] for row in rows}


async def position_and_rules(connection: Connection, *, topic: str) -> tuple[Position, str | None]:
    """Return what `position` and `folded_under` do, in one round trip."""
    rows = await connection.fetch(_QUERIES["list_positions_and_rules"], topic)
    found = {row["partition"]: row["next_offset"] for row in rows if row["partition"] is not None}
    return found, rows[0]["rules"]


async def folded_under(connection: Connection) -> str | None:
    """Return the id of the rules that the tables are folded under; None before the first fold."""
    row = await connection.fetchrow(_QUERIES["find_rules"])
    return None if row is None else str(row["rules"])


async def pending_migrations(connection: Connection, *, package: str) -> list[str]:
    """Return the migrations of this program that the database lacks."""
    expected = [migration.name for migration in load_migrations(package)]
    found = await connection.fetchrow(_QUERIES["find_migrations"])
    if found is None or not found["is_migrated"]:
        return expected
    applied = {row["name"] for row in await connection.fetch(_QUERIES["list_migrations"])}
    return [name for name in expected if name not in applied]
