"""A relay's store by itself: its order, its notes, and what leaves it."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from producers.device.outbox_file import Storage
from producers.relay.store import DUE_MS_MAX, CustodyStore, HeldSegment, Released, Settled
from rekam.domain.errors import CustodyFull
from rekam.domain.receipt import Receipt, open_receipt
from rekam.domain.segment import Header, parse
from tests.support.disk_faults import FullDisk
from tests.support.gateway import TRUSTED, Sealer, life, receipt_of, sealed

SMALL = Storage(bytes_max=2**30, ballast_bytes=0, any_file_system=True)
MIB = 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CustodyStore]:
    """Give an empty store."""
    with CustodyStore.open(tmp_path / "relay.db", storage=SMALL) as found:
        yield found


def taken(*raws: bytes) -> list[tuple[Header, str, bytes]]:
    found = map(parse, raws)
    return [(one.header, one.hash, raw) for one, raw in zip(found, raws, strict=True)]


def due(store: CustodyStore, *, now_ms: int, bytes_max: int = MIB) -> list[HeldSegment]:
    batch = store.next_batch(now_ms=now_ms, bytes_max=bytes_max, segments_max=64)
    return [] if batch is None else list(batch.segments)


def fill(store: CustodyStore, one: Sealer) -> tuple[list[bytes], bytes]:
    """Store segments until one is refused; return those and that one."""
    raws: list[bytes] = []
    while True:
        (raw,) = sealed(one, events=100)
        try:
            store.take(taken(raw), now_ms=1)
        except CustodyFull:
            return raws, raw
        raws.append(raw)


def opened(raw: bytes) -> Receipt:
    return open_receipt(raw, TRUSTED)


def test_batches_are_of_one_producer_the_longest_waiting_first(store: CustodyStore) -> None:
    one, other = sealed(life(), 3), sealed(life("recorder-2", seed=2), 3)
    store.take(taken(other[0], one[0]), now_ms=5)
    store.take(taken(one[1], other[1]), now_ms=6)
    batch = store.next_batch(now_ms=10, bytes_max=MIB, segments_max=64)
    assert batch is not None
    assert (batch.producer, [held.raw for held in batch.segments]) == ("recorder-2", other[:2])
    store.settle([Settled(held, "forwarded", 1_000) for held in batch.segments])
    assert [held.raw for held in due(store, now_ms=10)] == one[:2]


def test_a_batch_is_bounded_by_bytes_but_never_empty(store: CustodyStore) -> None:
    raws = sealed(life(), 5)
    store.take(taken(*raws), now_ms=1)
    assert [held.raw for held in due(store, now_ms=2, bytes_max=1)] == raws[:1]
    room = len(raws[0]) + len(raws[1])
    assert [held.raw for held in due(store, now_ms=2, bytes_max=room)] == raws[:2]


def test_what_was_put_off_comes_in_its_time_and_counts_its_tries(store: CustodyStore) -> None:
    (raw,) = sealed(life())
    store.take(taken(raw), now_ms=1)
    (held,) = due(store, now_ms=1)
    store.settle([Settled(held, "forwarded", 500)])
    assert due(store, now_ms=499) == []
    (again,) = due(store, now_ms=500)
    assert (again.tries, again.raw) == (1, raw)


def test_a_clock_that_was_years_ahead_puts_nothing_off_for_years(store: CustodyStore) -> None:
    (raw,) = sealed(life())
    ahead = 10**12
    store.take(taken(raw), now_ms=ahead)
    assert len(due(store, now_ms=ahead - DUE_MS_MAX - 1)) == 1
    assert due(store, now_ms=ahead - 1) == []


def test_a_release_is_remembered_with_its_receipt_and_safe_to_repeat(store: CustodyStore) -> None:
    one = life()
    raws = sealed(one, 4)
    store.take(taken(*raws), now_ms=1)
    raw = receipt_of(one, raws[:3])
    assert store.release(opened(raw), raw).segments == 3
    assert store.release(opened(raw), raw).segments == 0
    assert store.receipts() == [raw]
    older = receipt_of(one, as_of_ms=1)
    store.release(opened(older), older)
    assert store.receipts() == [raw]
    assert [held.raw for held in due(store, now_ms=2)] == raws[3:]


def test_a_chain_with_a_hole_is_released_down_to_the_hole(store: CustodyStore) -> None:
    one = life()
    raws = sealed(one, 5)
    store.take(taken(raws[0], raws[1], raws[3], raws[4]), now_ms=1)
    raw = receipt_of(one, raws)
    assert store.release(opened(raw), raw).segments == 2
    assert [held.raw for held in due(store, now_ms=2)] == raws[:2]


def test_who_took_a_segment_is_remembered_and_told_when_it_goes(store: CustodyStore) -> None:
    one = life()
    raws = sealed(one, 3)
    store.take(taken(*raws), now_ms=1)
    for held, route in zip(due(store, now_ms=1), ("relay", "kafka", None), strict=True):
        store.settle([Settled(held, "forwarded", 500, route)])
    again = due(store, now_ms=500)
    assert [(held.state, held.route) for held in again] == [
        ("forwarded", "relay"),
        ("forwarded", "kafka"),
        ("forwarded", None),
    ]
    raw = receipt_of(one, raws)
    assert store.release(opened(raw), raw) == Released(3, frozenset({"relay", "kafka"}))


def test_a_store_of_version_1_is_brought_up_with_all_that_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    raws = sealed(life(), 2)
    with CustodyStore.open(path, storage=SMALL) as store:
        store.take(taken(*raws), now_ms=1)
    connection = apsw.Connection(str(path))
    connection.execute("ALTER TABLE segment DROP COLUMN route")
    connection.pragma("user_version", 1)
    connection.close()
    for _ in range(2):
        with CustodyStore.open(path, storage=SMALL) as store:
            assert [(held.raw, held.route) for held in due(store, now_ms=1)] == [
                (raw, None) for raw in raws
            ]


def test_a_thousand_segments_are_released_by_one_receipt(store: CustodyStore) -> None:
    one = life()
    raws = sealed(one, 1_100, events=1)
    store.take(taken(*raws), now_ms=1)
    raw = receipt_of(one, raws)
    assert store.release(opened(raw), raw).segments == 1_100
    assert store.status().segments == 0


def test_on_a_full_disk_nothing_is_taken_and_what_is_held_still_gets_out(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    disk = FullDisk(6 * MIB, beside=(tmp_path / "relay.ballast",))
    storage = Storage(bytes_max=2**30, ballast_bytes=2 * MIB, any_file_system=True, vfs=disk.name)
    one = life()
    with CustodyStore.open(path, storage=storage) as store:
        raws, refused = fill(store, one)
        assert len(raws) > 100
        held = [held.raw for held in due(store, now_ms=1, bytes_max=100 * MIB)]
        assert held == raws[:64]
        for _ in range(len(raws) // 64 + 1):
            batch = due(store, now_ms=1, bytes_max=100 * MIB)
            store.settle([Settled(held, "forwarded", 1_000) for held in batch])
        raw = receipt_of(one, raws)
        assert store.release(opened(raw), raw).segments == len(raws)
        # When the disk fills up just after a commit, that is kept although it was refused.
        left = [held.raw for held in due(store, now_ms=DUE_MS_MAX)]
        assert left in ([], [refused])
        store.take(taken(*sealed(life("recorder-2", seed=2))), now_ms=2)
        assert store.status().segments == len(left) + 1
