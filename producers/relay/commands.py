"""`rekam relay run`."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Final

import click
import uvloop

from producers.device.addresses import open_routes
from producers.gateway.commands import tls_of
from producers.relay.app import RelayOptions, run_relay
from producers.relay.store import STORE_BYTES_MAX
from rekam.domain.errors import Misconfigured
from rekam.domain.ids import KeyId
from rekam.domain.keys import VerifyKey
from rekam.runtime.invocation import settings_of
from rekam.runtime.keyring import load_receipt_public, receipt_public_path
from rekam.runtime.settings import Settings

MIB: Final = 1024 * 1024
KEY_FILE_BYTES_MAX: Final = 4096


@click.group()
def relay() -> None:
    """Hold segments for a district and forward them when there is a way."""


@relay.command()
@click.option(
    "--home",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of its store; on a disk that keeps what is written.",
)
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
) -> None:
    """Take segments and forward them until SIGTERM or SIGINT.

    With REKAM_GATEWAY_TLS_CERT and REKAM_GATEWAY_TLS_KEY over HTTPS to all, without them on
    127.0.0.1 alone.
    """
    settings = settings_of(context)
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
    await run_relay(
        folder,
        open_routes(routes, settings, ca=ca),
        trusted=trusted,
        options=options,
        now_ms=lambda: time.time_ns() // 1_000_000,
        stopping=stopping,
        started=click.echo,
    )
