"""A publisher of receipts for tests, and what stands in its topic.

`python -m tests.support.receipts` is a publisher that stands still at one of its steps.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from aiokafka import AIOKafkaConsumer, TopicPartition

from projections.ledger.receipts import Registrar
from rekam.domain.ids import KeyId
from rekam.domain.keys import SigningKey, VerifyKey
from rekam.domain.receipt import Receipt, open_receipt
from rekam.domain.topics import RECEIPTS, Topic
from rekam.runtime.kafka import consumer_options
from stream_processors.receipts import PublisherHooks, ReceiptPublisher, publishing
from tests.support.history import REGISTRAR, REGISTRAR_KEY
from tests.support.waiting import until

RECEIPT_KEY = SigningKey.from_seed(bytes([11]) * 32)
TRUSTED = {RECEIPT_KEY.id: RECEIPT_KEY.public}


@dataclass
class Receipts:
    """A topic of receipts as a device reads it: the last one of each producer stands."""

    bootstrap: str
    topic: Topic
    trusted: Mapping[KeyId, VerifyKey] = field(default_factory=lambda: TRUSTED)
    all: list[Receipt] = field(default_factory=list)
    """Every receipt of the topic, in its order by partition."""

    @property
    def last(self) -> dict[str, Receipt]:
        """Return the newest receipt of each producer, as far as it was read."""
        return {receipt.producer: receipt for receipt in self.all}

    async def read(self) -> dict[str, Receipt]:
        """Read the topic from its start; every receipt must verify and stand under its key."""
        partitions = [
            TopicPartition(self.topic.name, number) for number in range(self.topic.partitions)
        ]
        self.all = []
        consumer = AIOKafkaConsumer(
            **consumer_options(self.bootstrap) | {"auto_offset_reset": "earliest"}
        )
        await consumer.start()
        try:
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    for record in records:
                        receipt = open_receipt(record.value, self.trusted)
                        assert record.key == receipt.producer.encode()
                        self.all.append(receipt)
        finally:
            await consumer.stop()
        return self.last

    async def until_it_is_of(self, producer: str) -> Receipt:
        """Return the newest receipt of a producer as soon as it has any."""

        async def is_there() -> bool:
            return producer in await self.read()

        await until(is_there)
        return self.last[producer]

    async def until_last(self, producer: str, *, epoch: int, through: int) -> Receipt:
        """Return the newest receipt of a producer as soon as it reaches a seq of an epoch."""

        async def reaches() -> bool:
            found = (await self.read()).get(producer)
            of_epoch = found.of_epoch(epoch) if found else None
            return of_epoch is not None and any(run.last >= through for run in of_epoch.runs)

        await until(reaches)
        return self.last[producer]


def new_publisher(
    dsn: str, bootstrap: str, topic: Topic, *, hooks: PublisherHooks | None = None
) -> ReceiptPublisher:
    """Return a publisher that writes into this topic."""
    return ReceiptPublisher(
        dsn=dsn,
        bootstrap=bootstrap,
        key=RECEIPT_KEY,
        registrar=Registrar(REGISTRAR, REGISTRAR_KEY.public),
        topic=topic.name,
        hooks=hooks or PublisherHooks(),
    )


@asynccontextmanager
async def leading(dsn: str, bootstrap: str, topic: Topic) -> AsyncIterator[None]:
    """Publish in this process while the body runs, and give control when it leads."""
    leads = asyncio.Event()
    publisher = new_publisher(dsn, bootstrap, topic, hooks=PublisherHooks(leading=leads.set))
    async with publishing(publisher):
        await leads.wait()
        yield


async def _stop_at(step: str, dsn: str, bootstrap: str, topic: str) -> None:
    """Publish until the first batch has come to `step`; say so, and stand still to be killed."""

    async def stand_still(found: Sequence[Receipt]) -> None:
        if found:
            sys.stdout.write(f"{step}\n")
            sys.stdout.flush()
            await asyncio.Event().wait()

    hooks = PublisherHooks(**{step: stand_still})  # type: ignore[arg-type] # `computed` or `published`
    named = replace(RECEIPTS, name=topic)
    await new_publisher(dsn, bootstrap, named, hooks=hooks).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(_stop_at(*sys.argv[1:]))
