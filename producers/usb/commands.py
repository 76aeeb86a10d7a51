"""`rekam usb …` at an office, and `rekam device export` and `import-receipts` on a device."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

import click
import msgspec

from producers.device.addresses import open_routes
from producers.device.clock import DeviceClock
from producers.device.home import ProducerHome
from producers.device.options import home_option
from producers.device.outbox import START, Place
from producers.usb.disk import LocalDisk, require_folder, told_of
from producers.usb.export import Exported, export
from producers.usb.importing import Imported, Note, Result, Verdict, import_bundle
from producers.usb.inspection import Keys, Reader, lives_on
from producers.usb.progress import report_for_this_process
from producers.usb.receipts import Applied, Carried, Receipts, apply_receipt, carry
from rekam.domain.errors import Overloaded, ProblemFound, StickFailed, Unavailable
from rekam.runtime.invocation import settings_of
from rekam.runtime.keyring import load_receipt_public, receipt_public_path
from rekam.runtime.settings import Settings

WAIT_SECONDS: Final = 30.0
WAIT_SECONDS_MAX: Final = 3600.0

SHOWN_MAX: Final = 50
"""Most refused things that are printed one by one; `--json` has all of them."""

FINE: Final = frozenset({"accepted", "duplicate", "custody"})

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
stick_argument = click.argument("stick", metavar="FOLDER", type=click.Path(path_type=Path))
route_option = click.option(
    "--route",
    help="kafka://host:port, https://gateway or relay+https://relay; without it the Kafka of the "
    "settings. A relay keeps segments and brings them on: then nothing is committed yet.",
)
ca_option = click.option(
    "--ca", type=click.Path(path_type=Path), help="The gateway's CA, if it is an own one (PEM)."
)


@click.command("export")
@home_option
@click.option(
    "--to", "stick", required=True, type=click.Path(path_type=Path), help="The stick's folder."
)
@click.option(
    "--after",
    type=click.IntRange(min=0),
    default=int(START),
    help="Go on after this place, when one export could not hold all.",
)
@json_option
def export_command(*, folder: Path, stick: Path, after: int, as_json: bool) -> None:
    """Write what no receipt covers to a USB stick; the outbox keeps all of it.

    Safe to interrupt and to repeat: it goes on where it was. Several devices' bundles lie side by
    side on one stick.
    """
    with ProducerHome.open(folder) as home, report_for_this_process() as report:
        _warn_of_same_disk(folder, stick)
        exported = export(
            home,
            stick,
            disk=LocalDisk(),
            now=DeviceClock().read(),
            report=report,
            after=Place(after),
        )
    click.echo(_json(exported) if as_json else _told_export(exported))
    if exported.unsealed_events:
        raise Overloaded(
            f"{exported.unsealed_events} events are not sealed yet and not on the stick: the "
            "device's disk is full, or `rekam device status` names a fork. They stay in the outbox"
        )
    if exported.remaining_after is not None:
        raise Overloaded(
            "more waits than one folder may hold. For the rest take another stick, and add "
            f"--after {exported.remaining_after}"
        )


@click.command("import-receipts")
@home_option
@click.option(
    "--from", "stick", required=True, type=click.Path(path_type=Path), help="The stick's folder."
)
@json_option
def import_receipts_command(*, folder: Path, stick: Path, as_json: bool) -> None:
    """Take the receipt that a USB stick brought back; what it covers counts as committed."""
    with ProducerHome.open(folder) as home:
        applied = apply_receipt(home, stick, disk=LocalDisk(), now=DeviceClock().read())
        # Where no route ever works, nothing else would make room.
        home.outbox.prune(now=DeviceClock().read(), keep_seconds=home.keep_seconds)
    click.echo(_json(applied) if as_json else _told_receipt(applied))


@click.group()
def usb() -> None:
    """Carry segments to the log, and receipts back, on a USB stick."""


@usb.command("import")
@stick_argument
@route_option
@ca_option
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0, WAIT_SECONDS_MAX),
    default=WAIT_SECONDS,
    show_default=True,
    help="Seconds to wait for receipts of what was imported.",
)
@json_option
@click.pass_context
def import_command(
    context: click.Context,
    *,
    stick: Path,
    route: str | None,
    ca: Path | None,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Send all bundles on a stick to the log, and write the receipts onto it.

    Safe to repeat, at this or another office. Exit 1 when something was refused, 75 when
    something is not in the log yet, or is with a relay alone: run it again.
    """
    settings = settings_of(context)
    imported = asyncio.run(_import(settings, stick, route, ca, wait_seconds=wait_seconds))
    click.echo(_json(_as_told(imported)) if as_json else "\n".join(_table(imported)))
    if isinstance(imported.interrupted, StickFailed):
        raise imported.interrupted
    if imported.interrupted is not None:
        raise Unavailable(
            f"the import ended early, and the stick keeps everything: run it again. "
            f"{imported.interrupted}"
        ) from imported.interrupted
    if imported.retry_segments:
        raise Unavailable(
            f"{imported.retry_segments} segments are not in the log yet; run it again"
        )
    if imported.custody_segments:
        raise Unavailable(
            f"{imported.custody_segments} segments are with a relay, which brings them on, and not "
            "known to be in the log yet. Keep the stick, and import it again later, here or at "
            "another office, until this ends well; nothing is sent twice that a receipt covers"
        )
    if not imported.is_whole:
        raise ProblemFound("not everything on the stick was whole; the rest is imported")


@usb.command("receipts")
@stick_argument
@route_option
@ca_option
@json_option
@click.pass_context
def receipts_command(
    context: click.Context, *, stick: Path, route: str | None, ca: Path | None, as_json: bool
) -> None:
    """Write the newest receipts of the producers on a stick onto it."""
    carried, notes = asyncio.run(_receipts(settings_of(context), stick, route, ca))
    if as_json:
        click.echo(_json({"receipts": carried, "notes": notes}))
    else:
        for line in _told_carried(carried, notes):
            click.echo(line)
    if any(note.code == "receipts_away" for note in notes):
        raise Unavailable("the receipts could not be asked for; run it again")


async def _import(
    settings: Settings, stick: Path, route: str | None, ca: Path | None, *, wait_seconds: float
) -> Imported:
    (way,) = open_routes([route] if route else [], settings, ca=ca, carrier="usb")
    try:
        with report_for_this_process() as report:
            return await import_bundle(
                stick,
                way,
                disk=LocalDisk(),
                trusted=_trusted(settings),
                wait_seconds=wait_seconds,
                report=report,
            )
    finally:
        await way.stop()


async def _receipts(
    settings: Settings, stick: Path, route: str | None, ca: Path | None
) -> tuple[Sequence[Carried], Sequence[Note]]:
    require_folder(stick)
    disk, trusted = LocalDisk(), _trusted(settings)
    with told_of(stick):
        lives, _ = lives_on(Reader(stick, disk))
    (way,) = open_routes([route] if route else [], settings, ca=ca)
    receipts = Receipts(way, trusted)
    producers = {life.producer for life in lives}
    try:
        for producer in sorted(producers):
            await receipts.of(producer)
    finally:
        await way.stop()
    carried = carry(stick, disk, receipts.latest(producers), trusted)
    return carried, [Note("receipts", one.code, one.detail) for one in receipts.notes]


def _trusted(settings: Settings) -> Keys:
    """Return the keys whose receipts this office believes; none when it has none."""
    if not receipt_public_path(settings).exists():
        return {}
    key = load_receipt_public(settings)
    return {key.id: key}


def _warn_of_same_disk(home: Path, stick: Path) -> None:
    try:
        is_same = home.stat().st_dev == stick.stat().st_dev
    except OSError:
        return  # `export` says what is wrong with the folder, and better
    if is_same:
        click.echo(
            f"peringatan / warning: {stick} is on the same disk as the outbox; is the stick "
            "mounted there?",
            err=True,
        )


def _told_export(exported: Exported) -> str:
    if not exported.lives:
        return (
            f"selesai / done: nothing to export, receipts cover all that {exported.producer} has "
            "sealed"
        )
    lines = [
        (
            f"{exported.producer} epoch {life.epoch}: events {life.first} to {life.last}, "
            f"{life.segments} segments ({life.written_segments} written now), {life.bytes} bytes"
        )
        for life in exported.lives
    ]
    return "\n".join(
        [
            *lines,
            (
                f"selesai / done: {exported.events} events are on the stick, read back and equal. "
                "Eject it before you pull it out. The outbox keeps them until a receipt comes back"
            ),
        ]
    )


def _told_receipt(applied: Applied) -> str:
    lines = [
        (
            f"{applied.receipted_events} events of {applied.producer} are newly known to be in the "
            f"log; of epoch {applied.epoch} all up to {applied.receipted_through}"
        )
    ]
    if applied.requeued_segments:
        lines.append(f"{applied.requeued_segments} segments did not arrive and are sent again")
    if applied.is_fork_suspected:
        lines.append("a copy of this device is suspected; see `rekam device status`")
    return "\n".join(lines)


def _table(imported: Imported) -> list[str]:
    verdicts = get_args(Verdict)
    rows: dict[tuple[str, str], Counter[str]] = {}
    for one in imported.results:
        key = (one.producer or "-", "-" if one.epoch is None else str(one.epoch))
        rows.setdefault(key, Counter())[one.verdict] += 1
        rows[key]["receipted"] += one.is_receipted
    columns = [*verdicts, "receipted"]
    width = max([len("producer"), *(len(producer) for producer, _ in rows)])
    lines = [f"{'producer':<{width}}  {'epoch':>6}  " + "  ".join(columns)]
    lines += [
        f"{producer:<{width}}  {epoch:>6}  "
        + "  ".join(f"{counts[name]:>{len(name)}}" for name in columns)
        for (producer, epoch), counts in sorted(rows.items())
    ]
    told = [one for one in imported.results if one.verdict not in FINE]
    lines += map(_told_result, told[:SHOWN_MAX])
    if len(told) > SHOWN_MAX:
        lines.append(f"and {len(told) - SHOWN_MAX} more; --json has all of them")
    lines += [
        f"{life.producer} epoch {life.epoch}: not looked at yet; run it again"
        for life in imported.lives_left
    ]
    lines += [f"{note.name}: {note.code}: {note.detail}" for note in imported.notes]
    lines += _told_carried(imported.carried, imported.receipt_notes)
    return lines


def _told_result(one: Result) -> str:
    return f"{one.verdict}: {one.name}: {one.code}: {one.detail}"


def _told_carried(carried: Sequence[Carried], notes: Sequence[Note]) -> list[str]:
    written = sum(one.is_written for one in carried)
    lines = [f"receipts on the stick: {written} written, {len(carried) - written} not"]
    lines += [f"{one.producer}: {one.code}: {one.detail}" for one in carried if one.code]
    return [*lines, *(f"{note.name}: {note.code}: {note.detail}" for note in notes)]


def _as_told(imported: Imported) -> dict[str, Any]:
    counts = Counter(one.verdict for one in imported.results)
    return {
        "verdicts": {name: counts[name] for name in get_args(Verdict)},
        "bytes_sent": imported.bytes_sent,
        "results": imported.results,
        "notes": [*imported.notes, *imported.receipt_notes],
        "receipts": imported.carried,
        "left": [{"producer": one.producer, "epoch": one.epoch} for one in imported.lives_left],
        "interrupted": None if imported.interrupted is None else imported.interrupted.code,
    }


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
