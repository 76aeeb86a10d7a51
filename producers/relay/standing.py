"""What a relay holds, for whoever looks after it: read beside the relay, changing nothing."""

import os
from pathlib import Path

import apsw
import msgspec

from producers.device.files import emitter_pid
from producers.device.outbox_file import BUSY_MS_MAX
from producers.relay.store import APPLICATION_ID, LOCK_FILE, STORE_FILE
from rekam.domain.errors import Misconfigured, Unavailable
from rekam.runtime.queries import load_queries

_SQL = load_queries("producers.relay")


class HeldOf(msgspec.Struct, frozen=True):
    """What is held of one producer; in the order of the query's columns."""

    producer: str
    segments: int
    events: int
    waiting_segments: int
    """Never forwarded yet."""
    refused_segments: int
    """Upstream called them wrong for ever; they are offered again, rarely."""
    bytes: int
    receipt_as_of_ms: int | None
    """Of the newest receipt that came through here; None: none did."""


class RelayStanding(msgspec.Struct, frozen=True, kw_only=True):
    """What a relay holds, and whether it runs."""

    home: str
    process: int | None
    """None: no relay runs in this home."""
    producers: list[HeldOf]
    """Those of whom something is held, by name."""
    segments: int
    events: int
    waiting_segments: int
    refused_segments: int
    bytes: int
    file_bytes: int
    disk_free_bytes: int


def standing_of(home: Path) -> RelayStanding:
    """Read a relay's store.

    Raises Misconfigured when there is none, Unavailable when it cannot be read now.
    """
    path = home / STORE_FILE
    if not path.is_file():
        raise Misconfigured(
            [f"--home {home}: holds no relay's store; name the folder of `rekam relay run`"]
        )
    try:
        held = _held(path)
    except apsw.Error as error:
        raise Unavailable(
            f"{path} cannot be read now ({type(error).__name__}). Look again; if it stays so, see "
            "what `rekam relay run` says of it"
        ) from error
    disk = os.statvfs(home)
    return RelayStanding(
        home=str(home),
        process=emitter_pid(home / LOCK_FILE),
        producers=held,
        segments=sum(one.segments for one in held),
        events=sum(one.events for one in held),
        waiting_segments=sum(one.waiting_segments for one in held),
        refused_segments=sum(one.refused_segments for one in held),
        bytes=sum(one.bytes for one in held),
        file_bytes=path.stat().st_size,
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
    )


def _held(path: Path) -> list[HeldOf]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(BUSY_MS_MAX)
        connection.pragma("query_only", "on")
        if connection.pragma("application_id") != APPLICATION_ID:
            raise Misconfigured([f"{path} is no relay's store; name the folder of one"])
        return [HeldOf(*row) for row in connection.execute(_SQL["select_held"])]
    finally:
        connection.close()
