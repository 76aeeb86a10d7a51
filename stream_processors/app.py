"""The stream processor's composition root: Faust as the shell, one agent, one worker.

Kafka ─► ChunkTransport ─► Faust (group, rebalances, lifecycle) ─► agent ─► ChunkWorker ─► folder
               └─◄──────────────────── positions ◄─────────────────────────────────────────┘
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, cast

import faust
import structlog
from aiokafka.errors import KafkaError
from faust.app.base import BootStrategy
from faust.streams import Stream
from faust.types import AppT, EventT, StreamT
from mode.supervisors import CrashingSupervisor

from rekam.domain.errors import Misconfigured, Unavailable
from rekam.domain.log import Chunk
from rekam.domain.topics import RECORD_BYTES_MAX, SEGMENTS
from rekam.runtime.kafka import OPEN_NETWORK, consumer_options, is_answering
from rekam.runtime.settings import KafkaSecurity
from stream_processors.chunk_transport import (
    FAUST_VERSION,
    ChunkConsumer,
    ChunkMessage,
    ChunkSource,
    ChunkTransport,
    Positions,
)
from stream_processors.worker import (
    NO_HOOKS,
    ChunkFolder,
    ChunkWorker,
    Delivery,
    Hooks,
    Prepared,
    until_available,
)

GROUP: Final = "rekam-processor"
DRAIN_SECONDS_MAX: Final = 20.0
STOP_SECONDS_MAX: Final = 20.0
PROBES_MAX: Final = 3
PROBE_PAUSE_SECONDS: Final = 0.3
FOREVER_SECONDS: Final = 10 * 365 * 86_400.0
POLL_INTERVAL_MS_MAX: Final = 2**31 - 1

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorOptions:
    """What one worker reads, as whom, and how much of it at a time.

    Workers with the same `group` share the partitions. Memory is bounded by about
    partitions x chunk_bytes_max fetched, and two chunks in work.
    """

    bootstrap: str
    data_dir: Path
    group: str = GROUP
    topic: str = SEGMENTS.name
    security: KafkaSecurity = OPEN_NETWORK
    chunk_records_max: int = 2_000
    chunk_bytes_max: int = 1024 * 1024
    fetch_bytes_max: int = 16 * 1024 * 1024
    session_timeout_ms: int = 10_000
    heartbeat_interval_ms: int = 1_000

    def consumer_options(self) -> dict[str, Any]:
        """Return the aiokafka consumer's options."""
        return consumer_options(self.bootstrap, self.security) | {
            "max_partition_fetch_bytes": max(self.chunk_bytes_max, RECORD_BYTES_MAX),
            "fetch_max_bytes": max(self.fetch_bytes_max, RECORD_BYTES_MAX),
            "session_timeout_ms": self.session_timeout_ms,
            "heartbeat_interval_ms": self.heartbeat_interval_ms,
            # A member that stops polling waits for PostgreSQL. Thrown out of the group it would
            # only move the waiting elsewhere; positions make a forgotten worker harmless.
            "max_poll_interval_ms": POLL_INTERVAL_MS_MAX,
        }


class _ConsumeOnly(BootStrategy):
    """Start what reads chunks: no producer, web server, leader topic or reply topic."""

    enable_kafka_producer = False
    enable_web = False

    def kafka_consumer(self) -> Any:
        return [self.app.consumer]


class ProcessorApp(faust.App):
    """A Faust app that reads through the chunk transport."""

    BootStrategy = _ConsumeOnly

    def __init__(self, *args: Any, source: ChunkSource, **kwargs: Any) -> None:
        self._source = source
        super().__init__(*args, **kwargs)

    def _new_transport(self) -> ChunkTransport:
        return ChunkTransport(self.conf.broker_consumer, self, self._source)


@dataclass(frozen=True, slots=True)
class _FaustDelivery:
    app: AppT
    event: EventT[Any]

    @property
    def chunk(self) -> Chunk:
        return cast("Chunk", self.event.value)

    def is_current(self) -> bool:
        return self._consumer.is_current(cast("ChunkMessage", self.event.message))

    def acknowledge(self) -> None:
        self.event.ack()

    async def seek_again(self) -> None:
        await self._consumer.seek_again(self.event.message.tp)

    @property
    def _consumer(self) -> ChunkConsumer:
        return cast("ChunkConsumer", self.app.consumer)


def build_app(
    options: ProcessorOptions,
    *,
    positions: Positions,
    take: Callable[[Delivery], Awaitable[None]],
    hooks: Hooks = NO_HOOKS,
) -> ProcessorApp:
    """Return the Faust app whose agent gives each chunk to `take`. Not started; good for one run.

    Raises Misconfigured with another Faust than the one that the transport was written for.
    """
    if (found := version("faust-streaming")) != FAUST_VERSION:
        raise Misconfigured(
            [f"faust-streaming is {found}: wanted {FAUST_VERSION}; run `uv sync --all-extras`"]
        )
    app = ProcessorApp(
        options.group,
        source=ChunkSource(
            consumer_options=options.consumer_options(),
            positions=positions,
            records_max=options.chunk_records_max,
            bytes_max=options.chunk_bytes_max,
            alarm=hooks.alarmed,
            log_end=hooks.log_end,
        ),
        broker=[f"kafka://{server.strip()}" for server in options.bootstrap.split(",")],
        datadir=str(options.data_dir),
        store="memory://",
        autodiscover=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=1,
        broker_commit_interval=2.0,
        # Faust bounds a seek by it and takes a late one for its own stop. Ours waits for
        # PostgreSQL; the client's requests have their own deadline in consumer_options.
        broker_request_timeout=FOREVER_SECONDS,
        broker_session_timeout=options.session_timeout_ms / 1000,
        broker_heartbeat_interval=options.heartbeat_interval_ms / 1000,
    )
    topic = app.topic(options.topic, value_serializer="raw", key_serializer="raw")

    @app.agent(topic, name="fold-chunks", supervisor_strategy=CrashingSupervisor)
    async def fold_chunks(stream: StreamT[Any]) -> None:
        async for event in cast("Stream[Any]", stream).noack().events():
            await take(_FaustDelivery(app, event))

    return app


async def run_processor(
    options: ProcessorOptions,
    open_folder: Callable[[], Awaitable[ChunkFolder[Prepared]]],
    stopping: asyncio.Event,
    *,
    hooks: Hooks = NO_HOOKS,
    ready: asyncio.Event | None = None,
) -> None:
    """Fold the log until `stopping`, then finish what is taken, commit, leave the group, close.

    `ready` is set when the first partitions are assigned and their positions taken. The first
    failure ends everything and leaves here as itself: Unavailable when Kafka does not answer at
    the start, Corrupt when log and positions contradict each other, or an unknown bug's exception.
    What was not folded is not acknowledged.
    """
    jitter = random.Random()  # noqa: S311  # spreads retries, hides nothing
    await _require_kafka(options)
    async with AsyncExitStack() as stack:
        folder = await open_folder()
        stack.push_async_callback(folder.close)
        worker = ChunkWorker(folder, hooks=hooks, jitter=jitter)
        stack.callback(worker.close)

        async def positions(topic: str, partitions: Collection[int]) -> Mapping[int, int]:
            return await until_available(
                lambda: folder.positions(topic, partitions),
                stopping=asyncio.Event(),  # Faust cancels a seek when it stops
                jitter=jitter,
            )

        app = build_app(options, positions=positions, take=worker.take, hooks=hooks)
        try:
            await _serve(app, worker, stopping, ready=ready or asyncio.Event())
        except BaseExceptionGroup as group:
            raise _first(group) from group


async def _require_kafka(options: ProcessorOptions) -> None:
    """Raise Unavailable while Kafka does not answer: Faust's client thread would crash loudly."""
    for _attempt in range(PROBES_MAX):
        if await is_answering(options.bootstrap, options.security):
            return
        await asyncio.sleep(PROBE_PAUSE_SECONDS)
    raise Unavailable(
        f"Kafka at {options.bootstrap} does not answer. Start it, or correct REKAM_KAFKA."
    )


async def _serve(
    app: ProcessorApp, worker: ChunkWorker, stopping: asyncio.Event, *, ready: asyncio.Event
) -> None:
    async with asyncio.TaskGroup() as tasks:
        folding = tasks.create_task(worker.run(), name="fold-chunks")
        shell = tasks.create_task(_run_shell(app, ready), name="faust")
        await stopping.wait()
        log.info("processor_stopping")
        worker.stop_taking()
        _done, late = await asyncio.wait([folding], timeout=DRAIN_SECONDS_MAX)
        if late:
            log.warning("drain_cut_short", seconds_max=DRAIN_SECONDS_MAX)
            folding.cancel()
        shell.cancel()
    log.info("processor_stopped")


async def _run_shell(app: ProcessorApp, ready: asyncio.Event) -> None:
    """Run Faust until it crashes or we are cancelled; stop it in either case."""
    try:
        await app.start()
        if not app.crashed:
            ready.set()
            await app._crashed.wait()  # noqa: SLF001  # mode has no other way to await a crash
        raise app.crash_reason or RuntimeError("Faust crashed without a reason")
    except KafkaError as error:
        raise Unavailable(
            f"Kafka fails us ({type(error).__name__}). Look at the broker, or correct REKAM_KAFKA."
        ) from error
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await app.stop()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
