"""Where Kafka and PostgreSQL are: the named ones, or those of the `rekam up` that runs here."""

import os
from pathlib import Path

import msgspec

from rekam.domain.errors import Corrupt, Misconfigured
from rekam.runtime.settings import ENVIRONMENT, Settings


class Endpoints(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a running `rekam up` tells the other commands, in REKAM_HOME/up.json.

    Holds no secret: the DSN names a password file.
    """

    kafka: str
    postgres: str
    port: int
    pid: int


def endpoints_path(settings: Settings) -> Path:
    """Return the file that a running `rekam up` keeps; it may outlive a killed one."""
    return settings.home / "up.json"


def running_endpoints(settings: Settings) -> Endpoints | None:
    """Return what the `rekam up` of this REKAM_HOME serves; None when none runs.

    Raises Corrupt when its file is not one of ours, Misconfigured when it is another user's.
    """
    path = endpoints_path(settings)
    try:
        endpoints = msgspec.json.decode(path.read_bytes(), type=Endpoints)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Misconfigured(
            [f"{path} cannot be read ({error.strerror}). Run as the user of that `rekam up`"]
        ) from error
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{path} is damaged ({error}). Delete it and start `rekam up`.") from error
    return endpoints if _is_alive(endpoints.pid) else None


def kafka_bootstrap(settings: Settings) -> str:
    """Return `host:port` of the named cluster, else of the running embedded broker.

    Raises Misconfigured, naming both remedies, when there is neither.
    """
    return settings.kafka or _running(settings, "kafka", "Kafka").kafka


def postgres_dsn(settings: Settings) -> str:
    """Return the DSN of the named database, else of the running embedded one.

    Raises Misconfigured, naming both remedies, when there is neither.
    """
    return settings.postgres or _running(settings, "postgres", "PostgreSQL").postgres


def _running(settings: Settings, name: str, server: str) -> Endpoints:
    endpoints = running_endpoints(settings)
    if endpoints is None:
        raise Misconfigured(
            [
                (
                    f"no {server}: {ENVIRONMENT[name]} is unset and no `rekam up` runs in "
                    f"{settings.home}. Start `rekam up`, or set {ENVIRONMENT[name]}"
                )
            ]
        )
    return endpoints


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
