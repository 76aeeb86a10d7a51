"""`rekam device limits`, `new-epoch`, `trust-receipts`, `retry-refused`: what a supervisor does."""

from collections import Counter
from pathlib import Path
from typing import Final

import click
import msgspec

from producers.device.home import ProducerHome
from producers.device.options import LimitChoice, home_option, limit_options
from producers.device.outbox_file import MIB
from rekam.domain.errors import Misconfigured
from rekam.domain.keys import VerifyKey
from rekam.runtime.keyring import load_receipt_public, receipt_public_path
from rekam.runtime.settings import Settings

REASON_CHARACTERS_MAX: Final = 200
"""What `epoch.opened` takes."""


@click.command()
@home_option
@limit_options
def limits(*, folder: Path, choice: LimitChoice) -> None:
    """Show what the outbox may take and how long it keeps what has arrived, or change that.

    A budget that the disk does not have is refused. What runs keeps what it found at its start.
    Prints JSON.
    """
    with ProducerHome.open(folder) as home:
        found = home.limit(bytes_max=choice.bytes_max, keep_days=choice.keep_days)
    told = {"mib_max": found.bytes_max // MIB, "keep_days": found.keep_days}
    click.echo(msgspec.json.encode(told).decode())


@click.command("new-epoch")
@home_option
@click.option(
    "--reason", required=True, help="Why, for those who read the log; up to 200 characters."
)
def new_epoch(*, folder: Path, reason: str) -> None:
    """Begin a new epoch: after a restore from a copy, or when a copy is suspected.

    A supervisor's act. Nothing is lost by it: what is sealed is sent in its own epoch, what is not
    moves into the new one. Works beside `device run`. Prints the new epoch as JSON.
    """
    reason = reason.strip()
    if not 1 <= len(reason) <= REASON_CHARACTERS_MAX:
        raise Misconfigured(
            [f"--reason has {len(reason)} characters; wanted 1..{REASON_CHARACTERS_MAX}"]
        )
    with ProducerHome.renew(folder, reason=reason) as home:
        told = {"producer": home.producer, "epoch": home.epoch, "next_seq": home.outbox.next_seq}
    click.echo(msgspec.json.encode(told).decode())


@click.command("trust-receipts")
@home_option
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def trust_receipts(*, folder: Path, files: tuple[Path, ...]) -> None:
    """Let receipts signed by the keys in FILES count, and by no others.

    Only what such a receipt covers is ever removed from the outbox. Works beside `device run`.
    """
    keys = [receipt_key(path) for path in files]
    with ProducerHome.open(folder) as home:
        home.trust_receipts(keys)
    for key in keys:
        click.echo(f"receipts by key {key.id} count from now on")


@click.command("retry-refused")
@home_option
def retry_refused(*, folder: Path) -> None:
    """Offer again all that servers have refused, as if for the first time.

    When a server was set right, or another route was given: whoever refused a segment is asked
    last. What is wrong for ever is refused again, and no harm is done. Works beside `device run`.
    """
    with ProducerHome.open(folder) as home:
        queued = home.outbox.retry_refused()
    if not queued:
        click.echo("nothing is set aside as refused; nothing was done")
        return
    for (route, code), segments in sorted(Counter((one.route, one.code) for one in queued).items()):
        click.echo(f"refused by {route} ({code}): {segments} segments")
    events = sum(one.last - one.first + 1 for one in queued)
    click.echo(
        f"{len(queued)} segments, {events} events, wait to be sent again; `rekam device run` or "
        "`rekam device sync` sends them"
    )


def receipt_key(path: Path) -> VerifyKey:
    """Read a public receipt key from a file. Raises Misconfigured when it holds none."""
    try:
        return VerifyKey.from_text(path.read_text("ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured([f"{path}: cannot be read as text; wanted base64"]) from error
    except Misconfigured as error:
        raise Misconfigured([f"{path}: {fault}" for fault in error.faults]) from error


def receipt_keys_for(paths: tuple[Path, ...], settings: Settings) -> list[VerifyKey]:
    """Return the keys that were named, or else the one of this machine, if it has one."""
    if paths:
        return [receipt_key(path) for path in paths]
    return [load_receipt_public(settings)] if receipt_public_path(settings).exists() else []
