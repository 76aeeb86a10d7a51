"""One server process in a state folder: never two at a time, never one without its owner.

Three things together keep that promise when the owner is killed at any instant:

- the owner holds a lock on the folder, so a second owner is refused while the first lives;
- the kernel signals the server when its owner dies (`setpriv --pdeathsig`);
- the server's pid and start time are on disk, so the next owner ends an orphan that the kernel
  did not reach (its owner died between fork and prctl) before it starts its own.
"""

import asyncio
import fcntl
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rekam.domain.errors import Unavailable
from rekam.embedded.machine import require_commands

LOG_TAIL_BYTES = 4000
ORPHAN_SECONDS_MAX = 20.0
PORT_FIRST, PORT_LAST = 20000, 32000
"""Below Linux's range for outgoing connections: a client that keeps dialling a port in that range
while the server is down can connect to itself, and then the server cannot have its port back."""


class FolderLock:
    """The right to be the one owner of a folder; the kernel gives it back when the owner dies."""

    def __init__(self, path: Path, *, what: str) -> None:
        self._path, self._what = path, what
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; taking it twice through one object changes nothing.

        Raises Unavailable, naming the owner, when another process or object holds it.
        """
        if self._descriptor is not None:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise Unavailable(
                f"{self._what} in {self._path.parent} already belongs to process {owner}. "
                "Stop that process, or name another folder with REKAM_HOME."
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; harmless without it. The file stays: removing it would race."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@dataclass(frozen=True, slots=True)
class Identity:
    """The unprivileged user that a server runs as when the owner is root."""

    user: int
    capability: str | None = None
    """A capability to keep (setpriv's name), where the user could not reach its files without."""


class ServerProcess:
    """A server that lives at most as long as this object's process.

    Not for concurrent use. `state_dir` must exist. Signals: `stop_signal` asks for an orderly end,
    `orphan_signal` is what the kernel sends when the owner dies.
    """

    def __init__(
        self,
        name: str,
        *,
        state_dir: Path,
        stop_signal: signal.Signals,
        orphan_signal: signal.Signals,
    ) -> None:
        self.name = name
        self.log_path = state_dir / "server.log"
        self._record_path = state_dir / "server.json"
        self._lock = FolderLock(state_dir / "owner.lock", what=f"the embedded {name}")
        self._stop_signal, self._orphan_signal = stop_signal, orphan_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Return the server's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """Return how the server ended; None while it runs or before it was launched."""
        return self._process.poll() if self._process else None

    async def claim(self) -> None:
        """Become the folder's owner and end what a dead owner left running.

        Raises Unavailable when the folder has a living owner.
        """
        self._lock.acquire()
        pid = self._recorded_pid()
        if pid is not None:
            await _end(pid, self._stop_signal)

    def launch(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        identity: Identity | None = None,
    ) -> None:
        """Start the server in a session of its own (Ctrl-C in a terminal is for the owner alone).

        Call on the main thread: the kernel's parent-death signal comes when the *thread* ends.
        """
        main = threading.current_thread() is threading.main_thread()
        assert main, "start servers on the main thread"  # noqa: S101 - our own bug, not input
        require_commands("setpriv")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                [*_guard(self._orphan_signal, identity), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if environ is None else dict(environ),
                cwd="/",
                start_new_session=True,
            )
        pid = self._process.pid
        write_atomically(
            self._record_path, json.dumps({"pid": pid, "started": _started_ticks(pid)})
        )

    async def stop(self, *, seconds_max: float) -> None:
        """End the server in order, by force after the deadline, and give up the folder.

        Safe before `launch` and twice.
        """
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(self._stop_signal)
            try:
                await asyncio.to_thread(self._process.wait, seconds_max)
            except subprocess.TimeoutExpired:
                await self.kill()
            self._process = None
            self._record_path.unlink(missing_ok=True)
        self._lock.release()

    async def wait(self, *, seconds_max: float) -> int:
        """Return the exit code of a launched command that ends by itself.

        Raises TimeoutError when it does not.
        """
        assert self._process is not None, "launch first"  # noqa: S101 - our own bug, not input
        try:
            return await asyncio.to_thread(self._process.wait, seconds_max)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error

    async def kill(self) -> None:
        """End the server as a power cut would; the folder stays ours, so it can start again."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def log_tail(self) -> str:
        """Return the last lines that the server wrote."""
        if not self.log_path.exists():
            return "(no log)"
        with self.log_path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - LOG_TAIL_BYTES))
            return log.read().decode("utf-8", "replace")

    def rotate_log(self) -> None:
        """Begin a new log; the one before is kept beside it."""
        if self.log_path.exists():
            self.log_path.replace(self.log_path.with_suffix(".log.1"))

    def _recorded_pid(self) -> int | None:
        if not self._record_path.exists():
            return None
        record = json.loads(self._record_path.read_text())
        pid = int(record["pid"])
        # The start time tells our server from a stranger that got its number later.
        return pid if _started_ticks(pid) == record["started"] else None


def write_atomically(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a small file so that a reader sees the old text or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def remembered_ports(path: Path, names: Sequence[str], *, server: str) -> dict[str, int]:
    """Return a free loopback port per name, the same ones at every start of one state folder.

    Clients reconnect to the port they know, so a taken port is an error and not a new number.
    Raises Unavailable when another program holds one of them.
    """
    if path.exists():
        ports = {name: int(json.loads(path.read_text())[name]) for name in names}
        taken = [str(port) for port in ports.values() if not _is_free(port)]
        if taken:
            raise Unavailable(
                f"port {', '.join(taken)} of the embedded {server} is held by another program. "
                f"Stop that program, or delete {path} to choose new ports (clients must be told)."
            )
        return ports
    ports = {}
    while len(ports) < len(names):
        port = PORT_FIRST + secrets.randbelow(PORT_LAST - PORT_FIRST)
        if port not in ports.values() and _is_free(port):
            ports[names[len(ports)]] = port
    write_atomically(path, json.dumps(ports))
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: connections of an earlier life in TIME_WAIT do not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _guard(orphan_signal: signal.Signals, identity: Identity | None) -> list[str]:
    command = ["setpriv", f"--pdeathsig={orphan_signal.name.removeprefix('SIG')}"]
    if identity is not None:
        command += [f"--reuid={identity.user}", f"--regid={identity.user}", "--clear-groups"]
        if identity.capability is not None:
            command += [
                f"--inh-caps=-all,+{identity.capability}",
                f"--ambient-caps=-all,+{identity.capability}",
            ]
    return [*command, "--"]


def _started_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name, in parentheses, may hold spaces; field 22 is the 20th after it.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state == "Z" else int(fields[18])


async def _end(pid: int, stop_signal: signal.Signals) -> None:
    """End a process that is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for wanted in (stop_signal, signal.SIGKILL):
            signal.pidfd_send_signal(descriptor, wanted)
            if await asyncio.to_thread(_has_ended, descriptor, ORPHAN_SECONDS_MAX):
                return
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)
    raise Unavailable(f"process {pid} of an earlier start does not end. End it and start again.")


def _has_ended(descriptor: int, seconds_max: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds_max * 1000))
