"""The direct route: an idempotent Kafka producer, acknowledged by all replicas; and its receipts.

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
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.partitioner import DefaultPartitioner

from producers.device.known_time import CertificateTime, by_clock
from producers.device.route import (
    ALLOWED_BYTES_MAX,
    Delivery,
    SegmentVerdict,
    allowed_seconds,
)
from producers.device.server_check import ServerCheck, dates_refused
from rekam.domain.errors import Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.log import ArrivalRoute, route_headers
from rekam.domain.topics import RECEIPTS, SEGMENTS, Topic
from rekam.runtime.kafka import (
    OPEN_NETWORK,
    consumer_options,
    discard_producer,
    producer_options,
)
from rekam.runtime.settings import KafkaSecurity

SEND_SECONDS_MAX: Final = 20.0
"""How long a send may take beside the time that its bytes are given."""

METADATA_SECONDS_MAX: Final = 10.0
"""How long to look for the topic; a client remembers where it is."""

RECEIPT_SECONDS_MAX: Final = 20.0
CLOSE_SECONDS_MAX: Final = 2.0

PRODUCERS_MAX: Final = 10_000
"""Producers of one route whose receipts are remembered; a device asks for its own alone."""

_LOG_APPEND_TIME: Final = 1

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _Found:
    """How far the receipts of a producer were read, and the latest."""

    __slots__ = ("next_offset", "raw")

    def __init__(self) -> None:
        self.next_offset = 0
        self.raw: bytes | None = None


class KafkaRoute:
    """Sends segments to the log; an async context manager that connects at the first send."""

    label = "kafka"

    def __init__(
        self,
        bootstrap: str,
        security: KafkaSecurity = OPEN_NETWORK,
        *,
        topic: str = SEGMENTS.name,
        receipts: Topic = RECEIPTS,
        arrival: ArrivalRoute = "kafka",
        send_seconds_max: float = SEND_SECONDS_MAX,
        receipt_seconds_max: float = RECEIPT_SECONDS_MAX,
        certificate_time: CertificateTime = by_clock,
    ) -> None:
        """Name the cluster; nothing is opened yet.

        Certificates of brokers, where there is TLS, must be valid at `certificate_time`.
        `arrival` is what its records say of how they came: another one than kafka for who appends
        what others sealed.
        """
        self._bootstrap = bootstrap
        self._security = security
        self._topic = topic
        self._headers = route_headers(arrival)
        self._send_seconds_max = send_seconds_max
        self._certificate_time = certificate_time
        self._tls: ServerCheck | None = None
        self._client: Any = None
        self._connecting = asyncio.Lock()
        self._receipts = receipts
        self._receipt_seconds_max = receipt_seconds_max
        self._found: dict[ProducerId, _Found] = {}
        self._reading = asyncio.Lock()

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

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> Delivery:
        """Return when all replicas have all segments, in this order, with their append times.

        Raises Unavailable within `send_seconds_max` and what its bytes are given when Kafka is
        away, and then some of the segments may be in the log all the same: send the same bytes
        again.
        """
        client = None
        futures: list[asyncio.Future[Any]] = []
        seconds = allowed_seconds(self._send_seconds_max, sum(map(len, segments)))
        try:
            async with asyncio.timeout(seconds):
                client = await self._connected()
                await self._find_topic(client)
                for raw in segments:
                    futures.append(  # noqa: PERF401 - those of a failed call must be known
                        await client.send(
                            self._topic,
                            value=raw,
                            key=producer.encode("ascii"),
                            headers=self._headers,
                        )
                    )
                return Delivery(tuple(map(_logged, await asyncio.gather(*futures))))
        except (KafkaError, OSError, TimeoutError) as error:
            if client is not None:
                await self._give_up(client)
            raise self._unavailable(error) from error
        finally:
            for future in futures:
                # Nobody else asks for them; an unread exception would be reported at exit.
                if not future.cancel() and not future.cancelled():
                    future.exception()

    async def receipt(self, producer: ProducerId) -> bytes | None:
        """Return the producer's latest receipt, read from the compacted topic.

        From its beginning once and then what is new. Raises Unavailable within
        `receipt_seconds_max`; a later call goes on where this one ended.
        """
        async with self._reading:
            if producer not in self._found and len(self._found) >= PRODUCERS_MAX:
                self._found.clear()
            found = self._found.setdefault(producer, _Found())
            try:
                async with asyncio.timeout(self._receipt_seconds_max):
                    await self._read_receipts(producer.encode("ascii"), found)
            except (KafkaError, OSError, TimeoutError) as error:
                raise self._dates_refused() or Unavailable(
                    f"Kafka at {self._bootstrap} did not give the receipts "
                    f"({type(error).__name__}). They are asked for again; see that Kafka can be "
                    f"reached and has the topic {self._receipts.name}"
                ) from error
            return found.raw

    async def _read_receipts(self, key: bytes, found: _Found) -> None:
        numbers = list(range(self._receipts.partitions))
        partition = TopicPartition(self._receipts.name, DefaultPartitioner()(key, numbers, numbers))
        consumer = AIOKafkaConsumer(
            **consumer_options(self._bootstrap, self._security, tls=self._server_check())
        )
        # One of its own each time: a waiting consumer would ask for news ten times a second.
        # Assigned first: without an assignment, aiokafka 0.14 cannot stop.
        consumer.assign([partition])
        try:
            await consumer.start()
            begin = (await consumer.beginning_offsets([partition]))[partition]
            end = (await consumer.end_offsets([partition]))[partition]
            if found.next_offset > end:  # the topic was made anew
                found.next_offset = 0
            consumer.seek(partition, max(begin, found.next_offset))
            while await consumer.position(partition) < end:
                taken = await consumer.getmany(timeout_ms=1_000)
                for record in taken.get(partition, ()):
                    if record.key == key and record.value is not None:
                        found.raw = record.value
                    found.next_offset = record.offset + 1
        finally:
            await _close_consumer(consumer)

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._client is None:
                options = producer_options(
                    self._bootstrap, self._security, tls=self._server_check()
                )
                # On a slow link a request that is sent anew too early only fills it up. What
                # bounds a send is the time-out around it.
                seconds = allowed_seconds(self._send_seconds_max, ALLOWED_BYTES_MAX)
                options["request_timeout_ms"] = int(seconds * 1000)
                client = AIOKafkaProducer(**options)
                try:
                    await client.start()
                except BaseException:
                    await _discard(client)
                    raise
                self._client = client
            return self._client

    async def _find_topic(self, client: Any) -> None:
        """Raise an error that says so when the topic is not there, instead of waiting for it."""
        seconds = min(self._send_seconds_max, METADATA_SECONDS_MAX)
        try:
            async with asyncio.timeout(seconds):
                await client.partitions_for(self._topic)
        except TimeoutError as error:
            raise UnknownTopicOrPartitionError from error

    async def _give_up(self, client: Any) -> None:
        # Another send that shared the client may have done it already.
        if self._client is client:
            self._client = None
            await _discard(client)

    def _server_check(self) -> ServerCheck | None:
        """Return what checks the brokers of a new client; what was refused before is forgotten."""
        if self._tls is None and self._security.protocol.endswith("SSL"):
            self._tls = ServerCheck.by(self._security.ca, self._certificate_time)
        if self._tls is not None:
            self._tls.refused_code = None
        return self._tls

    def _dates_refused(self) -> Unavailable | None:
        """Return the error that names wrong dates; aiokafka tells no more than that it failed."""
        if self._tls is None:
            return None
        return dates_refused(f"Kafka at {self._bootstrap}", self._tls.refused_code)

    def _unavailable(self, error: Exception) -> Unavailable:
        if (wrong_dates := self._dates_refused()) is not None:
            return wrong_dates
        if isinstance(error, UnknownTopicOrPartitionError):
            return Unavailable(
                f"Kafka at {self._bootstrap} does not tell where topic {self._topic} is. If it has "
                "none, run there: rekam topics apply. If others work, the link is too slow or dead"
            )
        return Unavailable(
            f"Kafka at {self._bootstrap} did not take the segments ({type(error).__name__}). They "
            "stay in the outbox; see that Kafka runs and can be reached"
        )


def _logged(found: Any) -> SegmentVerdict:
    return SegmentVerdict(
        "logged",
        append_ms=found.timestamp if found.timestamp_type == _LOG_APPEND_TIME else None,
    )


async def _close_consumer(consumer: Any) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            await consumer.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        log.warning("kafka_client_not_closed", error=type(error).__name__)


async def _discard(client: Any) -> None:
    if not await discard_producer(client):
        # Its sockets close with it; nothing that it held was acknowledged.
        log.warning("kafka_client_not_closed")
