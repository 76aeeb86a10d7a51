"""Relays that are killed or lose their power, upstreams that talk nonsense: nothing is lost."""

import asyncio
import itertools
import random
import signal
from collections.abc import Callable
from pathlib import Path

import apsw
import httpx
import pytest

from producers.device.gateway_route import GatewayRoute
from producers.device.outbox_file import Storage
from producers.relay.forwarder import ForwarderOptions
from producers.relay.store import STORE_FILE, CustodyStore, Settled
from rekam.domain.errors import RekamError
from rekam.domain.receipt import open_receipt
from rekam.domain.segment import parse
from rekam.embedded.kafka import EmbeddedKafka
from tests.support.broker import Topics
from tests.support.disk_faults import Deadly, PowerCut, child
from tests.support.gateway import (
    TRUSTED,
    Sealer,
    framed,
    gateway_on,
    life,
    make_topics,
    publish_receipts,
    receipt_of,
    records_of,
    sealed,
)
from tests.support.proxy import proxy_before
from tests.support.relay import (
    STEPS,
    Upstream,
    held_at,
    lying_relay,
    relay_at,
    relay_process,
)
from tests.support.waiting import until

LIVES = 100
POWER_CUTS = 200
DISK_STEPS_MAX = 60
FAR_MS = 10**6
PLAIN = Storage(bytes_max=2**30, ballast_bytes=0, any_file_system=True)


async def until_true(holds: Callable[[], bool]) -> None:
    async def look() -> bool:
        return holds()

    await until(look)


def raws_in(path: Path) -> list[bytes]:
    """Return all segments that a store holds."""
    connection = apsw.Connection(str(path))
    try:
        return [raw for (raw,) in connection.execute("SELECT raw FROM body ORDER BY place")]
    finally:
        connection.close()


async def test_a_relay_that_dies_at_any_step_loses_nothing_that_it_took_into_custody(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    log_topics = await make_topics(topics)
    one = life()
    raws = sealed(one, 6 * len(STEPS))
    waiting = list(raws)
    promised: list[bytes] = []
    receipt_ms = itertools.count(1)

    async def logged() -> list[bytes]:
        return [found.value for found in await records_of(kafka.bootstrap, log_topics.segments)]

    async def give_receipt() -> None:
        found = list(dict.fromkeys(await logged()))
        chain = [raw for raw, wanted in zip(found, raws, strict=False) if raw == wanted]
        receipt = receipt_of(one, chain, as_of_ms=next(receipt_ms))
        await publish_receipts(kafka.bootstrap, log_topics, receipt)

    async with gateway_on(kafka.bootstrap, log_topics) as gateway:
        await gateway.until_ready()
        for step in STEPS:
            async with relay_process(tmp_path, step, gateway.address) as (relay, process):
                for _ in range(3):
                    try:
                        response = await relay.post(framed(waiting[:2]))
                    except httpx.TransportError:
                        break  # it died before it could say anything: they are sent again
                    assert response.status_code == 200
                    promised += waiting[:2]
                    del waiting[:2]
                if step == "before_release":
                    await give_receipt()
                async with asyncio.timeout(60):
                    assert await process.wait() == -signal.SIGKILL
            arrived = set(await logged())
            assert set(promised) <= arrived | set(raws_in(tmp_path / STORE_FILE))
        async with relay_at(tmp_path, GatewayRoute(gateway.address)) as relay:
            await relay.send(*waiting)

            async def is_all_there() -> bool:
                return set(await logged()) == set(raws)

            await until(is_all_there)
            await give_receipt()
            await until_true(lambda: held_at(tmp_path).segments == 0)
    assert list(dict.fromkeys(await logged())) == raws


def a_life(path: Path, one: Sealer, seed: int) -> Callable[[Callable[[str], None]], None]:
    """Return a life of a store that ends at a step; it tells what it has promised and released."""

    def work(tell: Callable[[str], None]) -> None:
        chance = random.Random(seed)
        disk = Deadly(chance.randrange(1, DISK_STEPS_MAX))
        storage = Storage(bytes_max=2**30, ballast_bytes=0, any_file_system=True, vfs=disk.name)
        with CustodyStore.open(path, storage=storage) as store:
            live(store, one, chance, tell)

    return work


def live(
    store: CustodyStore, one: Sealer, chance: random.Random, tell: Callable[[str], None]
) -> None:
    """Take, forward and release until something ends it."""
    now_ms = 0
    while True:
        now_ms += 1
        match chance.choice(["take", "take", "settle", "release"]):
            case "take":
                raws = sealed(one, chance.randrange(1, 4), events=1)
                found = [parse(raw) for raw in raws]
                store.take(
                    [(seg.header, seg.hash, raw) for seg, raw in zip(found, raws, strict=True)],
                    now_ms=now_ms,
                )
                for raw in raws:
                    tell(f"promised {raw.hex()}")
            case "settle":
                batch = store.next_batch(now_ms=now_ms, bytes_max=3_000, segments_max=9)
                if batch is not None:
                    store.settle([Settled(held, "forwarded", FAR_MS) for held in batch.segments])
            case _:
                batch = store.next_batch(now_ms=now_ms, bytes_max=2_000, segments_max=9)
                if batch is not None:
                    owner = life(batch.producer)
                    receipt = receipt_of(owner, [batch.segments[-1].raw], as_of_ms=now_ms)
                    tell(f"released {batch.segments[-1].raw.hex()}")
                    store.release(open_receipt(receipt, TRUSTED), receipt)


def test_a_store_killed_at_any_step_holds_what_it_promised_until_a_receipt_covers_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "relay.db"
    CustodyStore.open(path, storage=PLAIN).close()
    promised: set[bytes] = set()
    released: set[bytes] = set()
    for seed in range(1, LIVES + 1):
        one = life(f"recorder-{seed}")
        with child(a_life(path, one, seed)) as (code, told):
            assert code == -signal.SIGKILL
        for text in told:
            word, raw = text.split()
            (promised if word == "promised" else released).add(bytes.fromhex(raw))
        held = raws_in(path)
        assert len(held) == len(set(held))
        assert promised - released <= set(held)
    assert len(promised) > LIVES
    assert released


def test_a_power_cut_at_any_step_takes_nothing_that_was_promised(tmp_path: Path) -> None:
    lost = 0
    promises = 0
    for seed in range(POWER_CUTS):
        chance = random.Random(seed)
        path = tmp_path / f"{seed}.db"
        CustodyStore.open(path, storage=PLAIN).close()
        told: list[str] = []
        wal = path.with_name(f"{path.name}-wal")
        disk = PowerCut(path, wal, at_step=chance.randrange(1, DISK_STEPS_MAX), chance=chance)
        storage = Storage(bytes_max=2**30, ballast_bytes=0, any_file_system=True, vfs=disk.name)
        with (
            pytest.raises((RekamError, apsw.Error)),
            CustodyStore.open(path, storage=storage) as store,
        ):
            live(store, life(), chance, told.append)
        assert disk.is_off
        disk.restart()
        by_word: dict[str, set[bytes]] = {"promised": set(), "released": set()}
        for text in told:
            word, raw = text.split()
            by_word[word].add(bytes.fromhex(raw))
        promises += len(by_word["promised"])
        lost += len(by_word["promised"] - by_word["released"] - set(raws_in(path)))
    assert promises > POWER_CUTS
    assert lost == 0


async def test_an_upstream_that_talks_nonsense_stalls_or_loses_answers_gets_everything_in_the_end(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    log_topics = await make_topics(topics)
    one = life()
    raws = sealed(one, 40)
    async with (
        gateway_on(kafka.bootstrap, log_topics) as gateway,
        proxy_before(gateway.port) as proxy,
    ):
        await gateway.until_ready()
        route = GatewayRoute(f"http://{proxy.address}", answer_seconds_max=0.3)
        async with relay_at(tmp_path, route) as relay:
            proxy.set_mode("garbage")
            await relay.send(*raws[:10])
            await asyncio.wait_for(_failed(relay.http), 60)
            proxy.set_mode("refuse")
            await relay.send(*raws[10:20])
            proxy.set_mode("pass")
            proxy.lose_answer(after_bytes=1)
            await until_true(lambda: proxy.answers_lost == 1)
            proxy.set_mode("pass")
            await relay.send(*raws[20:])

            async def is_all_there() -> bool:
                found = await records_of(kafka.bootstrap, log_topics.segments)
                return list(dict.fromkeys(record.value for record in found)) == raws

            await until(is_all_there)
            assert held_at(tmp_path).segments == len(raws)
            await publish_receipts(kafka.bootstrap, log_topics, receipt_of(one, raws))
            await until_true(lambda: held_at(tmp_path).segments == 0)


async def _failed(http: httpx.AsyncClient) -> None:
    """Return when the relay has answered some calls, and so has had the time to hear nonsense."""
    for _ in range(20):
        assert (await http.get("/healthz")).status_code == 200


async def test_a_relay_upstream_that_lies_is_seen_through_by_the_relay_before_it(
    tmp_path: Path,
) -> None:
    """It says custody and drops: without a receipt the segments stay, and go by the next route."""
    one = life()
    raws = sealed(one, 5)
    options = ForwarderOptions(
        idle_seconds=0.05,
        unreceipted_seconds=0.2,
        receipt_seconds=0.05,
        back_off_seconds_first=0.05,
        back_off_seconds_max=3600.0,
    )
    honest = Upstream()
    async with lying_relay() as (liar, lies):
        route = GatewayRoute(liar.address, label="relay")
        async with relay_at(tmp_path, route, honest, options=options) as relay:
            await relay.send(*raws)
            await until_true(lambda: set(honest.taken) == set(raws))
            assert set(lies.dropped) == set(raws)
            fresh = sealed(one)
            dropped = len(lies.dropped)
            await relay.send(*fresh)
            await until_true(lambda: fresh[0] in honest.taken)
            assert len(lies.dropped) == dropped, "it was believed once"
            assert held_at(tmp_path).segments == len(raws) + 1
            honest.receipts["recorder-1"] = receipt_of(one, [*raws, *fresh])
            await until_true(lambda: held_at(tmp_path).segments == 0)
    assert list(dict.fromkeys(honest.taken)) == [*raws, *fresh]
