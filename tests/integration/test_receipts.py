"""What the ledger holds reaches the receipts topic: signed, whole, and the newest word last."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from projections.ledger.receipts import QUERIES, Registrar, receipts_of
from projections.ledger.runs import Link, chained_runs
from projections.store import QUERIES as STORE_QUERIES
from rekam.domain import events
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.receipt import Receipt
from rekam.domain.topics import RECEIPTS, Topic
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.postgres import open_pool
from stream_processors.receipts import PublisherHooks, publishing
from tests.support.broker import Topics
from tests.support.folding_office import FoldingOffice
from tests.support.history import (
    PARTITIONS,
    REGISTRAR,
    REGISTRAR_KEY,
    Life,
    Log,
    captured,
    random_history,
)
from tests.support.live import chunks, fold, new_folder
from tests.support.receipts import Receipts, leading, new_publisher
from tests.support.waiting import until

OFFICE = Registrar(REGISTRAR, REGISTRAR_KEY.public)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Any]:
    """Give a pool on a migrated database."""
    pool = await open_pool(database)
    yield pool
    await pool.close()


@pytest.fixture
async def topic(topics: Topics) -> Topic:
    """Give a receipts topic of its own."""
    return await topics.make(RECEIPTS, partitions=2)


@pytest.fixture
def receipts(kafka: EmbeddedKafka, topic: Topic) -> Receipts:
    """Give a reader of that topic."""
    return Receipts(kafka.bootstrap, topic)


@pytest.fixture
def office(pool: Any) -> FoldingOffice:
    """Give an office."""
    return FoldingOffice(pool)


async def receipt_of(pool: Any, producer: str) -> Receipt:
    (found,) = await receipts_of(pool, [producer], registrar=OFFICE)
    return found


async def due(pool: Any) -> dict[str, int]:
    """Return who is owed a receipt, with the mark's generation."""
    return dict(await pool.fetch(QUERIES["list_due"], "", 1_000))


async def test_after_a_fold_the_topic_covers_what_was_folded(
    office: FoldingOffice, database: str, kafka: EmbeddedKafka, topic: Topic, receipts: Receipts
) -> None:
    life = await office.enrol("dev-a")
    async with leading(database, kafka.bootstrap, topic):
        await office.record(life, 3)
        receipt = await receipts.until_last("dev-a", epoch=1, through=3)
        await office.record(life, 2)
        newer = await receipts.until_last("dev-a", epoch=1, through=5)
    (epoch,) = receipt.epochs
    (run,) = epoch.runs
    assert (run.first, run.last, epoch.gaps) == (1, 3, ())
    assert receipt.keys == (life.key.public.to_text(),)
    assert newer.epochs[0].runs[0].head == life.prev
    assert newer.as_of_ms == office.log.records[-1].append_ms > receipt.as_of_ms
    assert receipts.last["registrar"].keys == (REGISTRAR_KEY.public.to_text(),)


async def test_an_enrolment_alone_gives_a_receipt_with_the_key(
    office: FoldingOffice, pool: Any
) -> None:
    life = await office.enrol("dev-a")
    assert await due(pool) == {"dev-a": 1, "registrar": 1}
    receipt = await receipt_of(pool, "dev-a")
    assert (receipt.keys, receipt.epochs) == ((life.key.public.to_text(),), ())


async def test_a_gap_is_named_until_it_is_filled_or_given_up(
    office: FoldingOffice, pool: Any
) -> None:
    life = await office.enrol("dev-a")
    await office.record(life)
    late = [office.sealed(life) for _ in range(4)]
    await office.record(life)
    assert (await receipt_of(pool, "dev-a")).epochs[0].gaps == ((2, 5),)
    await office.say(
        events.RangeDeclaredLost(producer="dev-a", epoch=1, first=4, last=5, reason="test")
    )
    assert (await receipt_of(pool, "dev-a")).epochs[0].gaps == ((2, 3),)
    for raw in late:
        office.log.append(raw, partition=1)
    await office.fold()
    (epoch,) = (await receipt_of(pool, "dev-a")).epochs
    assert epoch.gaps == ()
    assert [(run.first, run.last) for run in epoch.runs] == [(1, 6)]


async def test_a_clone_gets_a_run_of_its_own_and_covers_nothing_of_its_original(
    office: FoldingOffice, pool: Any
) -> None:
    original = await office.enrol("dev-a")
    await office.record(original, 2)
    clone = Life(original.producer, original.key, next_seq=3, prev=original.prev)
    shared = original.prev
    await office.record(original, 3)
    clone.boot = "boot-of-the-clone"
    await office.record(clone, 2)
    (epoch,) = (await receipt_of(pool, "dev-a")).epochs
    assert {(run.first, run.last, run.head) for run in epoch.runs} == {
        (1, 2, shared),
        (3, 5, original.prev),
        (3, 4, clone.prev),
    }


@pytest.mark.parametrize("seed", range(8))
async def test_runs_by_the_database_are_those_of_the_single_segments(pool: Any, seed: int) -> None:
    """Whatever stretches the window function makes of forks and gaps, they join to the same."""
    records = random_history(seed, segments=60)
    folder = new_folder(pool)
    for chunk in chunks(records):
        await fold(folder, chunk)
    rows = await pool.fetch(STORE_QUERIES["list_segments_of"], ["dev-a", "dev-b", "registrar"])
    epochs: dict[tuple[str, int], list[Link]] = {}
    for row in rows:
        link = Link(row["first"], row["last"], row["prev"], row["hash"])
        epochs.setdefault((row["producer"], row["epoch"]), []).append(link)
    found = {
        (receipt.producer, epoch.epoch): epoch.runs
        for receipt in await receipts_of(pool, ["dev-a", "dev-b", "registrar"], registrar=OFFICE)
        for epoch in receipt.epochs
    }
    assert found == {life: chained_runs(links) for life, links in epochs.items()}


async def test_whom_only_a_stranger_names_gets_no_receipt_and_is_owed_none(
    pool: Any, database: str, kafka: EmbeddedKafka, topic: Topic, receipts: Receipts
) -> None:
    log = Log()
    stranger = Life(ProducerId("stranger"), SigningKey.from_seed(bytes([99]) * 32))
    log.append(stranger.seal(stranger.event(captured(1, "s1"))), partition=0)
    for chunk in chunks(log.records):
        await fold(new_folder(pool), chunk)
    await pool.execute(STORE_QUERIES["mark_receipts_due"], ["stranger"])

    async def nobody_is_due() -> bool:
        return not await due(pool)

    async with leading(database, kafka.bootstrap, topic):
        await until(nobody_is_due)
    assert await receipts.read() == {}


async def test_a_change_during_publication_is_still_owed(
    office: FoldingOffice, pool: Any, database: str, receipts: Receipts
) -> None:
    life = await office.enrol("dev-a")
    seen: list[int] = []

    async def record_meanwhile(found: Sequence[Receipt]) -> None:
        if any(receipt.producer == "dev-a" for receipt in found):
            seen.append((await due(pool))["dev-a"])
            if len(seen) == 1:
                await office.record(life)

    hooks = PublisherHooks(published=record_meanwhile)
    async with publishing(new_publisher(database, receipts.bootstrap, receipts.topic, hooks=hooks)):
        await receipts.until_last("dev-a", epoch=1, through=1)
    assert seen == [1, 2]
    assert await due(pool) == {}


async def test_a_mark_that_a_fold_holds_is_neither_waited_for_nor_removed(
    office: FoldingOffice, pool: Any
) -> None:
    await office.enrol("dev-a")
    read = await due(pool)
    async with pool.acquire() as folding, folding.transaction():
        await folding.execute(STORE_QUERIES["mark_receipts_due"], ["dev-a"])
        async with asyncio.timeout(5):
            await pool.execute(QUERIES["delete_due"], list(read), list(read.values()))
    assert await due(pool) == {"dev-a": 2}
    await pool.execute(QUERIES["delete_due"], ["dev-a"], [1])
    assert await due(pool) == {"dev-a": 2}
    await pool.execute(QUERIES["delete_due"], ["dev-a"], [2])
    assert await due(pool) == {}


async def test_chunks_that_touch_the_same_producers_mark_them_without_a_deadlock(
    pool: Any,
) -> None:
    records = random_history(3, segments=80)
    found = chunks(records, records_max=2)
    folders = [new_folder(pool) for _ in range(PARTITIONS)]

    async def fold_all(number: int) -> None:
        for chunk in found:
            if chunk.partition == number:
                await fold(folders[number], chunk)

    await asyncio.gather(*(fold_all(number) for number in range(PARTITIONS)))
    known = await pool.fetch("SELECT producer FROM producer WHERE facts <> ''::bytea")
    assert {row["producer"] for row in known} <= set(await due(pool))
