"""Options that `rekam device` commands share."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

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

mib_max_option = click.option(
    "--mib-max",
    type=click.IntRange(min=OUTBOX_BYTES_MIN // MIB),
    help="Disk budget of the outbox in MiB, beside its ballast of "
    f"{BALLAST_BYTES // MIB} MiB; {OUTBOX_BYTES_MAX // MIB} where none was ever given.",
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
