"""`rekam office check-snapshot FILE`: whether a list's figures are as an office signed them."""

from pathlib import Path
from typing import Final

import click

from rekam.domain.cohort_snapshot import SNAPSHOT_BYTES_MAX, CohortSnapshot, open_snapshot
from rekam.domain.errors import Misconfigured
from rekam.domain.keys import VerifyKey
from rekam.runtime.invocation import settings_of
from rekam.runtime.keyring import load_snapshot_public

KEY_BYTES_MAX: Final = 4096


@click.command("check-snapshot")
@click.argument("snapshot", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The signing office's snapshot.pub; without it, this office's.",
)
@click.pass_context
def check_snapshot(context: click.Context, *, snapshot: Path, key: Path | None) -> None:
    """Check a snapshot of a list against the office's public key, and show what it says."""
    trusted = load_snapshot_public(settings_of(context)) if key is None else _key(key)
    told = open_snapshot(_read(snapshot, SNAPSHOT_BYTES_MAX + 1), {trusted.id: trusted})
    click.echo(f"signed by {trusted.id}: {_words(told)}")
    for bucket, entries in told.buckets.items():
        click.echo(f"  {bucket}: {entries}")
    if told.unlisted:
        click.echo(f"beside them, not in the list: {told.unlisted}")


def _words(told: CohortSnapshot) -> str:
    version = "" if told.version is None else f" version {told.version}"
    return (
        f"{told.cohort}{version}, as of {told.as_of}, as known at {told.known_at} "
        f"({told.time_zone}), {told.rule}: {told.total} entries"
    )


def _key(path: Path) -> VerifyKey:
    text = _read(path, KEY_BYTES_MAX).decode("ascii", "replace").strip()
    try:
        return VerifyKey.from_text(text)
    except Misconfigured as error:
        raise Misconfigured([f"{path}: {fault}" for fault in error.faults]) from error


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(bytes_max)
    except OSError as error:
        raise Misconfigured([f"{path} cannot be read ({error.strerror})"]) from error
