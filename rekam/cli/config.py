"""`rekam config`: what this machine is set to, and every fault at once."""

from dataclasses import asdict
from typing import Final

import click

from rekam.domain.errors import Misconfigured
from rekam.runtime import keyring
from rekam.runtime.invocation import settings_of
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
    faults = _key_faults(settings)
    if faults:
        raise Misconfigured(faults)
    for name, value in _by_name(settings).items():
        click.echo(f"{ENVIRONMENT[name]}={'' if value is None else _shown(value)}")


def _by_name(settings: Settings) -> dict[str, object]:
    values = asdict(settings)
    security = values.pop("kafka_security")
    values |= {f"kafka_security_{name}": value for name, value in security.items()}
    return {name: values[name] for name in ENVIRONMENT}


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_LOADERS: Final = {
    "registrar_key": keyring.load_registrar_key,
    "reader_keys": keyring.load_readers,
    "person_key": keyring.load_person_key,
    "api_token": keyring.load_api_token,
}


def _key_faults(settings: Settings) -> list[str]:
    faults: list[str] = []
    for name, load in _LOADERS.items():
        if not getattr(settings, name).exists():
            continue
        try:
            load(settings)
        except Misconfigured as error:
            faults += error.faults
    return faults
