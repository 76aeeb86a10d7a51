"""`rekam office …`: what offices state. Every fact is durable here before it is sent."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import click
import msgspec

from producers.device.clock import DeviceClock
from producers.device.home import ProducerHome
from producers.office.desk import CENTRE, KPU, OfficeDesk, send, state
from producers.office.registrar import ensure_registrar
from producers.office.table import read_table
from rekam.domain.errors import Misconfigured, Rejected
from rekam.domain.events import (
    CohortEntryListed,
    CohortEntryResolved,
    CohortPublished,
    Count,
    Denominator,
    DenominatorPublished,
    DesaCode,
    EventData,
    Label,
    Nik,
    PlaceCode,
    ProducerEnrolled,
    ProducerKind,
    ProducerRevoked,
    PublicKeyText,
    RangeDeclaredLost,
    Region,
    StatusObserved,
    Text,
    TicketAssigned,
    TicketClosed,
    TicketOpened,
    TreePublished,
)
from rekam.domain.segment import ProducerText
from rekam.runtime.invocation import settings_of
from rekam.runtime.settings import Settings

REQUEST_BYTES_MAX: Final = 4096
DATE: Final = click.DateTime(["%Y-%m-%d"])

table_argument = click.argument("table", type=click.Path(path_type=Path, dir_okay=False))
producer_option = click.option("--producer", required=True, help="Whom it is about.")
version_option = click.option("--version", required=True, help="Names this publication.")
valid_from_option = click.option("--valid-from", required=True, type=DATE, help="Its first day.")


class EnrolmentRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `rekam device init` prints."""

    producer: ProducerText
    kind: ProducerKind
    key: PublicKeyText


class DenominatorRow(msgspec.Struct, frozen=True):
    """How many of a desa must hold a card."""

    desa: DesaCode
    wajib: Count


class RegionRow(msgspec.Struct, frozen=True):
    """A region."""

    kode: PlaceCode
    nama: Text


class StatusRow(msgspec.Struct, frozen=True):
    """What the centre showed. `observed_at` is ISO 8601; without a zone it is the office's."""

    nik: Nik
    status: Label
    observed_at: Label


class CohortRow(msgspec.Struct, frozen=True):
    """A name of a list, and what became of it if that is known."""

    entry: Count
    nik: Nik | None = None
    code: Label | None = None
    bucket: Label | None = None


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
        DeviceClock().read().wall_ms if since is None else _moment(since, settings, "--since")
    )
    fact = _checked(
        ProducerEnrolled,
        producer=asked.producer,
        kind=asked.kind,
        place=place,
        key=asked.key,
        enrolled_ms=enrolled_ms,
    )
    _publish(settings, [fact])
    click.echo(f"enrolled: {asked.kind} {asked.producer} in {place}")


@office.command()
@click.argument("producer")
@click.option("--effective", required=True, help="From when on it is not believed (ISO 8601).")
@click.option("--reason", required=True)
@click.pass_context
def revoke(context: click.Context, *, producer: str, effective: str, reason: str) -> None:
    """Take the trust in a producer away from a moment on."""
    settings = settings_of(context)
    effective_ms = _moment(effective, settings, "--effective")
    fact = _checked(ProducerRevoked, producer=producer, effective_ms=effective_ms, reason=reason)
    _publish(settings, [fact])
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
    fact = _checked(
        RangeDeclaredLost, producer=producer, epoch=epoch, first=first, last=last, reason=reason
    )
    _publish(settings_of(context), [fact])
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
    fact = _checked(TicketOpened, ticket=ticket_id, producer=producer, summary=summary)
    _publish(settings_of(context), [fact])
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
    fact = _checked(TicketAssigned, ticket=ticket_id, producer=producer, technician=technician)
    _publish(settings_of(context), [fact])
    click.echo(f"assigned: {ticket_id} for {producer}")


@ticket.command("close")
@ticket_argument
@producer_option
@click.option("--outcome", required=True, help="What became of it.")
@click.pass_context
def close_ticket(context: click.Context, *, ticket_id: str, producer: str, outcome: str) -> None:
    """End a repair."""
    fact = _checked(TicketClosed, ticket=ticket_id, producer=producer, outcome=outcome)
    _publish(settings_of(context), [fact])
    click.echo(f"closed: {ticket_id} for {producer}")


@office.command("publish-denominators")
@table_argument
@version_option
@click.option("--basis", required=True, help="Where the figures come from.")
@valid_from_option
@click.pass_context
def publish_denominators(
    context: click.Context, *, table: Path, version: str, basis: str, valid_from: datetime
) -> None:
    """Publish wajib KTP per desa from a CSV file: desa,wajib."""
    rows = read_table(table, DenominatorRow, distinct=lambda row: row.desa)
    fact = _checked(
        DenominatorPublished,
        version=version,
        basis=basis,
        valid_from=valid_from.date(),
        rows=[Denominator(row.desa, row.wajib) for row in rows],
    )
    _publish(settings_of(context), [fact])
    click.echo(f"published: {len(rows)} desa, {sum(row.wajib for row in rows)} wajib KTP")


@office.command("publish-regions")
@table_argument
@version_option
@valid_from_option
@click.pass_context
def publish_regions(
    context: click.Context, *, table: Path, version: str, valid_from: datetime
) -> None:
    """Publish a region tree from a CSV file: kode,nama."""
    rows = read_table(table, RegionRow, distinct=lambda row: row.kode)
    fact = _checked(
        TreePublished,
        version=version,
        valid_from=valid_from.date(),
        regions=[Region(row.kode, row.nama) for row in rows],
    )
    _publish(settings_of(context), [fact])
    click.echo(f"published: {len(rows)} regions")


@office.command("observe-status")
@table_argument
@click.option("--source", default="siak", show_default=True, help="Which system showed it.")
@click.pass_context
def observe_status(context: click.Context, *, table: Path, source: str) -> None:
    """State what the centre shows, from a CSV file: nik,status,observed_at."""
    settings = settings_of(context)
    facts = [
        _checked(
            StatusObserved,
            nik=row.nik,
            status=row.status,
            observed_ms=_moment(row.observed_at, settings, "observed_at"),
            source=source,
        )
        for row in read_table(table, StatusRow, rule=_observed_fault)
    ]
    _publish(settings, facts, desk=CENTRE)
    click.echo(f"observed: {len(facts)} statuses")


@office.command("publish-cohort")
@table_argument
@click.option("--cohort", required=True, help="Id of the list.")
@version_option
@click.option("--title", required=True)
@click.option("--source", required=True, help="Who handed it over.")
@click.pass_context
def publish_cohort(
    context: click.Context, *, table: Path, cohort: str, version: str, title: str, source: str
) -> None:
    """Publish a list of people from a CSV file: entry,nik,code,bucket (all but entry may lack)."""
    rows = read_table(table, CohortRow, distinct=lambda row: row.entry)
    facts: list[EventData] = [
        _checked(
            CohortPublished,
            cohort=cohort,
            version=version,
            title=title,
            source=source,
            entries=len(rows),
        )
    ]
    for row in rows:
        facts.append(CohortEntryListed(cohort=cohort, entry=row.entry, nik=row.nik, code=row.code))
        if row.bucket is not None:
            facts.append(
                CohortEntryResolved(
                    cohort=cohort, entry=row.entry, bucket=row.bucket, source=source
                )
            )
    _publish(settings_of(context), facts, desk=KPU)
    click.echo(f"published: {len(rows)} entries of {cohort}")


def _publish(
    settings: Settings, facts: Sequence[EventData], *, desk: OfficeDesk | None = None
) -> None:
    """State facts by the registrar or by `desk`, then send. Raises Unavailable: they are kept."""
    with ExitStack() as stack:
        registrar = stack.enter_context(ensure_registrar(settings))
        homes: list[ProducerHome] = [registrar]
        if desk is not None:
            homes.append(stack.enter_context(desk.open(settings, registrar)))
        state(homes[-1], facts)
        asyncio.run(send(settings, homes))


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


def _checked(fact: type[Any], **fields: Any) -> Any:
    """Return a fact whose fields keep the rules of its type. Raises Misconfigured, no value."""
    try:
        return msgspec.convert(msgspec.to_builtins(fields), fact)
    except msgspec.ValidationError as error:
        raise Misconfigured([f"{fact.__name__}: {error}"]) from error


def _observed_fault(row: StatusRow) -> str | None:
    try:
        datetime.fromisoformat(row.observed_at)
    except ValueError:
        return "observed_at: wanted ISO 8601, such as 2018-03-31T14:00"
    return None


def _moment(text: str, settings: Settings, name: str) -> int:
    """Return ms since 1970, UTC; without a zone the office's counts. Raises Misconfigured."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Misconfigured([f"{name}: wanted ISO 8601, such as 2018-03-31T14:00"]) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(settings.time_zone))
    return int(moment.astimezone(UTC).timestamp() * 1000)
