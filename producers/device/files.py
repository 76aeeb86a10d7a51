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
