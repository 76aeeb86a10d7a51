"""What the fold relies on of its store, for PostgreSQL and for memory."""

import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import date, timedelta

import pytest

from projections.digest import QUERIES as DIGESTED
from projections.memory_store import MemoryStore
from projections.quarantine.facts import record_key
from projections.rows import (
    BootRow,
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
from projections.tables import PERSON, RECORD
from rekam.domain.ranges import RangeSet
from rekam.runtime.postgres import connect

HASH = bytes(32)
Times = tuple[tuple[date, date], ...]


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


async def test_anchors_are_found_by_the_session_that_they_anchor(store: Store) -> None:
    await store.write(Changes(anchors={("dev", "a"): b"one", ("other", "a"): b"two"}))
    await store.write(Changes(anchors={("dev", "a"): b"more"}))
    found = await store.anchors_of([("dev", "a"), ("dev", "b"), ("other", "a")])
    assert found == {("dev", "a"): b"more", ("other", "a"): b"two"}


async def test_segments_are_found_by_the_boot_sessions_that_they_name_in_whatever_order(
    store: Store,
) -> None:
    rows = [segment(first, first + 9, number=first) for first in (1, 11, 21, 31)]

    def named(boot: str, row: LedgerRow) -> Changes:
        found = BootRow("dev", boot, 1, row.first, row.last)
        return Changes(ledger={row.key: row}, boots={("dev", boot, 1): found})

    for boot, row in (("b", rows[2]), ("a", rows[0]), ("b", rows[1]), ("c", rows[3])):
        await store.write(named(boot, row))

    async def found(*boots: tuple[str, str]) -> list[LedgerRow]:
        return sorted(await store.ledger_of_boots(boots))

    assert await found(("dev", "b")) == rows[1:3]
    assert await found(("dev", "a"), ("dev", "b"), ("dev", "none")) == rows[:3]
    assert await found(("other", "a")) == []
    assert await found() == []


DAYS = [date(2018, 3, number) for number in range(1, 8)]
CONTACTS = [
    *((("dev", day), 1_000 + number) for number, day in enumerate(DAYS[:5])),
    (("dev", DAYS[2]), 5_000),
    (("other", DAYS[3]), 7),
]


async def rows_of(store: Store, table: str) -> list[tuple[object, ...]]:
    if isinstance(store, MemoryStore):
        return sorted(store.tables()[table])
    assert isinstance(store, PostgresStore)
    return sorted(map(tuple, await store._connection.fetch(DIGESTED[f"read_{table}"])))


@pytest.mark.parametrize("at_once", [1, 2, 7])
@pytest.mark.parametrize("seed", range(4))
async def test_contacts_stand_until_the_next_in_whatever_order_they_are_written(
    store: Store, seed: int, at_once: int
) -> None:
    told = random.Random(seed).sample(CONTACTS, k=len(CONTACTS))
    await store.write(Changes(services={"dev": ((DAYS[0], date.max),)}))
    for first in range(0, len(told), at_once):
        contacts: dict[tuple[str, date], int] = {}
        for key, contact_ms in told[first : first + at_once]:
            contacts[key] = max(contacts.get(key, 0), contact_ms)
        await store.write(Changes(contacts=contacts))
    assert await rows_of(store, "producer_contact") == [
        ("dev", DAYS[0], DAYS[1], 1_000),
        ("dev", DAYS[1], DAYS[2], 1_001),
        ("dev", DAYS[2], DAYS[3], 5_000),
        ("dev", DAYS[3], DAYS[4], 1_003),
        ("dev", DAYS[4], date.max, 1_004),
        ("other", DAYS[3], DAYS[4], 7),
    ]


async def test_times_in_service_are_replaced_as_a_whole(store: Store) -> None:
    first, second = (DAYS[0], date.max), (DAYS[2], DAYS[4])
    await store.write(Changes(services={"dev": (first,), "other": (first,), "gone": (first,)}))
    await store.write(Changes(services={"dev": (second, (DAYS[5], date.max)), "gone": ()}))
    assert await rows_of(store, "producer_service") == [
        ("dev", *second, date.max),
        ("dev", DAYS[5], date.max, date.max),
        ("other", *first, date.max),
    ]


TIMES = ((DAYS[0], DAYS[1]), (DAYS[2], date.max))


@pytest.mark.parametrize(
    "told",
    [
        *itertools.permutations(
            (
                Changes(services={"dev": TIMES, "unheard": TIMES}),
                Changes(contacts={("dev", DAYS[1]): 1, ("dev", DAYS[3]): 3}),
                Changes(contacts={("dev", DAYS[2]): 2, ("stranger", DAYS[0]): 0}),
            )
        )
    ],
)
async def test_the_first_contact_is_known_to_times_in_service_in_whatever_order_they_are_written(
    store: Store, told: Sequence[Changes]
) -> None:
    for written in told:
        await store.write(written)
    assert await rows_of(store, "producer_service") == [
        ("dev", *TIMES[0], DAYS[1]),
        ("dev", *TIMES[1], DAYS[1]),
        ("unheard", *TIMES[0], date.max),
        ("unheard", *TIMES[1], date.max),
    ]


@pytest.mark.parametrize(
    ("times", "heard", "ends"),
    [
        ((), DAYS[2], DAYS[3]),
        (((DAYS[0], DAYS[2]),), DAYS[2], DAYS[3]),
        (((DAYS[0], DAYS[2]),), DAYS[3], DAYS[4]),
        (((DAYS[0], DAYS[1]), (DAYS[3], DAYS[5])), DAYS[2], DAYS[5]),
        (((DAYS[0], DAYS[1]), (DAYS[3], date.max)), DAYS[2], date.max),
        (((DAYS[4], DAYS[5]),), DAYS[2], DAYS[5]),
    ],
)
@pytest.mark.parametrize("before", [(), ((DAYS[0], date.max),), ((DAYS[0], DAYS[1]),)])
@pytest.mark.parametrize("contact_comes", ["first", "between", "last"])
async def test_the_last_contact_stands_while_its_producer_is_in_service(
    store: Store,
    *,
    before: Times,
    times: Times,
    heard: date,
    ends: date,
    contact_comes: str,
) -> None:
    contact = Changes(contacts={("dev", heard): 1})
    told = [Changes(services={"dev": before}), Changes(services={"dev": times})]
    told.insert(["first", "between", "last"].index(contact_comes), contact)
    for written in told:
        await store.write(written)
    assert await rows_of(store, "producer_contact") == [("dev", heard, ends, 1)]
    # Heard again, it was not the last one; that one is.
    await store.write(Changes(contacts={("dev", DAYS[6]): 2}))
    last_ends = date.max if ends == date.max else DAYS[6] + timedelta(days=1)
    assert await rows_of(store, "producer_contact") == [
        ("dev", heard, DAYS[6], 1),
        ("dev", DAYS[6], last_ends, 2),
    ]


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
    cell = ("64.08.04.2001", date.max, date(2018, 3, 31), "arrived", "dev", "offline", "usb")
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


async def test_segments_are_found_by_the_places_of_their_earliest_copies(store: Store) -> None:
    rows = [segment(1, 9), segment(10, 19, number=1), segment(20, 29, producer="other")]
    await store.write(changes(*rows))
    assert sorted(await store.ledger_at([(0, 1), (0, 20), (3, 1), (0, 77)])) == [rows[0], rows[2]]
    assert await store.ledger_at([]) == []


async def test_what_is_decided_again_replaces_what_was_held_or_refused(store: Store) -> None:
    held = HeldRow(1, 2, 3, "dev", 1, 1, 9, "unknown_version", "x", b"bytes")
    refused = QuarantinedRow(1, 3, 3, None, None, None, None, "truncated", "x")
    await store.write(Changes(held={(1, 2): held}, quarantined={(1, 3): refused}))
    assert await store.claimed_by([(1, 2), (1, 3)]) == {"dev"}
    later = held._replace(partition=1, offset=3, producer="other", reason="unknown_key")
    await store.write(Changes(held={(1, 3): later}, retried={(1, 2), (1, 3)}))
    assert await store.held_of(["dev", "other"]) == [later]
    assert await store.claimed_by([(1, 2), (1, 3)]) == {"other"}


async def test_excluded_events_are_found_by_their_ranges(store: Store) -> None:
    rows = [ExcludedRow("dev", 1, seq, HASH[:8], "held", "unknown_type", "x") for seq in (4, 5, 9)]
    await store.write(Changes(excluded={row[:4]: row for row in rows}))
    assert sorted(await store.excluded_in([("dev", 1, 5, 9), ("other", 1, 1, 9)])) == rows[1:]
    assert await store.excluded_in([]) == []


async def test_decisions_are_those_that_were_written(store: Store) -> None:
    key = record_key(3, 120)
    await store.lock_partitions([3])
    assert await store.lock_entities(RECORD, [key]) == {key: b""}
    written = Changes()
    written.entities[RECORD][key] = b"facts"
    await store.write(written)
    assert await store.decisions([key, record_key(3, 121)]) == {key: b"facts"}
    assert await store.decisions([]) == {}
