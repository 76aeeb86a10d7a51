"""`rekam projection …`: what is projected, by which rules, and how it is made anew."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import click
import msgspec

from projections.digest import live_sums, projection_digests
from projections.store import QUERIES
from projections.tables import PROJECTIONS
from rekam.domain.errors import ProblemFound
from rekam.domain.topics import SEGMENTS
from rekam.runtime.endpoints import kafka_bootstrap, postgres_dsn
from rekam.runtime.invocation import settings_of
from rekam.runtime.postgres import connect
from rekam.runtime.settings import Settings
from stream_processors.configured import folding_settings
from stream_processors.replay.commands import DIFFERENCES_SHOWN_MAX, progress_lines
from stream_processors.replay.shadow import Log, Rebuilt, rebuild_tables

DIGEST_CHARACTERS: Final = 32


class Standing(msgspec.Struct, frozen=True):
    """What the live tables hold, at one state of theirs."""

    positions: dict[int, int]
    settings: str | None
    """Under which rules and keys they were folded; null: nothing is folded yet."""
    digests: dict[str, str]
    """By projection."""
    rows: dict[str, int]
    """By table."""


@click.group()
def projection() -> None:
    """Look at the projections, and make them anew."""


@projection.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def list_projections(context: click.Context, *, as_json: bool) -> None:
    """List the projections with their tables and how many rows each has."""
    found = asyncio.run(_standing(settings_of(context)))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    _echo_state(found)
    for name, tables in PROJECTIONS.items():
        click.echo(f"{name}")
        for table in tables:
            click.echo(f"  {table:<22}{found.rows[table]:>14,} rows")


@projection.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def digest(context: click.Context, *, as_json: bool) -> None:
    """Print the digest of each projection: equal rows in any order, equal digests."""
    found = asyncio.run(_standing(settings_of(context)))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    _echo_state(found)
    for name, value in found.digests.items():
        click.echo(f"  {name:<14}{value[:DIGEST_CHARACTERS]}")


@projection.command()
@click.option("--switch", "is_switching", is_flag=True, help="Put the new tables in their place.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def rebuild(context: click.Context, *, is_switching: bool, as_json: bool) -> None:
    """Make all tables anew from the log, beside the live ones, and compare.

    With --switch the new ones take their place in one transaction; processors and readers may go
    on. That is how another person key, time zone, registrar or rule comes into force. Without it
    they are dropped again: exit 1 when they are not equal.
    """
    started = time.monotonic()
    found = asyncio.run(_rebuild(settings_of(context), is_switching=is_switching, is_quiet=as_json))
    seconds = round(time.monotonic() - started, 1)
    click.echo(_as_json(found, seconds) if as_json else _as_text(found, seconds))
    if not found.is_equal and not is_switching:
        raise ProblemFound(
            "the live tables are not what the log gives by the settings of now "
            f"({len(found.differences)} rows are told). If the settings were changed on purpose, "
            "run it again with --switch; if not, keep this output and look for the cause first."
        )


async def _standing(settings: Settings) -> Standing:
    connection = await connect(postgres_dsn(settings))
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            sums = await live_sums(connection)
            return Standing(
                dict(await connection.fetch(QUERIES["list_positions"], SEGMENTS.name)),
                await connection.fetchval(QUERIES["read_settings"]),
                projection_digests(sums),
                {table: found.rows for table, found in sums.items()},
            )
    finally:
        await connection.close()


async def _rebuild(settings: Settings, *, is_switching: bool, is_quiet: bool) -> Rebuilt:
    rules, root, opener = folding_settings(settings)
    return await rebuild_tables(
        postgres_dsn(settings),
        Log(kafka_bootstrap(settings), SEGMENTS.name, settings.kafka_security),
        rules=rules,
        root=root,
        opener=opener,
        is_switching=is_switching,
        report=progress_lines("folded", is_quiet=is_quiet),
    )


def _echo_state(found: Standing) -> None:
    click.echo(found.settings or "nothing is folded yet")
    click.echo(f"{sum(found.positions.values()):,} records folded\n")


def _as_json(found: Rebuilt, seconds: float) -> str:
    told: Mapping[str, Any] = {
        "equal": found.is_equal,
        "switched": found.is_switched,
        "positions": found.positions,
        "settings": found.settings,
        "live": found.live,
        "rebuilt": found.rebuilt,
        "differences": found.differences[:DIFFERENCES_SHOWN_MAX],
        "difference_count": len(found.differences),
        "seconds": seconds,
    }
    return msgspec.json.encode(told).decode()


def _as_text(found: Rebuilt, seconds: float) -> str:
    lines = [found.settings, f"{sum(found.positions.values()):,} records, {seconds} s", ""]
    for name, value in found.rebuilt.items():
        word = "equal" if found.live[name] == value else "DIFFERS"
        lines.append(f"  {name:<14}{value[:DIGEST_CHARACTERS]}  {word}")
    if found.is_switched:
        lines.append("\nswitched: the new tables are live")
    return "\n".join(lines)
