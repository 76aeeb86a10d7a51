"""The direct route: an idempotent Kafka producer, acknowledged by all replicas.

One aiokafka client serves any number of producers and keeps each one's order: it has one batch in
flight per partition. After any failure the client is thrown away and the next send connects anew,
because an idempotent aiokafka client never gives a batch up by itself and never asks for the
cluster's address again. What it had in flight may then be in the log twice, byte for byte.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from producers.device.route import Acked
from rekam.domain.errors import Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.topics import SEGMENTS
from rekam.runtime.kafka import OPEN_NETWORK, producer_options
from rekam.runtime.settings import KafkaSecurity

SEND_SECONDS_MAX: Final = 20.0
CLOSE_SECONDS_MAX: Final = 2.0
_LOG_APPEND_TIME: Final = 1

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class KafkaRoute:
    """Sends segments to the log; an async context manager that connects at the first send."""

    label = "kafka"

    def __init__(
        self,
        bootstrap: str,
        security: KafkaSecurity = OPEN_NETWORK,
        *,
        topic: str = SEGMENTS.name,
        send_seconds_max: float = SEND_SECONDS_MAX,
    ) -> None:
        """Name the cluster; nothing is opened yet."""
        self._bootstrap = bootstrap
        self._security = security
        self._topic = topic
        self._send_seconds_max = send_seconds_max
        self._client: Any = None
        self._connecting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect now instead of at the first send. Raises Unavailable when Kafka is away."""
        try:
            async with asyncio.timeout(self._send_seconds_max):
                await self._connected()
        except (KafkaError, OSError, TimeoutError) as error:
            raise self._unavailable(error) from error

    async def stop(self) -> None:
        """Close the connection; safe before start and twice."""
        client, self._client = self._client, None
        if client is not None:
            await _discard(client)

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> list[Acked]:
        """Return when all replicas have all segments, in this order, with their positions.

        Raises Unavailable within `send_seconds_max` when Kafka is away, and then some of the
        segments may be in the log all the same: send the same bytes again.
        """
        client = None
        futures: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(self._send_seconds_max):
                client = await self._connected()
                for raw in segments:
                    futures.append(  # noqa: PERF401 - those of a failed call must be known
                        await client.send(self._topic, value=raw, key=producer.encode("ascii"))
                    )
                return [_acked(found) for found in await asyncio.gather(*futures)]
        except (KafkaError, OSError, TimeoutError) as error:
            if client is not None:
                await self._give_up(client)
            raise self._unavailable(error) from error
        finally:
            for future in futures:
                # Nobody else asks for them; an unread exception would be reported at exit.
                if not future.cancel() and not future.cancelled():
                    future.exception()

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._client is None:
                client = AIOKafkaProducer(**producer_options(self._bootstrap, self._security))
                try:
                    await client.start()
                except BaseException:
                    await _discard(client)
                    raise
                self._client = client
            return self._client

    async def _give_up(self, client: Any) -> None:
        # Another send that shared the client may have done it already.
        if self._client is client:
            self._client = None
            await _discard(client)

    def _unavailable(self, error: Exception) -> Unavailable:
        if isinstance(error, UnknownTopicOrPartitionError):
            return Unavailable(
                f"Kafka at {self._bootstrap} has no topic {self._topic}. "
                "Run there: rekam topics apply"
            )
        return Unavailable(
            f"Kafka at {self._bootstrap} did not take the segments ({type(error).__name__}). They "
            "stay in the outbox; see that Kafka runs and can be reached"
        )


def _acked(found: Any) -> Acked:
    return Acked(
        partition=found.partition,
        offset=found.offset,
        append_ms=found.timestamp if found.timestamp_type == _LOG_APPEND_TIME else None,
    )


async def _discard(client: Any) -> None:
    """Close a client within a bounded time, whether its broker answers or not.

    aiokafka 0.14 has no such call: `AIOKafkaProducer.stop` waits until everything is delivered.
    So its sender is ended first and what it held is failed; then `stop` has nothing to wait for.
    tests/fault/test_device_kafka_route.py holds this against brokers that hang or are gone.
    """
    sender = client._sender.sender_task  # noqa: SLF001 - see above
    if sender is not None:
        for _ in range(2):
            # The first cancellation waits for requests in flight, the second one does not.
            sender.cancel()
            await asyncio.wait({sender}, timeout=CLOSE_SECONDS_MAX / 2)
            if sender.done():
                break
        held = client._message_accumulator  # noqa: SLF001 - see above
        queued = [batch for batches in held._batches.values() for batch in batches]  # noqa: SLF001 - see above
        # A batch that waits to be retried left this set; its own callback wants to remove it there.
        held._pending_batches.update(queued)  # noqa: SLF001 - see above
        held.fail_all(KafkaError("given up"))
        for batch in queued:
            # Who waits for room in it is gone; an unread exception would be reported later.
            waiter = batch._drain_waiter  # noqa: SLF001 - see above
            if waiter.done() and not waiter.cancelled():
                waiter.exception()
    try:
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            await client.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        # Its sockets close with it; nothing that it held was acknowledged.
        log.warning("kafka_client_not_closed", error=type(error).__name__)
