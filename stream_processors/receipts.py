"""Publish signed receipts for whoever is owed one, beside the fold and never in its way.

    fold ─► receipt_due (same transaction) ─► leader: read ─► sign ─► topic, acks=all ─► delete mark

The mark carries a generation: it goes only when nothing has changed since it was read, so a crash
anywhere repeats a publication and loses none. One process at a time publishes; it is the leader as
long as the connection lives on which it holds an advisory lock, and it removes marks on that
connection alone. A leader whose connection broke while a receipt was on its way to Kafka cannot
know what its successor has published meanwhile: it owes those producers again, so that the newest
word is the last one in the topic.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from projections.ledger.receipts import QUERIES, Registrar, receipts_of
from projections.store import QUERIES as STORE_QUERIES
from rekam.domain.keys import SigningKey
from rekam.domain.receipt import Receipt, sign_receipt
from rekam.domain.topics import RECEIPTS
from rekam.runtime.kafka import OPEN_NETWORK, discard_producer, producer_options
from rekam.runtime.postgres import connect
from rekam.runtime.settings import KafkaSecurity
from stream_processors.worker import is_transient

LEADER_LOCK: Final = 0x5245434549505453
"""The advisory lock of the one publisher of a database: "RECEIPTS" in ASCII."""

ROUND_SECONDS_MIN: Final = 1.0
"""A producer gets at most one receipt a round, and rounds begin no closer together than this."""
LOOK_SECONDS: Final = 0.25
"""How soon a mark is seen after a round that had nothing to do."""
PRODUCERS_A_BATCH_MAX: Final = 100
BATCH_SHARE_MAX: Final = 0.25
"""At most this part of the time goes into receipts: the fold shares the processor's core."""
PUBLISH_SECONDS_MAX: Final = 10.0
FOLLOWER_SECONDS: Final = 2.0
RETRY_SECONDS_MIN: Final = 0.25
RETRY_SECONDS_MAX: Final = 5.0
STOP_SECONDS_MAX: Final = 10.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def _go_on(_receipts: Sequence[Receipt]) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherHooks:
    """Test signals: the publisher waits for each at its place."""

    leading: Callable[[], None] = field(default=lambda: None)
    computed: Callable[[Sequence[Receipt]], Awaitable[None]] = _go_on
    """Nothing is sent yet."""
    published: Callable[[Sequence[Receipt]], Awaitable[None]] = _go_on
    """All replicas have them; their marks are still there."""


NO_PUBLISHER_HOOKS: Final = PublisherHooks()


@dataclass(slots=True, kw_only=True)
class ReceiptPublisher:
    """One process's candidate for the publisher's post. `run` is its one task."""

    dsn: str
    bootstrap: str
    key: SigningKey
    registrar: Registrar
    security: KafkaSecurity = OPEN_NETWORK
    topic: str = RECEIPTS.name
    hooks: PublisherHooks = NO_PUBLISHER_HOOKS
    _retry_seconds: float = field(default=RETRY_SECONDS_MIN, init=False)
    _unsure: set[str] = field(default_factory=set, init=False)
    """Whose receipt was sent in a term that broke before the mark was removed."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish until `stopping`; outlive whatever Kafka and PostgreSQL do meanwhile.

        An unknown error is logged and tried again too: receipts come late then, but folding,
        which nothing else can do, goes on.
        """
        jitter = random.Random()  # noqa: S311 - spreads retries, hides nothing
        while not stopping.is_set():
            try:
                await self._serve_term(stopping)
            except Exception as error:
                seconds = self._retry_seconds
                if is_transient(error) or isinstance(error, KafkaError):
                    # The type alone: a driver's message may quote values.
                    log.warning(
                        "receipts_postponed", error=type(error).__name__, retry_seconds=seconds
                    )
                else:
                    log.exception("receipts_failed", retry_seconds=seconds)
                await _pause(stopping, seconds * jitter.uniform(0.5, 1.0))
                self._retry_seconds = min(seconds * 2, RETRY_SECONDS_MAX)

    async def _serve_term(self, stopping: asyncio.Event) -> None:
        """Wait for the post, then publish until `stopping` or the first failure."""
        async with AsyncExitStack() as stack:
            connection = await connect(self.dsn)
            stack.push_async_callback(_close, connection)
            await self._owe_again(connection)
            await connection.execute(QUERIES["notice_loss"])
            while not await connection.fetchval(QUERIES["try_lead"], LEADER_LOCK):
                if await _pause(stopping, FOLLOWER_SECONDS):
                    return
            client = AIOKafkaProducer(**producer_options(self.bootstrap, self.security))
            stack.push_async_callback(discard_producer, client)
            async with asyncio.timeout(PUBLISH_SECONDS_MAX):
                await client.start()
            # What the topic may lack heals by itself: it was made anew, a broker lost power, the
            # key is another one, or an older version of this program folded without marks.
            await connection.execute(QUERIES["mark_all_due"])
            self._retry_seconds = RETRY_SECONDS_MIN
            log.info("receipts_led", key=self.key.id)
            self.hooks.leading()
            while not stopping.is_set():
                began = time.monotonic()
                published = await self._publish_round(connection, client, stopping)
                rest = ROUND_SECONDS_MIN - (time.monotonic() - began)
                await _pause(stopping, max(rest, 0.0) if published else LOOK_SECONDS)

    async def _publish_round(
        self, connection: Any, client: AIOKafkaProducer, stopping: asyncio.Event
    ) -> int:
        """Publish once for everybody who is owed a receipt now; return for how many."""
        after, published = "", 0
        while not stopping.is_set():
            began = time.monotonic()
            due = await connection.fetch(QUERIES["list_due"], after, PRODUCERS_A_BATCH_MAX)
            if not due:
                break
            producers = [row["producer"] for row in due]
            receipts = await receipts_of(connection, producers, registrar=self.registrar)
            await self.hooks.computed(receipts)
            self._unsure |= {receipt.producer for receipt in receipts}
            await self._send(client, receipts)
            await self.hooks.published(receipts)
            generations = [row["generation"] for row in due]
            await connection.execute(QUERIES["delete_due"], producers, generations)
            self._unsure.clear()
            after, published = producers[-1], published + len(receipts)
            elapsed = time.monotonic() - began
            log.info("receipts_published", receipts=len(receipts), elapsed_ms=round(elapsed * 1000))
            await _pause(stopping, elapsed * (1 / BATCH_SHARE_MAX - 1))
        return published

    async def _send(self, client: AIOKafkaProducer, receipts: Collection[Receipt]) -> None:
        """Return when all replicas have them."""
        sent: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(PUBLISH_SECONDS_MAX):
                for receipt in receipts:
                    raw = sign_receipt(receipt, self.key)
                    sent.append(
                        await client.send(self.topic, raw, key=receipt.producer.encode("ascii"))
                    )
                await asyncio.gather(*sent)
        finally:
            for future in sent:
                # Nobody else asks for them; an unread exception would be reported at exit.
                if not future.cancel() and not future.cancelled():
                    future.exception()

    async def _owe_again(self, connection: Any) -> None:
        if self._unsure:
            await connection.execute(STORE_QUERIES["mark_receipts_due"], sorted(self._unsure))
            self._unsure.clear()


@asynccontextmanager
async def publishing(publisher: ReceiptPublisher) -> AsyncIterator[None]:
    """Publish while the body runs; the batch in work is finished before this returns.

    Never fails and never ends the body. Gives up what lasts longer than STOP_SECONDS_MAX: it is
    published by the next start.
    """
    stopping = asyncio.Event()
    task = asyncio.create_task(publisher.run(stopping), name="publish-receipts")
    try:
        yield
    finally:
        stopping.set()
        _done, late = await asyncio.wait([task], timeout=STOP_SECONDS_MAX)
        if late:
            log.warning("receipts_cut_short", seconds_max=STOP_SECONDS_MAX)
            task.cancel()
            await asyncio.wait([task])


async def _pause(stopping: asyncio.Event, seconds: float) -> bool:
    """Wait, but no longer than until `stopping`; return whether it is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
    return stopping.is_set()


async def _close(connection: Any) -> None:
    """Give the connection back within a bounded time; the lock goes with it."""
    try:
        await connection.close(timeout=STOP_SECONDS_MAX / 2)
    except (
        OSError,
        TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as error:
        log.warning("receipts_connection_not_closed", error=type(error).__name__)
        connection.terminate()
