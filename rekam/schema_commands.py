"""`rekam schema export`: the JSON Schemas of this version's contracts."""

from pathlib import Path

import click

from rekam.domain.errors import Misconfigured
from rekam.domain.schema_export import schema_files


@click.group()
def schema() -> None:
    """Contracts in JSON Schema, for integrators and devices."""


@schema.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write one file a schema to; without it all are printed as one JSON object.",
)
def export(folder: Path | None) -> None:
    """Write the JSON Schema (draft 2020-12) of the segment header and of every event type."""
    files = schema_files()
    if folder is None:
        texts = (f'"{name.removesuffix(".json")}": {raw.decode()}' for name, raw in files.items())
        click.echo("{" + ",".join(texts) + "}")
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, raw in files.items():
            (folder / name).write_bytes(raw)
    except OSError as error:
        raise Misconfigured(
            [f"--to={folder}: cannot be written ({error.strerror}); name another folder"]
        ) from error
    click.echo(f"{len(files)} schemas written to {folder}")
