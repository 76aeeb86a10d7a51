"""`rekam config`: what this machine is set to, and every fault at once."""

from dataclasses import asdict

import click

from rekam.runtime.invocation import settings_of
from rekam.runtime.keyring import check_keys
from rekam.runtime.settings import ENVIRONMENT, Settings


@click.group()
def config() -> None:
    """Look at the settings of this machine."""


@config.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Print every setting, or every fault with what is wanted (exit 2).

    Looks also into the key files that are there; missing ones are made by `rekam up`.
    """
    settings = settings_of(context)
    check_keys(settings)
    for name, value in _by_name(settings).items():
        click.echo(f"{ENVIRONMENT[name]}={'' if value is None else _shown(value)}")


def _by_name(settings: Settings) -> dict[str, object]:
    values = asdict(settings)
    security = values.pop("kafka_security")
    values |= {f"kafka_security_{name}": value for name, value in security.items()}
    return {name: values[name] for name in ENVIRONMENT}


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
