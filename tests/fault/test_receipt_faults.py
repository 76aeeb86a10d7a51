"""Whatever happens to a publisher or its servers, no receipt is lost and the newest stands."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from projections.ledger.receipts import QUERIES
from rekam.domain.receipt import Receipt
from rekam.domain.topics import RECEIPTS, Topic
from rekam.embedded.kafka import EmbeddedKafka
from rekam.embedded.postgres import EmbeddedPostgres
from rekam.runtime.postgres import migrate, open_pool
from stream_processors.receipts import PublisherHooks, publishing
from tests.support.broker import Topics
from tests.support.folding_office import FoldingOffice
from tests.support.receipts import Receipts, leading, new_publisher
from tests.support.waiting import until


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


async def owed(pool: Any) -> set[str]:
    return {row["producer"] for row in await pool.fetch(QUERIES["list_due"], "", 1_000)}


@pytest.mark.parametrize("step", ["computed", "published"])
async def test_a_publisher_killed_at_any_step_still_owes_and_the_next_one_pays(
    database: str, pool: Any, kafka: EmbeddedKafka, topic: Topic, step: str
) -> None:
    office = FoldingOffice(pool)
    life = await office.enrol("dev-a")
    await office.record(life, 4)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.receipts"),
        *(step, database, kafka.bootstrap, topic.name),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while (line := await process.stdout.readline()) != f"{step}\n".encode():
                assert line, "the publisher ended"
    finally:
        process.kill()
        await process.communicate()
    assert await owed(pool) == {"dev-a", "registrar"}
    async with leading(database, kafka.bootstrap, topic):
        receipt = await Receipts(kafka.bootstrap, topic).until_last("dev-a", epoch=1, through=4)

        async def all_is_paid() -> bool:
            return not await owed(pool)

        await until(all_is_paid)
    assert receipt.epochs[0].runs[0].head == life.prev


async def test_a_stale_receipt_of_a_leader_that_was_cut_off_is_overtaken_again(
    database: str, pool: Any, kafka: EmbeddedKafka, topic: Topic
) -> None:
    office = FoldingOffice(pool)
    receipts = Receipts(kafka.bootstrap, topic)
    life = await office.enrol("dev-a")
    await office.record(life, 2)
    has_computed, may_send = asyncio.Event(), asyncio.Event()

    async def sleep_on_it(_found: Sequence[Receipt]) -> None:
        has_computed.set()
        await may_send.wait()

    cut_off = new_publisher(
        database, kafka.bootstrap, topic, hooks=PublisherHooks(computed=sleep_on_it)
    )
    async with publishing(cut_off):
        await has_computed.wait()
        await pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        async with leading(database, kafka.bootstrap, topic):
            await office.record(life, 3)
            await receipts.until_last("dev-a", epoch=1, through=5)
            may_send.set()

            async def both_are_there_and_paid() -> bool:
                await receipts.read()
                said = [
                    receipt.epochs[0].runs[0].last
                    for receipt in receipts.all
                    if receipt.producer == "dev-a" and receipt.epochs
                ]
                return 2 in said and said[-1] == 5 and not await owed(pool)

            await until(both_are_there_and_paid)


async def test_many_publishers_take_turns_and_the_newest_word_of_each_is_the_last(
    database: str, pool: Any, kafka: EmbeddedKafka, topic: Topic
) -> None:
    office = FoldingOffice(pool)
    lives = [await office.enrol(f"dev-{name}", 50 + number) for number, name in enumerate("abc")]
    receipts = Receipts(kafka.bootstrap, topic)

    async def work() -> None:
        for _ in range(15):
            for life in lives:
                await office.record(life)
            await pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks"
                " WHERE locktype = 'advisory' AND database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            await receipts.read()

    async with (
        publishing(new_publisher(database, kafka.bootstrap, topic)),
        publishing(new_publisher(database, kafka.bootstrap, topic)),
        publishing(new_publisher(database, kafka.bootstrap, topic)),
    ):
        await work()
        for life in lives:
            await receipts.until_last(life.producer, epoch=1, through=15)

        async def all_is_paid() -> bool:
            return not await owed(pool)

        await until(all_is_paid)
    last = await receipts.read()
    assert [last[life.producer].epochs[0].runs[0].head for life in lives] == [
        life.prev for life in lives
    ]


async def test_a_broker_that_was_away_gets_the_receipts_when_it_is_back(
    database: str, pool: Any, breakable_kafka: EmbeddedKafka
) -> None:
    topic = await Topics(breakable_kafka.bootstrap).make(RECEIPTS, partitions=2)
    office = FoldingOffice(pool)
    life = await office.enrol("dev-a")
    async with leading(database, breakable_kafka.bootstrap, topic):
        await breakable_kafka.kill()
        await office.record(life, 3)
        assert "dev-a" in await owed(pool)
        await breakable_kafka.start()
        receipts = Receipts(breakable_kafka.bootstrap, topic)
        await receipts.until_last("dev-a", epoch=1, through=3)


async def test_a_database_that_was_away_is_read_again_when_it_is_back(
    breakable_postgres: EmbeddedPostgres, kafka: EmbeddedKafka, topic: Topic
) -> None:
    await breakable_postgres.create_database("rekam")
    dsn = breakable_postgres.dsn("rekam")
    await migrate(dsn, "projections.migrations")
    async with leading(dsn, kafka.bootstrap, topic):
        await breakable_postgres.kill()
        await breakable_postgres.start()
        pool = await open_pool(dsn)
        office = FoldingOffice(pool)
        await office.record(await office.enrol("dev-a"), 2)
        await Receipts(kafka.bootstrap, topic).until_last("dev-a", epoch=1, through=2)
        await pool.close()


async def test_a_stop_while_nothing_answers_ends_soon(database: str, topic: Topic) -> None:
    async with asyncio.timeout(30):
        async with publishing(new_publisher(database, "127.0.0.1:1", topic)):
            pass
