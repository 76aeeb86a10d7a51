"""`rekam office …`: what offices state. Every fact is durable here before it is sent."""

from pathlib import Path
from typing import Final

import click
import msgspec

from producers.device.clock import DeviceClock
from producers.office.commands_people import order_erasure, resolve_duplicate
from producers.office.commands_publish import COMMANDS
from producers.office.commands_snapshot import check_snapshot
from producers.office.stating import checked, moment_ms, publish
from rekam.domain.errors import Misconfigured, Rejected
from rekam.domain.events import (
    ProducerEnrolled,
    ProducerKind,
    ProducerRevoked,
    PublicKeyText,
    RangeDeclaredLost,
    TicketAssigned,
    TicketClosed,
    TicketOpened,
)
from rekam.domain.segment import ProducerText
from rekam.runtime.invocation import settings_of

REQUEST_BYTES_MAX: Final = 4096

producer_option = click.option("--producer", required=True, help="Whom it is about.")


class EnrolmentRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `rekam device init` prints."""

    producer: ProducerText
    kind: ProducerKind
    key: PublicKeyText


@click.group()
def office() -> None:
    """State what an office knows: who may record, where, how many, and what became of it."""


@office.command()
@click.argument("request", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--place", required=True, help="Code of the region that it works in.")
@click.option("--since", help="From when on its dates are believed (ISO 8601); now if not given.")
@click.pass_context
def enrol(context: click.Context, *, request: Path, place: str, since: str | None) -> None:
    """Enrol a producer by the JSON that `rekam device init` printed."""
    settings = settings_of(context)
    asked = _request(request)
    if asked.producer == settings.registrar:
        raise Rejected(f"{request}: {asked.producer} is the registrar, which nobody enrols")
    enrolled_ms = (
        DeviceClock().read().wall_ms if since is None else moment_ms(since, settings, "--since")
    )
    fact = checked(
        ProducerEnrolled,
        producer=asked.producer,
        kind=asked.kind,
        place=place,
        key=asked.key,
        enrolled_ms=enrolled_ms,
    )
    publish(settings, [fact])
    click.echo(f"enrolled: {asked.kind} {asked.producer} in {place}")


@office.command()
@click.argument("producer")
@click.option("--effective", required=True, help="From when on it is not believed (ISO 8601).")
@click.option("--reason", required=True)
@click.pass_context
def revoke(context: click.Context, *, producer: str, effective: str, reason: str) -> None:
    """Take the trust in a producer away from a moment on."""
    settings = settings_of(context)
    effective_ms = moment_ms(effective, settings, "--effective")
    fact = checked(ProducerRevoked, producer=producer, effective_ms=effective_ms, reason=reason)
    publish(settings, [fact])
    click.echo(f"revoked: {producer} from {effective} on")


@office.command("declare-lost")
@producer_option
@click.option("--epoch", type=int, required=True, help="Which life of its outbox.")
@click.option("--first", type=int, required=True, help="Seq of the first event given up.")
@click.option("--last", type=int, required=True, help="Seq of the last one.")
@click.option("--reason", required=True)
@click.pass_context
def declare_lost(
    context: click.Context, *, producer: str, epoch: int, first: int, last: int, reason: str
) -> None:
    """Give up waiting for a range of events: it is no gap any more.

    What arrives of them all the same still counts. Nobody can take this word back.
    """
    if last < first:
        raise Misconfigured([f"--last {last}: wanted {first} or more, the first seq given up"])
    fact = checked(
        RangeDeclaredLost, producer=producer, epoch=epoch, first=first, last=last, reason=reason
    )
    publish(settings_of(context), [fact])
    click.echo(
        f"declared lost: {last - first + 1} events of {producer}, epoch {epoch}, {first}-{last}"
    )


@office.group()
def ticket() -> None:
    """Keep account of repairs."""


ticket_argument = click.argument("ticket_id", metavar="TICKET")


@ticket.command("open")
@ticket_argument
@producer_option
@click.option("--summary", required=True, help="What is wrong with it.")
@click.pass_context
def open_ticket(context: click.Context, *, ticket_id: str, producer: str, summary: str) -> None:
    """Ask for a repair. TICKET is its name, which the office chooses."""
    fact = checked(TicketOpened, ticket=ticket_id, producer=producer, summary=summary)
    publish(settings_of(context), [fact])
    click.echo(f"opened: {ticket_id} for {producer}")


@ticket.command("assign")
@ticket_argument
@producer_option
@click.option("--technician", required=True, help="Who takes it.")
@click.pass_context
def assign_ticket(
    context: click.Context, *, ticket_id: str, producer: str, technician: str
) -> None:
    """Say who repairs it."""
    fact = checked(TicketAssigned, ticket=ticket_id, producer=producer, technician=technician)
    publish(settings_of(context), [fact])
    click.echo(f"assigned: {ticket_id} for {producer}")


@ticket.command("close")
@ticket_argument
@producer_option
@click.option("--outcome", required=True, help="What became of it.")
@click.pass_context
def close_ticket(context: click.Context, *, ticket_id: str, producer: str, outcome: str) -> None:
    """End a repair."""
    fact = checked(TicketClosed, ticket=ticket_id, producer=producer, outcome=outcome)
    publish(settings_of(context), [fact])
    click.echo(f"closed: {ticket_id} for {producer}")


def _request(path: Path) -> EnrolmentRequest:
    try:
        with path.open("rb") as file:
            raw = file.read(REQUEST_BYTES_MAX + 1)
    except OSError as error:
        raise Misconfigured([f"{path} cannot be read ({error.strerror})"]) from error
    if len(raw) > REQUEST_BYTES_MAX:
        raise Rejected(f"{path}: more than {REQUEST_BYTES_MAX} bytes; wanted one request")
    try:
        return msgspec.json.decode(raw, type=EnrolmentRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Rejected(
            f"{path}: is no enrolment request ({error}). Take what `rekam device init` printed"
        ) from error


for command in (*COMMANDS, check_snapshot, order_erasure, resolve_duplicate):
    office.add_command(command)
