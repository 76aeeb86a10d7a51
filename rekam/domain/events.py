"""Every event type: facts in the past tense, one frozen struct each.

An event is one JSON line `{"type", "wall_ms", "mono_ms", "boot", "data"}`; its id is
`producer/epoch/seq`. Meaning never changes: add an optional field, or a `.v2` and an upcast.
JSON Schema is generated from these structs (`rekam schema export`) and committed.
"""

import re
from datetime import date
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints

import msgspec

from rekam.domain.buckets import RESERVED
from rekam.domain.errors import EventRejected, Held
from rekam.domain.json_text import (
    DEPTH_MAX,
    explain,
    holds_nul,
    is_unknown_field,
    nests_too_deeply,
)
from rekam.domain.niks import NIK_DIGITS, holds_nik
from rekam.domain.segment import EVENT_BYTES_MAX, SEQ_MAX, ProducerText

Milliseconds = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
"""Unix time in ms, UTC, as the clock of its producer showed it: it may be wrong by decades."""

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
"""A person's words. They are shown, so no NIK may stand in them."""
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Bucket = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=64, pattern=rf"^(?!({'|'.join(sorted(RESERVED))})\Z)"),
]
"""A list's bucket. No source can say those that tell that none has said anything, or of what."""
Nik = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{16}\Z")]
"""Sixteen digits. Nothing is derived from them: domicile and birth data change, it does not."""

TokenText = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
"""The pseudonym of a person, as the read API shows it: another key gives another one."""

DesaCode = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{2}\.[0-9]{2}\.[0-9]{2}\.[0-9]{4}\Z")]
PlaceCode = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9]{2}(\.[0-9]{2}(\.[0-9]{2}(\.[0-9]{4})?)?)?\Z")
]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
PublicKeyText = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9+/]{43}=\Z")]
SeqNumber = Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX)]
EpochNumber = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z]+(_[a-z]+)*\Z", max_length=40)]
"""A name that a programmer gave. Without a digit: no NIK can stand in it, nor a date of birth."""

Measure = Annotated[int, msgspec.Meta(ge=-(10**12), le=10**12)]
"""A number that was measured; too small for a NIK."""

Score = Annotated[int, msgspec.Meta(ge=0, le=100)]

ProducerKind = Literal["recorder", "relay", "registrar", "centre", "kpu", "office", "api"]


class _Data(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The strictness that all event data share."""


# -- recording ---------------------------------------------------------------------------------


class RecordingCaptured(_Data, frozen=True):
    """A person's biometrics and data were recorded. `recording` is the producer's own id for it."""

    recording: Label
    nik: Nik
    domicile: DesaCode
    place: PlaceCode
    mode: Literal["online", "offline"]
    components: Annotated[dict[Label, Label], msgspec.Meta(max_length=16)] = {}
    """Serial number by component, such as `fingerprint_scanner`."""
    quality: Annotated[dict[Label, Score], msgspec.Meta(max_length=16)] = {}
    operator: Label | None = None


class RecordingWithdrawn(_Data, frozen=True):
    """A recording is declared not to have been one (taken of the wrong person, a test)."""

    recording: Label
    nik: Nik
    reason: Text
    producer: ProducerText | None = None
    """Whose recording it is; without it, every producer's of that id and this person."""


# -- centre ------------------------------------------------------------------------------------


class StatusObserved(_Data, frozen=True):
    """The centre showed this status for a NIK at a moment: an observation, not a transition."""

    nik: Nik
    status: Label
    """Raw SIAK code; the vocabulary is open."""
    observed_ms: Milliseconds
    source: Label


class SuketIssued(_Data, frozen=True):
    """A letter in place of the card was issued; it carries the status of that moment."""

    nik: Nik
    number: Label
    issued_ms: Milliseconds
    status: Label


class DuplicateResolved(_Data, frozen=True):
    """Somebody looked into why a person is recorded twice, or is a duplicate at the centre.

    It withdraws nothing: what was recorded under a wrong number is withdrawn by its own event.
    """

    nik: Nik
    kind: Literal["two_recordings", "centre_duplicate"]
    outcome: Literal["same_person", "wrong_nik", "not_a_duplicate"]
    resolved_ms: Milliseconds
    reason: Text
    recordings: Annotated[tuple[Text, ...], msgspec.Meta(max_length=64)] = ()
    """Event ids (producer/epoch/seq) of the recordings looked at: another one opens it again."""


# -- device ------------------------------------------------------------------------------------


class Heartbeat(_Data, frozen=True):
    """What the producer knows of itself; the latest by (epoch, seq) wins."""

    queue_events: Count
    """Events that no route has taken yet."""
    oldest_unsent_ms: Milliseconds | None = None
    route: Label | None = None
    disk_free_bytes: Count | None = None
    software: Label | None = None


class FaultReported(_Data, frozen=True):
    """Positive evidence that a component does not work."""

    component: Label
    fault: Label
    detail: Text | None = None


class FaultCleared(_Data, frozen=True):
    """The fault of that name in that component is gone."""

    component: Label
    fault: Label


class ComponentSwapped(_Data, frozen=True):
    """A component left or entered the kit: two broken kits become one working kit."""

    slot: Label
    removed: Label | None = None
    installed: Label | None = None


class RouteChanged(_Data, frozen=True):
    """The producer now sends by another route."""

    route: Label
    previous: Label | None = None
    reason: Text | None = None


class ClockAnchored(_Data, frozen=True):
    """True time of a boot session = its wall time + offset. May come after the events it mends."""

    anchored_boot: Label
    offset_ms: Milliseconds
    source: Label
    """Who told it: `broker` (append time), `carried` from a later session, or `relay` and
    `relay_carried`, which count only where nobody else has told any. Open: others count as broker.
    """


class DiagnosticReported(_Data, frozen=True):
    """A trace of a program on the device, for those who mend it. Nothing is counted by it.

    It waits in the lane of which the oldest may be lost, so nothing may rest on it, and it has no
    field that a person's data would fit into. What is broken is a `device.fault_reported`.
    """

    area: Word
    """Part of the program, such as `fingerprint_driver`."""
    code: Word
    """What happened there, such as `capture_retried`."""
    measures: Annotated[dict[Word, Measure], msgspec.Meta(max_length=16)] = {}
    """Numbers about it, such as `elapsed_ms` or `tries`."""


# -- registry ----------------------------------------------------------------------------------


class ProducerEnrolled(_Data, frozen=True):
    """A producer may put segments on the log from now on, signed by this key."""

    producer: ProducerText
    kind: ProducerKind
    place: PlaceCode
    key: PublicKeyText
    enrolled_ms: Milliseconds


class KeyRotated(_Data, frozen=True):
    """A further signing key of an enrolled producer."""

    producer: ProducerText
    key: PublicKeyText
    rotated_ms: Milliseconds


class ProducerRevoked(_Data, frozen=True):
    """What the producer says happened at or after `effective_ms` does not count."""

    producer: ProducerText
    effective_ms: Milliseconds
    reason: Text


class EpochOpened(_Data, frozen=True):
    """The producer began a new outbox: re-enrolment, restore or corruption."""

    reason: Text
    previous_epoch: EpochNumber | None = None
    previous_head: Label | None = None


class RangeDeclaredLost(_Data, frozen=True):
    """A person declares that these events will never come."""

    producer: ProducerText
    epoch: EpochNumber
    first: SeqNumber
    last: SeqNumber
    reason: Text


class RecordDiscarded(_Data, frozen=True):
    """A record of the log, or some of its events, never counts, whatever comes to be known."""

    partition: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    offset: Count
    record_hash: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    """SHA-256 of the record as it lies in the log: who checks sees what was meant."""
    reason: Text
    first: SeqNumber | None = None
    """First and last seq of the events meant; without them, all of the record."""
    last: SeqNumber | None = None


# -- reference ---------------------------------------------------------------------------------


class Region(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Code and name of a region."""

    code: PlaceCode
    name: Text


class TreePublished(_Data, frozen=True):
    """The regions that exist from a day on, and what re-coded places became."""

    version: Label
    valid_from: date
    regions: Annotated[tuple[Region, ...], msgspec.Meta(min_length=1, max_length=1500)]
    mapping: Annotated[dict[PlaceCode, PlaceCode], msgspec.Meta(max_length=1500)] = {}


class Denominator(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How many of a desa must have a card."""

    desa: DesaCode
    wajib: Count


class DenominatorPublished(_Data, frozen=True):
    """Wajib KTP per desa from a day on. It has a version and a basis, and it can fall."""

    version: Label
    basis: Text
    valid_from: date
    rows: Annotated[tuple[Denominator, ...], msgspec.Meta(min_length=1, max_length=2000)]


# -- cohort ------------------------------------------------------------------------------------


class CohortPublished(_Data, frozen=True):
    """A list of people was handed over, such as the election commission's 427."""

    cohort: Label
    version: Label
    title: Text
    source: Text
    entries: Count


class CohortEntryListed(_Data, frozen=True):
    """One name of a list, by its number in it; the NIK is often missing."""

    cohort: Label
    entry: Count
    nik: Nik | None = None
    code: Label | None = None
    """KPU's own code for the person."""
    version: Label | None = None
    """The version of the list that it stands in; without it, every version."""


class CohortEntryResolved(_Data, frozen=True):
    """What a source says became of one name of a list; its later word takes the earlier's place."""

    cohort: Label
    entry: Count
    bucket: Bucket
    source: Text
    version: Label | None = None
    """The version of the list whose number it is; without it, the number of every version."""


# -- repair ------------------------------------------------------------------------------------


class TicketOpened(_Data, frozen=True):
    """A repair is wanted."""

    ticket: Label
    producer: ProducerText
    summary: Text


class TicketAssigned(_Data, frozen=True):
    """A technician took a repair."""

    ticket: Label
    producer: ProducerText
    technician: Label


class TicketClosed(_Data, frozen=True):
    """A repair ended."""

    ticket: Label
    producer: ProducerText
    outcome: Text


# -- person ------------------------------------------------------------------------------------


class ErasureOrdered(_Data, frozen=True):
    """A person is to be gone from every table (UU 27/2022 arts. 43-44); sums stay."""

    nik: Nik
    order: Label
    reason: Text


class PersonAccessed(_Data, frozen=True):
    """Somebody is about to read what is known of a person. Durable before anything is answered."""

    nik: Nik
    caller: Label
    """Who asks, as far as the read API knows."""
    call: Label
    """What is asked, such as `look_up_person`."""
    reason: Text
    """Why, in the caller's words."""


class PersonTokenAccessed(_Data, frozen=True):
    """Somebody asked by token of a person whose NIK is not kept: of nobody known, or erased.

    What `person.accessed` is for everybody else: whom it was of is known by this token alone.
    """

    person: TokenText
    caller: Label
    call: Label
    reason: Text


EventData = (
    RecordingCaptured
    | RecordingWithdrawn
    | StatusObserved
    | SuketIssued
    | DuplicateResolved
    | Heartbeat
    | FaultReported
    | FaultCleared
    | ComponentSwapped
    | RouteChanged
    | ClockAnchored
    | DiagnosticReported
    | ProducerEnrolled
    | KeyRotated
    | ProducerRevoked
    | EpochOpened
    | RangeDeclaredLost
    | RecordDiscarded
    | TreePublished
    | DenominatorPublished
    | CohortPublished
    | CohortEntryListed
    | CohortEntryResolved
    | TicketOpened
    | TicketAssigned
    | TicketClosed
    | ErasureOrdered
    | PersonAccessed
    | PersonTokenAccessed
)

AccessRecord = PersonAccessed | PersonTokenAccessed
"""What the read API records before it answers."""

EVENT_TYPES: Final[dict[str, type[EventData]]] = {
    "recording.captured.v1": RecordingCaptured,
    "recording.withdrawn.v1": RecordingWithdrawn,
    "centre.status_observed.v1": StatusObserved,
    "suket.issued.v1": SuketIssued,
    "duplicate.resolved.v1": DuplicateResolved,
    "device.heartbeat.v1": Heartbeat,
    "device.fault_reported.v1": FaultReported,
    "device.fault_cleared.v1": FaultCleared,
    "device.component_swapped.v1": ComponentSwapped,
    "device.route_changed.v1": RouteChanged,
    "device.clock_anchored.v1": ClockAnchored,
    "diagnostic.reported.v1": DiagnosticReported,
    "producer.enrolled.v1": ProducerEnrolled,
    "producer.key_rotated.v1": KeyRotated,
    "producer.revoked.v1": ProducerRevoked,
    "epoch.opened.v1": EpochOpened,
    "range.declared_lost.v1": RangeDeclaredLost,
    "record.discarded.v1": RecordDiscarded,
    "region.tree_published.v1": TreePublished,
    "denominator.published.v1": DenominatorPublished,
    "cohort.published.v1": CohortPublished,
    "cohort.entry_listed.v1": CohortEntryListed,
    "cohort.entry_resolved.v1": CohortEntryResolved,
    "ticket.opened.v1": TicketOpened,
    "ticket.assigned.v1": TicketAssigned,
    "ticket.closed.v1": TicketClosed,
    "subject.erasure_ordered.v1": ErasureOrdered,
    "person.accessed.v1": PersonAccessed,
    "person.token_accessed.v1": PersonTokenAccessed,
}

TYPE_NAMES: Final[dict[type, str]] = {struct: name for name, struct in EVENT_TYPES.items()}

_OF_MACHINES: Final = frozenset(
    {
        RecordingCaptured,
        RecordingWithdrawn,
        Heartbeat,
        FaultReported,
        FaultCleared,
        ComponentSwapped,
        RouteChanged,
        ClockAnchored,
        EpochOpened,
    }
)
"""Their labels are ids and serial numbers, which may well have sixteen digits."""
_SHOWN: Final[dict[type, tuple[str, ...]]] = {
    struct: tuple(
        field
        for field, hint in get_type_hints(struct, include_extras=True).items()
        for hints in [(hint, *get_args(hint))]
        if {Text, Bucket} & set(hints) or (Label in hints and struct not in _OF_MACHINES)
    )
    for struct in TYPE_NAMES
}
"""Fields that people fill in and others read, by event type."""


class Event(msgspec.Struct, frozen=True):
    """One event: the producer's clocks at that moment, and what happened."""

    wall_ms: int
    mono_ms: int
    boot: str
    """Names the boot session in which `mono_ms` counts; the clock may be mended per session."""
    data: EventData

    @property
    def type(self) -> str:
        """Return the type's name with its version."""
        return TYPE_NAMES[type(self.data)]


class EventLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every event line holds; `data` is read by the type that it names."""

    type: Annotated[str, msgspec.Meta(max_length=100)]
    wall_ms: Milliseconds
    mono_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    boot: Label
    data: msgspec.Raw


_decode_line = msgspec.json.Decoder(EventLine).decode
_decode_data = {name: msgspec.json.Decoder(struct).decode for name, struct in EVENT_TYPES.items()}
_encode = msgspec.json.Encoder().encode
_TYPE_FORM = re.compile(r"[a-z_]+(\.[a-z_]+)+\.v[0-9]{1,3}")


def encode(event: Event) -> bytes:
    """Return the event as one JSON line without its line end."""
    return _encode(
        EventLine(
            event.type, event.wall_ms, event.mono_ms, event.boot, msgspec.Raw(_encode(event.data))
        )
    )


def decode(line: bytes) -> Event:
    """Read one event line.

    Raises EventRejected when it is wrong for ever; Held when its type or a field is unknown, as
    a newer device may send it: it is kept until this software is updated. Neither message ever
    contains a value of the event.
    """
    if len(line) > EVENT_BYTES_MAX:
        raise EventRejected("event_too_large", f"{len(line)} bytes; the limit is {EVENT_BYTES_MAX}")
    try:
        outer = _decode_line(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(line, error) from None  # the library's message may show a value
    decode_data = _decode_data.get(outer.type)
    if decode_data is None:
        if nests_too_deeply(line):
            raise _too_deep()
        raise Held("unknown_type", f"type {_printable(outer.type)}; update this software")
    try:
        data = decode_data(outer.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(line, error) from None  # the library's message may show a value
    is_escaped = b"\\" in line
    if is_escaped and holds_nul(line):
        raise EventRejected("schema_invalid", "a text holds U+0000, which no table can keep")
    # A NIK that is there once is where it belongs, unless digits are written as escapes.
    nik = getattr(data, "nik", None)
    is_sure = nik is None or (not is_escaped and line.count(nik.encode()) == 1)
    field = None if is_sure else _repeated_nik(data)
    if _SHOWN[type(data)] and field is None:
        field = _shown_nik(data)
    if field is not None:
        raise EventRejected("nik_in_text", f"a NIK where none belongs - at `$.data.{field}`")
    if nik is not None and not is_sure and nik in outer.boot:
        raise EventRejected("nik_in_text", "a NIK where none belongs - at `$.boot`")
    return Event(outer.wall_ms, outer.mono_ms, outer.boot, data)


def stray_nik(data: EventData) -> str | None:
    """Return the field in which a NIK stands though it is not for one; None when none does.

    What people fill in holds no sixteen digits in a row. Ids and serial numbers may have sixteen:
    they may not hold the NIK that this event is about.
    """
    return _shown_nik(data) or _repeated_nik(data)


def _shown_nik(data: EventData) -> str | None:
    for field in _SHOWN[type(data)]:
        text = getattr(data, field)
        if text is not None and len(text) >= NIK_DIGITS and holds_nik(text):
            return field
    return None


def _repeated_nik(data: EventData) -> str | None:
    nik = getattr(data, "nik", None)
    if nik is not None:
        for field, value in msgspec.to_builtins(data).items():
            if field != "nik" and any(nik in text for text in _texts(value)):
                return str(field)
    return None


def _texts(value: Any) -> list[str]:
    """Return all texts in a value of builtins, keys too."""
    match value:
        case str():
            return [value]
        case dict():
            return [text for pair in value.items() for one in pair for text in _texts(one)]
        case list() | tuple():
            return [text for one in value for text in _texts(one)]
        case _:
            return []


def _refusal(line: bytes, error: Exception) -> EventRejected | Held:
    if nests_too_deeply(line):
        return _too_deep()
    if is_unknown_field(error):
        return Held("unknown_field", "a field that this version does not know; update it")
    if isinstance(error, msgspec.ValidationError):
        return EventRejected("schema_invalid", explain(error))
    return EventRejected("not_json", "the line is not a JSON object in UTF-8")


def _too_deep() -> EventRejected:
    return EventRejected("nested_too_deeply", f"nested more than {DEPTH_MAX} levels deep")


def _printable(type_name: str) -> str:
    """Show an unknown type only when it has a type's form, so that nothing else leaks."""
    return type_name if _TYPE_FORM.fullmatch(type_name) else "of another form"
