"""What the outbox does with lanes, routes, receipts, forks and flipped bits."""

import random
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from producers.device.lanes import lane_of
from producers.device.outbox import (
    DIAGNOSTICS_MAX,
    HEALTH_SLOTS_MAX,
    Outbox,
    Overdue,
    Place,
    ReceiptEffect,
    Refused,
)
from producers.device.outbox_file import PAGE_BYTES, WAL_PAGES, Storage, wal_of
from producers.device.refusals import AGAIN_SECONDS, REFUSALS_MAX
from rekam.domain.errors import Corrupt, Misconfigured, OutboxFull
from rekam.domain.events import FaultReported, decode
from rekam.domain.ids import Epoch
from rekam.domain.receipt import EpochReceipt, Receipt, Run
from rekam.domain.segment import parse
from tests.support.outboxes import (
    ALL,
    PRODUCER,
    line,
    lines_of,
    reading,
    receive,
    run_of,
    seal,
)

VERSION_1 = """
CREATE TABLE outbox (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    producer TEXT    NOT NULL,
    epoch    INTEGER NOT NULL CHECK (epoch >= 1)
) STRICT;
CREATE TABLE event (seq INTEGER PRIMARY KEY CHECK (seq >= 1), line BLOB NOT NULL) STRICT;
CREATE TABLE segment (
    first   INTEGER PRIMARY KEY CHECK (first >= 1),
    last    INTEGER NOT NULL,
    hash    TEXT    NOT NULL,
    raw     BLOB    NOT NULL,
    CHECK (last >= first)
) STRICT;
CREATE TRIGGER segment_is_sealed_once BEFORE UPDATE ON segment
BEGIN
    SELECT raise(ABORT, 'a sealed segment never changes');
END;
CREATE TABLE unsent (
    first   INTEGER PRIMARY KEY REFERENCES segment (first),
    last    INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE boot (
    boot          TEXT PRIMARY KEY,
    first_wall_ms INTEGER NOT NULL,
    offset_ms     INTEGER
) STRICT, WITHOUT ROWID;
"""
"""The tables that the first version made."""

PLAIN = Storage(ballast_bytes=0, any_file_system=True)
AGAIN_MS = AGAIN_SECONDS * 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def made(path: Path, *, segments: int = 0) -> Outbox:
    """Make an outbox with segments of two events each."""
    outbox = Outbox.create(path, producer=PRODUCER, storage=PLAIN)
    for number in range(segments):
        outbox.append([line(2 * number + 1), line(2 * number + 2)])
        seal(outbox)
    return outbox


def by_hand(path: Path, sql: str) -> None:
    """Change the file behind the outbox's back, as a failing disk does."""
    connection = apsw.Connection(str(path))
    connection.execute("DROP TRIGGER segment_is_sealed_once")
    connection.execute(sql)
    connection.close()


# -- lanes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_type", "lane"),
    [
        ("recording.captured.v1", "recording"),
        ("device.fault_reported.v1", "critical"),
        ("device.heartbeat.v1", "health"),
        ("diagnostic.reported.v1", "diagnostic"),
        ("of.tomorrow.v9", "recording"),
    ],
)
def test_each_type_has_a_lane_and_an_unknown_one_is_never_dropped(
    event_type: str, lane: str
) -> None:
    assert lane_of(event_type) == lane


def test_the_latest_health_line_wins_and_gets_its_seq_when_it_is_sealed(path: Path) -> None:
    with made(path) as outbox:
        outbox.put_health("heartbeat", line(1))
        outbox.put_health("heartbeat", line(2))
        outbox.append([line(3)])
        assert (outbox.pending(), outbox.status().waiting_health) == (1, 1)
        seal(outbox)
        assert list(lines_of(outbox.unsent(limit_bytes=ALL)).values()) == [line(3), line(2)]


def test_while_no_route_works_health_goes_on_being_replaced(path: Path) -> None:
    with made(path) as outbox:
        outbox.put_health("heartbeat", line(1))
        assert seal(outbox, with_health=False) == 0
        outbox.put_health("heartbeat", line(2))
        assert seal(outbox) == 1
        assert list(lines_of(outbox.unsent(limit_bytes=ALL)).values()) == [line(2)]


def test_health_slots_are_bounded_and_one_in_use_can_always_be_replaced(path: Path) -> None:
    with made(path) as outbox:
        for number in range(HEALTH_SLOTS_MAX):
            outbox.put_health(f"slot {number}", line(number))
        with pytest.raises(OutboxFull, match="slots"):
            outbox.put_health("one more", line(0))
        outbox.put_health("slot 3", line(0))


def test_the_oldest_diagnostics_are_dropped_and_counted(path: Path) -> None:
    with made(path) as outbox:
        for number in range(DIAGNOSTICS_MAX + 3):
            outbox.put_diagnostic(line(number))
        assert outbox.status().dropped_diagnostics == 3
        seal(outbox)
        kept = list(lines_of(outbox.unsent(limit_bytes=ALL)).values())
        assert kept == [line(number) for number in range(3, DIAGNOSTICS_MAX + 3)]


def test_segments_with_critical_events_can_go_first(path: Path) -> None:
    with made(path, segments=3) as outbox:
        outbox.append([line(7), line(8, kind="device.clock_anchored.v1")])
        seal(outbox)
        assert [one.first for one in outbox.unsent_critical(limit_bytes=ALL)] == [7]
        outbox.take(outbox.unsent_critical(limit_bytes=ALL), route="kafka", now=reading())
        assert outbox.unsent_critical(limit_bytes=ALL) == []


# -- routes --------------------------------------------------------------------------------------


def test_a_queue_is_read_in_bounded_parts_between_two_places(path: Path) -> None:
    with made(path, segments=4) as outbox:
        one = outbox.unsent(limit_bytes=1)
        assert [each.first for each in one] == [1]
        between = outbox.unsent(limit_bytes=ALL, after=one[-1].place, through=Place(5))
        assert [each.first for each in between] == [3, 5]


def test_of_two_routes_the_first_that_took_a_segment_counts(path: Path) -> None:
    with made(path, segments=1) as outbox:
        segments = outbox.unsent(limit_bytes=ALL)
        outbox.take(segments, route="relay", now=reading(1_000))
        outbox.take(segments, route="kafka", now=reading(9_000))
        late = outbox.overdue(now=reading(10_000), seconds=9)
        assert late == [Overdue(1, 2, "relay", Epoch(1), Place(1))]


def test_custody_is_overdue_by_the_monotonic_clock_and_in_another_boot_by_its_age(
    path: Path,
) -> None:
    with made(path, segments=1) as outbox:
        outbox.take(outbox.unsent(limit_bytes=ALL), route="relay", now=reading(50_000))
        day_ms = 86_400_000
        for now, is_late in (
            (reading(59_999, wall_ms=99 * day_ms), False),
            (reading(60_000), True),
            (reading(9_999, boot="later"), False),
            (reading(10_000, boot="later"), True),
        ):
            assert bool(outbox.overdue(now=now, seconds=10)) is is_late


def test_what_is_taken_again_has_twice_the_time_up_to_a_limit_and_after_a_restart_the_first(
    path: Path,
) -> None:
    waits: list[int] = []
    with made(path, segments=1) as outbox:
        taken_ms = 0
        outbox.take(outbox.unsent(limit_bytes=ALL), route="relay", now=reading(taken_ms))
        for now_ms in range(0, 60_000, 1_000):
            late = outbox.overdue(now=reading(now_ms), seconds=1, seconds_max=10)
            assert bool(outbox.overdue(now=reading(now_ms), seconds=1)) is (now_ms > taken_ms)
            if late:
                waits.append((now_ms - taken_ms) // 1_000)
                taken_ms = now_ms
                outbox.requeue([one.place for one in late])
                outbox.take(outbox.unsent(limit_bytes=ALL), route="relay", now=reading(now_ms))
        assert waits == [1, 2, 4, 8, 10, 10, 10, 10]
        later = reading(1_000, boot="later")
        assert len(outbox.overdue(now=later, seconds=1, seconds_max=10)) == 1


def test_a_refused_segment_is_set_aside_until_it_is_tried_again(path: Path) -> None:
    with made(path, segments=2) as outbox:
        first, second = outbox.unsent(limit_bytes=ALL)
        outbox.refuse(first, route="gateway", code="key_mismatch", now=reading())
        status = outbox.status()
        assert (status.refused_segments, status.refused_events, status.unsent_events) == (1, 2, 2)
        assert outbox.unsent(limit_bytes=ALL) == [second]
        assert outbox.unreceipted(limit_bytes=ALL) == [first, second]
        assert outbox.retry_refused() == [Refused(1, 2, "gateway", "key_mismatch", Epoch(1))]
        assert outbox.retry_refused() == []
        assert outbox.unsent(limit_bytes=ALL) == [first, second]
        again, other = outbox.unsent(limit_bytes=ALL)
        assert (again.refused_by, other.refused_by) == ("gateway", None)


# -- refusals ------------------------------------------------------------------------------------


def refused(outbox: Outbox, *places: int, mono_ms: int = 1, boot: str = "b") -> None:
    """Let the gateway refuse what waits at these places; the rest is taken by Kafka."""
    for one in outbox.unsent(limit_bytes=ALL):
        now = reading(mono_ms, boot=boot)
        if one.place in places:
            outbox.refuse(one, route="gateway", code="key_mismatch", now=now)
        else:
            outbox.take([one], route="kafka", now=now)


@pytest.mark.parametrize(("gaps", "missing"), [(((1, 2),), 1), ((), 0)], ids=["gap", "no gap"])
def test_what_was_refused_is_offered_again_when_a_receipt_misses_it_and_some_time_has_passed(
    path: Path, gaps: tuple[tuple[int, int], ...], missing: int
) -> None:
    with made(path, segments=2) as outbox:
        first, second = outbox.unsent(limit_bytes=ALL)
        refused(outbox, 1)
        early = receive(outbox, [second], gaps=gaps, as_of_ms=1, now=reading(AGAIN_MS))
        assert early.requeued_segments == 0
        receive(outbox, [second], gaps=gaps, as_of_ms=2, now=reading(1 + AGAIN_MS))
        assert outbox.unsent(limit_bytes=ALL) == [first][:missing]
        assert outbox.status().refused_segments == 1 - missing


def test_what_was_refused_above_all_that_arrived_is_missing_too(path: Path) -> None:
    with made(path, segments=2) as outbox:
        first, second = outbox.unsent(limit_bytes=ALL)
        refused(outbox, 3)
        effect = receive(outbox, [first], as_of_ms=2, now=reading(1 + AGAIN_MS))
        assert (effect.receipted_events, effect.requeued_segments) == (2, 1)
        assert outbox.unsent(limit_bytes=ALL) == [second]


def test_what_is_refused_each_time_waits_longer_each_time_and_then_for_a_person(
    path: Path,
) -> None:
    waits: list[int] = []
    with made(path, segments=2) as outbox:
        _, second = outbox.unsent(limit_bytes=ALL)
        now_ms = since_ms = 1
        refused(outbox, 1)
        for as_of_ms in range(1, 2_000):
            now_ms += AGAIN_MS
            receive(outbox, [second], gaps=((1, 2),), as_of_ms=as_of_ms, now=reading(now_ms))
            if outbox.unsent(limit_bytes=ALL):
                waits.append((now_ms - since_ms) // AGAIN_MS)
                since_ms = now_ms
                refused(outbox, 1, mono_ms=now_ms)
        assert waits == [1, 2, 4, 8, 16, 32, 64, 96, 96]
        assert len(waits) == REFUSALS_MAX - 1
        assert len(outbox.retry_refused()) == 1
        refused(outbox, 1, mono_ms=now_ms)
        now_ms += AGAIN_MS
        receive(outbox, [second], gaps=((1, 2),), as_of_ms=9_999, now=reading(now_ms))
        assert len(outbox.unsent(limit_bytes=ALL)) == 1, "a person's word begins it anew"


def test_a_restart_does_not_put_off_what_was_refused(path: Path) -> None:
    with made(path, segments=2) as outbox:
        _, second = outbox.unsent(limit_bytes=ALL)
        refused(outbox, 1, mono_ms=10**9)
        for now_ms, count in ((AGAIN_MS - 1, 0), (AGAIN_MS, 1)):
            now = reading(now_ms, boot="later")
            receive(outbox, [second], gaps=((1, 2),), as_of_ms=now_ms, now=now)
            assert len(outbox.unsent(limit_bytes=ALL)) == count


def test_without_any_receipt_what_was_refused_is_offered_again_after_a_day(path: Path) -> None:
    day_ms = 86_400_000
    with made(path, segments=1) as outbox:
        refused(outbox, 1)
        assert outbox.retry_long_refused(now=reading(day_ms)) == 0
        assert outbox.retry_long_refused(now=reading(day_ms + 1)) == 1
        for day in range(1, 20):
            refused(outbox, 1, mono_ms=day * day_ms)
            outbox.retry_long_refused(now=reading((day + 1) * day_ms))
        assert outbox.unsent(limit_bytes=ALL) == []
        assert outbox.status().refused_segments == 1


# -- receipts ------------------------------------------------------------------------------------


def test_a_run_covers_only_segments_that_lie_wholly_in_it(path: Path) -> None:
    with made(path, segments=3) as outbox:
        segments = outbox.unsent(limit_bytes=ALL)
        run = Run(2, 4, run_of(segments[:2]).head)
        effect = outbox.apply_receipt(EpochReceipt(1, (run,)), raw=b"r", as_of_ms=1, now=reading())
        assert effect == ReceiptEffect(receipted_events=2, requeued_segments=0)
        assert outbox.unsent(limit_bytes=ALL) == [segments[0], segments[2]]


def test_a_gap_is_sent_again_once_for_each_newer_receipt(path: Path) -> None:
    with made(path, segments=3) as outbox:
        segments = outbox.unsent(limit_bytes=ALL)
        outbox.take(segments, route="kafka", now=reading())
        for as_of_ms, requeued in ((5, 1), (5, 0), (4, 0), (6, 1)):
            effect = receive(outbox, segments[2:], gaps=((2, 2),), as_of_ms=as_of_ms)
            assert effect.requeued_segments == requeued
            outbox.take(outbox.unsent(limit_bytes=ALL), route="kafka", now=reading())


def test_what_a_later_receipt_misses_is_sent_again_though_an_earlier_one_had_it(
    path: Path,
) -> None:
    """The cluster was restored from an older copy: the device refills it."""
    with made(path, segments=3) as outbox:
        segments = outbox.unsent(limit_bytes=ALL)
        receive(outbox, segments, as_of_ms=5)
        effect = receive(outbox, segments[2:], gaps=((1, 4),), as_of_ms=9)
        assert effect.requeued_segments == 2
        assert outbox.unsent(limit_bytes=ALL) == segments[:2]


def test_the_newest_receipt_is_kept(path: Path) -> None:
    with made(path, segments=1) as outbox:
        segments = outbox.unsent(limit_bytes=ALL)
        assert outbox.last_receipt() is None
        receive(outbox, segments, as_of_ms=5)
        receive(outbox, segments, as_of_ms=3)
        assert outbox.last_receipt() == (b"receipt 5", 5)


def test_keep_time_passes_by_the_brokers_clock_when_ours_says_too_little(path: Path) -> None:
    hour_ms = 3_600_000
    with made(path, segments=2) as outbox:
        segments = outbox.unsent(limit_bytes=ALL)
        receive(outbox, segments[:1], as_of_ms=1, now=reading(1_000))
        wrong = reading(2_000, wall_ms=9_999 * hour_ms)
        assert outbox.prune(now=wrong, keep_seconds=3_600) == 0
        assert outbox.prune(now=reading(9_000, boot="later"), keep_seconds=3_600) == 0
        receive(outbox, segments[:1], as_of_ms=1 + hour_ms, now=reading(10_000, boot="later"))
        assert outbox.prune(now=reading(11_000, boot="later"), keep_seconds=3_600) == 2


def test_a_pruned_segment_still_proves_what_came_before_it(path: Path) -> None:
    """The hash stays while an earlier segment waits; with it a longer run can cover that one."""
    with made(path, segments=3) as outbox:
        segments = outbox.unsent(limit_bytes=ALL)
        receive(outbox, segments[1:2], as_of_ms=1)
        assert outbox.prune(now=reading(9), keep_seconds=0) == 2
        effect = receive(outbox, segments[:2], as_of_ms=2)
        assert (effect.receipted_events, effect.is_fork_suspected) == (2, False)


def test_no_segment_leaves_without_a_receipt_whatever_the_software_does(path: Path) -> None:
    with made(path, segments=2) as outbox:
        outbox.take(outbox.unsent(limit_bytes=ALL), route="kafka", now=reading())
        with pytest.raises(apsw.ConstraintError, match="no receipt"):
            outbox._connection.execute("DELETE FROM segment")


# -- forks and epochs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "receipt",
    [
        pytest.param(EpochReceipt(1, (Run(1, 9, "a" * 64),)), id="beyond our head"),
        pytest.param(EpochReceipt(1, (Run(1, 4, "a" * 64),)), id="another hash at our seq"),
        pytest.param(EpochReceipt(1, (Run(1, 3, "a" * 64),)), id="cut where we did not cut"),
        pytest.param(EpochReceipt(2, (Run(1, 1, "a" * 64),)), id="an epoch that we never opened"),
    ],
)
def test_a_receipt_for_what_we_never_sealed_stops_sealing_until_a_new_epoch(
    path: Path, receipt: EpochReceipt
) -> None:
    with made(path, segments=2) as outbox:
        effect = outbox.apply_receipt(receipt, raw=b"r", as_of_ms=1, now=reading())
        assert effect == ReceiptEffect(0, 0, is_fork_suspected=True)
        outbox.append([line(9)])
        assert seal(outbox) == 0
        assert outbox.status().is_fork_suspected
        epoch = outbox.begin_epoch(reason="a copy", now=reading())
        assert epoch == max(2, receipt.epoch + 1)
        assert not outbox.status().is_fork_suspected
        assert seal(outbox) == 1
        held = lines_of(outbox.unsent(limit_bytes=ALL))
        assert held[epoch, 2] == line(9)
        assert [seq for of, seq in held if of == 1] == [1, 2, 3, 4]


def test_the_other_run_of_an_old_epoch_is_no_news(path: Path) -> None:
    with made(path, segments=2) as outbox:
        outbox.begin_epoch(reason="a copy", now=reading())
        foreign = EpochReceipt(1, (Run(1, 9, "a" * 64),))
        effect = outbox.apply_receipt(foreign, raw=b"r", as_of_ms=1, now=reading())
        assert effect == ReceiptEffect(0, 0)
        own = outbox.unsent(limit_bytes=ALL)
        assert receive(outbox, own, as_of_ms=2).receipted_events == 4


# -- sums over epochs ------------------------------------------------------------------------------


def receipt_of(*epochs: EpochReceipt) -> Receipt:
    return Receipt(1, PRODUCER, 9, (), epochs)


def test_saved_and_committed_are_summed_over_all_epochs(path: Path) -> None:
    with made(path, segments=3) as outbox:
        first = outbox.unsent(limit_bytes=ALL)
        epoch = outbox.begin_epoch(reason="a new card", now=reading())
        outbox.append([line(8), line(9)])
        seal(outbox)
        second = outbox.unsent(limit_bytes=ALL)[3:]
        assert outbox.status().recorded_events == 6 + 3
        some = receipt_of(EpochReceipt(1, (run_of(first[:2]),)))
        outbox.apply_receipt(some.epochs[0], raw=b"r", as_of_ms=8, now=reading())
        assert outbox.committed_events(some) == 4
        everything = receipt_of(
            EpochReceipt(1, (run_of(first),)), EpochReceipt(epoch, (run_of(second),))
        )
        for one in everything.epochs:
            outbox.apply_receipt(one, raw=b"r", as_of_ms=9, now=reading())
        outbox.append([line(10)])
        assert outbox.status().recorded_events == 6 + 4
        assert outbox.committed_events(everything) == 6 + 3
        assert outbox.prune(now=reading(9), keep_seconds=0) == 6
        assert outbox.committed_events(everything) == 6 + 3
        assert outbox.committed_events(receipt_of()) == 0


def test_what_a_copy_sealed_under_our_seqs_does_not_count_as_committed(path: Path) -> None:
    with made(path, segments=2) as outbox:
        own = outbox.unsent(limit_bytes=ALL)
        theirs = EpochReceipt(1, (run_of(own[:1]), Run(3, 9, "a" * 64)))
        outbox.apply_receipt(theirs, raw=b"r", as_of_ms=1, now=reading())
        assert outbox.committed_events(receipt_of(theirs)) == 2


# -- flipped bits --------------------------------------------------------------------------------


def test_a_segment_whose_bytes_changed_is_a_gap_with_a_fault_and_no_stop(path: Path) -> None:
    made(path, segments=3).close()
    by_hand(path, "UPDATE segment SET raw = CAST(zeroblob(length(raw)) AS BLOB) WHERE first = 3")
    with Outbox.open(path, storage=PLAIN) as outbox:
        assert [one.first for one in outbox.unsent(limit_bytes=ALL)] == [1, 5]
        status = outbox.status()
        assert (status.damaged_segments, status.damaged_events) == (1, 2)
        assert status.damaged_now_events == 2
        assert seal(outbox) == 1
        (told,) = list(lines_of(outbox.unsent(limit_bytes=ALL)).values())[-1:]
        assert decode(told).data == FaultReported(
            component="outbox", fault="segment_damaged", detail="epoch 1, events 3 to 4"
        )


def test_a_damaged_segment_that_had_arrived_is_covered_like_any_other(path: Path) -> None:
    with made(path, segments=3) as outbox:
        segments = outbox.unsent(limit_bytes=ALL)
    by_hand(path, "UPDATE segment SET raw = CAST(zeroblob(length(raw)) AS BLOB) WHERE first = 3")
    with Outbox.open(path, storage=PLAIN) as outbox:
        outbox.unsent(limit_bytes=ALL)
        assert receive(outbox, segments).receipted_events == 6
        assert outbox.status().damaged_segments == 0


def test_a_line_whose_bits_changed_names_nobody_else(path: Path) -> None:
    with made(path) as outbox:
        outbox.append([line(1), line(2), line(3)])
    by_hand(path, "UPDATE event SET line = CAST(replace(line, ':2,', ':7,') AS BLOB) WHERE seq = 2")
    with Outbox.open(path, storage=PLAIN) as outbox:
        seal(outbox)
        first, second, third = lines_of(outbox.unsent(limit_bytes=ALL)).values()
        assert (first, third) == (line(1), line(3))
        assert decode(second).data == FaultReported(
            component="outbox", fault="event_damaged", detail="its seq was 2"
        )
        status = outbox.status()
        assert (status.damaged_segments, status.damaged_events) == (0, 1)
        assert status.damaged_now_events == 1
        outbox.begin_epoch(reason="the card was changed", now=reading())
        status = outbox.status()
        assert (status.damaged_events, status.damaged_now_events) == (1, 0)


# -- opening -------------------------------------------------------------------------------------


def test_a_wal_that_is_laid_out_grows_no_more_and_holds_nothing(path: Path) -> None:
    wal = wal_of(path)
    with Outbox.create(path, producer=PRODUCER, storage=PLAIN) as outbox:
        outbox.append([line(1)])
        before = outbox.status()
        outbox.make_ready()
        laid_out = wal.stat().st_size
        assert laid_out >= WAL_PAGES * PAGE_BYTES
        assert replace(outbox.status(), disk_bytes=before.disk_bytes) == before
        for number in range(2, WAL_PAGES + 2):
            outbox.append([line(number)])
        outbox.make_ready()
        assert wal.stat().st_size == laid_out
        seal(outbox)
        held = outbox.unreceipted(limit_bytes=ALL)
        assert list(lines_of(held).values()) == [line(number) for number in range(1, WAL_PAGES + 2)]
        receive(outbox, held)
        assert outbox.prune(now=reading(9), keep_seconds=0)
        assert wal.stat().st_size == laid_out


def test_pruning_leaves_no_wal_to_an_outbox_that_is_opened_for_a_moment(path: Path) -> None:
    with Outbox.create(path, producer=PRODUCER, storage=PLAIN) as outbox:
        outbox.append([line(1), line(2)])
        seal(outbox, events_max=1)
        receive(outbox, outbox.unreceipted(limit_bytes=ALL))
        assert outbox.prune(now=reading(9), keep_seconds=0)
        assert wal_of(path).stat().st_size == 0


def test_what_was_laid_out_is_gone_when_the_last_one_closes(path: Path) -> None:
    with Outbox.create(path, producer=PRODUCER, storage=PLAIN) as outbox:
        outbox.make_ready()
    assert not wal_of(path).exists()


def test_an_outbox_of_a_later_version_is_refused_and_not_mended(path: Path) -> None:
    made(path).close()
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(Misconfigured, match="version 99"):
        Outbox.open(path, storage=PLAIN)


def test_an_outbox_of_version_1_is_brought_up_with_all_that_is_in_it(path: Path) -> None:
    with made(path.with_name("now.db"), segments=2) as outbox:
        first, second = outbox.unsent(limit_bytes=ALL)
    connection = apsw.Connection(str(path))
    connection.execute(VERSION_1)
    connection.pragma("application_id", 0x524B4D31)
    connection.pragma("user_version", 1)
    connection.execute("INSERT INTO outbox VALUES (1, 'dev-1', 1)")
    for one in (first, second):
        connection.execute(
            "INSERT INTO segment VALUES (?, ?, ?, ?)",
            (one.first, one.last, parse(one.raw).hash, one.raw),
        )
    connection.execute("INSERT INTO unsent VALUES (3, 4, ?, 3)", (len(second.raw),))
    connection.execute("INSERT INTO event VALUES (5, ?)", (line(5),))
    connection.execute("INSERT INTO boot VALUES ('b', 1, 7)")
    connection.close()
    for _ in range(2):
        with Outbox.open(path, storage=PLAIN) as outbox:
            assert (outbox.producer, outbox.epoch, outbox.next_seq) == ("dev-1", 1, 6)
            assert outbox.unsent(limit_bytes=ALL) == [second]
            assert outbox.unreceipted(limit_bytes=ALL) == [first, second]
            assert [one.offset_ms for one in outbox.boots("b")] == [7]
    with Outbox.open(path, storage=PLAIN) as outbox:
        assert seal(outbox) == 1
        assert receive(outbox, outbox.unreceipted(limit_bytes=ALL)).receipted_events == 5


def test_an_outbox_of_version_2_is_brought_up_and_knows_what_was_refused(path: Path) -> None:
    with made(path, segments=2) as outbox:
        first, second = outbox.unsent(limit_bytes=ALL)
        outbox.refuse(first, route="gateway", code="key_mismatch", now=reading())
    connection = apsw.Connection(str(path))
    # As version 2 kept a refusal: without its time and its number.
    connection.execute("UPDATE delivery SET boot = NULL, mono_ms = NULL WHERE state = 'refused'")
    connection.execute("ALTER TABLE delivery DROP COLUMN tries")
    connection.execute("ALTER TABLE delivery DROP COLUMN refusals")
    connection.execute("ALTER TABLE delivery DROP COLUMN refused_by")
    connection.execute("DROP TABLE relay_anchor")
    connection.pragma("user_version", 2)
    connection.close()
    with Outbox.open(path, storage=PLAIN) as outbox:
        assert outbox.unsent(limit_bytes=ALL) == [second]
        receive(outbox, [second], gaps=((1, 2),), now=reading(AGAIN_MS))
        (again,) = outbox.unsent(limit_bytes=ALL)
        assert (again, again.refused_by) == (first, "gateway")


def test_an_outbox_of_version_2_is_brought_up_with_all_that_is_in_it(path: Path) -> None:
    with made(path, segments=2) as outbox:
        waiting = outbox.unsent(limit_bytes=ALL)
        outbox.append([line(8)], anchored={"b": 7})
    connection = apsw.Connection(str(path))
    for column in ("tries", "refusals", "refused_by"):
        connection.execute(f"ALTER TABLE delivery DROP COLUMN {column}")
    connection.execute("DROP TABLE relay_anchor")
    connection.pragma("user_version", 2)
    connection.close()
    for _ in range(2):
        with Outbox.open(path, storage=PLAIN) as outbox:
            assert outbox.unsent(limit_bytes=ALL) == waiting
            outbox.append([line(9)], by_relay={"b": 9})
            (session,) = outbox.boots("b")
            assert (session.offset_ms, session.relay_offset_ms) == (7, 9)


def test_a_file_of_random_bytes_is_corrupt(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(20_000))
    with pytest.raises(Corrupt, match="damaged"):
        Outbox.open(path, storage=PLAIN)
