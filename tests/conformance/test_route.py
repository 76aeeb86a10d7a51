"""What every Route promises (producers/device/route.py), by Kafka itself and by a real gateway."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from producers.device.gateway_route import GatewayRoute
from producers.device.kafka_route import CLOSE_SECONDS_MAX, KafkaRoute
from producers.device.route import Route
from rekam.domain.errors import Unavailable
from rekam.domain.log import route_told
from rekam.domain.topics import RECEIPTS
from rekam.embedded.kafka import EmbeddedKafka
from tests.support.broker import Topics
from tests.support.gateway import (
    PARTITIONS,
    gateway_on,
    life,
    make_topics,
    publish_receipts,
    receipt_of,
    records_of,
    sealed,
)
from tests.support.machine import free_port
from tests.support.proxy import Proxy, proxy_before
from tests.support.waiting import until

SECONDS_MAX = 2.0
BOUND_SECONDS = SECONDS_MAX + 2 * CLOSE_SECONDS_MAX + 3.0


@dataclass(frozen=True)
class Rig:
    """A route that works, and what is behind it."""

    route: Route
    to: Callable[[str], Route]
    """Make a like route to another `host:port`."""
    port: int
    held: Callable[[], Awaitable[list[bytes]]]
    told: Callable[[], Awaitable[set[str]]]
    """The routes that the records of the log tell."""
    publish: Callable[[bytes], Awaitable[None]]


@pytest.fixture(params=["kafka", "gateway"])
async def rig(
    request: pytest.FixtureRequest, kafka: EmbeddedKafka, topics: Topics
) -> AsyncIterator[Rig]:
    names = await make_topics(topics)

    async def held() -> list[bytes]:
        return [one.value for one in await records_of(kafka.bootstrap, names.segments)]

    async def told() -> set[str]:
        found = await records_of(kafka.bootstrap, names.segments)
        return {route_told(one.headers.items()) for one in found}

    async def publish(raw: bytes) -> None:
        await publish_receipts(kafka.bootstrap, names, raw)

    if request.param == "kafka":

        def direct(address: str) -> Route:
            return KafkaRoute(
                address,
                topic=names.segments,
                receipts=replace(RECEIPTS, name=names.receipts),
                send_seconds_max=SECONDS_MAX,
                receipt_seconds_max=SECONDS_MAX,
            )

        port = int(kafka.bootstrap.rpartition(":")[2])
        found = Rig(
            KafkaRoute(
                kafka.bootstrap,
                topic=names.segments,
                receipts=replace(RECEIPTS, name=names.receipts),
            ),
            direct,
            port,
            held,
            told,
            publish,
        )
        yield found
        await found.route.stop()
        return
    async with gateway_on(kafka.bootstrap, names) as gateway:
        await gateway.until_ready()

        def over_http(address: str) -> Route:
            return GatewayRoute(
                f"http://{address}", connect_seconds_max=SECONDS_MAX, answer_seconds_max=SECONDS_MAX
            )

        found = Rig(GatewayRoute(gateway.address), over_http, gateway.port, held, told, publish)
        yield found
        await found.route.stop()


async def test_each_segment_gets_a_verdict_and_the_log_has_its_bytes_in_order(rig: Rig) -> None:
    device = life()
    raws = sealed(device, 70)
    delivery = await rig.route.send(raws, producer=device.producer)
    assert [one.verdict for one in delivery.verdicts] == ["logged"] * 70
    now_ms = time.time_ns() // 1_000_000
    for one in delivery.verdicts:
        assert one.append_ms is not None
        assert abs(now_ms - one.append_ms) < 60_000
    assert await rig.held() == raws


async def test_the_log_tells_by_which_route_each_segment_came(rig: Rig) -> None:
    device = life()
    await rig.route.send(sealed(device, 70), producer=device.producer)
    await rig.route.send(sealed(device, 1), producer=device.producer)  # no batch of its own
    assert await rig.told() == {rig.route.label}


async def test_sending_again_is_harmless(rig: Rig) -> None:
    device = life()
    raws = sealed(device, 3)
    for _ in range(2):
        delivery = await rig.route.send(raws, producer=device.producer)
        assert [one.verdict for one in delivery.verdicts] == ["logged"] * 3
    assert set(await rig.held()) == set(raws)


async def test_two_sends_at_once_do_not_harm_each_other(rig: Rig) -> None:
    one, two = life("recorder-1", seed=1), life("recorder-2", seed=2)
    mine, other = sealed(one, 20), sealed(two, 20)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(rig.route.send(mine, producer=one.producer))
        tasks.create_task(rig.route.send(other, producer=two.producer))
    held = await rig.held()
    assert [raw for raw in held if raw in mine] == mine
    assert [raw for raw in held if raw in other] == other


async def test_the_latest_receipt_of_the_producer_is_given_and_no_other(rig: Rig) -> None:
    device, stranger = life("recorder-1", seed=1), life("recorder-2", seed=2)
    assert await rig.route.receipt(device.producer) is None
    await rig.publish(receipt_of(stranger))
    raws = sealed(device, 2)
    for upto in (1, 2):
        published = receipt_of(device, raws[:upto], as_of_ms=1_600_000_000_000 + upto)
        await rig.publish(published)

        async def is_given(published: bytes = published) -> bool:
            return await rig.route.receipt(device.producer) == published

        await until(is_given)


async def test_when_nobody_listens_it_says_so_in_time(rig: Rig) -> None:
    await _fails_in_time(rig.to(f"127.0.0.1:{free_port()}"))


@pytest.mark.parametrize("mode", ["refuse", "stall", "garbage"])
async def test_a_link_that_is_dead_or_mad_is_noticed_in_time(rig: Rig, mode: str) -> None:
    async with proxy_before(rig.port) as proxy:
        _set(proxy, mode)
        await _fails_in_time(rig.to(proxy.address))


async def _fails_in_time(route: Route) -> None:
    device = life()
    raws = sealed(device, 2)
    try:
        for ask in (
            lambda: route.send(raws, producer=device.producer),
            lambda: route.receipt(device.producer),
        ):
            began = time.monotonic()
            with pytest.raises(Unavailable) as caught:
                await ask()
            assert time.monotonic() - began < BOUND_SECONDS
            assert len(str(caught.value)) < 1_000
    finally:
        await route.stop()


def _set(proxy: Proxy, mode: str) -> None:
    match mode:
        case "refuse" | "stall" | "garbage":
            proxy.set_mode(mode)
        case _:
            raise AssertionError(mode)


async def test_stop_may_come_first_and_twice_and_the_label_names_no_address(rig: Rig) -> None:
    route = rig.to("127.0.0.1:1")
    await route.stop()
    await route.stop()
    assert route.label in {"kafka", "gateway", "relay", "usb"}
    assert PARTITIONS > 1, "the order above is that of a producer's partition"
