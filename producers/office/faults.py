"""`--faults PATH`: all bad rows of a table that was refused, where a terminal shows twenty."""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from producers.office.grid import TableRejected
from rekam.domain.errors import Misconfigured


def reads_tables(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the argument TABLE, and an option `--faults` of which it need not know."""

    @functools.wraps(command)
    def reading(*arguments: object, faults: Path | None, **options: object) -> None:
        try:
            command(*arguments, **options)
        except TableRejected as error:
            if faults is None:
                raise
            try:
                _write(faults, error.faults)
            except OSError as unwritten:
                why = f"cannot be written ({unwritten.strerror}); name a new file"
                wrong = Misconfigured([f"--faults={faults}: {why}"])
                raise ExceptionGroup("neither read nor wholly told", [error, wrong]) from None
            raise error.kept_in(faults) from None

    path = click.Path(path_type=Path, dir_okay=False)
    with_option = click.option(
        "--faults",
        type=path,
        metavar="PATH",
        help="New file for all bad rows of a refused table, one a line.",
    )(reading)
    return click.argument("table", type=path)(with_option)


def _write(path: Path, faults: Sequence[str]) -> None:
    """Write a new file for its owner alone: what is there already may be the table itself."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(f"{fault}\n" for fault in faults)
