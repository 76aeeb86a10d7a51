"""Statements about one person, whose NIK no command line ever holds."""

import re
import sys
from typing import Final, get_args, get_type_hints

import click
import msgspec

from producers.device.clock import DeviceClock
from producers.office.stating import checked, publish
from rekam.domain.errors import Misconfigured
from rekam.domain.events import (
    DuplicateResolved,
    ErasureOrdered,
    EventData,
    Nik,
    RecordingWithdrawn,
)
from rekam.domain.niks import holds_nik
from rekam.runtime.invocation import settings_of

_INPUT_CHARACTERS_MAX: Final = 64
_RECORDING: Final = re.compile(r"[a-z0-9.-]{1,64}/[1-9]\d*/[1-9]\d*", re.ASCII)
"""Id of an event. Another word names nothing, and would settle no case, whatever it says."""


def _choices(name: str) -> tuple[str, ...]:
    return get_args(get_type_hints(DuplicateResolved)[name])


@click.command("order-erasure")
@click.option("--order", required=True, help="Number of the order, as the office files it.")
@click.option("--reason", required=True, help="On which ground, such as an article of law.")
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
@click.pass_context
def order_erasure(context: click.Context, *, order: str, reason: str, yes: bool) -> None:
    """Order that a person is gone from every table; the NIK is read from standard input.

    Sums stay as they are. The log keeps its sealed segments; nobody can take this word back.
    """
    nik = _nik()
    fact = checked(ErasureOrdered, nik=nik, order=order, reason=reason)
    if not yes:
        click.confirm(
            f"Hapus orang ini / erase this person, by order {order}?", abort=True, err=True
        )
    publish(settings_of(context), [fact])
    click.echo(f"erasure ordered: {order}")


@click.command("resolve-duplicate")
@click.option(
    "--kind", required=True, type=click.Choice(_choices("kind")), help="As /v1/duplicates shows it."
)
@click.option("--outcome", required=True, type=click.Choice(_choices("outcome")))
@click.option(
    "--recording",
    "looked_at",
    multiple=True,
    metavar="PRODUCER/EPOCH/SEQ",
    help="A recording that was looked at; give all that stand.",
)
@click.option(
    "--withdraw",
    "withdrawn",
    multiple=True,
    metavar="RECORDING",
    help="Id of a recording that was made under this number by mistake.",
)
@click.option(
    "--withdraw-from",
    "producer",
    metavar="PRODUCER",
    help="Whose they are; without it, every device's of those ids.",
)
@click.option("--reason", required=True, help="What was found.")
@click.option("--dry-run", is_flag=True, help="Say what would be stated, and state nothing.")
@click.pass_context
def resolve_duplicate(
    context: click.Context,
    *,
    kind: str,
    outcome: str,
    looked_at: tuple[str, ...],
    withdrawn: tuple[str, ...],
    producer: str | None,
    reason: str,
    dry_run: bool,
) -> None:
    """State what became of a case of duplicates; the NIK is read from standard input.

    The case is settled until a recording comes that was not looked at. With `wrong_nik`, name what
    is to be withdrawn: that alone makes a recording not count.
    """
    faults = []
    if kind == "two_recordings" and not looked_at:
        faults.append("--recording is missing: name every recording that stands in the case")
    if (outcome == "wrong_nik") != bool(withdrawn):
        faults.append("--withdraw goes with --outcome wrong_nik, and it with that")
    if producer is not None and not withdrawn:
        faults.append("--withdraw-from goes with --withdraw")
    faults += [
        "--recording: wanted PRODUCER/EPOCH/SEQ, as the lookup shows a recording"
        for name in looked_at
        if not _RECORDING.fullmatch(name) and not holds_nik(name)
    ]
    if faults:
        raise Misconfigured(faults)
    nik = _nik()
    facts: list[EventData] = [
        checked(RecordingWithdrawn, recording=recording, nik=nik, reason=reason, producer=producer)
        for recording in withdrawn
    ]
    facts.append(
        checked(
            DuplicateResolved,
            nik=nik,
            kind=kind,
            outcome=outcome,
            recordings=looked_at,
            resolved_ms=DeviceClock().read().wall_ms,
            reason=reason,
        )
    )
    words = f"{kind}: {outcome}, {len(looked_at)} recordings looked at, {len(withdrawn)} withdrawn"
    if dry_run:
        click.echo(f"would state {words}")
        return
    publish(settings_of(context), facts)
    click.echo(f"stated {words}")
    if kind == "two_recordings":
        click.echo(
            "The case is settled when these are all that stand: the lookup of the person tells.",
            err=True,
        )


def _nik() -> str:
    """Read it where neither the process list nor a shell's history keeps it."""
    if sys.stdin.isatty():
        text = click.prompt("NIK", hide_input=True, err=True)
    else:
        text = sys.stdin.readline(_INPUT_CHARACTERS_MAX)
    try:
        return msgspec.convert(text.strip(), Nik)
    except msgspec.ValidationError as error:
        raise Misconfigured(
            ["standard input: wanted a NIK, sixteen digits, on one line"]
        ) from error
