"""Options that `rekam device` commands share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from producers.device.home import KEEP_DAYS, KEEP_DAYS_MAX, KEEP_DAYS_MIN
from producers.device.local.listening import parse_address
from producers.device.outbox_file import BALLAST_BYTES, MIB, OUTBOX_BYTES_MAX, OUTBOX_BYTES_MIN
from rekam.domain.errors import Misconfigured

home_option = click.option(
    "--home",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The producer's home folder.",
)

layer_option = click.option(
    "--in-container-layer",
    "layer_is_kept",
    is_flag=True,
    help="Make it on an overlay file system too: what is recorded is gone with that layer.",
)

_LIMIT_OPTIONS = (
    click.option(
        "--mib-max",
        type=click.IntRange(min=OUTBOX_BYTES_MIN // MIB),
        help="Disk budget of the outbox in MiB, beside its ballast of "
        f"{BALLAST_BYTES // MIB} MiB; {OUTBOX_BYTES_MAX // MIB} where none was ever given.",
    ),
    click.option(
        "--keep-days",
        type=click.IntRange(KEEP_DAYS_MIN, KEEP_DAYS_MAX),
        help="Days that a segment is kept after a receipt has covered it, while there is room; "
        f"{KEEP_DAYS} where none were ever given.",
    ),
)

_LISTEN_OPTIONS = (
    click.option(
        "--listen",
        "listens",
        multiple=True,
        help="unix:PATH (JSON lines) or 127.0.0.1:PORT (HTTP, and the operator's page): programs "
        "of this machine append events there.",
    ),
    click.option(
        "--listen-group",
        help="A group that may use the Unix socket too; without it its owner alone may.",
    ),
)


def listen_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the local endpoint, as one argument `addresses`."""

    @wraps(command)
    def with_addresses(
        *arguments: Any, listens: tuple[str, ...], listen_group: str | None, **others: Any
    ) -> None:
        if listen_group is not None and not any(text.startswith("unix:") for text in listens):
            raise Misconfigured(["--listen-group: names no socket; add --listen unix:PATH"])
        addresses = [parse_address(text, group=listen_group) for text in listens]
        command(*arguments, addresses=addresses, **others)

    found: Callable[..., None] = with_addresses
    for option in reversed(_LISTEN_OPTIONS):
        found = option(found)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChoice:
    """What the options say of a home's limits; None: nothing."""

    mib_max: int | None
    keep_days: int | None

    @property
    def bytes_max(self) -> int | None:
        """Return the budget in bytes."""
        return None if self.mib_max is None else self.mib_max * MIB


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a home's limits, as one argument `choice`."""

    @wraps(command)
    def with_choice(
        *arguments: Any, mib_max: int | None, keep_days: int | None, **others: Any
    ) -> None:
        command(*arguments, choice=LimitChoice(mib_max=mib_max, keep_days=keep_days), **others)

    found: Callable[..., None] = with_choice
    for option in reversed(_LIMIT_OPTIONS):
        found = option(found)
    return found
