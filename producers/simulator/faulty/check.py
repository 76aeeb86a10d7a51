"""Hold the log against what was appended: nothing lost, altered, invented, or doubled unseen.

    acknowledged ⇒ in the log, or in an outbox
    in the log ⇒ was appended
    the bytes are equal: of every event to the plan's, of every segment to an outbox's
    two events have one id only where the plan made a clone

Asks nothing of the projections: it reads the log with the reader key and the pure segment code.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from producers.simulator.faulty.lines import ANY_ZONE, lines_of, unknown_dates
from producers.simulator.faulty.living import Driven, Outcome, digest
from producers.simulator.faulty.log import LogPlace, Offsets
from producers.simulator.faulty.plan import ENROLLED_MS, Device, FaultyFleet
from rekam.domain.clocks import occurred_on
from rekam.domain.errors import EventRejected, Held, SegmentRejected
from rekam.domain.events import ClockAnchored, EpochOpened, Event, RecordingCaptured, decode
from rekam.domain.ids import ProducerId
from rekam.domain.keys import ReaderPrivateKey, VerifyKey
from rekam.domain.log import LogRecord
from rekam.domain.segment import Segment, open_body, parse, verify

CUSTODY_SECONDS_MAX: Final = 60.0
"""How long a relay has to bring to the log what it took."""

CUSTODY_POLL_SECONDS: Final = 1.0
EXAMPLES_MAX: Final = 5

EventId = tuple[str, int, int]
"""(producer, epoch, seq)."""


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What the log holds, and how that differs from what was appended."""

    records: int
    """Of the fleet, copies included."""
    copies: int
    """Records whose bytes came before."""
    events: int
    """Different events."""
    forked: int
    """Seqs that two different events have."""
    forked_planned: int
    date_unknown: int
    """Recordings whose day nobody can know."""
    date_unknown_planned: int
    missing: int
    """Events that were appended and are not in the log; those of `waiting` are among them."""
    waiting: int
    """Segments that an outbox still wants to send and the log does not hold."""
    lost_after_kill: int
    """Told to be durable, and gone after SIGKILL."""
    unexpected: int
    """In the log, and never appended: not by that producer, or not these bytes."""
    unreadable: int
    """Records that are no authentic segment of the fleet."""
    foreign_segments: int
    """Segments in the log that no outbox has sealed in these bytes."""
    examples: tuple[str, ...] = ()
    """Ids of some of those that are wrong."""

    @property
    def holds(self) -> bool:
        """Return whether the log holds exactly what was appended."""
        wrong = (
            self.missing,
            self.waiting,
            self.lost_after_kill,
            self.unexpected,
            self.unreadable,
            self.foreign_segments,
        )
        return not any(wrong) and (self.forked, self.date_unknown) == (
            self.forked_planned,
            self.date_unknown_planned,
        )


async def check(
    fleet: FaultyFleet,
    driven: Driven,
    *,
    log: LogPlace,
    starts: Offsets,
    readers: Sequence[ReaderPrivateKey],
) -> Findings:
    """Read the log from `starts` on and compare. Raises Unavailable when Kafka does not answer."""
    records = await _records(driven, log, starts)
    return await asyncio.to_thread(compare, fleet, driven, records, readers=readers)


async def _records(driven: Driven, log: LogPlace, starts: Offsets) -> list[LogRecord]:
    """Return the log's records; wait for what a relay has promised to bring."""
    sealed = frozenset().union(*(outcome.sealed for outcome in driven.outcomes.values()))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CUSTODY_SECONDS_MAX
    while True:
        records = [record async for record in log.read(starts)]
        if not driven.custody_segments or loop.time() > deadline:
            return records
        if sealed <= {digest(record.value) for record in records}:
            return records
        await asyncio.sleep(CUSTODY_POLL_SECONDS)


def compare(
    fleet: FaultyFleet,
    driven: Driven,
    records: Iterable[LogRecord],
    *,
    readers: Sequence[ReaderPrivateKey],
) -> Findings:
    """Compare records with the plan, one device at a time. Pure."""
    by_producer: defaultdict[str, list[tuple[LogRecord, Segment]]] = defaultdict(list)
    work = _Comparison(readers={reader.id: reader for reader in readers})
    for record in records:
        try:
            segment = parse(record.value)
        except (SegmentRejected, Held):
            # Whose it is nobody can say; in a log of our own it should not be.
            work.unreadable += 1
            continue
        by_producer[segment.header.producer].append((record, segment))
    for device in fleet:
        outcome = driven.outcomes.get(device.number, _NOTHING)
        found = by_producer.get(device.producer, [])
        work.compare(fleet, device, outcome, found, key=driven.keys[device.producer])
    return work.findings()


_NOTHING: Final = Outcome(frozenset(), frozenset(), 0)


@dataclass(slots=True)
class _Comparison:
    """Sums up the devices. Written by `compare` alone."""

    readers: Mapping[str, ReaderPrivateKey]
    records: int = 0
    copies: int = 0
    events: int = 0
    forked: int = 0
    forked_planned: int = 0
    date_unknown: int = 0
    date_unknown_planned: int = 0
    missing: int = 0
    waiting: int = 0
    lost_after_kill: int = 0
    unexpected: int = 0
    unreadable: int = 0
    foreign_segments: int = 0
    examples: list[str] = field(default_factory=list)

    def compare(
        self,
        fleet: FaultyFleet,
        device: Device,
        outcome: Outcome,
        found: Sequence[tuple[LogRecord, Segment]],
        *,
        key: VerifyKey,
    ) -> None:
        """Compare one device's records with its plan."""
        earliest: dict[bytes, tuple[int, Segment]] = {}
        for record, segment in found:
            name = digest(record.value)
            known = earliest.get(name)
            if known is None or record.append_ms < known[0]:
                earliest[name] = (record.append_ms, segment)
        self.records += len(found)
        self.copies += len(found) - len(earliest)
        self.foreign_segments += len(earliest.keys() - outcome.sealed)
        self.waiting += len(outcome.waiting - earliest.keys())
        self.lost_after_kill += outcome.lost_events

        in_log = self._opened(earliest.values(), key)
        planned = _planned(fleet, device)
        for event_id in planned.keys() | in_log.keys():
            self._compare_event(
                event_id, planned.get(event_id, frozenset()), in_log.get(event_id, {})
            )
        self.forked_planned += len(device.forked)
        self.forked += sum(len(lines) > 1 for lines in in_log.values())
        self.date_unknown += _unknown_dates(in_log)
        known_ms = max((append_ms for append_ms, _ in earliest.values()), default=0)
        self.date_unknown_planned += unknown_dates(device, known_ms=known_ms)

    def _opened(
        self, segments: Iterable[tuple[int, Segment]], key: VerifyKey
    ) -> dict[EventId, dict[bytes, int]]:
        """Return the different lines of each event, with the append time of each."""
        opened: defaultdict[EventId, dict[bytes, int]] = defaultdict(dict)
        for append_ms, segment in segments:
            header = segment.header
            try:
                verify(segment, key)
                lines = open_body(segment, self.readers[header.reader])
            except (SegmentRejected, Held, KeyError):
                self.unreadable += 1
                self._note(ProducerId(header.producer), header.epoch, header.first)
                continue
            for seq, line in enumerate(lines, start=header.first):
                times = opened[header.producer, header.epoch, seq]
                times[line] = min(append_ms, times.get(line, append_ms))
        return dict(opened)

    def _compare_event(
        self, event_id: EventId, planned: frozenset[bytes], found: Mapping[bytes, int]
    ) -> None:
        lines = {_OPENED if _is_epoch_opened(line) else line for line in found}
        missing, unexpected = len(planned - lines), len(lines - planned)
        self.events += len(found)
        self.missing += missing
        self.unexpected += unexpected
        if missing or unexpected:
            self._note(*event_id)

    def _note(self, producer: str, epoch: int, seq: int) -> None:
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(f"{producer}/{epoch}/{seq}")

    def findings(self) -> Findings:
        """Return what was found in all."""
        return Findings(
            records=self.records,
            copies=self.copies,
            events=self.events,
            forked=self.forked,
            forked_planned=self.forked_planned,
            date_unknown=self.date_unknown,
            date_unknown_planned=self.date_unknown_planned,
            missing=self.missing,
            waiting=self.waiting,
            lost_after_kill=self.lost_after_kill,
            unexpected=self.unexpected,
            unreadable=self.unreadable,
            foreign_segments=self.foreign_segments,
            examples=tuple(self.examples),
        )


_OPENED: Final = b"epoch.opened"
"""Stands for the one event that the outbox itself makes: it names a hash that no plan knows."""


def _planned(fleet: FaultyFleet, device: Device) -> dict[EventId, frozenset[bytes]]:
    """Return the lines that each event of a device may have."""
    planned: defaultdict[EventId, set[bytes]] = defaultdict(set)
    for life in device.lives:
        if life.name == "successor":
            planned[device.producer, life.epoch, life.first - 1].add(_OPENED)
        for visit in life.visits:
            for seq, line in enumerate(lines_of(fleet, device, life, visit), start=visit.first):
                planned[device.producer, life.epoch, seq].add(line)
    return {event_id: frozenset(lines) for event_id, lines in planned.items()}


def _is_epoch_opened(line: bytes) -> bool:
    try:
        return isinstance(decode(line).data, EpochOpened)
    except (EventRejected, Held):
        return False


def _unknown_dates(in_log: Mapping[EventId, Mapping[bytes, int]]) -> int:
    """Return how many recordings of one device have a day that nobody can know."""
    anchors: dict[str, int] = {}
    recordings: list[tuple[Event, int]] = []
    for _, lines in sorted(in_log.items()):
        for line, append_ms in lines.items():
            try:
                event = decode(line)
            except (EventRejected, Held):
                continue  # Counted as unexpected, because no plan has it.
            match event.data:
                case ClockAnchored(anchored_boot=boot, offset_ms=offset_ms):
                    anchors[boot] = offset_ms
                case RecordingCaptured():
                    recordings.append((event, append_ms))
                case _:
                    pass
    return sum(
        occurred_on(
            event.wall_ms,
            offset_ms=anchors.get(event.boot),
            enrolled_ms=ENROLLED_MS,
            known_ms=append_ms,
            zone=ANY_ZONE,
        )
        is None
        for event, append_ms in recordings
    )
