"""Links that lose an answer, die without a word, or are slow: to Kafka and to a gateway."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from producers.device.clock import DeviceClock
from producers.device.emitter import EmitterOptions, drain, run
from producers.device.gateway_route import GatewayRoute
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from producers.device.route import Route
from producers.device.routing import Routing, RoutingOptions
from producers.gateway.log import LogTopics
from rekam.domain.errors import Unavailable
from rekam.domain.events import RouteChanged, decode
from rekam.domain.segment import parse
from rekam.domain.topics import QUARANTINE, RECEIPTS, Topic
from tests.support.broker import Topics
from tests.support.device import beat, new_home
from tests.support.device_log import chained, in_the_log
from tests.support.gateway import gateway_on
from tests.support.history import REGISTRAR, REGISTRAR_KEY, Life
from tests.support.processor import Projections, produce
from tests.support.proxied_broker import ProxiedKafka, proxied_kafka
from tests.support.proxy import Proxy, proxy_before
from tests.support.waiting import until

CLOCK = DeviceClock()
SECONDS_MAX = 2.0
EVENTS = 1_000
QUIET = EmitterOptions(heartbeat_seconds=None, anchors=False)
EAGER = EmitterOptions(heartbeat_seconds=None, anchors=False, linger_seconds=0.05)
Way = Callable[[ProxiedKafka, Topic], AbstractAsyncContextManager[tuple[Proxy, Route]]]
PATIENT = RoutingOptions(retry_seconds_first=0.2, retry_seconds_max=0.5)


@pytest.fixture(scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProxiedKafka]:
    """Give a broker behind a proxy."""
    async with proxied_kafka(tmp_path_factory.mktemp("proxied")) as found:
        yield found


@asynccontextmanager
async def gateway_behind_proxy(
    broker: ProxiedKafka, topic: Topic
) -> AsyncIterator[tuple[Proxy, Route]]:
    """Give a route to a real gateway through a proxy."""
    others = [await Topics(broker.bootstrap).make(like) for like in (QUARANTINE, RECEIPTS)]
    names = LogTopics(topic.name, *(one.name for one in others))
    async with (
        gateway_on(broker.bootstrap, names) as gateway,
        proxy_before(gateway.port) as proxy,
        GatewayRoute(
            f"http://{proxy.address}",
            connect_seconds_max=SECONDS_MAX,
            answer_seconds_max=SECONDS_MAX,
        ) as route,
    ):
        await gateway.until_ready()
        yield proxy, route


@asynccontextmanager
async def kafka_behind_proxy(
    broker: ProxiedKafka, topic: Topic
) -> AsyncIterator[tuple[Proxy, Route]]:
    """Give the direct route through a proxy."""
    async with KafkaRoute(
        broker.proxy.address, topic=topic.name, send_seconds_max=SECONDS_MAX
    ) as route:
        yield broker.proxy, route


def record(home: ProducerHome, count: int, *, first: int = 0) -> list[bytes]:
    # Not to be compressed away: what is sent has a size.
    chance = Random(first)
    lines = [beat(CLOCK, chance.getrandbits(48)) for _ in range(count)]
    home.outbox.append(lines)
    return lines


@pytest.mark.parametrize("way", [kafka_behind_proxy, gateway_behind_proxy])
async def test_a_lost_answer_sends_again_and_the_log_counts_it_once(
    broker: ProxiedKafka,
    database: str,
    tmp_path: Path,
    way: Way,
) -> None:
    topic = await Topics(broker.bootstrap).make(partitions=1)
    with new_home(tmp_path / "home") as home:
        registrar = Life(REGISTRAR, REGISTRAR_KEY)
        enrolment = Life(home.producer, home.signing_key).enrolment()
        await produce(broker.bootstrap, topic, [(0, registrar.seal(registrar.event(enrolment)))])
        async with way(broker, topic) as (proxy, route):
            lines = record(home, 1)
            await drain(home, route, clock=CLOCK, options=QUIET)
            lines += record(home, EVENTS, first=1)
            proxy.lose_answer(after_bytes=2_000)
            with pytest.raises(Unavailable):
                await drain(home, route, clock=CLOCK, options=QUIET)
            assert proxy.answers_lost == 1
            proxy.set_mode("pass")
            assert home.outbox.status().unsent_events == EVENTS
            sent = await in_the_log(broker.bootstrap, topic)
            assert chained(sent[1:], home) == lines, "the answer was lost, and not the segments"
            await drain(home, route, clock=CLOCK, options=QUIET)
        assert home.outbox.status().unsent_events == 0
        raws = (await in_the_log(broker.bootstrap, topic))[1:]
        assert chained(raws, home) == lines
    async with Projections.of(database, broker.bootstrap, topic) as projections:
        async with projections.processor(tmp_path / "faust"):
            await projections.until_folded(1 + len(raws))
        counted = await projections.pool.fetchval(
            "SELECT sum(last - first + 1) FROM ledger_segment WHERE producer = 'dev-1'"
        )
    assert counted == len(lines)


async def test_a_link_that_dies_without_a_word_is_left_and_taken_again_when_it_lives(
    broker: ProxiedKafka, tmp_path: Path
) -> None:
    topic = await Topics(broker.bootstrap).make(partitions=1)
    stopping = asyncio.Event()
    folder = tmp_path / "home"
    async with (
        kafka_behind_proxy(broker, topic) as (proxy, direct),
        gateway_behind_proxy(broker, topic) as (_, gateway),
    ):
        with new_home(folder) as home, ProducerHome.open(folder) as recording:
            routing = Routing([direct, gateway], options=PATIENT)
            emitting = asyncio.create_task(
                run(home, routing, clock=CLOCK, stopping=stopping, options=EAGER)
            )
            lines: list[bytes] = []

            async def changes() -> list[RouteChanged]:
                found = chained(await in_the_log(broker.bootstrap, topic), home)
                data = [decode(line).data for line in found]
                return [one for one in data if isinstance(one, RouteChanged)]

            async def is_drained() -> bool:
                return recording.outbox.status().unsent_events == 0

            lines += record(recording, 10)
            await until(is_drained)
            proxy.set_mode("stall")
            lines += record(recording, 10, first=10)
            await until(is_drained, seconds_max=30)
            proxy.set_mode("pass")

            async def is_back() -> bool:
                lines.extend(record(recording, 1, first=len(lines)))
                return len(await changes()) >= 2

            await until(is_back, seconds_max=60)
            await until(is_drained)
            stopping.set()
            await emitting
            await routing.settle()
            found = chained(await in_the_log(broker.bootstrap, topic), home)
            seen = await changes()
    assert [line for line in found if line in set(lines)] == lines
    assert seen[:2] == [
        RouteChanged(route="gateway", previous="kafka", reason="unavailable"),
        RouteChanged(route="kafka", previous="gateway", reason="worked_again"),
    ]


@pytest.mark.parametrize("way", [kafka_behind_proxy, gateway_behind_proxy])
async def test_a_slow_link_brings_a_backlog_through_and_fresh_events_before_its_end(
    broker: ProxiedKafka,
    tmp_path: Path,
    way: Way,
) -> None:
    """The whole backlog takes longer than a send may: it goes in pieces that the link can do."""
    topic = await Topics(broker.bootstrap).make(partitions=1)
    folder, chance = tmp_path / "home", Random(5)
    with new_home(folder) as home, ProducerHome.open(folder) as recording:
        backlog = [beat(CLOCK, chance.getrandbits(48)) for _ in range(30_000)]
        home.outbox.append(backlog)
        fresh = beat(CLOCK, 1)
        async with way(broker, topic) as (proxy, route):
            proxy.bytes_per_second = 60_000
            try:
                draining = asyncio.create_task(drain(home, route, clock=CLOCK, options=EAGER))

                async def has_begun() -> bool:
                    return recording.outbox.status().taken_through > 0

                await until(has_begun)
                recording.outbox.append([fresh])
                await draining
            finally:
                proxy.bytes_per_second = None
        raws = await in_the_log(broker.bootstrap, topic)
        assert sum(map(len, raws)) > SECONDS_MAX * 60_000
        assert set(chained(raws, home)) == {*backlog, fresh}
        firsts = [parse(raw).header.first for raw in raws]
        last = parse(max(raws, key=lambda raw: parse(raw).header.first)).header
        assert last.first <= len(backlog) + 1 <= last.last
        assert firsts.index(last.first) < len(firsts) - 3
