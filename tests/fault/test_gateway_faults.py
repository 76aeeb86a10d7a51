"""What a gateway says while Kafka or the gateway itself fails: never more than is true."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from producers.gateway.intake import MEDIA_TYPE
from producers.gateway.log import LogTopics
from producers.gateway.serving import Limits
from rekam.domain.segment import parse
from rekam.domain.topics import ALL, SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import apply_topics
from rekam.runtime.keyring import make_missing_keys
from rekam.runtime.settings import Settings
from tests.support.broker import Topics
from tests.support.gateway import (
    Gateway,
    framed,
    gateway_on,
    life,
    make_topics,
    publish_receipts,
    receipt_of,
    records_of,
    sealed,
)
from tests.support.machine import free_port
from tests.support.proxied_broker import ProxiedKafka, proxied_kafka
from tests.support.waiting import until

APPEND_SECONDS_MAX = 2.0
KILLS = 8
CALLERS = 40
ROOM_BYTES = 200_000
"""Memory of a gateway for a quarter of what so many callers send at once."""
SLOW, TOO_SLOW = 100_000, 5_000
"""Bytes a second: a call has its time for all of the room, or not even for one segment."""


async def until_ready(gateway: Gateway, *, status: int = 200) -> None:
    async def is_so() -> bool:
        return (await gateway.http.get("/readyz")).status_code == status

    await until(is_so)


async def is_refused_for_now(gateway: Gateway, raw: bytes, *, seconds_max: float) -> None:
    began = time.monotonic()
    response = await gateway.post(framed([raw]))
    assert time.monotonic() - began < seconds_max
    assert response.status_code == 503, response.text
    assert response.json()["code"] == "log_unavailable"
    assert int(response.headers["retry-after"]) >= 1


@pytest.fixture
async def log_topics(breakable_kafka: EmbeddedKafka) -> LogTopics:
    """Give topics on the broker that breaks."""
    return await make_topics(Topics(breakable_kafka.bootstrap))


async def test_a_broker_that_hangs_or_is_gone_is_told_in_time_and_found_again(
    breakable_kafka: EmbeddedKafka, log_topics: LogTopics, caplog: pytest.LogCaptureFixture
) -> None:
    bootstrap = breakable_kafka.bootstrap
    raws = sealed(life(), 6)
    await publish_receipts(bootstrap, log_topics, receipt_of(life()))
    async with gateway_on(bootstrap, log_topics, append_seconds_max=APPEND_SECONDS_MAX) as gateway:
        await gateway.until_ready()
        assert await gateway.verdicts(raws[0]) == ["accepted"]

        assert breakable_kafka.pid is not None
        os.kill(breakable_kafka.pid, signal.SIGSTOP)
        try:
            await is_refused_for_now(gateway, raws[1], seconds_max=APPEND_SECONDS_MAX + 1)
            # Nobody waits for what is known to be away.
            await is_refused_for_now(gateway, raws[1], seconds_max=1)
            await until_ready(gateway, status=503)
            # Receipts are handed out all the same.
            cursor = await gateway.http.get("/v1/producers/recorder-1/cursor")
            assert cursor.json()["receipt"] is not None
        finally:
            os.kill(breakable_kafka.pid, signal.SIGCONT)
        await until_ready(gateway)
        assert await gateway.verdicts(raws[1]) in (["accepted"], ["duplicate"])

        await breakable_kafka.kill()
        await is_refused_for_now(gateway, raws[2], seconds_max=APPEND_SECONDS_MAX + 1)
        await is_refused_for_now(gateway, raws[2], seconds_max=1)
        await breakable_kafka.start()
        await until_ready(gateway)
        assert await gateway.verdicts(*raws[2:]) == ["accepted"] * 4

        # Receipts are followed again too.
        late = life("late", seed=4)
        await publish_receipts(bootstrap, log_topics, receipt_of(late))

        async def is_known() -> bool:
            return await gateway.verdicts(*sealed(late)) == ["accepted"]

        await until(is_known)
        found = [one.value for one in await records_of(bootstrap, log_topics.segments)]
    mine = [raw for raw in found if parse(raw).header.producer == "recorder-1"]
    assert list(dict.fromkeys(mine)) == raws
    unread = [one for one in caplog.records if one.name == "asyncio" and one.levelno >= 30]
    assert unread == []


async def test_everything_that_was_accepted_while_the_broker_died_is_in_the_log(
    breakable_kafka: EmbeddedKafka, log_topics: LogTopics
) -> None:
    bootstrap = breakable_kafka.bootstrap
    lives = [life(f"recorder-{number}", seed=number) for number in range(1, 7)]
    await publish_receipts(bootstrap, log_topics, *map(receipt_of, lives))
    sent = {one.producer: sealed(one, 60) for one in lives}
    accepted: list[bytes] = []
    async with gateway_on(bootstrap, log_topics, append_seconds_max=APPEND_SECONDS_MAX) as gateway:
        await gateway.until_ready()

        async def send(raws: list[bytes]) -> None:
            for start in range(0, len(raws), 3):
                part = raws[start : start + 3]
                while part:
                    part = await unsure_of(gateway, part, accepted)

        async def break_it() -> None:
            for wanted in (60, 200):

                async def is_far(wanted: int = wanted) -> bool:
                    return len(accepted) >= wanted

                await until(is_far)
                await breakable_kafka.kill()
                await breakable_kafka.start()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(break_it())
            for raws in sent.values():
                tasks.create_task(send(raws))
        found = [one.value for one in await records_of(bootstrap, log_topics.segments)]
    assert set(accepted) == {raw for raws in sent.values() for raw in raws}
    assert set(found) == set(accepted)  # and nothing else: a copy is byte for byte the same
    for producer, raws in sent.items():
        mine = [raw for raw in found if parse(raw).header.producer == producer]
        assert list(dict.fromkeys(mine)) == raws


async def unsure_of(gateway: Gateway, raws: list[bytes], accepted: list[bytes]) -> list[bytes]:
    """Send once; note what is said to be in the log, and return the rest."""
    response = await gateway.post(framed(raws))
    if response.status_code != 200:
        assert response.status_code == 503
        assert "retry-after" in response.headers
        return raws
    said = [one["verdict"] for one in response.json()["results"]]
    assert set(said) <= {"accepted", "duplicate", "retry"}
    accepted += [raw for raw, verdict in zip(raws, said, strict=True) if verdict != "retry"]
    return [raw for raw, verdict in zip(raws, said, strict=True) if verdict == "retry"]


@pytest.fixture(scope="module")
async def proxied(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProxiedKafka]:
    """Give a broker behind a proxy."""
    async with proxied_kafka(tmp_path_factory.mktemp("proxied")) as found:
        yield found


@pytest.mark.parametrize(
    ("bytes_per_second", "append_seconds_max", "told"),
    [
        (SLOW, 60.0, {"accepted", "busy"}),
        (TOO_SLOW, APPEND_SECONDS_MAX, {"log_unavailable", "busy"}),
    ],
)
async def test_a_slow_broker_slows_callers_down_and_each_knows_what_is_in_the_log(
    proxied: ProxiedKafka, bytes_per_second: int, append_seconds_max: float, told: set[str]
) -> None:
    log_topics = await make_topics(Topics(proxied.bootstrap))
    lives = [life(f"recorder-{number}", seed=number) for number in range(1, CALLERS + 1)]
    await publish_receipts(proxied.bootstrap, log_topics, *map(receipt_of, lives))
    raws = [one.seal([os.urandom(20_000).hex().encode()]) for one in lives]
    assert sum(map(len, raws)) > 3 * ROOM_BYTES

    async def logged() -> set[bytes]:
        return {one.value for one in await records_of(proxied.bootstrap, log_topics.segments)}

    async with gateway_on(
        proxied.proxy.address,
        log_topics,
        limits=Limits(in_flight_bytes_max=ROOM_BYTES),
        append_seconds_max=append_seconds_max,
    ) as gateway:
        await gateway.until_ready()
        proxied.proxy.bytes_per_second = bytes_per_second
        try:
            answers = await asyncio.gather(*(gateway.post(framed([raw])) for raw in raws))
            assert await gateway.in_flight_bytes() == 0
        finally:
            proxied.proxy.bytes_per_second = None
        said = dict(zip(raws, map(said_of_one, answers), strict=True))
        assert set(said.values()) == told
        accepted = {raw for raw, word in said.items() if word == "accepted"}
        # Only of what Kafka was given and did not confirm in time is nothing known.
        unsure = {raw for raw, word in said.items() if word == "log_unavailable"}
        assert accepted <= await logged() <= accepted | unsure

        await gateway.until_ready()
        for raw in set(raws) - accepted:
            assert await gateway.verdicts(raw) == ["accepted"]
        assert await logged() == set(raws)
        assert await gateway.in_flight_bytes() == 0


def said_of_one(response: httpx.Response) -> str:
    """Return the verdict on the one segment, or why it is to be sent again later."""
    answer = response.json()
    if response.status_code == 200:
        (result,) = answer["results"]
        return str(result["verdict"])
    assert response.status_code == 503, response.text
    assert int(response.headers["retry-after"]) >= 1
    return str(answer["code"])


@asynccontextmanager
async def gateway_process(
    environ: dict[str, str],
) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.subprocess.Process]]:
    """Give a client of `rekam gateway run`, and the process; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "rekam", "gateway", "run"),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().strip()
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as http:
            yield http, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_gateway_that_is_killed_at_any_moment_has_promised_nothing_it_does_not_hold(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    await apply_topics(kafka.bootstrap, ALL)
    environ = {
        **{name: text for name, text in os.environ.items() if not name.startswith("REKAM_")},
        "REKAM_HOME": str(tmp_path),
        "REKAM_KAFKA": kafka.bootstrap,
        "REKAM_GATEWAY_PORT": str(free_port()),
    }
    make_missing_keys(Settings.load(environ))
    choose = random.Random(7)
    loop = asyncio.get_running_loop()
    one = life("killed-gateway")
    told: list[bytes] = []
    unsure: list[bytes] = []
    for _ in range(KILLS):
        async with gateway_process(environ) as (http, process):
            loop.call_later(choose.uniform(0.2, 1.0), process.kill)
            try:
                while True:
                    # As a device does: what is unsure goes again, before what is new.
                    unsure = unsure or sealed(one, choose.randrange(1, 9))
                    if await are_held(http, unsure):
                        told += unsure
                        unsure = []
            except httpx.TransportError:
                assert await process.wait() == -signal.SIGKILL
    async with gateway_process(environ) as (http, _):

        async def is_sent() -> bool:
            return not unsure or await are_held(http, unsure)

        await until(is_sent)
        told += unsure
    found = [
        record.value
        for record in await records_of(kafka.bootstrap, SEGMENTS.name, SEGMENTS.partitions)
        if record.key == b"killed-gateway"
    ]
    assert list(dict.fromkeys(found)) == told
    assert len(told) > 30


async def are_held(http: httpx.AsyncClient, raws: list[bytes]) -> bool:
    """Send; tell whether all of it is in the log. Raises TransportError when nobody answers."""
    response = await http.post(
        "/v1/segments", content=framed(raws), headers={"content-type": MEDIA_TYPE}
    )
    if response.status_code != 200:
        assert response.status_code in (429, 503)  # it sends as fast as it can
        return False
    verdicts = {result["verdict"] for result in response.json()["results"]}
    assert verdicts <= {"held", "retry"}
    return verdicts == {"held"}
