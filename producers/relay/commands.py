"""`rekam relay run` and `rekam relay status`."""

import asyncio
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec
import uvloop

from producers.device.addresses import open_routes
from producers.device.clock import DeviceClock
from producers.device.known_time import KnownTime
from producers.device.options import layer_option
from producers.device.outbox_file import require_no_layer
from producers.gateway.commands import tls_of
from producers.relay.app import RelayOptions, run_relay
from producers.relay.standing import RelayStanding, standing_of
from producers.relay.store import STORE_BYTES_MAX, STORE_FILE
from rekam.domain.errors import Misconfigured
from rekam.domain.ids import KeyId
from rekam.domain.keys import VerifyKey
from rekam.runtime.invocation import settings_of
from rekam.runtime.keyring import load_receipt_public, receipt_public_path
from rekam.runtime.settings import Settings

MIB: Final = 1024 * 1024
KEY_FILE_BYTES_MAX: Final = 4096


_home_option = click.option(
    "--home",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of its store; on a disk that keeps what is written.",
)


@click.group()
def relay() -> None:
    """Hold segments for a district and forward them when there is a way."""


@relay.command()
@_home_option
@click.option("--port", required=True, type=click.IntRange(0, 65535), help="0: a free one.")
@click.option(
    "--route",
    "routes",
    multiple=True,
    required=True,
    help="Upstream: kafka://host:port, https://gateway, relay+https://relay; tried in this order.",
)
@click.option(
    "--ca",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PEM file of the authority that signed the upstream's certificate.",
)
@click.option(
    "--receipt-key",
    "receipt_keys",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with a key whose receipts are trusted; without it this machine's receipt.pub.",
)
@click.option(
    "--mib-max",
    type=click.IntRange(min=16),
    default=STORE_BYTES_MAX // MIB,
    show_default=True,
    help="Disk budget in MiB.",
)
@layer_option
@click.pass_context
def run(
    context: click.Context,
    *,
    folder: Path,
    port: int,
    routes: tuple[str, ...],
    ca: Path | None,
    receipt_keys: tuple[Path, ...],
    mib_max: int,
    layer_is_kept: bool,
) -> None:
    """Take segments and forward them until SIGTERM or SIGINT.

    With REKAM_GATEWAY_TLS_CERT and REKAM_GATEWAY_TLS_KEY over HTTPS to all, without them on
    127.0.0.1 alone.
    """
    settings = settings_of(context)
    if not layer_is_kept and not (store := folder / STORE_FILE).exists():
        require_no_layer(store)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            _run(
                settings,
                folder,
                routes=routes,
                ca=ca,
                trusted=_trusted(receipt_keys, settings),
                options=RelayOptions(port=port, tls=tls_of(settings), bytes_max=mib_max * MIB),
            )
        )


@relay.command()
@_home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(*, folder: Path, as_json: bool) -> None:
    """Show what it holds, of whom, and what that waits for. Works beside `relay run`."""
    standing = standing_of(folder)
    if as_json:
        click.echo(msgspec.json.encode(standing))
        return
    running = "not running" if standing.process is None else f"process {standing.process}"
    for name, value in (
        ("relay", f"{standing.home}, {running}"),
        ("held", f"{standing.segments} segments, {standing.events} events, {_mb(standing.bytes)}"),
        ("not forwarded", f"{standing.waiting_segments} segments"),
        ("refused upstream", f"{standing.refused_segments} segments"),
        ("disk", f"{_mb(standing.file_bytes)} in its file; {_mb(standing.disk_free_bytes)} free"),
    ):
        click.echo(f"{name:<18}{value}")
    for one in standing.producers:
        click.echo(
            f"  {one.producer:<24}{one.segments} segments, {one.waiting_segments} not forwarded, "
            f"newest receipt {_moment(one.receipt_as_of_ms)}"
        )
    click.echo(f"{'now':<18}{_advice(standing)}")


def _advice(standing: RelayStanding) -> str:
    if standing.process is None and standing.segments:
        return "start `rekam relay run`: what is held is on its way only while it runs"
    if standing.refused_segments:
        return "see at the office why these are quarantined; they stay here until a receipt"
    if standing.waiting_segments:
        return "wait; if it does not shrink, see that the upstream can be reached from here"
    if standing.segments:
        return "nothing: all is forwarded, and stays until a receipt proves that it arrived"
    return "nothing: it holds nothing"


def _mb(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"


def _moment(ms: int | None) -> str:
    return "none" if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _trusted(paths: tuple[Path, ...], settings: Settings) -> dict[KeyId, VerifyKey]:
    """Return the keys whose receipts are believed, at least one. Raises Misconfigured."""
    if not paths and not receipt_public_path(settings).exists():
        raise Misconfigured(
            [
                (
                    "no key to trust receipts by, so nothing could ever leave this relay. Give the "
                    "office's receipt.pub as --receipt-key FILE"
                )
            ]
        )
    keys = [_key(path) for path in paths] or [load_receipt_public(settings)]
    return {key.id: key for key in keys}


def _key(path: Path) -> VerifyKey:
    try:
        with path.open("rb") as file:
            return VerifyKey.from_text(file.read(KEY_FILE_BYTES_MAX).decode("ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            [f"--receipt-key {path}: cannot be read as text; wanted base64"]
        ) from error
    except Misconfigured as error:
        raise Misconfigured([f"--receipt-key {path}: {fault}" for fault in error.faults]) from error


async def _run(
    settings: Settings,
    folder: Path,
    *,
    routes: tuple[str, ...],
    ca: Path | None,
    trusted: dict[KeyId, VerifyKey],
    options: RelayOptions,
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    known_time = KnownTime(DeviceClock())
    await run_relay(
        folder,
        open_routes(
            routes,
            settings,
            ca=ca,
            certificate_time=known_time.certificate_moment,
            carrier="relay",
        ),
        trusted=trusted,
        options=options,
        now_ms=lambda: time.time_ns() // 1_000_000,
        stopping=stopping,
        started=click.echo,
        known_time=known_time,
    )
