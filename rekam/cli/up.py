"""`rekam up`: everything on one machine, kept running until it is told to stop.

    lock REKAM_HOME ─► keys, registrar ─► Kafka ║ PostgreSQL ─► topics ║ tables ─► up.json
         ─► processor ─► read API ─► gateway ─► (simulator) ─► … ─► stopped in the reverse order

A part that dies is started again. When this process is killed, its parts die with it.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import structlog

from producers.office.registrar import ensure_registrar
from rekam.cli.db import MIGRATIONS
from rekam.cli.display import Display, display_for_this_process
from rekam.cli.figures import Figures, ReadApi, collect, coverage_path, in_words
from rekam.cli.root import EXIT_INTERRUPTED
from rekam.cli.standing import Observer, Standing
from rekam.cli.supervision import Child, keep_serving, output_of, rekam_command, rotate
from rekam.domain.errors import Misconfigured, ProblemFound, Unavailable
from rekam.domain.topics import SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from rekam.embedded.postgres import EmbeddedPostgres
from rekam.embedded.process import FolderLock, write_atomically
from rekam.runtime.endpoints import Endpoints, endpoints_path
from rekam.runtime.invocation import Invocation, invocation_of
from rekam.runtime.kafka import apply_topics
from rekam.runtime.keyring import check_keys, make_missing_keys
from rekam.runtime.logging import configure_logging
from rekam.runtime.postgres import migrate
from rekam.runtime.settings import ENVIRONMENT, KafkaSecurity, Settings

DATABASE = "rekam"
LOOK_SECONDS = 1.0
STALLED_SECONDS_MAX = 600.0
PORT_WAIT_SECONDS_MAX = 5.0
"""A read API of a killed `up` needs a moment to give its port back."""
POLL_SECONDS = 0.1

T = TypeVar("T")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@click.command()
@click.option("--demo", is_flag=True, help="Add the simulated regency: Kutai Timur, 64.08.")
@click.option(
    "--until-drained",
    is_flag=True,
    help="With --demo: end when all of it is projected; print the figures as one JSON line.",
)
@click.option(
    "--processors",
    type=click.IntRange(1, SEGMENTS.partitions),
    default=1,
    show_default=True,
    help="How many fold, each on a core of its own. They share the work.",
)
@click.option(
    "--rebuild",
    is_flag=True,
    help="First make all tables anew from the log, as settings and key files now say.",
)
@click.pass_context
def up(
    context: click.Context, *, demo: bool, until_drained: bool, processors: int, rebuild: bool
) -> None:
    """Run everything on this machine until Ctrl-C.

    Kafka and PostgreSQL (unless REKAM_KAFKA and REKAM_POSTGRES name existing ones), the processor,
    the read API and the gateway. State is in REKAM_HOME, logs in REKAM_HOME/log. Ends with 1 if the
    replay at the end of --until-drained finds a difference.
    """
    if until_drained and not demo:
        raise click.UsageError("--until-drained needs --demo: without it nothing says what is all.")
    invocation = invocation_of(context)
    settings = invocation.settings
    _require_consistent(settings)
    lock = _own(settings.home)
    try:
        with _logging_to(settings.home / "log" / "up.log"), display_for_this_process() as display:
            machine = Machine(
                invocation,
                display,
                demo=demo,
                until_drained=until_drained,
                processors=processors,
                rebuild=rebuild,
            )
            interrupted = asyncio.run(machine.run())
    finally:
        lock.release()
    if interrupted and until_drained:
        context.exit(EXIT_INTERRUPTED)


@dataclass(slots=True)
class Machine:
    """One run of `rekam up`."""

    invocation: Invocation
    display: Display
    demo: bool = field(kw_only=True)
    until_drained: bool = field(kw_only=True)
    processors: int = field(kw_only=True)
    rebuild: bool = field(kw_only=True)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first SIGINT or SIGTERM."""
    _kafka: EmbeddedKafka | None = None
    _postgres: EmbeddedPostgres | None = None
    _simulator_done: bool = False
    _started: float = field(default_factory=time.monotonic)

    @property
    def settings(self) -> Settings:
        """Return the settings of this run."""
        return self.invocation.settings

    @property
    def security(self) -> KafkaSecurity:
        """Return how to reach Kafka."""
        return self.settings.kafka_security

    async def run(self) -> bool:
        """Run until all is done or a signal comes; return whether it was a signal.

        Nothing is left running when it returns or raises. A second signal ends this process at
        once; the kernel then ends its parts.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        try:
            async with AsyncExitStack() as stack:
                endpoints = await self._unless_stopping(self._begin(stack))
                if endpoints is not None and self.rebuild:
                    await self._unless_stopping(self._make_anew())
                if endpoints is not None and not self.stopping.is_set():
                    await self._serve(endpoints)
        finally:
            self.display.say("berhenti / stopped")
        return self.stopping.is_set()

    def _signalled(self) -> None:
        if self.stopping.is_set():
            self.display.__exit__(None, None, None)
            os._exit(EXIT_INTERRUPTED)
        self.stopping.set()
        self.display.say("menghentikan… / stopping (again to end at once)")

    # Beginning

    async def _begin(self, stack: AsyncExitStack) -> Endpoints:
        """Open what the parts need, and say where it is."""
        settings = self.settings
        await _wait_for_port(settings.port, "port")
        await _wait_for_port(settings.gateway_port, "gateway_port")
        make_missing_keys(settings)
        check_keys(settings)
        if not settings.registrar_key.exists():
            # Where the trust root is given, the registrar may well be on another machine.
            ensure_registrar(settings).close()
        stack.push_async_callback(self._stop_servers)
        kafka, postgres = await self._start_servers()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(apply_topics(kafka, security=self.security))
            tasks.create_task(migrate(postgres, MIGRATIONS))
        endpoints = Endpoints(kafka=kafka, postgres=postgres, port=settings.port, pid=os.getpid())
        path = endpoints_path(settings)
        write_atomically(path, msgspec.json.encode(endpoints).decode())
        stack.callback(path.unlink, missing_ok=True)
        log.info("machine_began", kafka=kafka, elapsed_ms=self._elapsed_ms())
        return endpoints

    async def _start_servers(self) -> tuple[str, str]:
        """Start what is not named elsewhere, both at once; return bootstrap and DSN."""
        settings, say = self.settings, self.display.say
        say(f"memulai / starting in {settings.home}")
        if settings.kafka is None:
            self._kafka = EmbeddedKafka(
                state_dir=settings.home / "kafka", cache_dir=settings.home / "cache", report=say
            )
        if settings.postgres is None:
            self._postgres = EmbeddedPostgres(
                state_dir=settings.home / "postgres", bin_dir=settings.pg_bin, report=say
            )
        async with asyncio.TaskGroup() as tasks:
            for server in (self._kafka, self._postgres):
                if server is not None:
                    tasks.create_task(server.start())
        kafka, postgres = settings.kafka, settings.postgres
        if self._kafka is not None:
            kafka = self._kafka.bootstrap
        if self._postgres is not None:
            await self._postgres.create_database(DATABASE)
            postgres = self._postgres.dsn(DATABASE)
        assert kafka is not None and postgres is not None  # noqa: S101, PT018 - named or embedded
        return kafka, postgres

    async def _stop_servers(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for server in (self._kafka, self._postgres):
                if server is not None:
                    tasks.create_task(server.stop())

    async def _make_anew(self) -> None:
        """Fold the log into new tables, before anybody folds under settings that the old lack."""
        self.display.say("membangun ulang tabel dari log / making the tables anew from the log")
        path = self.settings.home / "log" / "rebuild.log"
        command = rekam_command("projection", "rebuild", "--switch", config=self.invocation.config)
        code, output = await output_of("rebuild", command, log_path=path)
        with path.open("ab") as file:
            file.write(output)
        if code:
            told = path.read_text(errors="replace").strip().splitlines()
            words = f"the rebuild ended with code {code}: {told[-1] if told else 'no word'}"
            fault = f"{words}. The tables are as they were; see {path}"
            if code == Misconfigured.exit_code:
                raise Misconfigured([fault])
            raise Unavailable(fault)

    # Serving

    async def _serve(self, endpoints: Endpoints) -> None:
        """Keep the parts running until the work is done or the time has come to stop."""
        async with (
            Observer(endpoints.kafka, self.security, endpoints.postgres) as observer,
            asyncio.TaskGroup() as tasks,
        ):
            watches = [
                tasks.create_task(keep_serving(name, server, report=self.display.say))
                for name, server in (("Kafka", self._kafka), ("PostgreSQL", self._postgres))
                if server is not None
            ]
            lives = [
                (child, tasks.create_task(self._live(child))) for child in self._children(observer)
            ]
            try:
                await self._unless_stopping(self._follow(endpoints, observer))
            finally:
                # In order: what sends stops before what folds. A failure has cancelled them all.
                for child, life in reversed(lives):
                    child.stop()
                    await asyncio.wait([life])
                for watch in watches:
                    watch.cancel()

    def _children(self, observer: Observer) -> list[Child]:
        def child(name: str, *arguments: str) -> Child:
            return Child(
                name=name,
                command=rekam_command(*arguments, config=self.invocation.config),
                log_path=self.settings.home / "log" / f"{name}.log",
                report=self.display.say,
            )

        more = (f"processor-{number}" for number in range(2, self.processors + 1))
        children = [
            *(child(name, "processor", "run") for name in ("processor", *more)),
            child("api", "api", "run"),
            child("gateway", "gateway", "run"),
        ]
        if self.demo:
            once = ("--once",) if self.until_drained else ()
            simulator = child("simulator", "simulate", *once)
            simulator.heard = observer.hear
            simulator.ends_with_success = self.until_drained
            children.append(simulator)
        return children

    async def _live(self, child: Child) -> None:
        await child.run()
        if child.ends_with_success:
            self._simulator_done = True

    async def _follow(self, endpoints: Endpoints, observer: Observer) -> None:
        api = ReadApi(endpoints.port)
        if not self.demo:
            await api.wait_until_ready()
            self.display.conclude(self._first_steps(endpoints))
            await asyncio.Event().wait()
        await self._until_drained(observer)
        seconds = time.monotonic() - self._started
        figures = await collect(api, observer, seconds=seconds)
        if self.until_drained:
            await self._conclude(figures)
            return
        self.display.conclude(f"\n{in_words(figures)}\n\n{_addresses(api)}\n")
        self.display.say(_replay_words(equal=await self._replay_equal()))
        while True:
            if (standing := await observer.look()) is not None:
                self.display.show(standing, is_drained=True)
            await asyncio.sleep(LOOK_SECONDS)

    async def _until_drained(self, observer: Observer) -> None:
        """Return when everything the simulator planned is folded."""
        goal: dict[int, int] | None = None
        watchdog = Watchdog()
        while True:
            was_sent = self._simulator_done or (
                not self.until_drained and observer.sending.is_complete
            )
            standing = await observer.look()
            if standing is not None:
                self.display.show(standing, is_drained=False)
                if was_sent and goal is None:
                    # What a trickle adds from here on is not waited for.
                    goal = dict(standing.log_end)
                if goal is not None and standing.has_reached(goal):
                    return
            watchdog.look(standing, now=time.monotonic())
            await asyncio.sleep(LOOK_SECONDS)

    async def _conclude(self, figures: Figures) -> None:
        equal = await self._replay_equal()
        final = msgspec.structs.replace(figures, replay_equal=equal)
        self.display.conclude(msgspec.json.encode(final).decode())
        if not equal:
            raise ProblemFound(
                "a replay of the log gives other projections than the live ones; see "
                f"{self.settings.home / 'log' / 'audit.log'}"
            )

    async def _replay_equal(self) -> bool:
        """Rebuild everything from the log in another process, and compare."""
        self.display.say("memutar ulang log / replaying the log to compare")
        path = self.settings.home / "log" / "audit.log"
        command = rekam_command(
            "audit", "replay", "--compare", "--json", config=self.invocation.config
        )
        code, output = await output_of("audit", command, log_path=path)
        with path.open("ab") as file:
            file.write(output)
        if code not in (0, ProblemFound.exit_code):
            raise Unavailable(f"the replay ended with code {code}; see {path}")
        return code == 0

    def _first_steps(self, endpoints: Endpoints) -> str:
        home = self.settings.home / "devices" / "recorder-1"
        gateway = gateway_address(self.settings)
        return "\n".join(
            (
                f"Rekam berjalan / is running: http://127.0.0.1:{endpoints.port}",
                f"Kafka {endpoints.kafka} · gateway {gateway} · log {self.settings.home / 'log'}",
                "",
                "Mendaftarkan alat / to enrol a device:",
                f"  rekam device init --producer recorder-1 --kind recorder --home {home} \\",
                "    > request.json",
                "  rekam office enrol request.json --place 64.08.01",
                f"  rekam device append --home {home} < events.jsonl",
                f"  rekam device run --home {home} --route kafka://{endpoints.kafka} \\",
                f"    --route {gateway}",
                "",
                "Ctrl-C menghentikan / stops it.",
            )
        )

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._started) * 1000)

    async def _unless_stopping(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what `work` returns; cancel it and return None when a signal comes first."""
        async with asyncio.TaskGroup() as tasks:
            doing, told = tasks.create_task(work), tasks.create_task(self.stopping.wait())
            await asyncio.wait((doing, told), return_when=asyncio.FIRST_COMPLETED)
            doing.cancel()
            told.cancel()
        return None if doing.cancelled() else doing.result()


@dataclass(slots=True)
class Watchdog:
    """Ends a demo in which nothing moves any more, rather than to wait for ever."""

    _last: tuple[int, int, int] | None = None
    _moved: float | None = None

    def look(self, standing: Standing | None, *, now: float) -> None:
        """Note what has moved. Raises Unavailable when nothing has for too long."""
        seen = self._last
        if standing is not None:
            seen = (standing.sending.appended, standing.records, standing.folded_records)
        if self._moved is None or seen != self._last:
            self._last, self._moved = seen, now
        if now - self._moved > STALLED_SECONDS_MAX:
            raise Unavailable(
                f"nothing has moved for {STALLED_SECONDS_MAX:.0f} s (appended, in the log, folded: "
                f"{self._last}). Look into the logs in REKAM_HOME/log and start again: it goes on "
                "where it was."
            )


def gateway_address(settings: Settings) -> str:
    """Return where devices on this machine reach the gateway."""
    scheme = "http" if settings.gateway_tls_cert is None else "https"
    return f"{scheme}://127.0.0.1:{settings.gateway_port}"


def _addresses(api: ReadApi) -> str:
    paths = (coverage_path(), coverage_path(level="kecamatan"), "/v1/devices", "/v1/quarantine")
    return "\n".join(("Coba / try:", *(f"  curl -s '{api.url}{path}'" for path in paths)))


def _replay_words(*, equal: bool) -> str:
    if equal:
        return "putar ulang sama / the replay is equal"
    return "PUTAR ULANG BERBEDA / THE REPLAY DIFFERS: see log/audit.log"


def _require_consistent(settings: Settings) -> None:
    if settings.kafka is None and settings.kafka_security != KafkaSecurity():
        raise Misconfigured(
            [
                (
                    "REKAM_KAFKA_SECURITY_… is set and REKAM_KAFKA is not: the embedded broker "
                    "knows no users. Set REKAM_KAFKA, or unset the others"
                )
            ]
        )


def _own(home: Path) -> FolderLock:
    """Become the one `rekam up` of a folder, which is made if it is not there."""
    lock = FolderLock(home / "up.lock", what="`rekam up`")
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise Misconfigured(
            [f"REKAM_HOME={home}: wanted a folder that can be written ({error.strerror})"]
        ) from error
    return lock


async def _wait_for_port(port: int, name: str) -> None:
    deadline = time.monotonic() + PORT_WAIT_SECONDS_MAX
    while not _is_free(port):
        if time.monotonic() > deadline:
            raise Unavailable(
                f"port {port} is held by another program. Stop it, or set {ENVIRONMENT[name]} to "
                "another."
            )
        await asyncio.sleep(POLL_SECONDS)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Send our own log lines to a file: the terminal is for what a person needs to know."""
    rotate(path)
    configure_logging(json=True)
    with path.open("a") as file:
        handlers = [
            handler
            for handler in logging.getLogger().handlers
            if isinstance(handler, logging.StreamHandler)
        ]
        for handler in handlers:
            handler.setStream(file)
        try:
            yield
        finally:
            for handler in handlers:
                handler.setStream(sys.stderr)
