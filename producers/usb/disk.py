"""What export and import ask of a stick, and how this machine does it.

A stick is pulled out, fills up, is write-protected and lies about what it has written. So every
step is one call that tests can make fail, and `told_of` turns the system's errors into ours.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from rekam.domain.errors import Overloaded, StickFailed, StickFull, StickUnusable

ENTRIES_MAX: Final = 70_000
"""Most entries of one folder that are looked at: FAT32 has 65,536."""

READ_BYTES: Final = 1024 * 1024

GONE: Final = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.ESHUTDOWN})
"""What the system says when the device itself is no more."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PROTECTED: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NO_FOLDER: Final = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG})


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a folder, and what it names. A link is never followed."""

    name: str
    kind: Literal["file", "folder", "link", "other"]
    bytes: int


@dataclass(frozen=True, slots=True)
class Space:
    """What a file system has left, and in what units it gives it out."""

    free_bytes: int
    unit_bytes: int


class Disk(Protocol):
    """A file system that may fail at any step.

    Everything raises OSError, nothing follows a link in the last part of a path, and all of it may
    be called again. What `write` has returned from is durable under its name once the folder is
    synced; a `rename` is whole or not at all.
    """

    def space(self, folder: Path) -> Space:
        """Return what is left for its user."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder durable, if it is not there."""

    def entries(self, folder: Path) -> list[Entry]:
        """Return what is in a folder, by name. Raises Overloaded above ENTRIES_MAX."""

    def read(self, file: Path, *, bytes_max: int) -> bytes:
        """Return a regular file's bytes, or the first `bytes_max` + 1 when it has more."""

    def read_back(self, file: Path, *, bytes_max: int) -> bytes:
        """Return what the device holds, as far as the system can be made to ask it."""

    def write(self, file: Path, raw: bytes) -> None:
        """Write a file in place of any other; its bytes are durable when this returns."""

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its name, in place of any other."""

    def remove(self, file: Path) -> None:
        """Remove a file's name, if it is there."""

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""


class LocalDisk:
    """A file system that this machine has mounted."""

    def space(self, folder: Path) -> Space:
        """Return what is left for its user."""
        found = os.statvfs(folder)
        return Space(found.f_bavail * found.f_frsize, max(found.f_frsize, 1))

    def make_folder(self, folder: Path) -> None:
        """Make a folder durable, if it is not there."""
        try:
            folder.mkdir()
        except FileExistsError:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise NotADirectoryError(
                    errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)
                ) from None
        else:
            self.sync_folder(folder.parent)

    def entries(self, folder: Path) -> list[Entry]:
        """Return what is in a folder, by name."""
        found: list[Entry] = []
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            with os.scandir(descriptor) as scan:
                for one in scan:
                    if len(found) >= ENTRIES_MAX:
                        raise Overloaded(
                            f"{folder} holds more than {ENTRIES_MAX} names; no export makes that "
                            "many. Move what is not a bundle's away"
                        )
                    status = one.stat(follow_symlinks=False)
                    found.append(Entry(one.name, _kind(status.st_mode), status.st_size))
        finally:
            os.close(descriptor)
        return sorted(found, key=lambda entry: entry.name)

    def read(self, file: Path, *, bytes_max: int) -> bytes:
        """Return a regular file's bytes, or the first `bytes_max` + 1 when it has more."""
        return _read(file, bytes_max=bytes_max, drop_cache=False)

    def read_back(self, file: Path, *, bytes_max: int) -> bytes:
        """Return what the device holds, as far as the system can be made to ask it.

        Reading what was just written would be answered from memory, so the pages are dropped
        first: they are clean after `write`, and then the system lets go of them. A stick's own
        cache cannot be dropped.
        """
        return _read(file, bytes_max=bytes_max, drop_cache=True)

    def write(self, file: Path, raw: bytes) -> None:
        """Write a file in place of any other; its bytes are durable when this returns."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(file, flags, 0o644)
        try:
            left = memoryview(raw)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its name, in place of any other."""
        source.replace(target)

    def remove(self, file: Path) -> None:
        """Remove a file's name, if it is there."""
        file.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            os.sync()  # some network file systems sync no single folder
        finally:
            os.close(descriptor)


@contextmanager
def told_of(root: Path) -> Iterator[None]:
    """Turn the system's errors about the stick at `root` into ours.

    Raises StickFull, StickUnusable (another stick, or another folder) or StickFailed (it went
    away, or broke: the same call goes on where it was).
    """
    try:
        yield
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else type(error).__name__
        if error.errno in _FULL:
            raise StickFull(
                [
                    (
                        f"{root} ran full ({said}). What is on it is whole; make room or take "
                        "another stick, and run it again"
                    )
                ]
            ) from error
        if error.errno in _PROTECTED:
            raise StickUnusable(
                [
                    (
                        f"{root} does not let us ({said}). Switch its write protection off, or "
                        "mount it so that this user may use it"
                    )
                ]
            ) from error
        if error.errno in _NO_FOLDER:
            raise StickUnusable(
                [
                    (
                        f"{root} has something else where the bundle's folders belong ({said}). "
                        "Move it away, or take another stick"
                    )
                ]
            ) from error
        raise StickFailed(
            f"{root} does not answer any more ({said}): it was pulled out, or it is broken. Plug "
            "it in again and run the same command; it goes on where it was"
        ) from error


def require_folder(root: Path) -> None:
    """Raise StickUnusable when there is no such folder: one made now would not be on the stick."""
    if not root.is_dir():
        raise StickUnusable([f"{root} is no folder; plug the stick in, mount it and name its path"])


def _kind(mode: int) -> Literal["file", "folder", "link", "other"]:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def _read(file: Path, *, bytes_max: int, drop_cache: bool) -> bytes:
    # Without O_NONBLOCK, a pipe that somebody put there would be waited for.
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        if drop_cache:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        parts: list[bytes] = []
        room = bytes_max + 1
        while room > 0 and (part := os.read(descriptor, min(READ_BYTES, room))):
            parts.append(part)
            room -= len(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)
