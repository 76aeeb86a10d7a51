"""What the command line gives to every command: where its settings come from.

Lives below the commands so that they need not know the command line that maps them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click

from rekam.runtime.settings import Settings


@dataclass(frozen=True)
class Invocation:
    """One call of the command line; settings are read when a command first asks for them."""

    environ: Mapping[str, str]
    config: Path | None = None

    @cached_property
    def settings(self) -> Settings:
        """Return the settings. Raises Misconfigured with every fault at once."""
        return Settings.load(self.environ, self.config)


def invocation_of(context: click.Context) -> Invocation:
    """Return the call that a command belongs to."""
    found = context.find_object(Invocation)
    assert found is not None, "commands run under rekam.cli"  # noqa: S101 - our own bug, not input
    return found


def settings_of(context: click.Context) -> Settings:
    """Return the settings of the call that a command belongs to. Raises Misconfigured."""
    return invocation_of(context).settings
