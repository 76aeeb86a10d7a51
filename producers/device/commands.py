"""`rekam device …`: a recording device's outbox on the command line."""

import asyncio
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, get_args

import click
import msgspec

from producers.device.clock import DeviceClock, Reading
from producers.device.emitter import drain
from producers.device.emitter import run as emit
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from producers.device.outbox import OutboxStatus
from producers.device.route import FirstThatWorks, Route, kafka_address
from rekam.domain import events
from rekam.domain.errors import (
    EventRejected,
    Held,
    Misconfigured,
    OutboxBusy,
    ProblemFound,
    RekamError,
    Unavailable,
)
from rekam.domain.ids import ProducerId
from rekam.domain.keys import ReaderPublicKey
from rekam.domain.segment import EVENT_BYTES_MAX, producer_id
from rekam.runtime.endpoints import kafka_bootstrap
from rekam.runtime.invocation import settings_of
from rekam.runtime.keyring import load_reader_public
from rekam.runtime.settings import Settings

BATCH_LINES_MAX: Final = 500

home_option = click.option(
    "--home",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The producer's home folder.",
)
route_option = click.option(
    "--route",
    "routes",
    multiple=True,
    help="kafka://host:port; without it the Kafka of the settings.",
)


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
@click.pass_context
def init(
    context: click.Context,
    *,
    producer: str,
    kind: events.ProducerKind,
    folder: Path,
    reader: Path | None,
) -> None:
    """Make outbox and keys; print the enrolment request for the office."""
    key = _reader_key(reader) if reader else load_reader_public(settings_of(context))
    made = ProducerHome.create(folder, producer=_producer_id(producer), kind=kind, reader=key)
    with made as home:
        click.echo(msgspec.json.encode(home.enrolment_request()).decode())


@device.command()
@home_option
def append(*, folder: Path) -> None:
    """Read events as JSON lines from standard input; say when each is durable.

    A line is {"type": "recording.captured.v1", "data": {...}}; wall_ms, mono_ms and boot are taken
    from this machine when they are not given. Per line {"seq":N} or {"error":{code,message}} is
    printed, in order; a bad line does not stop the next one. Works beside `device run`.
    """
    failed = 0
    with ProducerHome.open(folder) as home:
        clock = DeviceClock()
        for lines in _batches(sys.stdin.buffer):
            answers = _append(home, clock.read(), lines)
            failed += sum("error" in answer for answer in answers)
            for answer in answers:
                sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
            sys.stdout.buffer.flush()
    if failed:
        raise ProblemFound(f"{failed} lines were refused; what was found stands in their answers")


@device.command()
@home_option
@route_option
@click.pass_context
def run(context: click.Context, *, folder: Path, routes: tuple[str, ...]) -> None:
    """Keep emitting until SIGTERM or Ctrl-C, online or as soon as the route works again."""
    asyncio.run(_run(folder, _route(routes, settings_of(context))))


@device.command()
@home_option
@route_option
@click.pass_context
def sync(context: click.Context, *, folder: Path, routes: tuple[str, ...]) -> None:
    """Send everything in one pass: exit 0 when all of it is in the log, 75 when something waits."""
    asyncio.run(_sync(folder, _route(routes, settings_of(context))))


@device.command()
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(*, folder: Path, as_json: bool) -> None:
    """Show what waits and what to do."""
    with ProducerHome.open(folder) as home:
        found = home.outbox.status()
        told: dict[str, object] = {
            "producer": home.producer,
            "kind": home.kind,
            "epoch": home.epoch,
            "next_seq": found.next_seq,
            "queue_events": found.unsent_events,
            "unsent_segments": found.unsent_segments,
            "oldest_unsent_ms": found.oldest_unsent_ms,
            "acknowledged_through": found.acknowledged_through,
            "disk_bytes": found.disk_bytes,
            "disk_free_bytes": home.free_bytes(),
            "emitter_pid": home.emitter_pid(),
            "wall_ms": DeviceClock().read().wall_ms,
            "what_to_do": _advice(found),
        }
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
        return
    for name, value in told.items():
        click.echo(f"{name.replace('_', ' '):<22}{'-' if value is None else value}")


async def _run(folder: Path, route: Route) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    with ProducerHome.open(folder) as home:
        try:
            await emit(home, route, clock=DeviceClock(), stopping=stopping)
        finally:
            await route.stop()


async def _sync(folder: Path, route: Route) -> None:
    with ProducerHome.open(folder) as home:
        try:
            sent = await drain(home, route, clock=DeviceClock())
        except OutboxBusy:
            raise
        except Unavailable as error:
            waiting = home.outbox.status().unsent_events
            raise Unavailable(f"{waiting} events wait in the outbox. {error}") from error
        finally:
            await route.stop()
    click.echo(f"all committed: {sent.events} events in {sent.segments} segments were sent")


def _route(routes: tuple[str, ...], settings: Settings) -> Route:
    addresses = [kafka_address(text) for text in routes] or [kafka_bootstrap(settings)]
    return FirstThatWorks([KafkaRoute(each, settings.kafka_security) for each in addresses])


def _reader_key(path: Path) -> ReaderPublicKey:
    try:
        return ReaderPublicKey.from_text(path.read_text("ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured([f"--reader {path}: cannot be read as text; wanted base64"]) from error


def _producer_id(text: str) -> ProducerId:
    try:
        return producer_id(text)
    except msgspec.ValidationError as error:
        raise Misconfigured(
            ["--producer: wanted 1 to 64 of a-z 0-9 . - that begin with a letter or digit"]
        ) from error


def _advice(found: OutboxStatus) -> str:
    if not found.unsent_events:
        return "nothing waits: all is in the log"
    return "keep recording; run `rekam device sync` when there is a connection"


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Annotated[str, msgspec.Meta(max_length=100)]
    data: msgspec.Raw
    wall_ms: int | None = None
    mono_ms: int | None = None
    boot: str | None = None


_read_input = msgspec.json.Decoder(_Input).decode


def _append(home: ProducerHome, now: Reading, lines: list[bytes]) -> list[dict[str, Any]]:
    """Append the good lines in one transaction; return an answer for each line, in order."""
    answers: list[dict[str, Any]] = []
    good: list[bytes] = []
    places: list[int] = []
    for line in lines:
        try:
            good.append(_stamped(line, now))
        except (EventRejected, Held) as error:
            answers.append({"error": {"code": error.reason, "message": error.detail}})
        else:
            places.append(len(answers))
            answers.append({})
    try:
        seqs = home.outbox.append(good) if good else range(0)
    except RekamError as error:
        refused = {"error": {"code": error.code, "message": str(error)}}
        return [answer or refused for answer in answers]
    for place, seq in zip(places, seqs, strict=True):
        answers[place] = {"seq": seq}
    return answers


def _stamped(line: bytes, now: Reading) -> bytes:
    """Return a line with its clocks filled in. Raises EventRejected or Held, without any value."""
    if len(line) > EVENT_BYTES_MAX:
        raise EventRejected(
            "event_too_large", f"more than {EVENT_BYTES_MAX} bytes; split it up, or shorten it"
        )
    try:
        given = _read_input(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventRejected(
            "not_an_event", 'wanted {"type": …, "data": {…}} with wall_ms, mono_ms, boot if known'
        ) from error
    if (given.mono_ms is None) != (given.boot is None):
        raise EventRejected("not_an_event", "mono_ms counts within boot: give both, or neither")
    stamped = msgspec.json.encode(
        {
            "type": given.type,
            "wall_ms": now.wall_ms if given.wall_ms is None else given.wall_ms,
            "mono_ms": now.mono_ms if given.mono_ms is None else given.mono_ms,
            "boot": now.boot if given.boot is None else given.boot,
            "data": given.data,
        }
    )
    # Encoded again from what it means: no line ends or surplus spaces travel.
    return events.encode(events.decode(stamped))


def _batches(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield what has come so far as complete lines: a slow writer waits for no one else's line."""
    descriptor = stream.fileno()
    rest = b""
    lines: list[bytes] = []
    while True:
        if lines and (len(lines) >= BATCH_LINES_MAX or not _is_readable(descriptor)):
            yield lines[:BATCH_LINES_MAX]
            lines = lines[BATCH_LINES_MAX:]
            continue
        read = stream.read1(EVENT_BYTES_MAX)  # type: ignore[attr-defined]  # a BufferedReader has it
        if not read:
            break
        *complete, rest = (rest + read).split(b"\n")
        lines += [line for line in complete if line.strip()]
        if len(rest) > EVENT_BYTES_MAX:
            # Only its length matters from here on; it is refused when its end has come.
            rest = rest[: EVENT_BYTES_MAX + 1]
    if rest.strip():
        lines.append(rest)
    while lines:
        yield lines[:BATCH_LINES_MAX]
        lines = lines[BATCH_LINES_MAX:]


def _is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
