"""Fold chunks one after the other; open the next one while the database works. Knows no Faust.

    take(N+1) ── open in a thread ──┐
                                    ├─► fold(N+1) ─► acknowledge(N+1)
    fold(N) awaits the database ────┘

At most CHUNKS_IN_MEMORY chunks are held, so a database that is away stops the reading and costs no
memory. A chunk is acknowledged only after its fold has committed, in order of taking.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

import asyncpg
import structlog

from rekam.domain.errors import Corrupt, Overloaded, RekamError, Unavailable
from rekam.domain.log import Chunk

CHUNKS_IN_MEMORY: Final = 2
RETRY_SECONDS_MIN: Final = 0.1
RETRY_SECONDS_MAX: Final = 5.0
SEEKS_AGAIN_MAX: Final = 3

Prepared = TypeVar("Prepared")
Answer = TypeVar("Answer")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_TRANSIENT: Final[tuple[type[BaseException], ...]] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,  # the server ended the session between two statements
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.OperatorInterventionError,  # shutting down, starting up, statement timeout
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.ObjectNotInPrerequisiteStateError,  # lock timeout
    asyncpg.ReadOnlySQLTransactionError,  # the primary has moved
    Unavailable,
    Overloaded,
)


class PositionMoved(RekamError):  # noqa: N818 - named like its siblings in domain/errors.py
    """The stored position lies before the chunk: the partition must be read again from there."""

    code = "position_moved"
    retriable = True


class ChunkFolder(Protocol[Prepared]):
    """Folds chunks into the projections.

    The three promises that the worker builds on: `prepare` is pure and may run in another thread
    while `fold` runs for the chunk before, and again for the same chunk; `fold` is one transaction
    together with the position, so that repeating a chunk, wholly or in part, changes nothing; when
    `fold` raises, nothing of the chunk has been applied, or all of it.
    """

    def prepare(self, chunk: Chunk) -> Prepared:
        """Do the work that needs no database: verify, decrypt, decode."""
        ...

    async def fold(self, chunk: Chunk, prepared: Prepared) -> None:
        """Apply a chunk and move the position past it; what lies behind the position is skipped.

        Raises Unavailable (or an error of the database's driver) to be called again with the same
        chunk, PositionMoved to have the partition read again from its position; any other error
        ends the process.
        """
        ...

    async def positions(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """Return the next offset of each partition that has one. May run beside `fold`."""
        ...

    async def close(self) -> None:
        """Give up the database."""
        ...


class Delivery(Protocol):
    """One chunk and where it came from."""

    @property
    def chunk(self) -> Chunk:
        """Return the chunk."""
        ...

    def is_current(self) -> bool:
        """Return whether the chunk still continues what is to be folded of its partition here."""
        ...

    def acknowledge(self) -> None:
        """Say that the chunk's fold has committed."""
        ...

    async def seek_again(self) -> None:
        """Have the partition read again from its stored position."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Where the counts go. Called in the event loop or the client's thread; must not block."""

    folded: Callable[[Chunk, float], None] = field(default=lambda _chunk, _seconds: None)
    retried: Callable[[Chunk], None] = field(default=lambda _chunk: None)
    log_end: Callable[[int, int], None] = field(default=lambda _partition, _next_offset: None)
    alarmed: Callable[[str], None] = field(default=lambda _code: None)


NO_HOOKS: Final = Hooks()


def is_transient(error: BaseException) -> bool:
    """Return whether the same call may succeed later without anybody changing the input."""
    if type(error) is asyncpg.InterfaceError:
        # asyncpg's word for a connection that broke under a transaction, and for our own misuse.
        return "closed" in str(error)
    return isinstance(error, _TRANSIENT)


@contextmanager
def transient_as_unavailable() -> Iterator[None]:
    """Raise what is transient as Unavailable, for commands: they end, and may be repeated."""
    try:
        yield
    except RekamError:
        raise
    except Exception as error:
        if not is_transient(error):
            raise
        raise Unavailable(
            f"PostgreSQL went away in the middle ({type(error).__name__}). What has committed "
            "stands, the rest was not done; it may be repeated when PostgreSQL answers."
        ) from error


@dataclass(frozen=True, slots=True)
class _Taken:
    delivery: Delivery
    preparing: "asyncio.Future[object]"


class ChunkWorker:
    """Takes deliveries, opens them ahead, folds them in order. `run` is its one task."""

    def __init__(
        self,
        folder: ChunkFolder[Prepared],
        *,
        hooks: Hooks = NO_HOOKS,
        jitter: random.Random | None = None,
    ) -> None:
        self._prepare: Callable[[Chunk], object] = folder.prepare
        self._fold: Callable[[Chunk, Prepared], Awaitable[None]] = folder.fold
        self._hooks = hooks
        self._jitter = jitter or random.Random()  # noqa: S311  # spreads retries, hides nothing
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="prepare-chunk")
        self._room = asyncio.Semaphore(CHUNKS_IN_MEMORY)
        self._taken: deque[_Taken] = deque()
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._seeks_again: dict[int, int] = {}

    async def take(self, delivery: Delivery) -> None:
        """Accept a chunk when there is room for it. One caller at a time.

        Never returns once `stop_taking` was called: the chunk stays with the log.
        """
        await self._room.acquire()
        if self._stopping.is_set():
            await asyncio.Event().wait()
        loop = asyncio.get_running_loop()
        preparing = loop.run_in_executor(self._executor, self._prepare, delivery.chunk)
        self._taken.append(_Taken(delivery, preparing))
        self._changed.set()

    def stop_taking(self) -> None:
        """Make `run` return when all that was taken is folded, or cannot be folded now."""
        self._stopping.set()
        self._changed.set()

    async def run(self) -> None:
        """Fold what is taken until `stop_taking`; raise the first error that is not transient."""
        while True:
            while not self._taken:
                if self._stopping.is_set():
                    return
                self._changed.clear()
                await self._changed.wait()
            taken = self._taken.popleft()
            if not await self._finish(taken.delivery, taken.preparing):
                return
            self._room.release()

    def close(self) -> None:
        """Drop what was taken and not folded, and end the thread. Safe twice."""
        while self._taken:
            self._taken.popleft().preparing.cancel()
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def _finish(self, delivery: Delivery, preparing: "asyncio.Future[object]") -> bool:
        """Fold and acknowledge one chunk; return False when we stop without having done so."""
        chunk = delivery.chunk
        try:
            prepared = await preparing
        except asyncio.CancelledError:
            preparing.cancel()
            raise
        started = time.monotonic()

        async def fold() -> bool:
            # Asked before each attempt: the partition may go to another worker meanwhile.
            if not delivery.is_current():
                log.info("chunk_dropped", partition=chunk.partition, first=chunk.first_offset)
                return False
            await self._fold(chunk, prepared)  # type: ignore[arg-type]  # what the same folder prepared
            return True

        try:
            applied = await until_available(
                fold,
                stopping=self._stopping,
                jitter=self._jitter,
                retried=lambda: self._hooks.retried(chunk),
            )
        except PositionMoved as error:
            await self._seek_again(delivery, error)
            return True
        except GivenUp:
            return False
        if applied:
            delivery.acknowledge()
            self._seeks_again.pop(chunk.partition, None)
            elapsed = time.monotonic() - started
            self._hooks.folded(chunk, elapsed)
            log.info(
                "chunk_folded",
                partition=chunk.partition,
                next_offset=chunk.next_offset,
                records=len(chunk.records),
                elapsed_ms=round(elapsed * 1000),
            )
        return True

    async def _seek_again(self, delivery: Delivery, error: PositionMoved) -> None:
        partition = delivery.chunk.partition
        times = self._seeks_again[partition] = self._seeks_again.get(partition, 0) + 1
        if times > SEEKS_AGAIN_MAX:
            raise Corrupt(
                f"partition {partition} does not continue its stored position after {times - 1} "
                f"new readings: {error}. Stop other writers of the positions and start again."
            ) from error
        log.warning("position_moved", partition=partition, first=delivery.chunk.first_offset)
        await delivery.seek_again()


class GivenUp(Exception):  # noqa: N818 - a stop, not an error
    """We stop while what is needed is away."""


async def until_available(
    call: Callable[[], Awaitable[Answer]],
    *,
    stopping: asyncio.Event,
    jitter: random.Random,
    retried: Callable[[], None] = lambda: None,
) -> Answer:
    """Repeat `call` while it fails transiently, at most RETRY_SECONDS_MAX apart.

    Raises GivenUp from the last failure once `stopping` is set; other errors pass.
    """
    seconds = RETRY_SECONDS_MIN
    while True:
        try:
            return await call()
        except PositionMoved:
            raise
        except Exception as error:
            if not is_transient(error):
                raise
            if stopping.is_set():
                raise GivenUp from error
            # The type alone: a driver's message may quote values.
            log.warning("fold_postponed", error=type(error).__name__, retry_seconds=seconds)
            retried()
        try:
            async with asyncio.timeout(seconds * jitter.uniform(0.5, 1.0)):
                await stopping.wait()
        except TimeoutError:
            pass
        seconds = min(seconds * 2, RETRY_SECONDS_MAX)
