"""Make every table anew from the log beside the live ones, compare, and put them in their place.

    log ─► the live processor's own fold ─► tables of the schema SHADOW ─► compare ─► switch

The fold is the live one in another schema, so memory is that of a processor, whatever the log
holds, and a rebuild can no more differ from the live tables than two processors can. Whatever ends
it before the switch commits leaves the live tables as they are.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import structlog

from projections.digest import (
    Difference,
    differences,
    live_digests,
    live_sums,
    projection_digests,
)
from projections.rules import Rules
from projections.store import QUERIES
from rekam.domain.errors import Misconfigured, Unavailable
from rekam.domain.keys import VerifyKey
from rekam.runtime.kafka import OPEN_NETWORK
from rekam.runtime.postgres import load_migrations, open_pool
from rekam.runtime.settings import KafkaSecurity
from stream_processors.app import ProcessorOptions
from stream_processors.chunk_transport import split_into_chunks
from stream_processors.folder import PostgresFolder
from stream_processors.intake import Opener
from stream_processors.replay.handover import hand_over, require_no_dependants
from stream_processors.replay.source import read_log
from stream_processors.worker import transient_as_unavailable

SHADOW: Final = "rekam_rebuild"
REPLACED: Final = "rekam_replaced"
LIVE: Final = "public"
MIGRATIONS: Final = "projections.migrations"

REBUILD_LOCK: Final = 0x72656B61
"""Advisory lock: one rebuild of a database at a time."""
SWITCH_TRIES_MAX: Final = 8
LOCK_SECONDS_MAX: Final = 10
"""How long the switch waits for readers of a table; then everybody goes on, and it tries again."""
CONNECTIONS_MAX: Final = 2
COMMAND_SECONDS_MAX: Final = 3600.0

_DROP: Final = f"DROP SCHEMA IF EXISTS {SHADOW}, {REPLACED} CASCADE"
_BROKEN: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresError)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Report = Callable[[int, int], None]
"""Hears records folded, and records in all."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What came of a rebuild, compared at the positions that the live tables had at its start."""

    positions: Mapping[int, int]
    settings: str
    """Under which rules and keys the new tables are folded."""
    live: Mapping[str, str]
    """Digest by projection."""
    rebuilt: Mapping[str, str]
    differences: tuple[Difference, ...]
    """None when the live tables were folded under other settings: then most rows differ."""
    is_switched: bool

    @property
    def is_equal(self) -> bool:
        """Tell whether the live tables were what the log gives by these rules."""
        return self.live == self.rebuilt


@dataclass(frozen=True, slots=True)
class Log:
    """Where the log is."""

    bootstrap: str
    topic: str
    security: KafkaSecurity = OPEN_NETWORK


async def rebuild_tables(
    dsn: str,
    source: Log,
    *,
    rules: Rules,
    root: VerifyKey,
    opener: Opener,
    is_switching: bool,
    report: Report = lambda _done, _all: None,
) -> Rebuilt:
    """Fold the log up to the live positions into a schema of its own and compare.

    With `is_switching` the new tables then take the place of the live ones in one transaction, in
    which what the processor has folded meanwhile is folded too, with their owner, grants and
    comments; otherwise they are dropped. Processors and readers go on beside it. Raises
    Misconfigured when nothing is folded yet, another rebuild runs, a view reads the tables, or the
    session may not replace them; Unavailable when readers do not let the switch through, or the
    database goes away.
    """
    with transient_as_unavailable():
        live = await open_pool(
            dsn, connections_max=CONNECTIONS_MAX, command_seconds_max=COMMAND_SECONDS_MAX
        )
        try:
            async with live.acquire() as session:
                if not await session.fetchval("SELECT pg_try_advisory_lock($1)", REBUILD_LOCK):
                    raise Misconfigured(["another rebuild of this database runs; wait for its end"])
                await _make_shadow(session)
                shadow = await open_pool(
                    dsn,
                    connections_max=CONNECTIONS_MAX,
                    command_seconds_max=COMMAND_SECONDS_MAX,
                    application_name="rekam-rebuild",
                    settings={"search_path": SHADOW},
                )
                folder = PostgresFolder(shadow, source.topic, rules, root, opener)
                try:
                    return await _rebuild(
                        session, folder, source, is_switching=is_switching, report=report
                    )
                finally:
                    await _clear_away(session, shadow)
        finally:
            await live.close()


async def drop_leftovers(pool: Any) -> None:
    """Drop what a rebuild left that was killed, unless one runs; sealed NIKs stand in it.

    No order to erase reaches those tables. Needs the right to drop them: else it is told.
    """
    try:
        async with pool.acquire() as session, session.transaction():
            if await session.fetchval("SELECT pg_try_advisory_xact_lock($1)", REBUILD_LOCK):
                await session.execute(_DROP)
    except asyncpg.InsufficientPrivilegeError:
        log.warning("rebuild_not_cleared_away", schema=SHADOW, error="InsufficientPrivilegeError")


async def _clear_away(session: Any, shadow: Any) -> None:
    """Drop what the rebuild made; when it cannot, what was raised before is still what is told."""
    try:
        await shadow.close()
        await session.execute(_DROP)
    except (*_BROKEN, OSError, TimeoutError) as error:
        log.warning("rebuild_not_cleared_away", schema=SHADOW, error=type(error).__name__)


async def _make_shadow(session: Any) -> None:
    """Make empty tables by the migrations that made the live ones, names and indexes included."""
    async with session.transaction():
        await session.execute(_DROP)
        await session.execute(f"CREATE SCHEMA {SHADOW}")
        await session.execute(f"SET LOCAL search_path = {SHADOW}")
        for migration in load_migrations(MIGRATIONS):
            await session.execute(migration.sql)


async def _rebuild(
    session: Any, folder: PostgresFolder, source: Log, *, is_switching: bool, report: Report
) -> Rebuilt:
    if is_switching:  # rather now than when all is folded
        await require_no_dependants(session, live=LIVE, shadow=SHADOW)
    async with session.transaction(isolation="repeatable_read", readonly=True):
        positions = dict(await session.fetch(QUERIES["list_positions"], source.topic))
        live = await live_sums(session)
        folded_under = await session.fetchval(QUERIES["read_settings"])
        if not positions:
            raise Misconfigured(["nothing is folded yet: run `rekam processor run`, not a rebuild"])
        await folder.require_settings()
        await _fold_up_to(folder, source, positions, report)
        # Rows are told apart only where a table differs, and only if it ought not to.
        async with folder.pool.acquire() as connection, connection.transaction(readonly=True):
            rebuilt = await live_sums(connection)
            unequal = [table for table in live if live[table] != rebuilt[table]]
            if folded_under != folder.rules.id:
                unequal = []
            told = differences(
                await live_digests(session, unequal), await live_digests(connection, unequal)
            )
    if is_switching:
        await _switch(session, folder, source)
    return Rebuilt(
        positions=positions,
        settings=folder.opener.settings_id,
        live=projection_digests(live),
        rebuilt=projection_digests(rebuilt),
        differences=tuple(told),
        is_switched=is_switching,
    )


async def _fold_up_to(
    folder: PostgresFolder, source: Log, ends: Mapping[int, int], report: Report
) -> None:
    starts = await folder.positions(source.topic, ends.keys())
    options = ProcessorOptions(bootstrap=source.bootstrap, data_dir=Path())
    records = sum(ends.values())
    done = sum(min(starts.get(number, 0), end) for number, end in ends.items())
    async for found in read_log(
        source.bootstrap, source.topic, ends, starts=starts, security=source.security
    ):
        for chunk in split_into_chunks(
            list(found.records),
            topic=source.topic,
            records_max=options.chunk_records_max,
            bytes_max=options.chunk_bytes_max,
        ):
            await folder.fold(chunk, await asyncio.to_thread(folder.prepare, chunk))
            done += len(chunk.records)
            report(done, records)


async def _switch(session: Any, folder: PostgresFolder, source: Log) -> None:
    """Put the new tables in the place of the live ones; nothing is folded while it happens."""
    kept_off: Counter[type[Exception]] = Counter()
    for tries in range(1, SWITCH_TRIES_MAX + 1):
        # Most of what is new is folded before anybody has to wait.
        ends = dict(await session.fetch(QUERIES["list_positions"], source.topic))
        await _fold_up_to(folder, source, ends, lambda _done, _all: None)
        try:
            await _switch_once(session, folder, source)
        except (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError) as error:
            kept_off[type(error)] += 1
            log.info("switch_waits_for_readers", tries=tries, error=type(error).__name__)
        except asyncpg.InsufficientPrivilegeError as error:
            raise Misconfigured(
                [
                    (
                        f"the role of REKAM_POSTGRES may not replace the tables ({error}); nothing "
                        "was switched. Rebuild as the owner of the tables, or as a superuser"
                    )
                ]
            ) from error
        else:
            return
    raise Unavailable(
        f"nothing was switched in {SWITCH_TRIES_MAX} tries: in "
        f"{kept_off[asyncpg.LockNotAvailableError]} of them others held a table for "
        f"{LOCK_SECONDS_MAX} s, and {kept_off[asyncpg.DeadlockDetectedError]} ended in a deadlock "
        "with them. Try again when less is read."
    )


async def _switch_once(session: Any, folder: PostgresFolder, source: Log) -> None:
    async with session.transaction():
        await session.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS_MAX}s'")
        # Every fold takes its position first: none is under way then, and none begins.
        await session.execute(f"LOCK TABLE {LIVE}.projection_position IN ACCESS EXCLUSIVE MODE")
        ends = dict(await session.fetch(QUERIES["list_positions"], source.topic))
        await _fold_up_to(folder, source, ends, lambda _done, _all: None)
        await require_no_dependants(session, live=LIVE, shadow=SHADOW)
        await session.execute(f"CREATE SCHEMA {REPLACED}")
        for row in await session.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = $1 ORDER BY tablename", SHADOW
        ):
            table = row["tablename"]
            await session.execute(f"ALTER TABLE {LIVE}.{table} SET SCHEMA {REPLACED}")
            await session.execute(f"ALTER TABLE {SHADOW}.{table} SET SCHEMA {LIVE}")
        await hand_over(session, replaced=REPLACED, live=LIVE)
        # In the same transaction: an order to erase would not reach them if we were killed now.
        await session.execute(f"DROP SCHEMA {REPLACED} CASCADE")
