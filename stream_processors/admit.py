"""First half of a fold: which records count, by the rules that cross partitions. Sets, not orders.

Runs while the producers concerned are locked (*lock, then look*), and ends with the ledger rows
that are new or have changed. Whatever it decides about a record depends on the set of records
folded so far and this one: a key admits what it signs whichever of the two comes first.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, assert_never

from projections.facts import VARIANT_BYTES
from projections.ledger.forks import has_overlap, lost_ranges
from projections.quarantine.facts import place_of
from projections.quarantine.reasons import REASONS_IN_ITSELF
from projections.registry.context import ProducerContext
from projections.registry.facts import Anchor, Enrolled, KeyAdded
from projections.rows import (
    BootRow,
    Changes,
    Contents,
    CopyRow,
    ExcludedKey,
    ExcludedRow,
    HeldRow,
    LedgerKey,
    LedgerRow,
    QuarantinedRow,
    RecordId,
    encode_contents,
)
from projections.store_port import Store
from projections.tables import PRODUCER, RECORD
from rekam.domain.admission import Reason, missing_key
from rekam.domain.ids import KeyId
from rekam.domain.keys import VerifyKey
from rekam.domain.log import LogRecord
from rekam.domain.ranges import RangeSet
from rekam.domain.segment import Header
from stream_processors.intake import Intake, Opened, Opener, Refused, Unproved, Waiting


class NeedsProducers(Exception):  # noqa: N818 - asks for a wider lock, no error
    """More producers are concerned than are locked: begin again with these locked as well.

    Locks are taken in sorted order, so the wider set cannot be added to the narrow one.
    """

    def __init__(self, producers: Iterable[str]) -> None:
        super().__init__()
        self.producers = frozenset(producers)


def producers_concerned(intakes: Iterable[Intake]) -> set[str]:
    """Return all producers that are surely concerned: who sealed, and who is spoken of."""
    producers: set[str] = set()
    for intake in intakes:
        match intake:
            case Opened():
                producers.add(intake.header.producer)
                producers |= _spoken_of(intake)
            case Unproved():
                producers.add(intake.segment.header.producer)
            case Waiting() | Refused():
                if intake.header is not None:
                    producers.add(intake.header.producer)
            case _:
                assert_never(intake)
    return producers


def partitions_spoken_of(intakes: Iterable[Intake]) -> list[int]:
    """Return the partitions of the records that are decided of, sorted."""
    return sorted(
        {
            place_of(event.key)[0]
            for intake in intakes
            if isinstance(intake, Opened)
            for event in intake.events
            if event.kind == RECORD
        }
    )


def _spoken_of(opened: Opened) -> set[str]:
    return {event.key.decode() for event in opened.events if event.kind == PRODUCER}


@dataclass(slots=True)
class Admission:
    """What the records of one fold came to. Owned by the fold; `run` is called once."""

    store: Store
    changes: Changes
    opener: Opener
    contexts: Mapping[str, ProducerContext]
    """Of every locked producer, before this fold."""
    again: frozenset[RecordId] = frozenset()
    """Places of records that were folded before and are decided again, with other software or keys.
    """
    rows: dict[LedgerKey, LedgerRow] = field(default_factory=dict)
    """Every ledger row looked at, with this fold's changes in it."""
    fresh: dict[LedgerKey, Opened] = field(default_factory=dict)
    """Segments that were not in the ledger before."""
    changed: set[LedgerKey] = field(default_factory=set)
    """Rows whose facts must be judged: fresh, known earlier than was thought, or in a fork."""
    enlarged: set[LedgerKey] = field(default_factory=set)
    """Of `fresh`, what was in the ledger before: here are only the events that are new."""
    contacts: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Append times by producer, of what this fold admitted."""
    _unread: dict[ExcludedKey, ExcludedRow] = field(default_factory=dict)
    """Events of what is decided again that earlier software could not take."""
    _keys: dict[str, dict[KeyId, VerifyKey]] = field(default_factory=dict)
    _gained_keys: set[str] = field(default_factory=set)

    async def run(self, intakes: Iterable[Intake]) -> None:
        """Admit, count as copies, hold or quarantine; then take what the new keys release.

        Raises NeedsProducers when a record concerns a producer that is not locked.
        """
        self._keys = {name: dict(context.keys) for name, context in self.contexts.items()}
        pending = list(intakes)
        self.changes.retried |= self.again
        await self._load_unread(pending)
        while pending:
            await self._load_overlaps(
                (header.producer, header.epoch, header.first, header.last)
                for intake in pending
                if (header := _header_of(intake)) is not None
            )
            self._decide_all(pending)
            pending = await self._released()
        await self._settle_forks()
        self.opener.meet_keys(
            {key_id: key for keys in self._keys.values() for key_id, key in keys.items()}
        )

    async def _load_overlaps(self, ranges: Iterable[tuple[str, int, int, int]]) -> None:
        for row in await self.store.ledger_overlaps(sorted(set(ranges))):
            self.rows.setdefault(row.key, row)

    async def _load_unread(self, intakes: Iterable[Intake]) -> None:
        if self.again:
            ranges = {
                (header.producer, header.epoch, header.first, header.last)
                for intake in intakes
                if (header := _header_of(intake)) is not None
            }
            for row in await self.store.excluded_in(sorted(ranges)):
                if row.reason in REASONS_IN_ITSELF:
                    self._unread[row[:4]] = row

    def _decide_all(self, intakes: Iterable[Intake]) -> None:
        """Decide each. Raises NeedsProducers, once for all of them: each time begins anew."""
        missing: set[str] = set()
        for intake in intakes:
            try:
                self._decide(intake)
            except NeedsProducers as wider:
                missing |= wider.producers
        if missing:
            raise NeedsProducers(missing)

    def _decide(self, intake: Intake) -> None:
        header = _header_of(intake)
        if header is None:
            match intake:
                case Refused():
                    self._quarantine(intake)
                case Waiting():
                    self._hold(intake.record, None, Reason(intake.reason, intake.detail))
            return
        if header.producer not in self._keys:
            raise NeedsProducers([header.producer])
        keys = self._keys[header.producer]
        # Asked before anything else about the signature: what a cache of keys knows must not count.
        missing = missing_key(header, keys)
        if missing is not None:
            self._hold(intake.record, header, missing)
            return
        match intake:
            case Unproved():
                key = keys[KeyId(header.key)]
                self._decide(self.opener.open_segment(intake.record, intake.segment, key))
            case Waiting():
                self._hold(intake.record, header, Reason(intake.reason, intake.detail))
            case Refused():
                self._quarantine(intake)
            case Opened():
                self._admit(intake)

    def _admit(self, opened: Opened) -> None:
        header, record = opened.header, opened.record
        producer = header.producer
        spoken_of = _spoken_of(opened)
        if not spoken_of <= self._keys.keys():
            raise NeedsProducers(spoken_of - self._keys.keys())
        self.contacts[producer].add(record.append_ms)
        key = (producer, header.epoch, header.first, opened.hash)
        row = self.rows.get(key)
        if row is not None:
            self._count_copy(row, record)
            if self._unread:
                self._enlarge(self.rows[key], opened)
            return
        contents = _contents(opened)
        self.rows[key] = self.changes.ledger[key] = LedgerRow(
            producer,
            header.epoch,
            header.first,
            opened.hash,
            header.last,
            bytes.fromhex(header.prev),
            record.partition,
            record.offset,
            record.append_ms,
            header.sealed.wall_ms,
            RangeSet(),
            encode_contents(contents),
            record.route,
        )
        self._note_boots(header, contents)
        self.fresh[key] = opened
        self.changed.add(key)
        self._gain_keys(opened)
        for identity, excluded in _excluded(opened):
            self.changes.excluded[identity] = excluded

    def _enlarge(self, row: LedgerRow, opened: Opened) -> None:
        """Take in the events of an admitted segment that can be read now, and only those."""
        variant = row.hash[:VARIANT_BYTES]
        seqs = {
            seq
            for (producer, epoch, seq, of) in self._unread
            if (producer, epoch, of) == (row.producer, row.epoch, variant)
        }
        for seq in seqs:
            self.changes.excluded_removed.add((row.producer, row.epoch, seq, variant))
        for identity, excluded in _excluded(opened):
            if excluded.seq in seqs:
                self.changes.excluded[identity] = excluded
        events = tuple(event for event in opened.events if event.seq in seqs)
        if events:
            contents = _contents(opened)
            self.rows[row.key] = self.changes.ledger[row.key] = row._replace(
                contents=encode_contents(contents)
            )
            self._note_boots(opened.header, contents)
            self.fresh[row.key] = replace(opened, events=events)
            self.enlarged.add(row.key)
            self.changed.add(row.key)
            self._gain_keys(self.fresh[row.key])

    def _gain_keys(self, opened: Opened) -> None:
        for event in opened.events:
            if event.kind == PRODUCER and isinstance(event.data, Enrolled | KeyAdded):
                gained = VerifyKey(event.data.key)
                target = event.key.decode()
                self._keys[target][gained.id] = gained
                self._gained_keys.add(target)

    def _note_boots(self, header: Header, contents: Contents) -> None:
        """Remember where each boot session is named, so that its anchor finds these events."""
        boots = self.changes.boots
        for boot in contents.boots:
            key = (header.producer, boot, header.epoch)
            row = boots.get(key) or BootRow(*key, header.first, header.last)
            boots[key] = row.with_segment(header.first, header.last)

    def _count_copy(self, row: LedgerRow, record: LogRecord) -> None:
        if (record.partition, record.offset) == (row.partition, row.offset):
            return  # The same log record, read again.
        later = record
        if (record.append_ms, record.partition, record.offset) < row.copy_order:
            later = LogRecord(row.partition, row.offset, row.append_ms, b"")
            self.rows[row.key] = self.changes.ledger[row.key] = row._replace(
                partition=record.partition,
                offset=record.offset,
                append_ms=record.append_ms,
                route=record.route,
            )
            self.changes.copies.pop((record.partition, record.offset), None)
            # Also at the same moment: what is decided of a record is decided of its place.
            self.changed.add(row.key)
        self.changes.copies[later.partition, later.offset] = CopyRow(
            later.partition,
            later.offset,
            later.append_ms,
            row.producer,
            row.epoch,
            row.first,
            row.hash,
        )

    def _hold(self, record: LogRecord, header: Header | None, reason: Reason) -> None:
        place = (record.partition, record.offset)
        claimed = _claimed_range(header)
        self.changes.held_released.discard(place)
        self.changes.held[place] = HeldRow(
            record.partition,
            record.offset,
            record.append_ms,
            *claimed,
            reason.code,
            reason.detail,
            record.value,
            record.route,
        )

    def _quarantine(self, refused: Refused) -> None:
        record = refused.record
        place = (record.partition, record.offset)
        claimed = _claimed_range(refused.header)
        self.changes.quarantined[place] = QuarantinedRow(
            record.partition,
            record.offset,
            record.append_ms,
            *claimed,
            refused.reason,
            refused.detail,
        )

    async def _released(self) -> list[Intake]:
        """Return the held records of producers that gained a key, to be decided again."""
        producers, self._gained_keys = self._gained_keys, set()
        if not producers:
            return []
        held: dict[RecordId, HeldRow] = {
            (row.partition, row.offset): row for row in await self.store.held_of(sorted(producers))
        }
        held |= {
            place: row for place, row in self.changes.held.items() if row.producer in producers
        }
        released: list[Intake] = []
        for place, row in sorted(held.items()):
            if place in self.changes.held_released:
                continue  # taken in an earlier round of this fold
            self.changes.held.pop(place, None)
            self.changes.held_released.add(place)
            record = LogRecord(*place, row.append_ms, row.value, row.route)
            released.append(self.opener.open_record(record))
        return released

    async def _settle_forks(self) -> None:
        """Decide anew which segment counts where several hold one seq."""
        lives: defaultdict[tuple[str, int], list[LedgerRow]] = defaultdict(list)
        for row in self.rows.values():
            lives[row.producer, row.epoch].append(row)
        forked = {life for life, rows in lives.items() if has_overlap(rows)}
        if not forked:
            return
        affected = {
            row.key
            for life in forked
            for changed in lives[life]
            if changed.key in self.changed
            for row in lives[life]
            if _overlap(row, changed)
        }
        # The rivals of the rivals: a segment's loss depends on all that it overlaps.
        await self._load_overlaps(
            (row.producer, row.epoch, row.first, row.last)
            for row in (self.rows[key] for key in affected)
        )
        for key in affected:
            row = self.rows[key]
            rivals = [
                other
                for other in self.rows.values()
                if (other.producer, other.epoch) == (row.producer, row.epoch)
                and _overlap(other, row)
            ]
            lost = lost_ranges(rivals)[row.hash]
            if lost != row.lost:
                self.rows[key] = self.changes.ledger[key] = row._replace(lost=lost)
                self.changed.add(key)


def _header_of(intake: Intake) -> Header | None:
    return intake.segment.header if isinstance(intake, Unproved) else intake.header


class _Claim(NamedTuple):
    producer: str | None
    epoch: int | None
    first: int | None
    last: int | None


def _claimed_range(header: Header | None) -> _Claim:
    if header is None:
        return _Claim(None, None, None, None)
    return _Claim(header.producer, header.epoch, header.first, header.last)


def _excluded(opened: Opened) -> Iterator[tuple[ExcludedKey, ExcludedRow]]:
    header, variant = opened.header, opened.hash[:VARIANT_BYTES]
    for excluded in opened.excluded:
        identity = (header.producer, header.epoch, excluded.seq, variant)
        yield identity, ExcludedRow(*identity, excluded.verdict, excluded.reason, excluded.detail)


def _contents(opened: Opened) -> Contents:
    entities = sorted({(event.kind, event.key) for event in opened.events})
    boots = {event.boot for event in opened.events}
    boots |= {event.data.boot for event in opened.events if type(event.data) is Anchor}
    return Contents(entities, sorted(boots), opened.header.key)


def _overlap(one: LedgerRow, other: LedgerRow) -> bool:
    return one.first <= other.last and other.first <= one.last
