"""Relays that are full, and relays that lie: a device brings everything to the log all the same."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from producers.device.clock import DeviceClock
from producers.device.emitter import EmitterOptions, drain, run
from producers.device.gateway_route import GatewayRoute
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from producers.device.route import Route
from producers.device.routing import Routing
from producers.gateway.log import LogTopics
from rekam.domain.events import RouteChanged, decode
from rekam.domain.segment import open_body, parse
from rekam.domain.topics import QUARANTINE, RECEIPTS, Topic
from rekam.embedded.kafka import EmbeddedKafka
from tests.support.broker import Topics
from tests.support.device import READER, beat, new_home
from tests.support.device_log import chained, in_the_log
from tests.support.gateway import RECEIPT_KEY, Gateway, framed, gateway_on
from tests.support.history import REGISTRAR, REGISTRAR_KEY, Life
from tests.support.processor import Projections, produce
from tests.support.proxy import proxy_before
from tests.support.relay import held_at, lying_relay, relay_at
from tests.support.waiting import until

CLOCK = DeviceClock()
EVENTS = 12_000
STORE_BYTES_MAX = 144 * 1024
"""Room for the first request of a device that has a backlog, and not for the second."""
QUIET = EmitterOptions(heartbeat_seconds=None, anchors=False)
MISTRUSTFUL = EmitterOptions(
    heartbeat_seconds=None,
    anchors=False,
    linger_seconds=0.05,
    receipt_poll_seconds=0.05,
    custody_seconds_max=0.2,
)
"""An emitter that waits for the receipt of what a relay keeps no longer than a moment."""


@dataclass(frozen=True)
class Office:
    """A log that knows the registrar and nobody else, and a gateway before it."""

    bootstrap: str
    topic: Topic
    receipts: Topic
    gateway: Gateway

    async def enrol(self, home: ProducerHome) -> None:
        """Let the registrar's word be the first record of the log."""
        registrar = Life(REGISTRAR, REGISTRAR_KEY)
        enrolment = Life(home.producer, home.signing_key).enrolment()
        record = registrar.seal(registrar.event(enrolment))
        await produce(self.bootstrap, self.topic, [(0, record)])

    async def logged(self) -> list[bytes]:
        """Return what came after the enrolment."""
        return (await in_the_log(self.bootstrap, self.topic))[1:]

    async def counted(self, dsn: str, folder: Path, home: ProducerHome) -> int:
        """Fold the log, and return how many events of a producer count."""
        records = 1 + len(await self.logged())
        async with Projections.of(dsn, self.bootstrap, self.topic) as projections:
            async with projections.processor(folder):
                await projections.until_folded(records)
            found = await projections.pool.fetchval(
                "SELECT sum(last - first + 1) FROM ledger_segment WHERE producer = $1",
                home.producer,
            )
        return int(found)


@pytest.fixture
async def office(kafka: EmbeddedKafka, topics: Topics) -> AsyncIterator[Office]:
    """Give an office of one's own."""
    topic = await topics.make(partitions=1)
    quarantine, receipts = [await topics.make(like) for like in (QUARANTINE, RECEIPTS)]
    names = LogTopics(topic.name, quarantine.name, receipts.name)
    async with gateway_on(kafka.bootstrap, names) as gateway:
        await gateway.until_ready()
        yield Office(kafka.bootstrap, topic, receipts, gateway)


@asynccontextmanager
async def to_kafka(office: Office) -> AsyncIterator[Route]:
    async with KafkaRoute(
        office.bootstrap, topic=office.topic.name, receipts=office.receipts
    ) as route:
        yield route


@asynccontextmanager
async def to_gateway(office: Office) -> AsyncIterator[Route]:
    async with GatewayRoute(office.gateway.address) as route:
        yield route


Way = Callable[[Office], AbstractAsyncContextManager[Route]]


def record(home: ProducerHome, count: int, *, first: int = 0) -> list[bytes]:
    # Not to be compressed away: what is sent has a size.
    chance = Random(first)
    lines = [beat(CLOCK, chance.getrandbits(48)) for _ in range(count)]
    home.outbox.append(lines)
    return lines


def changes(lines: list[bytes]) -> list[RouteChanged]:
    found = [decode(line).data for line in lines]
    return [one for one in found if isinstance(one, RouteChanged)]


async def brought_once(office: Office, home: ProducerHome, lines: list[bytes]) -> list[bytes]:
    """Return the log's events of a home that has let nothing go: its own, these once, in order."""
    held = [one.raw for one in home.outbox.unreceipted(limit_bytes=10**9)]
    found = chained(await office.logged(), home)
    assert chained(held, home) == found
    assert [line for line in found if line in set(lines)] == lines
    return found


@pytest.mark.parametrize("way", [to_kafka, to_gateway])
async def test_what_a_full_relay_does_not_take_goes_by_the_next_route_and_all_counts_once(
    office: Office, database: str, tmp_path: Path, way: Way
) -> None:
    async with proxy_before(office.gateway.port) as proxy, way(office) as second:
        proxy.set_mode("refuse")
        upstream = GatewayRoute(f"http://{proxy.address}", carrier="relay")
        with new_home(tmp_path / "home") as home:
            await office.enrol(home)
            lines = record(home, EVENTS)
            async with (
                relay_at(tmp_path / "relay", upstream, bytes_max=STORE_BYTES_MAX) as relay,
                GatewayRoute(relay.address, label="relay") as first,
            ):
                routing = Routing([first, second])
                drained = await drain(home, routing, clock=CLOCK, options=QUIET)
                assert 0 < drained.custody_events < EVENTS
                assert home.outbox.status().unsent_events == 0

                beside = await office.logged()
                assert sum(map(events_in, beside)) == drained.events - drained.custody_events
                answer = await relay.post(framed(beside))
                assert (answer.status_code, answer.json()["code"]) == (503, "custody_full")

                proxy.set_mode("pass")

                async def is_brought() -> bool:
                    return held_at(tmp_path / "relay").waiting == 0

                await until(is_brought)
            # No receipt has come: nobody has let anything go.
            assert held_at(tmp_path / "relay").segments > 0
            found = await brought_once(office, home, lines)
            assert changes(found) == [
                RouteChanged(route=second.label, previous="relay", reason="unavailable")
            ]
            assert len(found) == EVENTS + 1
            assert await office.counted(database, tmp_path / "faust", home) == len(found)


def events_in(raw: bytes) -> int:
    header = parse(raw).header
    return header.last - header.first + 1


@pytest.mark.parametrize("way", [to_kafka, to_gateway])
async def test_what_a_relay_took_and_dropped_goes_by_the_next_route_and_all_counts_once(
    office: Office, database: str, tmp_path: Path, way: Way
) -> None:
    folder, stopping = tmp_path / "home", asyncio.Event()
    async with lying_relay() as (liar, lies), way(office) as second:
        with new_home(folder) as home, ProducerHome.open(folder) as recording:
            home.trust_receipts([RECEIPT_KEY.public])
            await office.enrol(home)
            lines = record(recording, 1_000)

            async def are_logged() -> bool:
                opened = [open_body(parse(raw), READER) for raw in await office.logged()]
                return {line for body in opened for line in body} >= set(lines)

            async with GatewayRoute(liar.address, label="relay") as first:
                routing = Routing([first, second])
                emitting = asyncio.create_task(
                    run(home, routing, clock=CLOCK, stopping=stopping, options=MISTRUSTFUL)
                )
                await until(are_logged)
                dropped = list(lies.dropped)
                lines += record(recording, 10, first=1)
                await until(are_logged)
                stopping.set()
                await emitting
            assert lies.dropped == dropped, "it was believed once"
            assert sum(map(events_in, set(dropped))) == 1_000
            found = await brought_once(office, home, lines)
            assert changes(found) == [
                RouteChanged(route=second.label, previous="relay", reason="no_receipt")
            ]
            assert len(found) == len(lines) + 1
            assert await office.counted(database, tmp_path / "faust", home) == len(found)
