"""Open log records: frame, signature, decryption, events. Pure and free of the database.

This is the costly half of admission and depends on nothing but the record's bytes and keys that
never change their meaning (a key id is a hash of the key), so it runs ahead of the fold, in a
thread, while PostgreSQL works on the chunk before. Whether a key is the producer's is decided
later, under the producer's lock (`stream_processors/fold.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

import msgspec

from projections.access import facts as access
from projections.cohort import facts as cohort
from projections.person import facts as person
from projections.quarantine import facts as quarantine
from projections.reference import facts as reference
from projections.registry import facts as registry
from projections.rules import Rules
from projections.tables import ACCESS, COHORT_ENTRY, PERSON, PRODUCER, RECORD, REFERENCE
from rekam.domain import events
from rekam.domain.errors import EventRejected, Held, SegmentRejected
from rekam.domain.ids import KeyId
from rekam.domain.keys import ReaderPrivateKey, VerifyKey
from rekam.domain.log import LogRecord
from rekam.domain.segment import Header, Segment, open_body, parse, verify


class OpenedEvent(msgspec.Struct, frozen=True, gc=False):
    """One readable event, turned into the fact that it is for its entity."""

    seq: int
    kind: int
    """Kind of entity, as in projections/tables.py."""
    key: bytes
    wall_ms: int
    boot: str
    data: object
    nik: str = ""
    """Of a person: in memory alone, until the fold has sealed it for a row that is new."""


@dataclass(frozen=True, slots=True)
class ExcludedEvent:
    """One event that is wrong in itself, whoever sent it and whenever."""

    seq: int
    verdict: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Opened:
    """An authentic segment: some enrolled key signed it, and its body could be read."""

    record: LogRecord
    header: Header
    hash: bytes
    events: tuple[OpenedEvent, ...]
    excluded: tuple[ExcludedEvent, ...]


@dataclass(frozen=True, slots=True)
class Unproved:
    """A well-formed segment whose key this worker has not met; the registry may know it."""

    record: LogRecord
    segment: Segment


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record that may count later, for a reason that the registry cannot lift."""

    record: LogRecord
    header: Header | None
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that is wrong for ever."""

    record: LogRecord
    header: Header | None
    reason: str
    detail: str


Intake = Opened | Unproved | Waiting | Refused


class Opener:
    """Opens records with the keys met so far. Safe to call from one thread beside the fold."""

    def __init__(
        self,
        *,
        rules: Rules,
        registrar_key: VerifyKey,
        readers: Iterable[ReaderPrivateKey],
        decode: Callable[[bytes], events.Event] = events.decode,
    ) -> None:
        self._rules = rules
        self._decode = decode
        self._readers = {reader.id: reader for reader in readers}
        # Only ever grows, and an id never changes its key: races are harmless.
        self._known_keys: dict[KeyId, VerifyKey] = {registrar_key.id: registrar_key}

    @property
    def settings_id(self) -> str:
        """Name all settings that can change an answer: equal digests need equal ones."""
        return f"{self._rules.id};readers={','.join(sorted(self._readers))}"

    def meet_keys(self, keys: Mapping[KeyId, VerifyKey]) -> None:
        """Remember enrolled keys, so that later records open ahead of the fold."""
        self._known_keys.update(keys)

    def open_record(self, record: LogRecord) -> Intake:
        """Take one record as far as it goes without the registry. Never raises for any bytes."""
        try:
            segment = parse(record.value)
        except SegmentRejected as error:
            return Refused(record, None, error.reason, error.detail)
        except Held as error:
            return Waiting(record, None, error.reason, error.detail)
        key = self._known_keys.get(KeyId(segment.header.key))
        if key is None:
            return Unproved(record, segment)
        return self.open_segment(record, segment, key)

    def open_segment(
        self, record: LogRecord, segment: Segment, key: VerifyKey
    ) -> Opened | Waiting | Refused:
        """Verify with this key, decrypt, and decode every event."""
        header = segment.header
        try:
            verify(segment, key)
            reader = self._readers.get(KeyId(header.reader))
            if reader is None:
                return Waiting(
                    record,
                    header,
                    "unknown_reader",
                    f"encrypted to reader key {header.reader}; add its file and start again",
                )
            lines = open_body(segment, reader)
        except SegmentRejected as error:
            return Refused(record, header, error.reason, error.detail)
        opened: list[OpenedEvent] = []
        excluded: list[ExcludedEvent] = []
        for seq, line in enumerate(lines, start=header.first):
            try:
                event = self._decode(line)
                opened.append(self._fact(header.producer, seq, event))
                if type(event.data) in _TWOFOLD:
                    opened += self._other_facts(seq, event, opened[-1].key)
            except EventRejected as error:
                excluded.append(ExcludedEvent(seq, "quarantined", error.reason, error.detail))
            except Held as error:
                excluded.append(ExcludedEvent(seq, "held", error.reason, error.detail))
        return Opened(record, header, bytes.fromhex(segment.hash), tuple(opened), tuple(excluded))

    def _fact(self, producer: str, seq: int, event: events.Event) -> OpenedEvent:
        kind, key, data = _target(producer, event.data, self._rules)
        nik = ""
        if kind == PERSON:
            nik = event.data.nik  # type: ignore[assignment, union-attr]  # each of these has one
        return OpenedEvent(seq, kind, key, event.wall_ms, event.boot, data, nik)

    def _other_facts(self, seq: int, event: events.Event, key: bytes) -> Iterator[OpenedEvent]:
        """Yield the facts that an event is for further entities; their verdicts are the same."""
        match event.data:
            case events.CohortEntryListed(nik=str(nik)):
                token, listed = self._rules.token(nik), person.ListedIn(key)
                yield OpenedEvent(seq, PERSON, token, event.wall_ms, event.boot, listed, nik)
            case events.ErasureOrdered(order=order):
                forgotten = access.Forgotten(order)
                yield OpenedEvent(seq, ACCESS, key, event.wall_ms, event.boot, forgotten)


_TWOFOLD: Final = frozenset((events.CohortEntryListed, events.ErasureOrdered))
"""Types that may be facts of two entities."""


def _target(  # noqa: C901, PLR0911, PLR0912 - one arm an event type, checked for exhaustiveness
    producer: str, data: events.EventData, rules: Rules
) -> tuple[int, bytes, object]:
    """Return whose fact an event is (entity kind, key) and the fact's data."""
    token = rules.token
    match data:  # most frequent ones first: a struct's class says slowly that it is another
        case events.StatusObserved():
            return (
                PERSON,
                token(data.nik),
                person.Observed(data.status, data.observed_ms, data.source),
            )
        case events.RecordingCaptured():
            return (
                PERSON,
                token(data.nik),
                person.Captured(data.recording, data.domicile, data.place, data.mode),
            )
        case (
            events.Heartbeat()
            | events.FaultReported()
            | events.FaultCleared()
            | events.ComponentSwapped()
            | events.RouteChanged()
            | events.ClockAnchored()
            | events.DiagnosticReported()
            | events.EpochOpened()
        ):
            return PRODUCER, producer.encode(), _device_fact(data)
        case events.RecordingWithdrawn():
            withdrawn = (
                person.Withdrawn(data.recording)
                if data.producer is None
                else person.WithdrawnOf(data.recording, data.producer)
            )
            return PERSON, token(data.nik), withdrawn
        case events.DuplicateResolved():
            return (
                PERSON,
                token(data.nik),
                person.CaseResolved(data.kind, data.outcome, data.recordings, data.resolved_ms),
            )
        case events.SuketIssued():
            return PERSON, token(data.nik), person.Suket(data.number, data.issued_ms, data.status)
        case events.ErasureOrdered():
            # Erasing cannot be taken back, so nothing that comes to be known later may decide it.
            _require_registrar(producer, rules)
            return PERSON, token(data.nik), person.Erasure(data.order)
        case events.PersonAccessed():
            return (
                ACCESS,
                token(data.nik),
                access.Accessed(data.caller, data.call, data.reason),
            )
        case events.PersonTokenAccessed():
            # Under a later key of tokens no erasure would find the reason: it stays in the log.
            return (
                ACCESS,
                bytes.fromhex(data.person),
                access.Accessed(data.caller, data.call, access.REASON_UNTOLD),
            )
        case events.CohortEntryListed():
            nik = token(data.nik) if data.nik else None
            listed = cohort.Listed(data.cohort, data.entry, nik, data.code, data.version)
            return COHORT_ENTRY, cohort.entry_key(data.cohort, data.entry), listed
        case events.CohortEntryResolved():
            resolved = cohort.Resolved(
                data.cohort, data.entry, data.bucket, data.source, data.version
            )
            return COHORT_ENTRY, cohort.entry_key(data.cohort, data.entry), resolved
        case events.CohortPublished():
            return (
                REFERENCE,
                reference.reference_key("cohort", f"{data.cohort}/{data.version}"),
                reference.CohortHead(
                    data.cohort, data.version, data.title, data.source, data.entries
                ),
            )
        case events.TreePublished():
            return (
                REFERENCE,
                reference.reference_key("tree", data.version),
                reference.Tree(data.version, data.valid_from, data.regions, data.mapping),
            )
        case events.DenominatorPublished():
            return (
                REFERENCE,
                reference.reference_key("denominator", data.version),
                reference.Denominators(data.version, data.basis, data.valid_from, data.rows),
            )
        case (
            events.ProducerEnrolled()
            | events.KeyRotated()
            | events.ProducerRevoked()
            | events.RangeDeclaredLost()
        ):
            _require_registrar(producer, rules)
            return PRODUCER, data.producer.encode(), _registry_fact(data)
        case events.RecordDiscarded():
            _require_registrar(producer, rules)
            key = quarantine.record_key(data.partition, data.offset)
            return RECORD, key, _discarded(data)
        case events.TicketOpened():
            return (
                PRODUCER,
                data.producer.encode(),
                registry.Ticket(data.ticket, "opened", data.summary),
            )
        case events.TicketAssigned():
            return (
                PRODUCER,
                data.producer.encode(),
                registry.Ticket(data.ticket, "assigned", data.technician),
            )
        case events.TicketClosed():
            return (
                PRODUCER,
                data.producer.encode(),
                registry.Ticket(data.ticket, "closed", data.outcome),
            )
        case _:
            assert_never(data)


def _require_registrar(producer: str, rules: Rules) -> None:
    if producer != rules.registrar:
        raise EventRejected("not_authorised", "only the registrar may state this; sign it there")


def _discarded(data: events.RecordDiscarded) -> quarantine.Discarded:
    first, last = (data.first, data.last) if data.first and data.last else quarantine.WHOLE
    if (data.first is None) != (data.last is None) or first > last:
        raise EventRejected("schema_invalid", "wanted first <= last, or neither of them")
    return quarantine.Discarded(
        data.partition, data.offset, bytes.fromhex(data.record_hash), first, last, data.reason
    )


def _registry_fact(
    data: events.ProducerEnrolled
    | events.KeyRotated
    | events.ProducerRevoked
    | events.RangeDeclaredLost,
) -> registry.ProducerData:
    match data:
        case events.ProducerEnrolled():
            key = VerifyKey.from_text(data.key).raw
            return registry.Enrolled(data.kind, data.place, key, data.enrolled_ms)
        case events.KeyRotated():
            return registry.KeyAdded(VerifyKey.from_text(data.key).raw)
        case events.ProducerRevoked():
            return registry.Revoked(data.effective_ms, data.reason)
        case events.RangeDeclaredLost():
            return registry.DeclaredLost(data.epoch, data.first, data.last, data.reason)
        case _:
            assert_never(data)


def _device_fact(
    data: events.Heartbeat
    | events.FaultReported
    | events.FaultCleared
    | events.ComponentSwapped
    | events.RouteChanged
    | events.ClockAnchored
    | events.DiagnosticReported
    | events.EpochOpened,
) -> registry.ProducerData:
    match data:
        case events.Heartbeat():
            return registry.Beat(
                data.queue_events,
                data.oldest_unsent_ms,
                data.route,
                data.disk_free_bytes,
                data.software,
            )
        case events.FaultReported():
            return registry.Fault(data.component, data.fault, is_present=True, detail=data.detail)
        case events.FaultCleared():
            return registry.Fault(data.component, data.fault, is_present=False, detail=None)
        case events.ComponentSwapped():
            return registry.Swap(data.slot, data.removed, data.installed)
        case events.RouteChanged():
            return registry.Route(data.route, data.previous, data.reason)
        case events.ClockAnchored():
            return registry.Anchor(data.anchored_boot, data.offset_ms, data.source)
        case events.DiagnosticReported():
            measures = tuple(sorted(data.measures.items()))
            return registry.Diagnostic(data.area, data.code, measures)
        case events.EpochOpened():
            return registry.EpochBegan(data.reason, data.previous_epoch, data.previous_head)
        case _:
            assert_never(data)
