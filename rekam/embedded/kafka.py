"""A real Apache Kafka on this machine: one KRaft node, loopback only, small heap."""

import asyncio
import base64
import shutil
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from rekam.domain.errors import Unavailable
from rekam.embedded.kafka_jars import ensure_jars
from rekam.embedded.machine import require_commands
from rekam.embedded.process import ServerProcess, remembered_ports, write_atomically
from rekam.runtime.kafka import is_answering

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0
FORMAT_SECONDS_MAX = 60.0
POLL_SECONDS = 0.05


class EmbeddedKafka:
    """One broker with its data in `state_dir`; survives its own kill, and ends with its owner.

    `start`, `stop` and `kill` may follow one another in any order on the same object, from the
    main thread; the port stays the same for the life of the state folder. Jars come from
    `cache_dir`, which any number of brokers may share.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        cache_dir: Path,
        heap_mb: int = 256,
        report: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._state_dir = state_dir.absolute()
        self._cache_dir = cache_dir.absolute()
        self._heap_mb = heap_mb
        self._report = report
        self._ports: dict[str, int] = {}
        self._server = ServerProcess(
            "Kafka",
            state_dir=self._state_dir,
            stop_signal=signal.SIGTERM,
            # Sure rather than polite: a broker that hangs in its shutdown would be a second one.
            # What it acknowledged is in the page cache and survives it.
            orphan_signal=signal.SIGKILL,
        )

    @property
    def bootstrap(self) -> str:
        """Return `host:port` for clients; known from the first start on."""
        return f"127.0.0.1:{self._ports['broker']}"

    @property
    def pid(self) -> int | None:
        """Return the broker's process id while it runs."""
        return self._server.pid

    async def start(self) -> None:
        """Start the broker and return when a client gets metadata; nothing to do while it runs.

        Raises Misconfigured without Java, Unavailable when the state folder has another owner or
        the broker does not come up; then nothing is left running.
        """
        if self._server.pid is not None:
            return
        require_commands("java")
        jars = await ensure_jars(self._cache_dir, report=self._report)
        self._state_dir.mkdir(parents=True, exist_ok=True)
        try:
            await self._server.claim()
            self._ports = remembered_ports(
                self._state_dir / "ports.json", ["broker", "controller"], server="Kafka"
            )
            config = self._state_dir / "server.properties"
            lines = (f"{name}={value}\n" for name, value in self.properties(**self._ports).items())
            write_atomically(config, "".join(lines))
            await self._format_once(jars, config)
            self._server.rotate_log()
            self._server.launch([*_java(jars, heap_mb=self._heap_mb), "kafka.Kafka", str(config)])
            await self._wait_until_ready()
        except BaseException:
            await self._server.kill()
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the broker in order and give up the state folder; safe before start and twice."""
        await self._server.stop(seconds_max=STOP_SECONDS_MAX)

    async def kill(self) -> None:
        """SIGKILL the broker; `start` brings it back on the same port with the same data."""
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
    def _data_dir(self) -> Path:
        return self._state_dir / "data"

    def properties(self, *, broker: int, controller: int) -> dict[str, str]:
        """Return the broker's configuration for these ports; a subclass may widen it."""
        listener, quorum = f"127.0.0.1:{broker}", f"127.0.0.1:{controller}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"PLAINTEXT://{listener},CONTROLLER://{quorum}",
            "advertised.listeners": f"PLAINTEXT://{listener}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.quorum.bootstrap.servers": quorum,
            "log.dirs": str(self._data_dir),
            # A typing error in a topic's name is an error, and `rekam topics apply` its cure.
            "auto.create.topics.enable": "false",
            "default.replication.factor": "1",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "4",
            "log.retention.ms": "-1",
            "log.retention.bytes": "-1",
            "message.max.bytes": "1048576",
            # One node has no second copy: at most a second of the log is in memory alone.
            "log.flush.interval.ms": "1000",
            "log.flush.scheduler.interval.ms": "1000",
            # Room for one machine that does everything: the cleaner alone takes 128 MB otherwise.
            "log.cleaner.dedupe.buffer.size": "4194304",
            "num.network.threads": "2",
            "num.io.threads": "4",
            "background.threads": "2",
            # Workers of one machine start together or within seconds; waiting 3 s helps no one.
            "group.initial.rebalance.delay.ms": "0",
            # A killed broker is let in again when its earlier life's session has run out (9 s is
            # the default). It has no second node to be mistaken about, so the session is short.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            # A killed worker's partitions may go to another after a second, if clients ask for it.
            "group.min.session.timeout.ms": "1000",
        }

    async def _format_once(self, jars: Path, config: Path) -> None:
        done = self._state_dir / "formatted"
        if done.exists():
            return
        # Whatever an interrupted formatting left holds no records yet.
        await asyncio.to_thread(shutil.rmtree, self._data_dir, ignore_errors=True)
        process = await asyncio.create_subprocess_exec(
            *_java(jars, heap_mb=self._heap_mb),
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            "-t",
            _cluster_id(),
            "-c",
            str(config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(FORMAT_SECONDS_MAX):
                output, _ = await process.communicate()
        except (TimeoutError, asyncio.CancelledError):
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise Unavailable(
                f"Kafka could not format {self._data_dir}. Check the disk and Java 17 or newer. "
                f"It says:\n{output.decode('utf-8', 'replace')[-2000:]}"
            )
        write_atomically(done, "")

    async def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not await is_answering(self.bootstrap):
            if self._server.exit_code is not None:
                raise Unavailable(
                    f"the embedded Kafka ended with code {self._server.exit_code}. Its log "
                    f"({self._server.log_path}) ends with:\n{self._server.log_tail()}"
                )
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the embedded Kafka did not answer within {START_SECONDS_MAX:.0f} s. Its log "
                    f"({self._server.log_path}) ends with:\n{self._server.log_tail()}"
                )
            await asyncio.sleep(POLL_SECONDS)


def _java(jars: Path, *, heap_mb: int) -> list[str]:
    return [
        "java",
        f"-Xms{min(heap_mb, 128)}m",
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xshare:auto",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
        "-cp",
        f"{jars}/*",
    ]


def _cluster_id() -> str:
    """Return a random id in Kafka's form: 22 characters of base64, not beginning with a dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
        if not text.startswith("-"):
            return text
