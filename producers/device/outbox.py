"""The outbox: the durable queue of one producer, in SQLite.

    append ─► event rows ─seal─► segment (bytes for ever) + unsent (to do) ─acknowledge─► segment

Any number of processes may append beside one that emits: each write is one `BEGIN IMMEDIATE`
transaction, so SQLite lets one writer in at a time and numbers stay distinct and gapless. Two
*emitters* would send everything twice; `ProducerHome.emitting` refuses the second one.

A segment is stored before anything is sent, and the same transaction removes its plain event rows
(overwritten with zeros: they name people). Nothing else ever deletes.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Annotated, Final, Self, cast

import apsw
import msgspec

from producers.device.files import sync_folder
from rekam.domain import segment as segments
from rekam.domain.errors import (
    Corrupt,
    EventRejected,
    Misconfigured,
    OutboxBusy,
    OutboxFull,
    SegmentRejected,
    Unavailable,
)
from rekam.domain.ids import Epoch, ProducerId, Seq
from rekam.domain.keys import ReaderPublicKey, SigningKey
from rekam.domain.segment import (
    DECOMPRESSED_BYTES_MAX,
    EVENT_BYTES_MAX,
    SEGMENT_EVENTS_MAX,
    Sealed,
)
from rekam.runtime.queries import load_queries

OUTBOX_BYTES_MAX: Final = 4 * 1024**3
"""Disk budget of an outbox: beyond it `append` refuses. About 200 million sealed events."""

BUSY_MS_MAX: Final = 10_000
"""How long a write waits for another process's transaction; those take milliseconds."""

BOOTS_MAX: Final = 500
"""Most boot sessions that are anchored at once; the rest follows at the next contact."""

SQLITE_VERSION_MIN: Final = (3, 51, 3)
"""Older ones can lose committed WAL frames when a checkpoint and a writer meet (WAL-reset bug)."""

APPLICATION_ID: Final = 0x524B4D31  # "RKM1"
SCHEMA_VERSION: Final = 1
PAGE_BYTES: Final = 4096

_SQL = load_queries("producers.device")
_TOO_LARGE = frozenset({"body_too_large", "body_expands_too_much"})


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A sealed segment as the outbox holds it."""

    first: int
    last: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """Where the outbox stands, of one moment."""

    next_seq: int
    unsealed_events: int
    unsent_segments: int
    unsent_events: int
    """All that no route has taken, sealed or not."""
    oldest_unsent_ms: int | None
    """Wall time of the unsent event with the lowest seq, as the producer's clock showed it."""
    acknowledged_through: int
    """A route has taken every event up to this seq."""
    disk_bytes: int
    disk_bytes_max: int


@dataclass(frozen=True, slots=True)
class BootSession:
    """A boot session that has events here, and the offset that was announced for it, if any."""

    boot: str
    first_wall_ms: int
    offset_ms: int | None


class _Head(msgspec.Struct):
    """What the outbox itself needs of an event line."""

    wall_ms: Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
    boot: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


_decode_head = msgspec.json.Decoder(_Head).decode


class Outbox:
    """One connection to an outbox; a context manager. Not for use by several threads."""

    def __init__(self, path: Path, connection: apsw.Connection, *, bytes_max: int) -> None:
        """Take over an open connection; use `create` or `open`."""
        self._path = path
        self._connection = connection
        self._bytes_max = bytes_max
        self._boots: set[str] = set()
        row = connection.execute(_SQL["select_outbox"]).get
        if row is None:
            raise Corrupt(f"{path} does not say whose outbox it is; restore it or enrol again")
        self.producer = ProducerId(row[0])
        self.epoch = Epoch(row[1])

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        producer: ProducerId,
        epoch: Epoch = Epoch(1),  # noqa: B008 - a NewType's call gives an int
        bytes_max: int = OUTBOX_BYTES_MAX,
    ) -> Self:
        """Make an empty outbox, readable by its owner alone; durable when this returns.

        Raises Misconfigured when there is a file of that name.
        """
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError as error:
            raise Misconfigured(
                [f"{path} exists already; it may hold events, so nothing was done"]
            ) from error
        connection = _connect(path, bytes_max=bytes_max)
        with _translated(path), _transaction(connection):
            connection.execute(
                resources.files("producers.device").joinpath("schema.sql").read_text("utf-8")
            )
            connection.execute(_SQL["insert_outbox"], (producer, epoch))
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", SCHEMA_VERSION)
        sync_folder(path.parent)
        return cls(path, connection, bytes_max=bytes_max)

    @classmethod
    def open(cls, path: Path, *, bytes_max: int = OUTBOX_BYTES_MAX) -> Self:
        """Open an outbox; other processes may have it open too.

        Raises Misconfigured when there is none, Corrupt when the file is something else.
        """
        if not path.is_file():
            raise Misconfigured([f"{path} does not exist; run `rekam device init`"])
        connection = _connect(path, bytes_max=bytes_max)
        with _translated(path):
            found = connection.pragma("application_id"), connection.pragma("user_version")
            if found != (APPLICATION_ID, SCHEMA_VERSION):
                connection.close()
                raise Corrupt(
                    f"{path} is no outbox of version {SCHEMA_VERSION} (application id "
                    f"{found[0]}, version {found[1]}); restore it or use the software that made it"
                )
            return cls(path, connection, bytes_max=bytes_max)

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

    @property
    def next_seq(self) -> int:
        """Return the seq that the next append gets, unless another process appends before."""
        with _translated(self._path):
            return self._last_seq() + 1

    def append(self, lines: Sequence[bytes], *, anchored: Mapping[str, int] | None = None) -> range:
        """Store encoded events (`rekam.domain.events.encode`) in one transaction; give their seqs.

        When this returns they survive power loss (one fsync; tests/benchmarks/appends.py). All or
        none are stored. `anchored` remembers, in the same transaction, the clock offset that the
        lines announce for boot sessions.
        Raises EventRejected for a line that is no event or passes EVENT_BYTES_MAX, OutboxFull at
        the disk budget or on a full disk (nothing is dropped), OutboxBusy when another process
        writes for longer than BUSY_MS_MAX.
        """
        heads = [_head(line) for line in lines]
        # The first wall time of each new session: reversed, so that the first one stays.
        sessions = {head.boot: head.wall_ms for head in reversed(heads)}
        fresh = {boot: wall for boot, wall in sessions.items() if boot not in self._boots}
        with self._writing() as connection:
            first = self._last_seq() + 1
            seqs = range(first, first + len(lines))
            connection.executemany(_SQL["insert_event"], zip(seqs, lines, strict=True))
            if fresh:
                connection.executemany(_SQL["insert_boot"], fresh.items())
            for boot, offset_ms in (anchored or {}).items():
                connection.execute(_SQL["update_boot"], (offset_ms, boot))
        self._boots.update(fresh)
        return seqs

    def seal_pending(
        self,
        *,
        signing_key: SigningKey,
        reader: ReaderPublicKey,
        sealed: Sealed,
        events_max: int = SEGMENT_EVENTS_MAX,
        segments_max: int | None = None,
    ) -> int:
        """Seal the events that are in no segment yet; return how many segments it took.

        Events appended meanwhile wait for the next call. Each segment is stored in a transaction
        of its own that also removes its event rows; when that commits, its bytes are durable and
        final. Stops after `segments_max`, so that a caller can do something else between.
        """
        assert 1 <= events_max <= SEGMENT_EVENTS_MAX, events_max  # noqa: S101 - our own bug
        through = self.next_seq - 1
        count = 0
        while segments_max is None or count < segments_max:
            with self._writing() as connection:
                lines = _bounded(
                    connection.execute(_SQL["select_events"], (through, events_max)),
                    bytes_max=DECOMPRESSED_BYTES_MAX,
                )
                if not lines:
                    return count
                self._seal(lines, signing_key=signing_key, reader=reader, sealed=sealed)
            count += 1
        return count

    def _seal(
        self,
        rows: list[tuple[int, bytes]],
        *,
        signing_key: SigningKey,
        reader: ReaderPublicKey,
        sealed: Sealed,
    ) -> None:
        head = self._connection.execute(_SQL["select_head"]).get
        after, prev = head or (0, segments.opening_hash(self.producer, self.epoch))
        first = rows[0][0]
        if first != after + 1:
            raise Corrupt(
                f"{self._path}: the first unsealed event is {first}, the last sealed one {after}; "
                "keep the file, re-enrol the producer under a new epoch"
            )
        lines = [line for _, line in rows]
        raw, count = _seal_prefix(
            lines,
            producer=self.producer,
            epoch=self.epoch,
            first=Seq(first),
            prev=prev,
            sealed=sealed,
            signing_key=signing_key,
            reader=reader,
        )
        last = first + count - 1
        # First remove, then insert: in a full outbox the segment takes the place of its events.
        self._connection.execute(_SQL["delete_events"], (last,))
        self._connection.execute(
            _SQL["insert_segment"], (first, last, segments.parse(raw).hash, raw)
        )
        self._connection.execute(
            _SQL["insert_unsent"], (first, last, len(raw), _head(lines[0]).wall_ms)
        )

    def unsent(self, *, limit_bytes: int, after: int = 0) -> list[StoredSegment]:
        """Return the oldest segments that no route has taken and whose first seq is above `after`.

        At most `limit_bytes` of them, but at least one if there is any: the queue never has to
        fit into memory.
        """
        found: list[StoredSegment] = []
        room = limit_bytes
        with _translated(self._path):
            for first, last, size in self._connection.execute(_SQL["select_unsent"], (after,)):
                room -= size
                if found and room < 0:
                    break
                raw = self._connection.execute(_SQL["select_raw"], (first,)).get
                if raw is None:
                    raise Corrupt(f"{self._path}: segment {first} is queued and not stored")
                found.append(StoredSegment(first, last, raw))
        return found

    def acknowledge(self, taken: Sequence[StoredSegment]) -> None:
        """Remember that a route has taken these segments; durable, in one transaction, idempotent.

        Their bytes stay until a signed receipt covers them.
        """
        with self._writing() as connection:
            connection.executemany(_SQL["delete_unsent"], ((one.first,) for one in taken))

    def pending(self) -> int:
        """Return how many events are in no segment; cheap enough to ask several times a second."""
        with _translated(self._path):
            return int(self._connection.execute(_SQL["select_pending"]).get)

    def status(self) -> OutboxStatus:
        """Return where the outbox stands: one snapshot, without reading the queue's bytes."""
        with _translated(self._path):
            next_seq, unsealed, queued, queued_events, first, wall_ms, sealed, line = cast(
                "tuple[int, int, int, int, int | None, int | None, int, bytes | None]",
                self._connection.execute(_SQL["select_status"]).fetchone(),
            )
        oldest = wall_ms if wall_ms is not None or line is None else _head(line).wall_ms
        return OutboxStatus(
            next_seq=next_seq,
            unsealed_events=unsealed,
            unsent_segments=queued,
            unsent_events=queued_events + unsealed,
            oldest_unsent_ms=oldest,
            acknowledged_through=sealed if first is None else first - 1,
            disk_bytes=sum(
                file.stat().st_size
                for file in (self._path, self._path.with_name(f"{self._path.name}-wal"))
                if file.exists()
            ),
            disk_bytes_max=self._bytes_max,
        )

    def boots(self, current: str) -> list[BootSession]:
        """Return the boot sessions without an announced offset, and `current` if it has events."""
        with _translated(self._path):
            return [
                BootSession(*row)
                for row in self._connection.execute(_SQL["select_boots"], (current, BOOTS_MAX))
            ]

    def _last_seq(self) -> int:
        return int(self._connection.execute(_SQL["select_last_seq"]).get)

    @contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        with _translated(self._path), _transaction(self._connection):
            yield self._connection


def _head(line: bytes) -> _Head:
    if len(line) > EVENT_BYTES_MAX:
        raise EventRejected(
            "event_too_large",
            f"{len(line)} bytes; the limit is {EVENT_BYTES_MAX}. Split it or leave details out",
        )
    if b"\n" in line:
        raise EventRejected("not_json", "an event is one line; encode it without line ends")
    try:
        return _decode_head(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventRejected("not_json", "the line is no encoded event") from error


def _bounded(rows: apsw.Cursor, *, bytes_max: int) -> list[tuple[int, bytes]]:
    """Read rows until they would not fit into a segment; at least one, if there is any."""
    taken: list[tuple[int, bytes]] = []
    room = bytes_max
    for seq, line in rows:
        room -= len(line) + 1
        if taken and room < 0:
            break
        taken.append((seq, line))
    rows.close()
    return taken


def _seal_prefix(
    lines: list[bytes],
    *,
    producer: ProducerId,
    epoch: Epoch,
    first: Seq,
    prev: str,
    sealed: Sealed,
    signing_key: SigningKey,
    reader: ReaderPublicKey,
) -> tuple[bytes, int]:
    """Seal as many of the first lines as the limits allow, halving; one always fits."""
    count = len(lines)
    while True:
        try:
            raw = segments.seal(
                lines[:count],
                producer=producer,
                epoch=epoch,
                first=first,
                prev=prev,
                sealed=sealed,
                signing_key=signing_key,
                reader=reader,
            )
        except SegmentRejected as error:
            if error.reason not in _TOO_LARGE or count == 1:
                raise
            count = (count + 1) // 2
        else:
            return raw, count


def _connect(path: Path, *, bytes_max: int) -> apsw.Connection:
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < SQLITE_VERSION_MIN:
        raise Misconfigured(
            [
                (
                    f"SQLite {apsw.sqlite_lib_version()} can lose committed events; wanted "
                    f"{'.'.join(map(str, SQLITE_VERSION_MIN))} or newer. Update the package apsw"
                )
            ]
        )
    with _translated(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            _set_pragmas(connection, path, pages_max=bytes_max // PAGE_BYTES)
        except BaseException:
            connection.close()
            raise
        return connection


def _set_pragmas(connection: apsw.Connection, path: Path, *, pages_max: int) -> None:
    """Set what durability and privacy rest on, and refuse to start if SQLite did not take it."""
    # Before the first lock: a process that recovers the WAL holds it for a moment.
    connection.set_busy_timeout(BUSY_MS_MAX)
    connection.pragma("page_size", PAGE_BYTES)
    wanted: tuple[tuple[str, object, object], ...] = (
        ("journal_mode", "wal", "wal"),
        ("synchronous", "full", 2),  # an fsync a commit; "normal" lost 200 of 200 in a power cut
        ("secure_delete", "on", 1),
        ("wal_autocheckpoint", 1000, 1000),
        ("foreign_keys", "off", 0),
    )
    faults = []
    for name, value, expected in wanted:
        connection.pragma(name, value)
        found = connection.pragma(name)
        if found != expected:
            faults.append(
                f"{path}: SQLite says {name} = {found}, wanted {expected}. Put the outbox on a "
                "local disk that its owner may write"
            )
    # SQLite never goes below what is used already: then the outbox counts as full.
    if connection.pragma("max_page_count", pages_max) < pages_max:
        faults.append(f"{path}: SQLite does not take a size limit of {pages_max} pages")
    if faults:
        raise Misconfigured(faults)


@contextmanager
def _transaction(connection: apsw.Connection) -> Iterator[None]:
    """Commit what is done inside, or nothing of it.

    Immediate: a transaction that read first and wrote then could not be let in any more.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite itself rolls back on some errors, such as a full disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours; its own messages hold no values."""
    try:
        yield
    except apsw.FullError as error:
        raise OutboxFull(
            f"{path} has no room: its budget or the disk is used up. Everything in it stays; free "
            "disk space, or send (`rekam device sync`)"
        ) from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise OutboxBusy(
            f"another process has been writing to {path} for {BUSY_MS_MAX // 1000} s. Try again; "
            "if it stays so, look what holds the file (lsof)"
        ) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise Corrupt(
            f"{path} is damaged ({error}). Keep the file for recovery and enrol the producer again"
        ) from error
    except (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        raise Unavailable(
            f"{path} cannot be used ({error}). Check the disk or SD card and who owns the file"
        ) from error
