"""What the fold relies on of its store, for PostgreSQL and for memory."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import date

import pytest

from projections.memory_store import MemoryStore
from projections.rows import (
    Changes,
    CopyRow,
    ExcludedRow,
    HeldRow,
    LedgerRow,
    ProducerRow,
    QuarantinedRow,
)
from projections.store import PostgresStore
from projections.store_port import Store
from projections.tables import PERSON
from rekam.domain.ranges import RangeSet
from rekam.runtime.postgres import connect

HASH = bytes(32)


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Store]:
    """Give a store inside a transaction."""
    if request.param == "memory":
        yield MemoryStore()
        return
    connection = await connect(database)
    transaction = connection.transaction()
    await transaction.start()
    yield PostgresStore(connection)
    await transaction.rollback()
    await connection.close()


def segment(first: int, last: int, *, producer: str = "dev", number: int = 0) -> LedgerRow:
    return LedgerRow(
        producer,
        1,
        first,
        bytes([number]) * 32,
        last,
        HASH,
        0,
        first,
        1_000,
        2_000,
        RangeSet(),
        b"contents",
    )


def changes(*rows: LedgerRow) -> Changes:
    return Changes(ledger={row.key: row for row in rows})


async def test_locked_producers_are_there_empty_and_then_as_written(store: Store) -> None:
    empty = await store.lock_producers(["dev-1", "dev-2"])
    assert empty == {name: ProducerRow(name, b"", 0) for name in ("dev-1", "dev-2")}
    row = ProducerRow("dev-2", b"facts", 7)
    await store.write(Changes(producers={"dev-2": row}))
    assert (await store.lock_producers(["dev-2"])) == {"dev-2": row}


async def test_overlaps_are_found_at_their_edges_and_nowhere_else(store: Store) -> None:
    rows = [segment(1, 500), segment(501, 600, number=1), segment(1, 9, producer="other")]
    await store.write(changes(*rows))

    async def found(first: int, last: int) -> list[LedgerRow]:
        return sorted(await store.ledger_overlaps([("dev", 1, first, last)]))

    assert await found(500, 500) == [rows[0]]
    assert await found(500, 501) == rows[:2]
    assert await found(601, 700) == []
    assert await store.ledger_overlaps([("dev", 2, 1, 500)]) == []
    assert await store.ledger_overlaps([]) == []


async def test_a_segment_comes_back_whole_and_its_place_and_forks_can_change(
    store: Store,
) -> None:
    row = segment(1, 5)
    await store.write(changes(row))
    assert await store.ledger_of(["dev", "nobody"]) == [row]
    moved = row._replace(partition=2, offset=9, append_ms=5, lost=RangeSet.of((2, 3), (5, 5)))
    await store.write(changes(moved))
    assert await store.ledger_of(["dev"]) == [moved]


async def test_held_records_come_and_go_by_place(store: Store) -> None:
    held = [
        HeldRow(0, offset, 1, "dev", 1, 1, 2, "unknown_producer", "enrol it", b"raw")
        for offset in range(2)
    ]
    nobody = HeldRow(1, 0, 1, None, None, None, None, "unknown_version", "update", b"raw")
    await store.write(Changes(held={(row.partition, row.offset): row for row in (*held, nobody)}))
    assert sorted(await store.held_of(["dev"])) == held
    await store.write(Changes(held_released={(0, 0)}, held={}))
    assert await store.held_of(["dev"]) == [held[1]]


async def test_entities_are_there_empty_and_then_as_written(store: Store) -> None:
    assert await store.lock_entities(PERSON, [b"a", b"b"]) == {b"a": b"", b"b": b""}
    written = Changes()
    written.entities[PERSON][b"a"] = b"facts"
    await store.write(written)
    assert await store.lock_entities(PERSON, [b"a", b"b"]) == {b"a": b"facts", b"b": b""}


@pytest.mark.parametrize("steps", [(1, -1), (-1, 1), (2, -1, -1)])
async def test_a_cell_that_comes_to_nothing_is_no_row(store: Store, steps: tuple[int, ...]) -> None:
    cell = ("64.08.04.2001", date.max, date(2018, 3, 31), "arrived", "dev", "offline")
    for step in steps:
        written = Changes()
        written.cells["coverage_cell"] = Counter({cell: step})
        await store.write(written)
    if isinstance(store, MemoryStore):
        assert list(store.tables()["coverage_cell"]) == []
    else:
        assert isinstance(store, PostgresStore)
        rows = await store._connection.fetch("SELECT * FROM coverage_cell")
        assert rows == []


async def test_writing_the_same_again_changes_nothing(store: Store) -> None:
    written = Changes(
        copies={(0, 1): CopyRow(0, 1, 5, "dev", 1, 1, HASH)},
        quarantined={(0, 2): QuarantinedRow(0, 2, 5, None, None, None, None, "r", "d")},
        excluded={
            ("dev", 1, 3, b"v"): ExcludedRow("dev", 1, 3, b"v", "quarantined", "revoked", "d")
        },
    )
    await store.write(written)
    await store.write(written)
    await store.write(Changes(excluded_removed={("dev", 1, 3, b"v")}))
    await store.write(Changes(excluded_removed={("dev", 1, 3, b"v")}))
