"""The tables of an outbox: made, recognised, and brought up from an earlier version."""

import zlib
from importlib import resources
from pathlib import Path
from typing import Final

import apsw
import structlog

from producers.device.outbox_file import Transaction
from rekam.domain.errors import Corrupt, Misconfigured

APPLICATION_ID: Final = 0x524B4D31  # "RKM1"
SCHEMA_VERSION: Final = 3

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def make_tables(connection: apsw.Connection) -> None:
    """Make the tables of the present version, inside a transaction."""
    connection.execute(_text("schema.sql"))
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", SCHEMA_VERSION)


def require_tables(connection: apsw.Connection, path: Path) -> None:
    """Make sure that the file is an outbox of the present version; bring it up from an earlier one.

    Raises Corrupt when it is something else, Misconfigured when newer software made it, OutboxFull
    when there is no room to bring it up.
    """
    application = connection.pragma("application_id")
    if application != APPLICATION_ID:
        raise Corrupt(
            f"{path} is no outbox (application id {application}). Keep the file; start again what "
            "was running, and it is set aside for a new epoch"
        )
    version = connection.pragma("user_version")
    if version in _UPGRADES:
        with Transaction(connection):
            # Another process may have done it while we waited.
            if connection.pragma("user_version") == version:
                _UPGRADES[version](connection)
        version = connection.pragma("user_version")
        log.info("outbox_brought_up", version=version)
    if version != SCHEMA_VERSION:
        raise Misconfigured(
            [
                (
                    f"{path} is an outbox of version {version}, this software keeps version "
                    f"{SCHEMA_VERSION}. Use the software that made it"
                )
            ]
        )


def _from_version_1(connection: apsw.Connection) -> None:
    """Make all tables anew and fill them, inside a transaction; all that was in the file stays."""
    connection.create_scalar_function("crc32", _crc32, 1, deterministic=True)
    connection.execute(_text("upgrade_1_to_2.sql"))
    make_tables(connection)
    connection.execute(_text("upgrade_1_to_2_rows.sql"))


def _from_version_2(connection: apsw.Connection) -> None:
    """Add what version 3 remembers of refusals and relays' clocks, inside a transaction."""
    connection.execute(_text("upgrade_2_to_3.sql"))
    connection.pragma("user_version", SCHEMA_VERSION)


_UPGRADES: Final = {1: _from_version_1, 2: _from_version_2}


def _crc32(*values: object) -> int:
    (line,) = values
    assert isinstance(line, bytes)  # noqa: S101 - a BLOB of ours
    return zlib.crc32(line)


def _text(name: str) -> str:
    return resources.files("producers.device").joinpath(name).read_text("utf-8")
