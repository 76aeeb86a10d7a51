"""`rekam device …`: a recording device's outbox on the command line."""

import asyncio
import select
import signal
import sys
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, Protocol, get_args
from zoneinfo import ZoneInfo

import click
import msgspec

from producers.device.clock import Clock, DeviceClock, Reading
from producers.device.commands_outbox import (
    limits,
    new_epoch,
    receipt_keys_for,
    retry_refused,
    trust_receipts,
)
from producers.device.commands_status import status
from producers.device.emitter import drain
from producers.device.emitter import run as emit
from producers.device.home import KEEP_DAYS, ProducerHome
from producers.device.known_time import CertificateTime, KnownTime
from producers.device.local.listening import Address
from producers.device.local.server import serve
from producers.device.local.watch import RouteWatch
from producers.device.options import (
    LimitChoice,
    home_option,
    layer_option,
    limit_options,
    listen_options,
)
from producers.device.outbox_file import (
    DEFAULT_STORAGE,
    Storage,
    require_budget,
    require_no_layer,
)
from producers.device.receipts import is_custody
from producers.device.route_options import RouteChoice, route_options
from producers.device.routing import Routing
from producers.device.stamping import (
    BATCH_LINES_MAX,
    Lines,
    Refused,
    append_lines,
    damage_of,
    encode_answer,
)
from producers.usb.commands import export_command, import_receipts_command
from rekam.domain import events
from rekam.domain.errors import (
    Misconfigured,
    OutboxBusy,
    Overloaded,
    ProblemFound,
    Unavailable,
)
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.keys import ReaderPublicKey
from rekam.domain.segment import EVENT_BYTES_MAX, producer_id
from rekam.runtime.invocation import settings_of
from rekam.runtime.keyring import load_reader_public
from rekam.runtime.lean_memory import give_memory_back

EPOCH_MAX: Final = 2**31 - 1
"""What a segment's header takes."""


class Endpoint(Protocol):
    """The local endpoint, ready to be started."""

    def __call__(self, *, clock: Clock, stopping: asyncio.Event) -> Coroutine[None, None, None]:
        """Serve until `stopping` is set."""


class OpenRouting(Protocol):
    """The routes that were asked for, ready to be opened."""

    def __call__(self, *, certificate_time: CertificateTime) -> Routing:
        """Open them; servers' certificates must be valid at `certificate_time`."""


@click.group()
def device() -> None:
    """Record events durably, and send them to the log."""


@device.command()
@click.option("--producer", required=True, help="Its id: 1 to 64 of a-z 0-9 . -")
@click.option(
    "--kind",
    default="recorder",
    show_default=True,
    type=click.Choice(get_args(events.ProducerKind)),
)
@home_option
@click.option(
    "--reader",
    type=click.Path(path_type=Path),
    help="File with the office's public reader key; without it the one of this machine.",
)
@click.option(
    "--receipt-key",
    "receipt_keys",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File with a public receipt key to trust; without it the one of this machine.",
)
@limit_options
@click.option(
    "--epoch",
    default=1,
    show_default=True,
    type=click.IntRange(min=1, max=EPOCH_MAX),
    help="For a producer that is enrolled again: one above its highest in the office's ledger.",
)
@layer_option
@click.pass_context
def init(  # noqa: PLR0913 - an argument for each option
    context: click.Context,
    *,
    producer: str,
    kind: events.ProducerKind,
    folder: Path,
    reader: Path | None,
    receipt_keys: tuple[Path, ...],
    choice: LimitChoice,
    epoch: int,
    layer_is_kept: bool,
) -> None:
    """Make outbox and keys; print the enrolment request for the office.

    For a device whose home is lost: give --epoch, so that no number of its earlier life is used
    twice. What it has sent stays as it is.
    """
    settings = settings_of(context)
    path = folder / "outbox.db"
    if not layer_is_kept:
        require_no_layer(path)
    storage = DEFAULT_STORAGE
    if choice.bytes_max is not None:
        storage = Storage(bytes_max=choice.bytes_max)
        require_budget(path, storage)
    made = ProducerHome.create(
        folder,
        producer=_producer_id(producer),
        kind=kind,
        reader=_reader_key(reader) if reader else load_reader_public(settings),
        epoch=Epoch(epoch),
        receipt_keys=receipt_keys_for(receipt_keys, settings),
        storage=storage,
        keep_days=KEEP_DAYS if choice.keep_days is None else choice.keep_days,
    )
    with made as home:
        click.echo(msgspec.json.encode(home.enrolment_request()).decode())


@device.command()
@home_option
def append(*, folder: Path) -> None:
    """Read events as JSON lines from standard input; say when each is durable.

    A line is {"type": "recording.captured.v1", "data": {...}}; wall_ms, mono_ms and boot are taken
    from this machine when they are not given. Per line {"seq":N}, {"lane":NAME} or
    {"error":{code,message}} is printed, in order; a bad line does not stop the next one. Works
    beside `device run`.
    """
    failed = 0
    with ProducerHome.open(folder) as home:
        clock = DeviceClock()
        for lines in _batches(sys.stdin.buffer):
            now = clock.read()
            answers = append_lines(home.outbox, [(line, now) for line in lines])
            failed += sum(isinstance(answer, Refused) for answer in answers)
            for answer in answers:
                sys.stdout.buffer.write(encode_answer(answer) + b"\n")
            sys.stdout.buffer.flush()
            if damage := damage_of(answers):
                raise damage
    if failed:
        raise ProblemFound(f"{failed} lines were refused; what was found stands in their answers")


@device.command()
@home_option
@route_options
@listen_options
@click.pass_context
def run(
    context: click.Context, *, folder: Path, choice: RouteChoice, addresses: Sequence[Address]
) -> None:
    """Keep emitting until SIGTERM or Ctrl-C, online or as soon as a route works again.

    With --listen, programs of this machine append events by it, and the operator has a page.
    """
    give_memory_back()
    settings = settings_of(context)
    watch = RouteWatch(folder)
    routing = partial(choice.open, settings, watch=watch.over)
    endpoint = partial(
        serve, folder, addresses, routes=watch.standings, zone=ZoneInfo(settings.time_zone)
    )
    asyncio.run(_run(folder, routing, endpoint))


@device.command()
@home_option
@route_options
@click.pass_context
def sync(context: click.Context, *, folder: Path, choice: RouteChoice) -> None:
    """Send everything in one pass: exit 0 when all of it is in the log, 75 when something waits."""
    asyncio.run(_sync(folder, partial(choice.open, settings_of(context))))


device.add_command(limits)
device.add_command(new_epoch)
device.add_command(retry_refused)
device.add_command(status)
device.add_command(trust_receipts)
device.add_command(export_command)
device.add_command(import_receipts_command)


async def _run(folder: Path, open_routing: OpenRouting, endpoint: Endpoint) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    with ProducerHome.open(folder) as home:
        clock = DeviceClock()
        known_time = _known_time(home, clock)
        routing = open_routing(certificate_time=known_time.certificate_moment)
        emitting = emit(home, routing, clock=clock, stopping=stopping, known_time=known_time)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(emitting, name="emit")
                tasks.create_task(endpoint(clock=clock, stopping=stopping), name="serve-local")
        finally:
            await routing.stop()


async def _sync(folder: Path, open_routing: OpenRouting) -> None:
    with ProducerHome.open(folder) as home:
        clock = DeviceClock()
        known_time = _known_time(home, clock)
        routing = open_routing(certificate_time=known_time.certificate_moment)
        try:
            sent = await drain(home, routing, clock=clock, known_time=known_time)
        except OutboxBusy:
            raise
        except (Unavailable, Overloaded) as error:
            waiting = home.outbox.status().unsent_events
            raise Unavailable(f"{waiting} events wait in the outbox. {error}") from error
        finally:
            await routing.stop()
        remaining = _remaining(home, clock.read())
    told = f"{sent.events} events in {sent.segments} segments were sent"
    if remaining:
        raise Unavailable(f"{told}, but not all is in the log: {'; '.join(remaining)}")
    click.echo(f"all committed: {told}")


def _known_time(home: ProducerHome, clock: Clock) -> KnownTime:
    return KnownTime(clock, receipt_as_of_ms=lambda: home.outbox.status().receipt_as_of_ms)


def _remaining(home: ProducerHome, now: Reading) -> list[str]:
    """Say what is not in the log although no route failed."""
    status = home.outbox.status()
    kept = [one for one in home.outbox.overdue(now=now, seconds=0) if is_custody(one.route)]
    remaining = []
    if status.is_fork_suspected:
        remaining.append(
            f"{status.unsealed_events} events wait for a supervisor's `rekam device new-epoch`"
        )
    elif status.unsent_events:
        remaining.append(f"{status.unsent_events} events were recorded meanwhile; sync again")
    if kept:
        remaining.append(
            f"{sum(one.last - one.first + 1 for one in kept)} events are with a relay or on a "
            "stick until a receipt covers them; sync again later"
        )
    if status.refused_segments:
        remaining.append(
            f"{status.refused_segments} segments were refused; ask the office whether they stand "
            "in quarantine (rekam quarantine list). They are offered again, ever more rarely; at "
            "once by `rekam device retry-refused`"
        )
    return remaining


def _reader_key(path: Path) -> ReaderPublicKey:
    try:
        return ReaderPublicKey.from_text(path.read_text("ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured([f"--reader {path}: cannot be read as text; wanted base64"]) from error
    except Misconfigured as error:
        raise Misconfigured([f"--reader {path}: {fault}" for fault in error.faults]) from error


def _producer_id(text: str) -> ProducerId:
    try:
        return producer_id(text)
    except msgspec.ValidationError as error:
        raise Misconfigured(
            ["--producer: wanted 1 to 64 of a-z 0-9 . - that begin with a letter or digit"]
        ) from error


def _batches(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield what has come so far as complete lines: a slow writer waits for no one else's line."""
    descriptor = stream.fileno()
    cutter = Lines()
    lines: list[bytes] = []
    while True:
        if lines and (len(lines) >= BATCH_LINES_MAX or not _is_readable(descriptor)):
            yield lines[:BATCH_LINES_MAX]
            lines = lines[BATCH_LINES_MAX:]
            continue
        read = stream.read1(EVENT_BYTES_MAX)  # type: ignore[attr-defined]  # a BufferedReader has it
        if not read:
            break
        lines += cutter.feed(read)
    lines += cutter.end()
    while lines:
        yield lines[:BATCH_LINES_MAX]
        lines = lines[BATCH_LINES_MAX:]


def _is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
