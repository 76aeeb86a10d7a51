"""Open log records: frame, signature, decryption, events. Pure and free of the database.

This is the costly half of admission and depends on nothing but the record's bytes and keys that
never change their meaning (a key id is a hash of the key), so it runs ahead of the fold, in a
thread, while PostgreSQL works on the chunk before. Whether a key is the producer's is decided
later, under the producer's lock (`stream_processors/fold.py`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

import msgspec

from projections.cohort import facts as cohort
from projections.person import facts as person
from projections.reference import facts as reference
from projections.registry import facts as registry
from projections.rules import Rules
from projections.tables import COHORT_ENTRY, PERSON, PRODUCER, REFERENCE
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
        self, *, rules: Rules, registrar_key: VerifyKey, readers: Iterable[ReaderPrivateKey]
    ) -> None:
        self._rules = rules
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
                    f"encrypted to reader key {header.reader}; add its file and rebuild",
                )
            lines = open_body(segment, reader)
        except SegmentRejected as error:
            return Refused(record, header, error.reason, error.detail)
        opened: list[OpenedEvent] = []
        excluded: list[ExcludedEvent] = []
        for seq, line in enumerate(lines, start=header.first):
            try:
                event = events.decode(line)
                opened.append(self._fact(header.producer, seq, event))
            except EventRejected as error:
                excluded.append(ExcludedEvent(seq, "quarantined", error.reason, error.detail))
            except Held as error:
                excluded.append(ExcludedEvent(seq, "held", error.reason, error.detail))
        return Opened(record, header, bytes.fromhex(segment.hash), tuple(opened), tuple(excluded))

    def _fact(self, producer: str, seq: int, event: events.Event) -> OpenedEvent:
        kind, key, data = _target(producer, event.data, self._rules)
        return OpenedEvent(seq, kind, key, event.wall_ms, event.boot, data)


def _target(  # noqa: C901, PLR0911, PLR0912 - one arm an event type, checked for exhaustiveness
    producer: str, data: events.EventData, rules: Rules
) -> tuple[int, bytes, object]:
    """Return whose fact an event is (entity kind, key) and the fact's data."""
    token = rules.token
    match data:
        case events.RecordingCaptured():
            return (
                PERSON,
                token(data.nik),
                person.Captured(data.recording, data.domicile, data.place, data.mode),
            )
        case events.StatusObserved():
            return (
                PERSON,
                token(data.nik),
                person.Observed(data.status, data.observed_ms, data.source),
            )
        case events.RecordingWithdrawn():
            return PERSON, token(data.nik), person.Withdrawn(data.recording)
        case events.SuketIssued():
            return PERSON, token(data.nik), person.Suket(data.number, data.issued_ms, data.status)
        case events.ErasureOrdered():
            return PERSON, token(data.nik), person.Erasure(data.order)
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
            if producer != rules.registrar:
                raise EventRejected(
                    "not_authorised", "only the registrar may state this; sign it there"
                )
            return PRODUCER, data.producer.encode(), _registry_fact(data)
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
        case (
            events.Heartbeat()
            | events.FaultReported()
            | events.FaultCleared()
            | events.ComponentSwapped()
            | events.RouteChanged()
            | events.ClockAnchored()
            | events.EpochOpened()
        ):
            return PRODUCER, producer.encode(), _device_fact(data)
        case _:
            assert_never(data)


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
        case events.EpochOpened():
            return registry.EpochBegan(data.reason, data.previous_epoch, data.previous_head)
        case _:
            assert_never(data)
