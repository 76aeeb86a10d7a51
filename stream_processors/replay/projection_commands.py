"""`rekam projection …`: what is projected, by which rules, and how it is made anew."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, BinaryIO, Final, NamedTuple, TypeVar

import click
import msgspec

from projections.digest import live_sums, projection_digests
from projections.regions import Region
from projections.store import QUERIES
from projections.tables import PERSON, PROJECTIONS
from rekam.domain.errors import Misconfigured, ProblemFound
from rekam.domain.events import Nik
from rekam.domain.topics import SEGMENTS
from rekam.runtime.endpoints import kafka_bootstrap, postgres_dsn
from rekam.runtime.invocation import settings_of
from rekam.runtime.postgres import connect, open_pool
from rekam.runtime.settings import Settings
from stream_processors.configured import folding_settings
from stream_processors.folder import PostgresFolder
from stream_processors.places import Place
from stream_processors.refold import (
    places_of,
    places_of_producer,
    places_of_region,
    refold_all,
)
from stream_processors.refold import refold as refold_places
from stream_processors.replay.commands import DIFFERENCES_SHOWN_MAX, progress_lines
from stream_processors.replay.shadow import Log, Rebuilt, rebuild_tables

CONNECTIONS_MAX: Final = 2
DIGEST_CHARACTERS: Final = 32
PEOPLE_MAX: Final = 10_000
NIK_LINE_BYTES_MAX: Final = 64

Answer = TypeVar("Answer")


class Standing(msgspec.Struct, frozen=True):
    """What the live tables hold, at one state of theirs."""

    positions: dict[int, int]
    settings: str | None
    """Under which rules and keys they were folded; null: nothing is folded yet."""
    digests: dict[str, str]
    """By projection."""
    rows: dict[str, int]
    """By table."""


class Wanted(NamedTuple):
    """Whom to judge again; nobody named: everything."""

    producers: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    niks: tuple[str, ...] | None = None


EVERYTHING: Final = Wanted()


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


@projection.command()
@click.option("--producer", "producers", multiple=True, help="What it said, and was said of it.")
@click.option("--region", "regions", multiple=True, help="Code; people recorded as living there.")
@click.option(
    "--people",
    type=click.File("rb"),
    help="A file of NIKs, one a line; - is standard input. A command line holds none.",
)
@click.pass_context
def refold(
    context: click.Context,
    *,
    producers: tuple[str, ...],
    regions: tuple[str, ...],
    people: BinaryIO | None,
) -> None:
    """Judge again what counts, in place: after a mistake of the software in judging.

    Everything, or what is said of the named ones. Beside a running processor, a bounded
    transaction at a time. Where cells were added up by another rule, use `rekam projection
    rebuild --switch`.
    """
    wanted = Wanted(producers, _regions(regions), None if people is None else _niks(people))
    judged = asyncio.run(_refold(settings_of(context), wanted))
    click.echo(f"judged again: {judged:,} segments")


def _regions(codes: Iterable[str]) -> tuple[Region, ...]:
    found = {code: Region.parse(code) for code in codes}
    if wrong := [code for code, region in found.items() if region is None]:
        raise Misconfigured([f"--region {wrong[0]}: wanted a code with dots, such as 64.08.04"])
    return tuple(region for region in found.values() if region is not None)


def _niks(lines: BinaryIO) -> tuple[str, ...]:
    """Read NIKs; a fault names the line and never what stands there."""
    found: list[str] = []
    while line := lines.readline(NIK_LINE_BYTES_MAX):
        if len(found) == PEOPLE_MAX:
            raise Misconfigured([f"--people: more than {PEOPLE_MAX} lines; give them in parts"])
        try:
            found.append(msgspec.convert(line.decode("ascii").strip(), Nik))
        except (UnicodeDecodeError, msgspec.ValidationError):
            raise Misconfigured(
                [f"--people: line {len(found) + 1} is not a NIK, sixteen digits"]
            ) from None  # the cause would show what stands there
    if not found:
        raise Misconfigured(["--people: there is no line; wanted NIKs, one a line"])
    return tuple(found)


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


async def _refold(settings: Settings, wanted: Wanted) -> int:
    async def work(folder: PostgresFolder) -> int:
        if wanted == EVERYTHING:
            return await refold_all(folder)
        return await refold_places(folder, await _places(folder, wanted))

    return await _with_folder(settings, work)


async def _places(folder: PostgresFolder, wanted: Wanted) -> set[Place]:
    """Find what is named. Raises Misconfigured naming what nothing that counts is said of."""
    places: set[Place] = set()
    faults: list[str] = []
    for producer in wanted.producers:
        places |= (found := await places_of_producer(folder, producer))
        if not found:
            faults.append(f"--producer {producer}: nothing that counts is of it or speaks of it")
    for region in wanted.regions:
        places |= (found := await places_of_region(folder, region))
        if not found:
            faults.append(f"--region {region.code}: nobody is recorded as living there")
    refs = [(PERSON, folder.rules.token(nik)) for nik in wanted.niks or ()]
    of_people = await places_of(folder, set(refs))
    for number, ref in enumerate(refs, start=1):
        places |= of_people[ref]
        if not of_people[ref]:
            faults.append(f"--people: nothing that counts is said of the person of line {number}")
    if faults:
        raise Misconfigured(faults)
    return places


async def _with_folder(
    settings: Settings, work: Callable[[PostgresFolder], Awaitable[Answer]]
) -> Answer:
    rules, root, opener = folding_settings(settings)
    pool = await open_pool(postgres_dsn(settings), connections_max=CONNECTIONS_MAX)
    folder = PostgresFolder(pool, SEGMENTS.name, rules, root, opener)
    try:
        await folder.require_settings()
        await folder.meet_known_keys()
        return await work(folder)
    finally:
        await folder.close()


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
