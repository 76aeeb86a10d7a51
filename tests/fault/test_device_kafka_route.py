"""The direct route against a broker that hangs, is killed, and comes back."""

import asyncio
import logging
import os
import signal
import time

import pytest

from producers.device.kafka_route import CLOSE_SECONDS_MAX, KafkaRoute
from rekam.domain.errors import Unavailable
from rekam.domain.ids import ProducerId
from rekam.embedded.kafka import EmbeddedKafka
from tests.support.broker import Topics
from tests.support.device_log import in_the_log

PRODUCER = ProducerId("dev-1")
SEND_SECONDS_MAX = 3.0
BOUND_SECONDS = SEND_SECONDS_MAX + 2 * CLOSE_SECONDS_MAX + 2.0


async def test_a_broker_that_hangs_or_is_gone_costs_a_bounded_time_and_is_found_again(
    breakable_kafka: EmbeddedKafka, caplog: pytest.LogCaptureFixture
) -> None:
    topic = await Topics(breakable_kafka.bootstrap).make(partitions=1)
    before = asyncio.all_tasks()
    async with KafkaRoute(
        breakable_kafka.bootstrap, topic=topic.name, send_seconds_max=SEND_SECONDS_MAX
    ) as route:
        first, second = (await route.send([b"a", b"b"], producer=PRODUCER)).verdicts
        assert (first.verdict, second.verdict) == ("logged", "logged")
        assert first.append_ms is not None

        assert breakable_kafka.pid is not None
        os.kill(breakable_kafka.pid, signal.SIGSTOP)
        try:
            await _fails_in_time(route)
        finally:
            os.kill(breakable_kafka.pid, signal.SIGCONT)
        await route.send([b"c"], producer=PRODUCER)

        await breakable_kafka.kill()
        await _fails_in_time(route)
        await _fails_in_time(route)
        await breakable_kafka.start()
        (found,) = (await route.send([b"d"], producer=PRODUCER)).verdicts
        assert found.verdict == "logged"
    held = await in_the_log(breakable_kafka.bootstrap, topic)
    # What failed may be there too; nothing is out of order.
    assert held[:3] == [b"a", b"b", b"c"]
    assert set(held[3:-1]) <= {b"c"}
    assert held[-1] == b"d"
    assert asyncio.all_tasks() <= before
    unread = [one for one in caplog.records if one.name == "asyncio" and one.levelno > logging.INFO]
    assert unread == []


async def _fails_in_time(route: KafkaRoute) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await route.send([b"c"], producer=PRODUCER)
    assert time.monotonic() - began < BOUND_SECONDS


async def test_a_missing_topic_is_named_with_its_remedy(breakable_kafka: EmbeddedKafka) -> None:
    async with KafkaRoute(breakable_kafka.bootstrap, topic="rekam.missing.v1") as route:
        with pytest.raises(Unavailable, match="rekam topics apply"):
            await route.send([b"a"], producer=PRODUCER)
