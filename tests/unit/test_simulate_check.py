"""The oracle of a fleet with faults sees what is lost, altered, invented and doubled."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from producers.simulator.faulty.check import Findings, compare
from producers.simulator.faulty.lines import lines_of
from producers.simulator.faulty.living import Driven, Outcome, digest
from producers.simulator.faulty.plan import Device, FaultyFleet, Life
from rekam.domain.events import EpochOpened, Event, encode
from rekam.domain.ids import Epoch, ProducerId, Seq
from rekam.domain.keys import ReaderPrivateKey, SigningKey
from rekam.domain.log import LogRecord
from rekam.domain.segment import Sealed, opening_hash, parse, seal

READER = ReaderPrivateKey.from_seed(bytes([7]) * 32)
KEY = SigningKey.from_seed(bytes([3]) * 32)
OTHER_KEY = SigningKey.from_seed(bytes([4]) * 32)
APPEND_MS = 1_764_000_000_000
PIECE_EVENTS = 10

FLEET = FaultyFleet(1, 60, 1, frozenset({"clone", "clock"}))
DEVICE = FLEET.device(0)


@dataclass(frozen=True)
class Piece:
    """A segment and what it holds."""

    raw: bytes
    epoch: int
    first: int
    last: int


def seal_lines(
    lines: Sequence[bytes], *, epoch: Epoch, first: int, prev: str, key: SigningKey = KEY
) -> bytes:
    return seal(
        lines,
        producer=DEVICE.producer,
        epoch=epoch,
        first=Seq(first),
        prev=prev,
        sealed=Sealed(0, 0, "o1"),
        signing_key=key,
        reader=READER.public,
    )


def segments_of(device: Device, life: Life) -> list[Piece]:
    """Seal everything that a life says, a few events a segment."""
    lines = [line for visit in life.visits for line in lines_of(FLEET, device, life, visit)]
    first = life.first
    if life.name == "successor":
        lines.insert(0, encode(Event(0, 0, "s1", EpochOpened(reason="clone_found"))))
        first -= 1
    prev = opening_hash(device.producer, life.epoch)
    segments = []
    for start in range(0, len(lines), PIECE_EVENTS):
        some = lines[start : start + PIECE_EVENTS]
        raw = seal_lines(some, epoch=life.epoch, first=first + start, prev=prev)
        prev = parse(raw).hash
        segments.append(Piece(raw, life.epoch, first + start, first + start + len(some) - 1))
    return segments


WHOLE = [segment for life in DEVICE.lives for segment in segments_of(DEVICE, life)]


def found(
    raws: Sequence[bytes],
    *,
    sealed: Sequence[bytes] | None = None,
    waiting: Sequence[bytes] = (),
    lost_events: int = 0,
) -> Findings:
    """Compare records with the plan; `sealed` are what the outboxes hold, usually all of it."""
    known = [one.raw for one in WHOLE] if sealed is None else sealed
    driven = Driven({DEVICE.producer: KEY.public})
    driven.outcomes[0] = Outcome(
        frozenset(map(digest, known)), frozenset(map(digest, waiting)), lost_events
    )
    records = [LogRecord(0, offset, APPEND_MS, raw) for offset, raw in enumerate(raws)]
    return compare(FLEET, driven, records, readers=[READER])


def everything() -> list[bytes]:
    return [one.raw for one in WHOLE]


def test_a_log_with_everything_in_it_holds() -> None:
    findings = found(everything())
    assert findings.holds, findings
    assert (findings.records, findings.copies, findings.events) == (len(WHOLE), 0, 60)
    assert findings.forked == findings.forked_planned == len(DEVICE.forked) > 0


def test_copies_are_counted_and_change_nothing() -> None:
    findings = found([*everything(), *everything()[:3]])
    assert findings.holds
    assert findings.copies == 3


def test_the_order_of_the_log_does_not_matter() -> None:
    assert found(everything()[::-1]) == found(everything())


@pytest.mark.parametrize("number", range(len(WHOLE)))
def test_each_missing_segment_is_seen(number: int) -> None:
    kept = [one.raw for one in WHOLE if one is not WHOLE[number]]
    findings = found(kept)
    assert not findings.holds
    assert findings.missing == WHOLE[number].last - WHOLE[number].first + 1
    assert findings.examples


def test_what_waits_in_an_outbox_is_named_so() -> None:
    left = WHOLE[-1].raw
    findings = found(everything()[:-1], waiting=[left])
    assert not findings.holds
    assert findings.waiting == 1


def test_what_waits_but_came_another_way_is_no_fault() -> None:
    assert found(everything(), waiting=everything()[:2]).holds


def test_an_altered_event_is_seen_as_one_missing_and_one_unexpected() -> None:
    first = WHOLE[0]
    lines = [
        line
        for visit in DEVICE.original.visits
        for line in lines_of(FLEET, DEVICE, DEVICE.original, visit)
    ][:PIECE_EVENTS]
    lines[-1] = lines[-1].replace(b'"wall_ms":', b'"wall_ms": ')
    raw = seal_lines(lines, epoch=Epoch(1), first=1, prev=opening_hash(DEVICE.producer, Epoch(1)))
    raws = [raw, *(one.raw for one in WHOLE if one is not first)]
    findings = found(raws, sealed=raws)
    assert not findings.holds
    assert (findings.missing, findings.unexpected) == (1, 1)
    assert findings.examples == (f"{DEVICE.producer}/1/{PIECE_EVENTS}",)


def test_a_segment_that_no_outbox_sealed_is_seen() -> None:
    findings = found(everything(), sealed=everything()[:-1])
    assert not findings.holds
    assert findings.foreign_segments == 1


def test_the_same_events_under_other_seqs_are_unexpected() -> None:
    last = max((one for one in WHOLE if one.epoch == 1), key=lambda one: one.last)
    line = lines_of(FLEET, DEVICE, DEVICE.original, DEVICE.original.visits[0])[-1]
    raw = seal_lines([line], epoch=Epoch(1), first=last.last + 1, prev=parse(last.raw).hash)
    findings = found([*everything(), raw], sealed=[*everything(), raw])
    assert not findings.holds
    assert (findings.missing, findings.unexpected) == (0, 1)


def test_a_fork_that_nobody_planned_is_seen() -> None:
    last = max((one for one in WHOLE if one.epoch == 2), key=lambda one: one.last)
    line = encode(Event(0, 0, "s1", EpochOpened(reason="again")))
    raw = seal_lines([line], epoch=Epoch(2), first=last.first, prev="0" * 64)
    findings = found([*everything(), raw], sealed=[*everything(), raw])
    assert not findings.holds
    assert findings.forked == findings.forked_planned + 1


def test_a_segment_by_another_key_or_with_a_flipped_bit_is_unreadable() -> None:
    raw = everything()[0]
    forged = seal_lines([b"{}"], epoch=Epoch(1), first=1, prev="0" * 64, key=OTHER_KEY)
    for bad in (forged, raw[:-1] + bytes([raw[-1] ^ 1]), b"garbage"):
        findings = found([*everything(), bad], sealed=[*everything(), bad])
        assert not findings.holds
        assert findings.unreadable == 1


def test_a_segment_for_another_reader_is_unreadable() -> None:
    other = ReaderPrivateKey.from_seed(bytes([8]) * 32)
    driven = Driven({DEVICE.producer: KEY.public})
    driven.outcomes[0] = Outcome(frozenset(map(digest, everything())), frozenset(), 0)
    records = [LogRecord(0, offset, APPEND_MS, raw) for offset, raw in enumerate(everything())]
    findings = compare(FLEET, driven, records, readers=[other])
    assert findings.unreadable == len(WHOLE)
    assert not findings.holds


def test_events_lost_by_a_kill_are_a_fault_also_when_they_are_said_again() -> None:
    findings = found(everything(), lost_events=2)
    assert findings.lost_after_kill == 2
    assert not findings.holds


def test_records_of_other_producers_are_not_looked_at() -> None:
    raw = seal(
        [b"{}"],
        producer=ProducerId("somebody"),
        epoch=Epoch(1),
        first=Seq(1),
        prev="0" * 64,
        sealed=Sealed(0, 0, "b"),
        signing_key=OTHER_KEY,
        reader=READER.public,
    )
    findings = found([*everything(), raw])
    assert findings.holds
    assert findings.records == len(WHOLE)


def test_dates_are_unknown_as_often_as_planned() -> None:
    findings = found(everything())
    assert findings.date_unknown == findings.date_unknown_planned
