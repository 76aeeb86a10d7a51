"""The servers of a run, real and durable: one broker, one PostgreSQL with fsync on."""

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec
from aiokafka import AIOKafkaProducer

from rekam.domain.log import route_headers
from rekam.domain.topics import RECORD_BYTES_MAX, Topic
from rekam.embedded.kafka import EmbeddedKafka
from rekam.embedded.postgres import EmbeddedPostgres
from rekam.runtime.kafka import producer_options
from rekam.runtime.postgres import connect, migrate
from tests.support.broker import Topics, new_broker
from tests.support.database import temporary_database

ROOT: Final = Path(__file__).parents[2]
TEMPLATE: Final = "bench_template"
BATCH_BYTES: Final = RECORD_BYTES_MAX // 2
PROCESS_SECONDS_MAX: Final = 300.0
STOP_SECONDS_MAX: Final = 40.0
LOG_TAIL_BYTES: Final = 2_000


class ProcessFailed(Exception):  # noqa: N818 - says what happened
    """A measured process ended too early, or not at all."""


@contextmanager
def heap_left_alone() -> Iterator[None]:
    """Keep the collector from what is in this process already.

    The events of all benchmarks wait here, and no process of ours has them: looking through them
    takes a second, in the middle of something else.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Record(Protocol):
    """Anything that can be appended to a partition."""

    @property
    def partition(self) -> int:
        """Return the partition."""
        ...

    @property
    def value(self) -> bytes:
        """Return the bytes."""
        ...


class Timing(msgspec.Struct, frozen=True):
    """What a measured process says on its standard output: how much it did, in which time."""

    events: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Return the rate."""
        return self.events / self.seconds


class _PatientBroker(EmbeddedKafka):
    """Waits for all workers of a new group, so that no rebalance falls into what is measured."""

    def properties(self, *, broker: int, controller: int) -> dict[str, str]:
        """Return the configuration."""
        return super().properties(broker=broker, controller=controller) | {
            "group.initial.rebalance.delay.ms": "2000"
        }


@dataclass(frozen=True)
class Machine:
    """The started servers, and a folder on the disk that is measured."""

    folder: Path
    broker: EmbeddedKafka
    server: EmbeddedPostgres

    @classmethod
    @asynccontextmanager
    async def started(cls, folder: Path) -> AsyncIterator["Machine"]:
        """Give it; everything is stopped afterwards."""
        async with AsyncExitStack() as stack:
            broker = await stack.enter_async_context(new_broker(folder / "kafka", _PatientBroker))
            # The settings of production: the tests' server runs without fsync.
            server = await stack.enter_async_context(EmbeddedPostgres(state_dir=folder / "pg"))
            await server.create_database(TEMPLATE)
            await migrate(server.dsn(TEMPLATE), "projections.migrations")
            yield cls(folder, broker, server)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """Give the DSN of a fresh migrated database whose predecessor's writes are on disk."""
        async with temporary_database(self.server, TEMPLATE) as dsn:
            connection = await connect(dsn)
            try:
                await connection.execute("CHECKPOINT")
            finally:
                await connection.close()
            yield dsn

    @asynccontextmanager
    async def topic(self) -> AsyncIterator[Topic]:
        """Give a fresh topic like the log's; deleted afterwards."""
        topics = Topics(self.broker.bootstrap)
        try:
            yield await topics.make()
        finally:
            await topics.remove()

    async def append(self, topic: Topic, records: Iterable[Record]) -> None:
        """Append records in order, in large batches, and return when the broker has them all."""
        async with AIOKafkaProducer(**producer_options(self.broker.bootstrap)) as producer:
            batches = {number: producer.create_batch() for number in range(topic.partitions)}
            sent: list[asyncio.Future[object]] = []

            async def send(partition: int) -> None:
                batch, batches[partition] = batches[partition], producer.create_batch()
                sent.append(await producer.send_batch(batch, topic.name, partition=partition))

            for record in records:
                batch = batches[record.partition]
                if batch.size() + len(record.value) > BATCH_BYTES:
                    await send(record.partition)
                    batch = batches[record.partition]
                key = getattr(record, "key", None)
                appended = batch.append(
                    key=key, value=record.value, timestamp=None, headers=route_headers("kafka")
                )
                if appended is None:
                    raise ProcessFailed(f"a record of {len(record.value)} bytes is too large")
            for number, batch in list(batches.items()):
                if batch.record_count():
                    await send(number)
            await asyncio.gather(*sent)

    def log_bytes(self, topic: Topic) -> int:
        """Return how many bytes the topic's records have in the broker's log files."""
        data = self.folder / "kafka" / "data"
        return sum(file.stat().st_size for file in data.glob(f"{topic.name}-*/*.log"))

    @asynccontextmanager
    async def process(
        self, module: str, *arguments: str, log_name: str = ""
    ) -> AsyncIterator["Measured"]:
        """Give a running `python -m tests.benchmarks.<module>`; stopped at the end."""
        command = (sys.executable, "-m", f"tests.benchmarks.{module}", *arguments)
        async with self.command(log_name or module, *command) as measured:
            yield measured

    @asynccontextmanager
    async def command(self, name: str, *command: str) -> AsyncIterator["Measured"]:
        """Give a running command, whose log gets this name; stopped at the end."""
        log_path = self.folder / f"{name}.log"
        with log_path.open("wb") as log_file:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdout=asyncio.subprocess.PIPE,
                stderr=log_file,
                cwd=ROOT,
            )
        try:
            yield Measured(name, process, log_path)
        finally:
            if process.returncode is None:
                process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS_MAX):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


@dataclass(frozen=True)
class Measured:
    """A process that does what is measured, so that it shares no interpreter with the measuring."""

    name: str
    process: asyncio.subprocess.Process
    log_path: Path

    def require_running(self) -> None:
        """Raise ProcessFailed when it has ended."""
        if self.process.returncode is not None:
            raise self.failed("ended too early")

    async def first_line(self) -> bytes:
        """Wait for the first line that it writes. Raises ProcessFailed when it ends without one."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PROCESS_SECONDS_MAX):
            line = await self.process.stdout.readline()
        if not line:
            await self.process.wait()
            raise self.failed("ended too early")
        return line

    async def timing(self) -> Timing:
        """Wait for its end and return what it measured itself."""
        try:
            async with asyncio.timeout(PROCESS_SECONDS_MAX):
                output, _ = await self.process.communicate()
        except TimeoutError as error:
            raise self.failed(f"has not ended after {PROCESS_SECONDS_MAX:.0f} s") from error
        if self.process.returncode:
            raise self.failed("failed")
        return msgspec.json.decode(output, type=Timing)

    def failed(self, what: str) -> ProcessFailed:
        """Return the error that says so, with the end of the process's log."""
        tail = self.log_path.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")
        return ProcessFailed(f"{self.name} {what} (code {self.process.returncode}):\n{tail}")
