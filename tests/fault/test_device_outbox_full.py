"""A full budget or a full disk: recording is refused loudly, and what makes room still works."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from producers.device.outbox import REFUSED_PERCENT, WARNED_PERCENT, Outbox
from producers.device.outbox_file import PAGE_BYTES, Storage, wal_of
from rekam.domain.errors import OutboxFull
from tests.support.disk_faults import FullDisk, NoRoomOnce
from tests.support.outboxes import (
    ALL,
    PRODUCER,
    line,
    lines_of,
    reading,
    receive,
    seal,
)

MIB = 1024 * 1024
BALLAST_BYTES = 2 * MIB
BUDGET_PAGES = 400
LONG = 2_000
SMALL = Storage(bytes_max=BUDGET_PAGES * PAGE_BYTES, ballast_bytes=0, any_file_system=True)
PLAIN = Storage(ballast_bytes=0, any_file_system=True)


def fill(outbox: Outbox) -> list[bytes]:
    """Append until the outbox refuses; return what it took."""
    taken: list[bytes] = []
    while True:
        text = line(len(taken), padding=LONG)
        try:
            outbox.append([text])
        except OutboxFull as error:
            assert "Everything in" in str(error)  # noqa: PT017 - the loop ends by it
            return taken
        taken.append(text)


def empty(outbox: Outbox) -> dict[tuple[int, int], bytes]:
    """Bring everything into the log as a route and a server would, and prune it."""
    seal(outbox)
    brought = outbox.unreceipted(limit_bytes=ALL)
    outbox.take(brought, route="kafka", now=reading())
    receive(outbox, brought)
    outbox.prune(now=reading(10), keep_seconds=0)
    return lines_of(brought)


def test_the_budget_warns_then_refuses_and_its_last_part_makes_room(tmp_path: Path) -> None:
    warned: list[int] = []
    with Outbox.create(tmp_path / "outbox.db", producer=PRODUCER, storage=SMALL) as outbox:
        taken: list[bytes] = []
        while not warned or len(taken) < BUDGET_PAGES / 3:
            taken.append(line(len(taken), padding=LONG))
            outbox.append(taken[-1:])
            status = outbox.status()
            assert not status.is_full
            if status.is_warning:
                warned.append(status.disk_percent)
        taken += fill(outbox)
        assert min(warned) == WARNED_PERCENT
        assert outbox.status().disk_percent in {REFUSED_PERCENT - 1, REFUSED_PERCENT}
        # What routes say of themselves still has room.
        outbox.append([line(0, kind="device.route_changed.v1")])
        assert list(empty(outbox).values())[:-1] == taken
        status = outbox.status()
        assert (status.is_full, status.is_warning) == (False, False)


def test_pages_that_pruning_freed_are_used_again(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with Outbox.create(path, producer=PRODUCER, storage=SMALL) as outbox:
        for _ in range(4):
            assert len(fill(outbox)) > BUDGET_PAGES / 4
            empty(outbox)
            assert path.with_name("outbox.db-wal").stat().st_size == 0
        assert path.stat().st_size <= BUDGET_PAGES * PAGE_BYTES


def test_above_the_warning_what_receipts_cover_goes_before_its_time_oldest_first(
    tmp_path: Path,
) -> None:
    with Outbox.create(tmp_path / "outbox.db", producer=PRODUCER, storage=SMALL) as outbox:
        noise = random.Random(1)
        while not outbox.status().is_warning:
            # What compresses would be sealed to nothing.
            pad = b'"pad":"%s"' % noise.randbytes(1_500).hex().encode()
            outbox.append([line(1).replace(b'"pad":""', pad)])
            seal(outbox)
        brought = outbox.unreceipted(limit_bytes=ALL)
        kept = len(brought) // 4
        receive(outbox, brought[:-kept])
        outbox.append([line(1, padding=30_000)])
        pruned = outbox.prune(now=reading(9), keep_seconds=10**6)
        assert 0 < pruned < len(brought) // 4
        assert WARNED_PERCENT - 5 < outbox.status().disk_percent < WARNED_PERCENT
        left = [first for (first,) in outbox._connection.execute("SELECT first FROM segment")]
        assert left == [one.first for one in brought[pruned:]]
        assert outbox.prune(now=reading(9), keep_seconds=10**6) == 0


def test_above_the_warning_nothing_goes_that_no_receipt_covers(tmp_path: Path) -> None:
    with Outbox.create(tmp_path / "outbox.db", producer=PRODUCER, storage=SMALL) as outbox:
        taken = fill(outbox)
        seal(outbox)
        outbox.take(outbox.unsent(limit_bytes=ALL), route="kafka", now=reading())
        fill(outbox)
        outbox.prune(now=reading(9), keep_seconds=0)
        assert list(lines_of(outbox.unreceipted(limit_bytes=ALL)).values()) == taken
        assert outbox.status().is_warning


def test_a_batch_that_does_not_fit_is_refused_whole_and_a_part_of_it_fits(tmp_path: Path) -> None:
    with Outbox.create(tmp_path / "outbox.db", producer=PRODUCER, storage=SMALL) as outbox:
        batch = [line(number, padding=LONG) for number in range(2 * BUDGET_PAGES)]
        with pytest.raises(OutboxFull):
            outbox.append(batch)
        assert outbox.next_seq == 1
        assert outbox.append(batch[:9]) == range(1, 10)


def test_on_a_full_disk_the_ballast_lets_everything_be_sent_and_pruned(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    ballast = tmp_path / "outbox.ballast"
    disk = FullDisk(5 * MIB, beside=(ballast,))
    storage = Storage(ballast_bytes=BALLAST_BYTES, any_file_system=True, vfs=disk.name)
    with Outbox.create(path, producer=PRODUCER, storage=storage) as outbox:
        taken = fill(outbox)
        assert ballast.stat().st_size == BALLAST_BYTES
        assert list(empty(outbox).values()) == taken
        assert outbox.status().unsent_events == 0
        # The pages that were freed take new events though the disk is as full as before.
        assert len(fill(outbox)) > 100
        assert not outbox.status().is_full or not ballast.stat().st_size


def test_while_the_ballast_is_given_up_recording_is_refused(tmp_path: Path) -> None:
    """The room that it gave is not for new events."""
    ballast = tmp_path / "outbox.ballast"
    # More than any disk has: it cannot be made whole again.
    storage = Storage(ballast_bytes=2**60, any_file_system=True)
    with Outbox.create(tmp_path / "outbox.db", producer=PRODUCER, storage=storage) as outbox:
        assert not ballast.exists()
        with pytest.raises(OutboxFull, match="disk"):
            outbox.append([line(1)])
        assert outbox.status().is_full
        assert outbox.append([line(1, kind="device.clock_anchored.v1")]) == range(1, 2)
        assert seal(outbox) == 1


def append(outbox: Outbox) -> None:
    outbox.append([line(3), line(4)])


def take(outbox: Outbox) -> None:
    outbox.take(outbox.unsent(limit_bytes=ALL), route="kafka", now=reading())


def prune(outbox: Outbox) -> None:
    receive(outbox, outbox.unreceipted(limit_bytes=ALL)[:1])
    outbox.prune(now=reading(9), keep_seconds=0)


@pytest.mark.parametrize("work", [append, seal, take, prune])
def test_no_room_at_any_write_leaves_all_that_was_there_and_the_next_try_works(
    tmp_path: Path, work: Callable[[Outbox], object]
) -> None:
    """Whichever write finds no room: nothing is lost, nothing is half done."""
    failures = 0
    first = [line(1), line(2)]
    for at_write in range(1, 60):
        path = tmp_path / f"{at_write}.db"
        disk = NoRoomOnce(at_write)
        with Outbox.create(path, producer=PRODUCER, storage=disk.storage) as outbox:
            for text in first:
                outbox.append([text])
                seal(outbox)
            if work is seal:
                outbox.append([line(3)])
            disk.armed = True
            try:
                work(outbox)
            except OutboxFull:
                failures += 1
            disk.armed = False
            work(outbox)
            seal(outbox)
            held = lines_of(outbox.unreceipted(limit_bytes=ALL))
            receipted = outbox.status().receipted_through
        assert {seq: held[1, seq] for seq in range(receipted + 1, 3)} == {
            seq: first[seq - 1] for seq in range(receipted + 1, 3)
        }
        if not disk.has_failed:
            break
    assert failures > 0
    assert not disk.has_failed


@pytest.mark.parametrize("room_mib", [1, 2, 4])
def test_a_wal_for_which_there_is_no_room_is_not_laid_out(tmp_path: Path, room_mib: int) -> None:
    path = tmp_path / "outbox.db"
    disk = FullDisk(room_mib * MIB)
    with Outbox.create(path, producer=PRODUCER, storage=disk.storage) as outbox:
        first = [line(number) for number in range(3)]
        outbox.append(first)
        seal(outbox)  # on its own: the last segment is never pruned
        outbox.make_ready()
        assert wal_of(path).stat().st_size == 0
        later = [line(number) for number in range(3, 6)]
        outbox.append(later)
        assert list(empty(outbox).values()) == first + later
        assert wal_of(path).stat().st_size == 0  # pruning keeps what was laid out alone


def test_no_wal_is_laid_out_where_the_ballast_does_not_fit(tmp_path: Path) -> None:
    """What is left of the disk is for recording."""
    path = tmp_path / "outbox.db"
    storage = Storage(ballast_bytes=2**60, any_file_system=True)
    with Outbox.create(path, producer=PRODUCER, storage=storage) as outbox:
        before = wal_of(path).stat().st_size
        outbox.make_ready()
        assert wal_of(path).stat().st_size == before


def test_on_a_disk_that_has_become_full_pruning_gives_the_wal_back(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    ballast = tmp_path / "outbox.ballast"
    storage = Storage(ballast_bytes=BALLAST_BYTES, any_file_system=True)
    with Outbox.create(path, producer=PRODUCER, storage=storage) as outbox:
        outbox.make_ready()
        for _ in range(2):
            outbox.append([line(1)])
            seal(outbox)
        receive(outbox, outbox.unreceipted(limit_bytes=ALL))
        ballast.unlink()  # as when it was given up
        assert outbox.prune(now=reading(9), keep_seconds=0)
        assert wal_of(path).stat().st_size == 0
