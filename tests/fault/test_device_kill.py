"""A device killed at any step loses nothing that it acknowledged, and sends the same bytes."""

import asyncio
import random
import sys
from pathlib import Path

import pytest

from producers.device.clock import DeviceClock
from producers.device.emitter import drain
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from rekam.embedded.kafka import EmbeddedKafka
from tests.support.broker import Topics
from tests.support.device import STEPS, new_home
from tests.support.device_log import chained, in_the_log
from tests.support.history import REGISTRAR, REGISTRAR_KEY, Life
from tests.support.processor import Projections, produce

KILLS = 40


async def live_and_die(
    folder: Path, bootstrap: str, topic: str, *, step: str, promises_max: int
) -> list[int]:
    """Run a device until it kills itself at the step, or we kill it; return what it promised."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.device",
        str(folder),
        bootstrap,
        topic,
        step,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    promised: list[int] = []
    while line := await process.stdout.readline():
        if line.strip().isdigit():
            promised.append(int(line))
        if step == "at_random" and len(promised) >= promises_max:
            process.kill()
            break
    promised += [int(line) for line in (await process.stdout.read()).split() if line.isdigit()]
    assert await process.wait() == -9
    return promised


@pytest.mark.parametrize("step", STEPS)
async def test_what_was_promised_is_in_the_log_after_kills(
    kafka: EmbeddedKafka, topics: Topics, database: str, tmp_path: Path, step: str
) -> None:
    topic = await topics.make(partitions=1)
    with new_home(tmp_path) as home:
        registrar = Life(REGISTRAR, REGISTRAR_KEY)
        enrolment = Life(home.producer, home.signing_key).enrolment()
    await produce(kafka.bootstrap, topic, [(0, registrar.seal(registrar.event(enrolment)))])
    promised: list[int] = []
    choose = random.Random(step)
    for _ in range(KILLS // len(STEPS)):
        promised += await live_and_die(
            tmp_path,
            kafka.bootstrap,
            topic.name,
            step=step,
            promises_max=choose.randrange(1, 200),
        )
    assert promised == sorted(set(promised))
    route = KafkaRoute(kafka.bootstrap, topic=topic.name)
    with ProducerHome.open(tmp_path) as home:
        before = home.outbox.next_seq - 1
        await drain(home, route, clock=DeviceClock())
        await route.stop()
        raws = (await in_the_log(kafka.bootstrap, topic))[1:]
        found = chained(raws, home)
        assert home.outbox.status().unsent_events == 0
        assert len(found) == home.outbox.next_seq - 1
    assert before >= max(promised, default=0)
    async with Projections.of(database, kafka.bootstrap, topic) as projections:
        async with projections.processor(tmp_path / "faust"):
            await projections.until_folded(1 + len(raws))
        assert (await projections.audit()).differences == ()
        counted = await projections.pool.fetchval(
            "SELECT sum(last - first + 1) FROM ledger_segment WHERE producer = 'dev-1'"
        )
        assert (counted or 0) == len(found)
