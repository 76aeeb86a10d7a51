"""PostgreSQL: the pool, migrations, databases. The one module that meets asyncpg's Any."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import asyncpg

from rekam.domain.errors import Corrupt, Unavailable

CONNECT_SECONDS_MAX = 10.0
COMMAND_SECONDS_MAX = 60.0
PROBE_SECONDS_MAX = 2.0
POOL_CONNECTIONS_MAX = 8
IDLE_SECONDS_MAX = 300.0
STATEMENTS_CACHED_MAX = 256
MIGRATION_SECONDS_MAX = 3600.0
MIGRATION_LOCK = 0x52454B414D
"""The advisory lock that two starters meet in: "REKAM" in ASCII."""

_MIGRATION_NAME = re.compile(r"(?P<number>\d{4})_(pre|post)_[a-z0-9_]+\.sql")
_UNREACHABLE = (OSError, TimeoutError, asyncpg.PostgresConnectionError)
_NOT_READY = (
    *_UNREACHABLE,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


async def open_pool(
    dsn: str,
    *,
    connections_max: int = POOL_CONNECTIONS_MAX,
    command_seconds_max: float = COMMAND_SECONDS_MAX,
    application_name: str = "rekam",
    settings: Mapping[str, str] | None = None,
    resets: bool = True,
) -> Any:
    """Return an open `asyncpg.Pool`; the caller closes it. `settings` are of its sessions.

    Without `resets` a session that is given back keeps what was set in it outside of transactions;
    one that is still in a transaction is rolled back all the same.
    Opens one connection at once, the others when needed. Raises Unavailable when none can be had.
    """
    try:
        return await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=connections_max,
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=command_seconds_max,
            max_inactive_connection_lifetime=IDLE_SECONDS_MAX,
            statement_cache_size=STATEMENTS_CACHED_MAX,
            reset=None if resets else _leave_as_it_is,
            server_settings={
                "application_name": application_name,
                "timezone": "UTC",
                **(settings or {}),
            },
        )
    except (*_NOT_READY, asyncpg.PostgresError) as error:
        raise _unavailable(error) from error


async def _leave_as_it_is(_: Any) -> None:
    pass


async def connect(dsn: str, *, command_seconds_max: float = COMMAND_SECONDS_MAX) -> Any:
    """Open one connection (asyncpg's) that the caller closes. Raises Unavailable."""
    try:
        return await asyncpg.connect(
            dsn,
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=command_seconds_max,
            statement_cache_size=STATEMENTS_CACHED_MAX,
            server_settings={"application_name": "rekam", "timezone": "UTC"},
        )
    except (*_NOT_READY, asyncpg.PostgresError) as error:
        raise _unavailable(error) from error


async def is_answering(dsn: str) -> bool:
    """Return whether a client can connect now; a wrong password or database raises its error."""
    try:
        connection = await asyncpg.connect(dsn, timeout=PROBE_SECONDS_MAX)
    except _NOT_READY:
        return False
    await connection.close()
    return True


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of a migrations package. *pre* runs under the old code, *post* under the new."""

    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Return the hash that tells a changed file from the one that was applied."""
        return hashlib.sha256(self.sql.encode("utf-8")).hexdigest()


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """What a database has of a migrations package."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]


def load_migrations(package: str) -> tuple[Migration, ...]:
    """Return a package's `NNNN_{pre,post}_words.sql` files by number.

    Raises Corrupt for another `.sql` name and for a number that comes twice.
    """
    migrations: dict[str, Migration] = {}
    for entry in resources.files(package).iterdir():
        if not entry.name.endswith(".sql"):
            continue
        match = _MIGRATION_NAME.fullmatch(entry.name)
        if match is None:
            raise Corrupt(f"{package}: {entry.name}. Name it NNNN_pre_words.sql or NNNN_post_….")
        number = match["number"]
        if number in migrations:
            raise Corrupt(f"{package}: {entry.name} and {migrations[number].name}. Renumber one.")
        migrations[number] = Migration(entry.name, entry.read_text(encoding="utf-8"))
    return tuple(migrations[number] for number in sorted(migrations))


async def migrate(dsn: str, package: str) -> list[str]:
    """Apply what is pending, each file in a transaction of its own, and return their names.

    Safe to repeat and to run concurrently: the second starter waits for the first.
    Raises Corrupt when a file fails (nothing of it stays), and when an applied one was changed, is
    gone, or comes after a pending one.
    """
    migrations = load_migrations(package)
    connection = await connect(dsn, command_seconds_max=MIGRATION_SECONDS_MAX)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        await connection.execute(
            """
            CREATE TABLE IF NOT EXISTS public.schema_migration (
                name text CONSTRAINT schema_migration_pkey PRIMARY KEY,
                sha256 text NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
            )
            """
        )
        pending = _pending(migrations, await _applied(connection))
        for migration in pending:
            await _apply(connection, migration)
        return [migration.name for migration in pending]
    finally:
        # The session's end gives the lock back, also when this one is cancelled.
        await connection.close()


async def migration_status(dsn: str, package: str) -> MigrationStatus:
    """Return what is applied and what is pending, changing nothing. Raises as `migrate` does."""
    connection = await connect(dsn)
    try:
        exists = await connection.fetchval("SELECT to_regclass('public.schema_migration')")
        applied = await _applied(connection) if exists else {}
    finally:
        await connection.close()
    pending = _pending(load_migrations(package), applied)
    return MigrationStatus(tuple(sorted(applied)), tuple(entry.name for entry in pending))


async def create_database(dsn: str, name: str, *, template: str | None = None) -> None:
    """Create a database beside the one that `dsn` names; nothing to do when it exists."""
    connection = await connect(dsn)
    try:
        # PostgreSQL quotes the names: they cannot be parameters of this statement.
        statement = await connection.fetchval(
            "SELECT format('CREATE DATABASE %I TEMPLATE %I', $1::text, $2::text)",
            name,
            template or "template0",
        )
        await connection.execute(statement)
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        return
    finally:
        await connection.close()


async def drop_database(dsn: str, name: str) -> None:
    """Drop a database beside the one that `dsn` names, ending the sessions in it."""
    connection = await connect(dsn)
    try:
        statement = await connection.fetchval(
            "SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', $1::text)", name
        )
        await connection.execute(statement)
    finally:
        await connection.close()


async def _apply(connection: Any, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO public.schema_migration (name, sha256) VALUES ($1, $2)",
                migration.name,
                migration.sha256,
            )
    except _UNREACHABLE as error:
        raise _unavailable(error) from error
    except asyncpg.PostgresError as error:
        raise Corrupt(
            f"migration {migration.name} does not fit this database: {error}. Nothing of it was "
            "applied. Restore what was changed by hand, or the database from a backup."
        ) from error


async def _applied(connection: Any) -> dict[str, str]:
    rows = await connection.fetch("SELECT name, sha256 FROM public.schema_migration")
    return {row["name"]: row["sha256"] for row in rows}


def _pending(migrations: Sequence[Migration], applied: dict[str, str]) -> list[Migration]:
    known = {migration.name: migration for migration in migrations}
    for name, sha256 in sorted(applied.items()):
        if name not in known:
            raise Corrupt(
                f"migration {name} is in the database and not in this program. "
                "Start the newer program that applied it."
            )
        if known[name].sha256 != sha256:
            raise Corrupt(
                f"migration {name} was changed after it was applied. "
                "Restore the file; write the change as a new migration."
            )
    pending = [migration for migration in migrations if migration.name not in applied]
    if pending and applied and pending[0].name < max(applied):
        raise Corrupt(
            f"migration {pending[0].name} comes before {max(applied)}, which is applied. "
            "Give it the next free number."
        )
    return pending


def _unavailable(error: BaseException) -> Unavailable:
    # asyncpg's messages name host, user and database, never a password.
    return Unavailable(
        f"PostgreSQL does not answer ({type(error).__name__}: {error}). "
        "Start it, or correct REKAM_POSTGRES."
    )
