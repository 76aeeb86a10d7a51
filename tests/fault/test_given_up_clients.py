"""A Kafka client that is given up fails what it held, and nobody hears of it later."""

import asyncio
import gc
from typing import Any

from aiokafka import AIOKafkaProducer

from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import discard_producer, producer_options
from tests.support.broker import Topics


async def test_what_a_given_up_client_had_not_delivered_fails_without_a_report(
    breakable_kafka: EmbeddedKafka,
) -> None:
    """Asyncio reports an exception that nobody asks for, in the log of whatever runs then."""
    topic = await Topics(breakable_kafka.bootstrap).make(partitions=1)
    client = AIOKafkaProducer(**producer_options(breakable_kafka.bootstrap))
    await client.start()
    await client.send_and_wait(topic.name, b"arrives")
    await breakable_kafka.kill()
    held = [await client.send(topic.name, b"waits") for _ in range(3)]
    reported: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _loop, context: reported.append(context))
    try:
        await discard_producer(client)
        assert all(future.done() and not future.cancelled() for future in held)
        del held, client
        gc.collect()
    finally:
        loop.set_exception_handler(handler)
    assert reported == []
