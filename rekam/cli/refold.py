"""`rekam projection refold`: judge again in place, and account for the people who are named.

A composition root: what says how much is known of somebody may not know what records that it was
asked.
"""

import asyncio
import getpass
from collections.abc import Iterable, Sequence
from typing import BinaryIO, Final, NamedTuple

import click
import msgspec

from producers.office.access_desk import AccessDesk
from projections.api.parameters import Unwanted, parse_reason
from projections.regions import Region
from projections.tables import PERSON
from rekam.cli.folders import open_folder
from rekam.domain.errors import Misconfigured, Unavailable
from rekam.domain.events import Nik, PersonAccessed
from rekam.runtime.invocation import settings_of
from rekam.runtime.settings import Settings
from stream_processors.folder import PostgresFolder
from stream_processors.places import Place
from stream_processors.refold import (
    places_of,
    places_of_producer,
    places_of_region,
    refold_all,
)
from stream_processors.refold import refold as refold_places
from stream_processors.replay.projection_commands import projection

PEOPLE_MAX: Final = 10_000
NIK_LINE_BYTES_MAX: Final = 64
CALL: Final = "refold"
CALLER_CHARACTERS_MAX: Final = 64


class Wanted(NamedTuple):
    """Whom to judge again; nobody named: everything."""

    producers: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    niks: tuple[str, ...] | None = None


EVERYTHING: Final = Wanted()


@projection.command()
@click.option("--producer", "producers", multiple=True, help="What it said, and was said of it.")
@click.option("--region", "regions", multiple=True, help="Code; people recorded as living there.")
@click.option(
    "--people",
    type=click.File("rb"),
    help="A file of NIKs, one a line; - is standard input. A command line holds none.",
)
@click.option("--reason", help="Why, if people are named: it is recorded with who, and of whom.")
@click.pass_context
def refold(
    context: click.Context,
    *,
    producers: tuple[str, ...],
    regions: tuple[str, ...],
    people: BinaryIO | None,
    reason: str | None,
) -> None:
    """Judge again what counts, in place: after a mistake of the software in judging.

    Everything, or what is said of the named ones. Beside a running processor, a bounded
    transaction at a time. Where cells were added up by another rule, use `rekam projection
    rebuild --switch`.
    """
    settings = settings_of(context)
    wanted = Wanted(producers, _regions(regions), None if people is None else _niks(people))
    if wanted.niks is not None:
        account_for(settings, wanted.niks, reason=_reason(reason))
    judged = asyncio.run(_refold(settings, wanted))
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


def _reason(text: str | None) -> str:
    if text is None:
        raise Misconfigured(
            ["--people: give --reason, too; who reads of whom, and why, is recorded first"]
        )
    try:
        return parse_reason(text)
    except Unwanted as error:
        raise Misconfigured([f"--reason: wanted {error}"]) from error


def account_for(settings: Settings, niks: Sequence[str], *, reason: str) -> None:
    """Record that these people are about to be read of; durable when this returns.

    As every call of the read API does, by the same desk, which sends at once if it can. Raises what
    keeps the desk from recording: then nothing may be read.
    """
    caller = f"{CALL}/{getpass.getuser()}"[:CALLER_CHARACTERS_MAX]
    accesses = [PersonAccessed(nik=nik, caller=caller, call=CALL, reason=reason) for nik in niks]

    async def record(desk: AccessDesk) -> None:
        await desk.record(accesses)
        try:
            await desk.send_waiting()
        except Unavailable as error:
            click.echo(str(error), err=True)  # it is kept, and sent by the next who can

    with AccessDesk(settings) as desk:
        asyncio.run(record(desk))


async def _refold(settings: Settings, wanted: Wanted) -> int:
    async with open_folder(settings, application_name="rekam-refold") as folder:
        if wanted == EVERYTHING:
            return await refold_all(folder)
        return await refold_places(folder, await _places(folder, wanted))


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
