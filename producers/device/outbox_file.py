"""The file under an outbox: SQLite made durable and private, or a refusal to start.

Beside `outbox.db` lies a ballast file, larger than the WAL grows. On a full disk it is given up, so
that what makes room again (taking, receipts, pruning, checkpoints) still finds some; recording is
then refused until the ballast is whole again.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import apsw
import structlog

from producers.device.files import sync_folder
from rekam.domain.errors import Corrupt, Misconfigured, OutboxBusy, OutboxFull, Unavailable
from rekam.runtime.queries import load_queries

MIB: Final = 1024 * 1024

OUTBOX_BYTES_MAX: Final = 4 * 1024**3
"""Disk budget of an outbox that was given none. About 200 million sealed events."""

OUTBOX_BYTES_MIN: Final = 16 * MIB
"""Less would be spent on the transactions that make room."""

PAGE_BYTES: Final = 4096
WAL_PAGES: Final = 1000
"""Pages after which SQLite moves the WAL into the file."""

_WAL_PAGES_OVER: Final = 64
"""Pages beyond WAL_PAGES that the transaction before a checkpoint may add."""

CACHE_KIB: Final = 512
"""Of pages in memory. The queue is written and read in order: more would be kept, and not used."""

BALLAST_BYTES: Final = 3 * WAL_PAGES * PAGE_BYTES
"""The WAL, and two transactions of the largest kind that makes room."""

BUSY_MS_MAX: Final = 10_000
"""How long a write waits for another process's transaction; those take milliseconds."""

SQLITE_VERSION_MIN: Final = (3, 51, 3)
"""Older ones can lose committed WAL frames when a checkpoint and a writer meet (WAL-reset bug)."""

FORGETFUL: Final = frozenset({"tmpfs", "ramfs", "vfat", "msdos", "exfat"})
"""Gone with the power, or without a journal: a file there does not survive what it must."""

LAYERED: Final = frozenset({"overlay", "aufs"})
"""A container's own layer: durable on its host, but gone with the container."""

ROOM_BYTES: Final = WAL_PAGES * PAGE_BYTES
"""What one transaction that makes room may write at most, about. Freed pages are overwritten
(secure_delete), so removing bytes writes as many: with the WAL it fits into the ballast."""

_DAMAGE: Final = frozenset(
    {apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_CORRUPTFS}
)

_SQL = load_queries("producers.device")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How an outbox lies on its disk."""

    bytes_max: int = OUTBOX_BYTES_MAX
    """Disk budget; rounded down to pages."""
    ballast_bytes: int = BALLAST_BYTES
    """0: none. Only where thousands of outboxes share a disk that somebody watches."""
    any_file_system: bool = False
    """True: also on one that forgets. For tests and simulations: nobody misses their events."""
    vfs: str | None = None
    """SQLite's way to the disk, by name; None: the system's. Fault tests lay theirs between."""


DEFAULT_STORAGE: Final = Storage()


def damage_mark(path: Path) -> Path:
    """Return the file that says: SQLite found this outbox damaged; whoever opens it mends it."""
    return path.with_name(f"{path.name}.damaged")


def wal_of(path: Path) -> Path:
    """Return the write-ahead log of an outbox."""
    return path.with_name(f"{path.name}-wal")


def _ballast_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}.ballast")


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the file under an outbox or a store, and what SQLite and we keep beside it."""
    return path, wal_of(path), path.with_name(f"{path.name}-shm"), _ballast_of(path)


def connect(
    path: Path, storage: Storage, *, sqlite_version: Callable[[], str] = apsw.sqlite_lib_version
) -> apsw.Connection:
    """Open the file with everything that durability and privacy rest on.

    Raises Misconfigured when SQLite, its settings or the file system cannot keep the promise.
    """
    version = sqlite_version()
    if tuple(int(part) for part in version.split(".")) < SQLITE_VERSION_MIN:
        raise Misconfigured(
            [
                (
                    f"SQLite {version} can lose committed events; wanted "
                    f"{'.'.join(map(str, SQLITE_VERSION_MIN))} or newer. Update the package apsw"
                )
            ]
        )
    if not storage.any_file_system:
        require_lasting(path)
    probe(path)
    with translated(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=storage.vfs)
        try:
            _set_pragmas(connection, path, pages_max=storage.bytes_max // PAGE_BYTES)
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
        ("synchronous", "full", 2),  # an fsync a commit; tests/fault/test_device_outbox_power.py
        ("secure_delete", "on", 1),
        ("wal_autocheckpoint", WAL_PAGES, WAL_PAGES),
        ("cache_size", -CACHE_KIB, -CACHE_KIB),
        ("foreign_keys", "off", 0),
        # Off: a file that somebody edited must not run SQL of his making in a trigger or a view.
        ("trusted_schema", "off", 0),
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


# -- the file system -------------------------------------------------------------------------------


def require_lasting(path: Path) -> None:
    """Refuse a file system that forgets; warn of a container's own layer.

    Memory and FAT are refused: the one is gone with the power, the other has no journal and loses
    whole files. What lies in a layer already is not held back there; `require_no_layer` keeps new
    files out of it.
    """
    found = file_system_of(path)
    if found in FORGETFUL:
        raise Misconfigured(
            [
                (
                    f"{path} lies on {found}, which does not keep events through a power cut. Put "
                    "the home on ext4, XFS or Btrfs"
                )
            ]
        )
    if found in LAYERED:
        log.warning("outbox_in_container_layer", file_system=found, path=str(path.parent))


def require_no_layer(path: Path) -> None:
    """Refuse to put a new file into a container's own layer, which is gone with the container.

    A refusal, not a warning: replacing a container is an everyday act, and nobody reads the log of
    the one before. Whole systems run on an overlay, too; whoever knows that says so.
    """
    if (found := file_system_of(path)) in LAYERED:
        raise Misconfigured(
            [
                (
                    f"{path} lies on {found}: a container's own layer, gone with the container. "
                    "Mount a volume and name a folder in it, or say --in-container-layer if this "
                    "layer is kept"
                )
            ]
        )


def file_system_of(path: Path, mounts: str | None = None) -> str | None:
    """Return the type of the file system that holds a path; None when the kernel does not say.

    `mounts` is the text of /proc/self/mountinfo. The mount is found by the longest name, because
    files in an overlay show another device number than its mount.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
        except OSError as error:
            log.warning("file_system_unknown", error=error.strerror)
            return None
    where = path.absolute().parent.resolve() / path.name
    best: tuple[int, str | None] = (-1, None)
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind:  # noqa: PLR2004 - its fifth field is the mount point
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4]))
        # A later mount on the same point hides the earlier one.
        if where.is_relative_to(point) and len(point.parts) >= best[0]:
            best = (len(point.parts), kind[0])
    return best[1]


def require_budget(path: Path, storage: Storage) -> None:
    """Refuse a budget that the disk does not have, or that the file has outgrown.

    What the outbox has on its disk now counts as had; it need not be there yet, nor its folder. The
    ballast lies beside.
    """
    folder = next(one for one in path.absolute().parents if one.is_dir())
    found = os.statvfs(folder)
    taken = sum(file.stat().st_size for file in files_of(path) if file.exists())
    least = max(OUTBOX_BYTES_MIN, path.stat().st_size if path.exists() else 0)
    most = found.f_bavail * found.f_frsize + taken - storage.ballast_bytes
    if not least <= storage.bytes_max <= most:
        raise Misconfigured(
            [
                (
                    f"{path}: the disk has {most // MIB} MiB for it beside its ballast of "
                    f"{storage.ballast_bytes // MIB} MiB, and it wants at least "
                    f"{-(-least // MIB)} MiB (a file that has grown does not shrink); wanted a "
                    f"budget between them, not {storage.bytes_max // MIB} MiB"
                )
            ]
        )


def probe(path: Path) -> None:
    """Write and sync a few bytes beside the file. Raises Unavailable when the disk does not.

    A full disk passes: what is in the outbox must get out.
    """
    name = path.with_name(f".{path.name}.probe.{os.getpid()}")
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, b"probe")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            name.unlink()
    except OSError as error:
        if error.errno in _NO_ROOM:
            log.warning("disk_full", path=str(path.parent))
            return
        raise Unavailable(
            f"{path.parent} takes no files ({error.strerror}). Check the disk or SD card and who "
            "owns the folder"
        ) from error


_NO_ROOM: Final = frozenset({28, 122})
"""ENOSPC, EDQUOT."""


def fitting(sizes: Iterable[int], *, room: int | None = None) -> int:
    """Return how many of these may be removed in one transaction; at least one.

    They have ROOM_BYTES at most, or `room` if that is less.
    """
    room = ROOM_BYTES if room is None else min(room, ROOM_BYTES)
    count = 0
    for size in sizes:
        room -= size
        if count and room < 0:
            break
        count += 1
    return count


def spare_bytes(connection: apsw.Connection) -> int:
    """Return what was freed in a file and is used again before it grows."""
    return int(connection.pragma("freelist_count")) * PAGE_BYTES


def lay_out_wal(connection: apsw.Connection, path: Path) -> bool:
    """Let the WAL have its full length now; tell whether there was the room. Durable.

    While it grows, each commit's sync has its new length to record, too; once it has been filled it
    is overwritten in place (docs/benchmarks.md, *Durable appends*).
    """
    wal = wal_of(path)
    if wal.exists() and wal.stat().st_size >= WAL_PAGES * PAGE_BYTES:
        return True
    empty_wal(connection)  # so that nothing in it needs room when it has taken all there was
    try:
        with _given_up(connection):
            # Pages of zeros that are written out: a transaction that never was.
            zeros = (WAL_PAGES + _WAL_PAGES_OVER) * PAGE_BYTES
            connection.execute(_SQL["insert_zeros"], (zeros,))
            connection.cache_flush()
    except apsw.FullError:
        log.info("wal_not_laid_out", path=str(path))
        empty_wal(connection)
        return False
    with Transaction(connection):
        # Any commit: it syncs the zeros, so that no append has to wait for them.
        connection.execute(_SQL["update_nothing"])
    return True


@contextmanager
def _given_up(connection: apsw.Connection) -> Iterator[None]:
    """Take back whatever is done inside."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def empty_wal(connection: apsw.Connection) -> None:
    """Move the WAL into the file as far as readers let us; the next commit tries again."""
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except (apsw.BusyError, apsw.LockedError, apsw.FullError) as error:
        log.info("wal_not_emptied", error=type(error).__name__)


class Ballast:
    """Room that is kept for what makes room. Its file is whole, or the disk is full."""

    def __init__(self, outbox: Path, size: int) -> None:
        """Keep `size` bytes beside an outbox; 0: none."""
        self._path = _ballast_of(outbox)
        self._size = size

    @property
    def is_whole(self) -> bool:
        """Tell whether the room is there."""
        if not self._size:
            return True
        try:
            return os.stat(self._path).st_size >= self._size  # noqa: PTH116 - at each append
        except FileNotFoundError:
            return False

    def restore(self) -> bool:
        """Take the room again if the disk has twice as much; tell whether the ballast is whole."""
        if self.is_whole:
            return True
        if self.disk_free_bytes() < 2 * self._size:
            return False
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self._size)
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise Unavailable(
                    f"{self._path} cannot be written ({error.strerror}). Check the disk or SD card"
                ) from error
            os.ftruncate(descriptor, 0)
            return False
        finally:
            os.close(descriptor)
        sync_folder(self._path.parent)
        log.debug("ballast_restored", bytes=self._size)
        return True

    def leaves_room(self, spare_bytes: int) -> bool:
        """Tell whether more may be stored beside what makes room.

        Without a whole ballast, too, while the file has as much to spare in pages that were freed:
        a file never shrinks, so that the disk stays full of it when all in it has been sent. The
        disk must still take the WAL.
        """
        return self.is_whole or (
            spare_bytes >= self._size and self.disk_free_bytes() >= ROOM_BYTES + ROOM_BYTES // 2
        )

    def disk_free_bytes(self) -> int:
        """Return what the disk has beyond the ballast, if that is whole."""
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize

    def release(self) -> bool:
        """Give the room up; tell whether there was any."""
        if not self._size or not self.is_whole:
            return False
        descriptor = os.open(self._path, os.O_RDWR)
        try:
            os.ftruncate(descriptor, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        log.warning("ballast_released", bytes=self._size)
        return True


# -- transactions and errors -----------------------------------------------------------------------


class Transaction:
    """Commit what is done inside, or nothing of it. Reusable, not re-entrant.

    Immediate: a transaction that read first and wrote then could not be let in any more. A class
    and no generator, which is slower: there is one at every append.
    """

    __slots__ = ("_connection", "_path")

    def __init__(self, connection: apsw.Connection, path: Path | None = None) -> None:
        """Be of a connection. With a path SQLite's errors become ours, as by `translated`."""
        self._connection = connection
        self._path = path

    def __enter__(self) -> apsw.Connection:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            self._translate(error)
            raise
        return self._connection

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                self._connection.execute("COMMIT")
            except apsw.Error as failure:
                self._undo()
                self._translate(failure)
                raise
            except BaseException:
                self._undo()
                raise
        else:
            self._undo()
            if isinstance(error, apsw.Error):
                self._translate(error)

    def _undo(self) -> None:
        # SQLite itself rolls back on some errors, such as a full disk.
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error as failure:
                self._translate(failure)
                raise

    def _translate(self, error: apsw.Error) -> None:
        if self._path is not None:
            _raise_ours(self._path, error)


@contextmanager
def snapshot(connection: apsw.Connection) -> Iterator[None]:
    """Let everything that is read inside be of one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours; its own messages hold no values."""
    try:
        yield
    except apsw.Error as error:
        _raise_ours(path, error)
        raise


def _raise_ours(path: Path, error: apsw.Error) -> None:
    """Raise what an error of SQLite's means to who uses the file; nothing if it is our mistake."""
    if isinstance(error, apsw.FullError):
        raise OutboxFull(
            f"{path} has no room: its budget or the disk is used up. Everything in it stays; free "
            "disk space, or send (`rekam device sync`)"
        ) from error
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        raise OutboxBusy(
            f"another process has been writing to {path} for {BUSY_MS_MAX // 1000} s. Try again; "
            "if it stays so, look what holds the file (lsof)"
        ) from error
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        raise _damaged(path, error) from error
    if isinstance(
        error, apsw.IOError | apsw.CantOpenError | apsw.ReadOnlyError | apsw.PermissionsError
    ):
        if getattr(error, "extendedresult", None) in _DAMAGE:
            raise _damaged(path, error) from error
        raise Unavailable(
            f"{path} cannot be used ({error}). Check the disk or SD card and who owns the file"
        ) from error


def _damaged(path: Path, error: Exception) -> Corrupt:
    """Leave the mark by which the next one to open the home mends it."""
    try:
        damage_mark(path).touch(mode=0o600)
    except OSError as failure:
        log.warning("damage_not_marked", error=failure.strerror)
    return Corrupt(
        f"{path} is damaged ({error}). Start again what was running: the outbox is then set aside, "
        "what is whole of it is taken over, and a new epoch begins. Keep the file that is set aside"
    )
