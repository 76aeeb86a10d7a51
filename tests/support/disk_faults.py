"""Disks that fail under SQLite: power cuts, no room, a kill between two steps. By apsw VFS.

Each is a VFS over the operating system's, registered for as long as it lives; its `storage` opens
an outbox on it.
"""

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import apsw

from producers.device.outbox_file import Storage

SECTOR_BYTES: Final = 512
_numbers = count()


class Disk(apsw.VFS):
    """Calls `before` at every step that changes a file: write, sync, truncate, delete."""

    def __init__(self) -> None:
        self.name = f"disk-{os.getpid()}-{next(_numbers)}"
        self.steps = 0
        super().__init__(self.name, "unix")

    @property
    def storage(self) -> Storage:
        return Storage(ballast_bytes=0, any_file_system=True, vfs=self.name)

    def before(self, step: str, path: str) -> None:
        """Let a fault happen; an exception is SQLite's error."""

    def reading(self, path: str) -> None:
        """Let a fault happen at a read."""

    def wrote(self, path: str, data: bytes, offset: int) -> None:
        """Take note of a write that went through."""

    def synced(self, path: str) -> None:
        """Take note of a sync."""

    def truncated(self, path: str, size: int) -> None:
        """Take note of a new size."""

    def step(self, step: str, path: str) -> None:
        self.steps += 1
        self.before(step, path)

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return _File(self, path or "", name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - SQLite's
        self.step("delete", filename)
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: Disk, path: str, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._disk, self._path = disk, path
        super().__init__("unix", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        self._disk.reading(self._path)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.step("write", self._path)
        super().xWrite(data, offset)
        self._disk.wrote(self._path, bytes(data), offset)

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802 - the disk itself decides what stays
        self._disk.step("sync", self._path)
        self._disk.synced(self._path)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.step("truncate", self._path)
        super().xTruncate(newsize)
        self._disk.truncated(self._path, newsize)


class PowerCut(Disk):
    """Loses its power at a step: what was not synced is then there, or not, sector by sector."""

    def __init__(self, *files: Path, at_step: int, chance: random.Random) -> None:
        self._at_step, self._chance = at_step, chance
        self.is_off = False
        self._durable = {str(path): path.read_bytes() if path.exists() else b"" for path in files}
        self._pending: dict[str, list[tuple[int, bytes | None]]] = {str(path): [] for path in files}
        super().__init__()

    def before(self, step: str, path: str) -> None:
        if self.is_off or self.steps >= self._at_step:
            self.is_off = True
            raise apsw.IOError(f"no power for {step} of {Path(path).name}")

    def wrote(self, path: str, data: bytes, offset: int) -> None:
        if path in self._pending:
            self._pending[path].append((offset, data))

    def truncated(self, path: str, size: int) -> None:
        if path in self._pending:
            self._pending[path].append((size, None))

    def synced(self, path: str) -> None:
        if path in self._pending:
            content = bytearray(self._durable[path])
            for offset, data in self._pending[path]:
                _apply(content, offset, data)
            self._durable[path] = bytes(content)
            self._pending[path] = []

    def restart(self) -> None:
        """Leave in the files what a disk could hold after the cut."""
        for path, durable in self._durable.items():
            content = bytearray(durable)
            for offset, data in self._pending[path]:
                if data is None:
                    if self._chance.random() < 0.5:
                        _apply(content, offset, None)
                    continue
                for start in range(0, len(data), SECTOR_BYTES):
                    if self._chance.random() < 0.5:
                        _apply(content, offset + start, data[start : start + SECTOR_BYTES])
            Path(path).write_bytes(content)
            Path(f"{path}-shm").unlink(missing_ok=True)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class BadSector(apsw.IOError):
    """What SQLite is told of a sector that cannot be read."""

    extendedresult = apsw.SQLITE_IOERR_READ


class Unreadable(Disk):
    """Has sectors that it cannot read any more, while `armed`."""

    def __init__(self) -> None:
        self.armed = False
        super().__init__()

    def reading(self, path: str) -> None:
        if self.armed:
            raise BadSector(f"bad sector in {Path(path).name}")


class FullDisk(Disk):
    """Has room for so many bytes, those of the files in `beside` included."""

    def __init__(self, capacity: int, *, beside: tuple[Path, ...] = ()) -> None:
        self.capacity = capacity
        self._beside = beside
        self._sizes: dict[str, int] = {}
        super().__init__()

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        return _CountedFile(self, name, flags)

    def grow(self, path: str, size: int) -> None:
        """Refuse what does not fit."""
        sizes = self._sizes | {path: max(size, self._sizes.get(path, 0))}
        beside = sum(file.stat().st_size for file in self._beside if file.exists())
        if sizes != self._sizes and sum(sizes.values()) + beside > self.capacity:
            raise apsw.FullError("no space left on this disk")
        self._sizes = sizes

    def truncated(self, path: str, size: int) -> None:
        self._sizes[path] = size


class _CountedFile(_File):
    def __init__(
        self, disk: FullDisk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self._full_disk, self._name = disk, path
        if Path(path).exists():
            disk.truncated(path, Path(path).stat().st_size)
        super().__init__(disk, path, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._full_disk.grow(self._name, offset + len(data))
        super().xWrite(data, offset)


class NoRoomOnce(Disk):
    """Has no room at one write of those that are made while it is `armed`, and room at the next."""

    def __init__(self, at_write: int) -> None:
        self._at_write, self._writes = at_write, 0
        self.armed = False
        super().__init__()

    @property
    def has_failed(self) -> bool:
        return self._writes >= self._at_write

    def before(self, step: str, path: str) -> None:
        if self.armed and step == "write":
            self._writes += 1
            if self._writes == self._at_write:
                raise apsw.FullError(f"no room in {Path(path).name}")


class Deadly(Disk):
    """Kills its process at a step."""

    def __init__(self, at_step: int) -> None:
        self._at_step = at_step
        super().__init__()

    def before(self, step: str, path: str) -> None:  # noqa: ARG002 - dies at any
        if self.steps >= self._at_step:
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def child(work: Callable[[Callable[[str], None]], None]) -> Iterator[tuple[int, list[str]]]:
    """Fork a process that does the work, telling lines; yield how it ended and what it told."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.close(reading)
            work(lambda text: void(os.write(writing, f"{text}\n".encode())))
            code = 0
        finally:
            os._exit(code)  # without what the test process would do at its end
    os.close(writing)
    with os.fdopen(reading, "r") as told:
        lines = told.read().splitlines()
    _, status = os.waitpid(process, 0)
    yield os.waitstatus_to_exitcode(status), lines


def void(_: object) -> None:
    """Return nothing."""
