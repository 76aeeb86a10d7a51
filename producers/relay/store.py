"""What a relay holds for others: a durable store in SQLite, forwarded oldest first.

    take ─► waiting ─forward─► forwarded ─receipt─► gone
                        └────► refused (upstream quarantined it) ─► forwarded again, rarely

Nothing is deleted but what a receipt covers at its hash. A segment's identity is all of its bytes:
a copy that was damaged on the way, whose header says the same, must not keep the whole one out.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

import apsw
import structlog

from producers.device.files import sync_folder
from producers.device.outbox_file import (
    PAGE_BYTES,
    Ballast,
    Storage,
    Transaction,
    connect,
    empty_wal,
    fitting,
    spare_bytes,
)
from rekam.domain.errors import Corrupt, CustodyFull, Misconfigured, OutboxBusy, Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.receipt import Receipt, Run
from rekam.domain.segment import Header
from rekam.runtime.queries import load_queries

STORE_FILE: Final = "relay.db"
LOCK_FILE: Final = "relay.lock"

STORE_BYTES_MAX: Final = 4 * 1024**3
"""Disk budget: some 400 thousand full segments, 200 million events."""

RESERVE_BYTES: Final = 16 * 1024 * 1024
"""Beyond the budget, for notes and receipts: a full store must get to what empties it."""

STORAGE: Final = Storage(bytes_max=STORE_BYTES_MAX)

SCHEMA_VERSION: Final = 2
APPLICATION_ID: Final = 0x524B4D32  # "RKM2"
RELEASE_ROWS_MAX: Final = 500
"""Rows of one transaction that deletes, and fewer of large ones: the WAL stays small."""

DUE_MS_MAX: Final = 2 * 24 * 3600 * 1000
"""Nothing is put off for longer. What is due later than that was noted by a clock gone wrong."""

State = Literal["waiting", "forwarded", "refused"]

_SQL = load_queries("producers.relay")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HeldSegment:
    """A segment in custody. `tries`: how often it was forwarded.

    `route`: which one took or refused it last, as `taken_by` says it.
    """

    place: int
    tries: int
    state: State
    route: str | None
    raw: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """What upstream said of a segment that was forwarded, by which route, and when it is due."""

    segment: HeldSegment
    state: State
    due_ms: int
    route: str | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """What a receipt let go: how many segments, and the routes that had taken them."""

    segments: int
    routes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes upstream next: segments of one producer in the order in which they came."""

    producer: ProducerId
    segments: tuple[HeldSegment, ...]


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """How much a relay holds."""

    segments: int
    waiting: int
    bytes: int


class CustodyStore:
    """One connection to a relay's store; for one thread at a time."""

    def __init__(
        self, path: Path, connection: apsw.Connection, ballast: Ballast, *, bytes_max: int
    ) -> None:
        """Take over an open connection; use `open`."""
        self._path, self._connection, self._ballast = path, connection, ballast
        self._bytes_max = bytes_max

    @classmethod
    def open(cls, path: Path, *, storage: Storage = STORAGE) -> Self:
        """Open a store, or make an empty one readable by its owner alone.

        `storage.bytes_max` is the budget of segments; notes and receipts have RESERVE_BYTES beyond.

        Raises Misconfigured when the folder cannot keep it, Corrupt when the file is another's.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError as error:
            raise Misconfigured(
                [f"{path} cannot be made ({error.strerror}); name a folder you may write"]
            ) from error
        whole = replace(storage, bytes_max=storage.bytes_max + RESERVE_BYTES)
        connection = connect(path, whole)
        try:
            with _translated(path):
                _begin(path, connection)
        except BaseException:
            connection.close()
            raise
        sync_folder(path.parent)
        ballast = Ballast(path, storage.ballast_bytes)
        ballast.restore()
        return cls(path, connection, ballast, bytes_max=storage.bytes_max)

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def take(self, segments: Sequence[tuple[Header, str, bytes]], *, now_ms: int) -> int:
        """Store (header, hash, bytes) of segments; durable when this returns, all or none.

        Returns how many were new: bytes that are here already stay as they are. Raises CustodyFull
        at the disk budget or on a full disk.
        """
        if not (
            self._ballast.restore() or self._ballast.leaves_room(spare_bytes(self._connection))
        ):
            raise CustodyFull(
                f"the disk of {self._path} is full. What is held stays and is forwarded; free disk "
                "space"
            )
        count = 0
        with _translated(self._path), Transaction(self._connection):
            for header, segment_hash, raw in segments:
                place = self._connection.execute(
                    _SQL["insert_segment"],
                    (
                        header.producer,
                        header.epoch,
                        header.first,
                        header.last,
                        segment_hash,
                        header.prev,
                        hashlib.sha256(raw).digest(),
                        len(raw),
                        now_ms,
                    ),
                ).get
                if place is not None:
                    self._connection.execute(_SQL["insert_body"], (place, raw))
                    count += 1
            if count and self._used_bytes() > self._bytes_max:
                raise CustodyFull(
                    f"{self._path} has reached its {self._bytes_max} bytes. What is held stays and "
                    "is forwarded; see why upstream gives no receipts"
                )
        return count

    def next_batch(self, *, now_ms: int, bytes_max: int, segments_max: int) -> Batch | None:
        """Return what is due for longest, of one producer; None when nothing is due.

        At most `bytes_max`, but at least one segment: what waits never has to fit into memory.
        """
        due = (now_ms, now_ms + DUE_MS_MAX)
        with _translated(self._path):
            producer = self._connection.execute(_SQL["select_due_producer"], due).get
            if producer is None:
                return None
            found: list[HeldSegment] = []
            room = bytes_max
            rows = self._connection.execute(_SQL["select_due"], (producer, *due, segments_max))
            for place, size, tries, state, route in cast(
                "list[tuple[int, int, int, State, str | None]]", rows.fetchall()
            ):
                room -= size
                if found and room < 0:
                    break
                raw = self._connection.execute(_SQL["select_body"], (place,)).get
                if raw is None:
                    raise Corrupt(
                        f"{self._path}: segment {place} is without its bytes; keep the file and "
                        "restore it from a copy. Its device still has the segment"
                    )
                found.append(HeldSegment(place, tries, state, route, raw))
            return Batch(ProducerId(producer), tuple(found))

    def settle(self, states: Sequence[Settled]) -> None:
        """Remember of forwarded segments what upstream said, and when each is due again."""
        rows = [(one.state, one.due_ms, one.route, one.segment.place) for one in states]
        self._make_room([("update_state", rows)])

    def release(self, receipt: Receipt, raw: bytes) -> Released:
        """Remember a verified receipt and delete what it covers; return what went.

        A segment is covered when the chain leads from it to the head of a run, over segments that
        are here. What went by another route is not here: then what lies before it stays.
        """
        covered: list[tuple[int, int, str | None]] = []
        with _translated(self._path):
            for epoch in receipt.epochs:
                for run in epoch.runs:
                    covered += self._covered(receipt.producer, epoch.epoch, run)
        # Oldest first: after a crash the rest still hangs on the head.
        covered.reverse()
        start = 0
        while some := covered[start : start + RELEASE_ROWS_MAX]:
            rows = [(place,) for place, *_ in some[: fitting(size for _, size, _ in some)]]
            self._make_room([("delete_body", rows), ("delete_segment", rows)])
            start += len(rows)
        # Last: what was deleted has made room for it.
        self._make_room([("upsert_receipt", [(receipt.producer, receipt.as_of_ms, raw)])])
        if covered and not self._ballast.is_whole:
            with _translated(self._path):
                empty_wal(self._connection)
        routes = frozenset(route for *_, route in covered if route is not None)
        return Released(len(covered), routes)

    def _covered(
        self, producer: str, epoch: int, run: Run
    ) -> Iterator[tuple[int, int, str | None]]:
        """Yield place, bytes and taker of what a run covers, newest first."""
        wanted, last = run.head, run.last
        while last >= run.first:
            copies = [
                row
                for row in self._connection.execute(_SQL["select_link"], (producer, epoch, wanted))
                if row[2] == last and row[1] >= run.first
            ]
            if not copies:
                return
            yield from ((place, size, route) for place, *_, size, route in copies)
            _, first, _, wanted, *_ = copies[0]
            last = first - 1

    def receipts(self) -> list[bytes]:
        """Return the newest receipt of each producer."""
        with _translated(self._path):
            return [raw for (raw,) in self._connection.execute(_SQL["select_receipts"])]

    def forwarded_producers(self, *, after: str, limit: int) -> list[ProducerId]:
        """Return producers that wait for a receipt, in order, above `after`."""
        with _translated(self._path):
            rows = self._connection.execute(_SQL["select_forwarded_producers"], (after, limit))
            return [ProducerId(producer) for (producer,) in rows]

    def status(self) -> StoreStatus:
        """Return how much is held."""
        with _translated(self._path):
            row = self._connection.execute(_SQL["select_status"]).fetchone()
        assert row is not None  # noqa: S101 - an aggregate always has a row
        return StoreStatus(*row)

    def _make_room(self, statements: Sequence[tuple[str, Sequence[tuple[object, ...]]]]) -> None:
        """Run statements that make room, or lead to it; on a full disk at the ballast's cost."""
        try:
            self._run(statements)
        except CustodyFull:
            if not self._ballast.release():
                raise
            self._run(statements)
            with _translated(self._path):
                empty_wal(self._connection)

    def _run(self, statements: Sequence[tuple[str, Sequence[tuple[object, ...]]]]) -> None:
        with _translated(self._path), Transaction(self._connection):
            for name, rows in statements:
                self._connection.executemany(_SQL[name], cast("Any", rows))

    def _used_bytes(self) -> int:
        pages = self._connection.pragma("page_count") - self._connection.pragma("freelist_count")
        return int(pages) * PAGE_BYTES


def _begin(path: Path, connection: apsw.Connection) -> None:
    """Make the tables of an empty file; of any other, make sure that it is ours."""
    with Transaction(connection):
        found = connection.pragma("application_id"), connection.pragma("user_version")
        if found == (0, 0) and connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
            connection.execute(_text("schema.sql"))
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", SCHEMA_VERSION)
        elif found == (APPLICATION_ID, 1):
            connection.execute(_text("upgrade_1_to_2.sql"))
            connection.pragma("user_version", SCHEMA_VERSION)
        elif found != (APPLICATION_ID, SCHEMA_VERSION):
            raise Corrupt(
                f"{path} is no relay's store of version {SCHEMA_VERSION} (application id "
                f"{found[0]}, version {found[1]}); restore it or use the software that made it"
            )


def _text(name: str) -> str:
    return resources.files("producers.relay").joinpath(name).read_text("utf-8")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours; its own messages hold no values."""
    try:
        yield
    except apsw.FullError as error:
        raise CustodyFull(
            f"{path} has no room: its budget or the disk is used up. What is held stays and is "
            "forwarded; free disk space, or see why upstream gives no receipts"
        ) from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise OutboxBusy(
            f"another process writes to {path}; end it (lsof tells which one)"
        ) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise Corrupt(
            f"{path} is damaged ({error}). Keep the file and start with an empty folder: devices "
            "still have every segment that no receipt covers, and send it again"
        ) from error
    except (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        raise Unavailable(
            f"{path} cannot be used ({error}). Check the disk and who owns the file"
        ) from error
