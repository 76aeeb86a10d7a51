"""Files that must survive power loss, and locks that a killed process cannot keep."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rekam.domain.errors import OutboxBusy

_PID_BYTES_MAX = 32
_ATTEMPTS = 5
_ATTEMPT_SECONDS = 0.02


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` in the place of a file: whole or not at all, for its owner alone, durable."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # of an earlier life that had our number
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


class Sharing:
    """One of the users of a folder, by a lock file that the kernel releases however we end.

    Waits while somebody else has the folder alone: that takes as long as mending an outbox.
    """

    def __init__(self, path: Path) -> None:
        """Open the lock file, and share it."""
        self._folder = path.parent
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only user while the block runs. Raises OutboxBusy when there are others."""
        assert self._descriptor is not None  # noqa: S101 - our own bug
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            # The kernel gave our share up for the attempt.
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            raise OutboxBusy(
                f"{self._folder} is damaged, and other processes use it. End them, then start "
                "again: the first one to start mends it"
            ) from error
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def close(self) -> None:
        """Stop sharing; safe to call twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def sole_emitter(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for as long as the block runs.

    It meets a second process and a second use in this one; the kernel releases it however its
    holder ends. Raises OutboxBusy naming the holder's process id.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    for _ in range(_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # `emitter_pid` holds it for microseconds when it looks.
            time.sleep(_ATTEMPT_SECONDS)
        else:
            return
    holder = os.pread(descriptor, _PID_BYTES_MAX, 0).decode("ascii", "replace").strip()
    raise OutboxBusy(
        f"process {holder or '(unknown)'} already sends from {path.parent}. Leave it to it, or "
        "stop it first"
    )


def emitter_pid(path: Path) -> int | None:
    """Return the process that holds the lock file `path`, or None when nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, _PID_BYTES_MAX, 0).strip()
        return int(text) if text.isdigit() else None
    else:
        return None
    finally:
        os.close(descriptor)
