"""The newest receipt of each producer, in memory: keys for early admission, receipts to hand out.

The gateway reads the whole compacted topic at its start and follows it; a relay fills the same
cache from what its upstream hands out.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from rekam.domain.errors import Misconfigured
from rekam.domain.ids import KeyId, ProducerId
from rekam.domain.keys import VerifyKey
from rekam.domain.receipt import Receipt, ReceiptRejected, open_receipt
from rekam.domain.segment import Header
from rekam.domain.topics import RECEIPTS
from rekam.runtime.kafka import OPEN_NETWORK, consumer_options
from rekam.runtime.settings import KafkaSecurity

POLL_MS: Final = 500
POLL_RECORDS_MAX: Final = 500
AGAIN_SECONDS: Final = 2.0
START_SECONDS_MAX: Final = 15.0
STOP_SECONDS_MAX: Final = 2.0

_NO_KEYS: Final[Mapping[KeyId, VerifyKey]] = {}

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """A receipt that a trusted key has signed, as it came and as it reads."""

    raw: bytes
    receipt: Receipt
    keys: Mapping[KeyId, VerifyKey]


class ReceiptCache:
    """Receipts by producer. Holds nothing that no trusted key has signed."""

    def __init__(self, trusted: Mapping[KeyId, VerifyKey]) -> None:
        self._trusted = trusted
        self._known: dict[ProducerId, Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, raw: bytes) -> Known:
        """Remember a receipt unless a newer one of its producer is known; return the newer one.

        Raises ReceiptRejected; then nothing has changed.
        """
        receipt = open_receipt(raw, self._trusted)
        producer = ProducerId(receipt.producer)
        before = self._known.get(producer)
        if before is not None and before.receipt.as_of_ms > receipt.as_of_ms:
            return before
        keys = {}
        for text in receipt.keys:
            try:
                key = VerifyKey.from_text(text)
            except Misconfigured as error:
                raise ReceiptRejected("receipt_invalid", "one of its keys is none") from error
            keys[key.id] = key
        known = self._known[producer] = Known(raw, receipt, keys)
        return known

    def forget(self, producer: ProducerId) -> None:
        """Forget a producer's receipt."""
        self._known.pop(producer, None)

    def of(self, producer: ProducerId) -> Known | None:
        """Return the newest receipt of a producer, if there is any."""
        return self._known.get(producer)

    def keys_of(self, producer: ProducerId) -> Mapping[KeyId, VerifyKey]:
        """Return the signing keys that the registry gives a producer, as far as is known here."""
        known = self._known.get(producer)
        return _NO_KEYS if known is None else known.keys

    def is_in_the_log(self, header: Header, segment_hash: str) -> bool:
        """Tell whether a receipt says of exactly this segment that the log holds it.

        False says nothing: a receipt names the last hash of a run, not those before it.
        """
        known = self._known.get(ProducerId(header.producer))
        epoch = None if known is None else known.receipt.of_epoch(header.epoch)
        return epoch is not None and any(
            run.last == header.last and run.first <= header.first and run.head == segment_hash
            for run in epoch.runs
        )


class ReceiptFollower:
    """Keeps a cache equal to the compacted topic. `is_complete` once it was read to its end."""

    def __init__(
        self,
        cache: ReceiptCache,
        bootstrap: str,
        security: KafkaSecurity = OPEN_NETWORK,
        *,
        topic: str = RECEIPTS.name,
    ) -> None:
        self._cache, self._bootstrap, self._security = cache, bootstrap, security
        self._topic = topic
        self.is_complete = False
        """Stays true while Kafka is away: what was read is old, not wrong."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Read and follow until `stopping` is set, beginning anew after whatever Kafka does."""
        while not stopping.is_set():
            try:
                await self._follow(stopping)
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning(
                    "receipts_not_read",
                    error=type(error).__name__,
                    receipts=len(self._cache),
                    again_ms=round(AGAIN_SECONDS * 1000),
                )
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_SECONDS):
                        await stopping.wait()

    async def _follow(self, stopping: asyncio.Event) -> None:
        consumer: Any = AIOKafkaConsumer(
            group_id=None, **consumer_options(self._bootstrap, self._security)
        )
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await consumer.start()
                partitions = [
                    TopicPartition(self._topic, number) for number in range(RECEIPTS.partitions)
                ]
                consumer.assign(partitions)
                ends = await consumer.end_offsets(partitions)
                await consumer.seek_to_beginning(*partitions)
            while not stopping.is_set():
                if not self.is_complete and await _has_reached(consumer, ends):
                    self.is_complete = True
                    log.info("receipts_read", receipts=len(self._cache))
                found = await consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS_MAX)
                for records in found.values():
                    for record in records:
                        self._take(record.key, record.value)
        finally:
            await _stop(consumer)

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        if value is None:
            self._cache.forget(ProducerId((key or b"").decode("ascii", "replace")))
            return
        try:
            known = self._cache.learn(value)
        except ReceiptRejected as error:
            # The key is a producer id if we wrote it; anybody else's may be anything.
            log.warning("receipt_rejected", reason=error.reason)
            return
        if known.receipt.producer.encode("ascii") != key:
            log.warning("receipt_misfiled", producer=known.receipt.producer)


async def _has_reached(consumer: Any, ends: Mapping[TopicPartition, int]) -> bool:
    for partition, end in ends.items():
        if await consumer.position(partition) < end:
            return False
    return True


async def _stop(consumer: Any) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await consumer.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        # Its sockets close with it, and it owns nothing else.
        log.warning("kafka_client_not_closed", error=type(error).__name__)
