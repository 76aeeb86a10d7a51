"""One person: recorded or not, where the centre stands, and every event behind it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal, assert_never

import msgspec

from projections.duplicate.contributions import case_id
from projections.duplicate.state import Kind, cases_of, standing_recordings
from projections.facts import VERDICT_REASONS, FactId, counted
from projections.person.erasure import order_of
from projections.person.facts import (
    Captured,
    CaseResolved,
    Erasure,
    ListedIn,
    Observed,
    PersonFact,
    Suket,
    Withdrawn,
    WithdrawnOf,
    decode_facts,
)
from projections.person.state import (
    DATE_UNKNOWN,
    placement_steps,
)
from projections.reading import Connection, instant
from projections.rules import Rules
from projections.verification.flags import CentreFlag, centre_flags
from projections.verification.state import (
    in_observed_order,
    is_ahead,
    is_letter_ahead,
    standing_of,
)
from projections.verification.vocabulary import RECORDED_HERE_ONLY
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.person", "queries_read.sql")

WITHDRAWN: Final = "withdrawn"
"""Why an admitted recording does not count."""
AHEAD: Final = "ahead"
"""Why a word of the centre does not count: of a time that had not come when it arrived."""

RecordingFlag = Literal[
    "recorded_more_than_once",
    "date_unknown",
    "recording_withdrawn",
    "events_excluded",
]
Flag = RecordingFlag | CentreFlag
"""What whoever looks a person up should see first."""
HappeningKind = Literal[
    "status_observed", "suket_issued", "recording_withdrawn", "duplicate_resolved"
]


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One recording of the person, whether it counts or not."""

    producer: str
    epoch: int
    seq: int
    recording: str
    domicile: str
    place: str
    mode: str
    occurred_on: date | None
    """None: the device's clock cannot be trusted."""
    known_at: datetime
    counts: bool
    """It stands: it was admitted, and nobody withdrew it."""
    reason: str | None
    """Why it does not count."""


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was said of the person, other than a recording."""

    kind: HappeningKind
    producer: str
    epoch: int
    seq: int
    status: str | None
    at: datetime | None
    """When, by the one who says it."""
    source: str | None
    recording: str | None
    """Of a withdrawal: which recording is void, by its device's own id."""
    recorded_by: str | None
    """Whose it is; null: every device's of that id."""
    known_at: datetime
    counts: bool
    reason: str | None


class CaseSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A case of duplicates (docs/duplicates.md)."""

    case: str
    kind: Kind
    outcome: str | None
    """Null: nobody has settled it."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one person, under a pseudonym."""

    person: str
    """Token: the NIK cannot be had from it."""
    domicile: str | None
    recorded: bool
    recorded_on: date | None
    """Earliest day of a standing recording; None also when no clock can be trusted."""
    status: str | None
    """The centre's latest word; BIO_CAPTURED when it has said nothing of a recording."""
    status_since: datetime | None
    """Since when the centre says so; for BIO_CAPTURED, since when the recording is known."""
    recordings: list[Recording]
    history: list[Happening]
    duplicates: int
    """Standing recordings beyond the first."""
    cases: list[CaseSummary]
    """Why somebody should look at the duplicates; each is `/v1/duplicates/{case}`."""
    flags: list[Flag]


@dataclass(frozen=True, slots=True)
class Erased:
    """A person of whom nothing may be said but by which order, and since which day."""

    order: str
    known_on: date


async def find_person(
    connection: Connection, token: bytes, *, rules: Rules, today: date
) -> Person | Erased | None:
    """Return the person of a token, or None when no event names it.

    Whoever calls this has recorded who reads, and why, before (projections/api/access.py).
    """
    row = await connection.fetchrow(_QUERIES["find_person"], token)
    facts = decode_facts(row["facts"]) if row is not None and row["facts"] else []
    if not facts:
        return None
    if (order := order_of(facts)) is not None:
        return Erased(order[0], rules.zone.append_day(order[1]))
    return describe(token, facts, rules=rules, today=today)


async def find_niks(connection: Connection, tokens: Collection[bytes]) -> Mapping[bytes, bytes]:
    """Return the sealed NIKs of those of the people who are known, by token; ERASED if they are."""
    rows = await connection.fetch(_QUERIES["find_niks"], list(tokens))
    return {row["key"]: row["nik"] for row in rows}


def describe(token: bytes, facts: Sequence[PersonFact], *, rules: Rules, today: date) -> Person:
    """Return what a set of facts says of the person on the office's day."""
    steps = placement_steps(facts, rules.zone)
    placement = steps[-1][1] if steps else None
    standing = standing_recordings(facts)
    status, status_since = _status(facts, standing)
    day = placement.occurred_on if placement else DATE_UNKNOWN
    return Person(
        person=token.hex(),
        domicile=placement.desa if placement else None,
        recorded=placement is not None,
        recorded_on=day if day != DATE_UNKNOWN else None,
        status=status,
        status_since=status_since,
        recordings=_recordings(facts, {fact.id for fact in standing}),
        history=_history(facts),
        duplicates=max(0, len(standing) - 1),
        cases=[
            CaseSummary(
                case=case_id(token, case.kind, rules),
                kind=case.kind,
                outcome=case.outcome or None,
            )
            for case in cases_of(facts)
        ],
        flags=[
            *_recording_flags(facts, standing=standing),
            *centre_flags(facts, as_of=today, zone=rules.zone),
        ],
    )


def _status(
    facts: Sequence[PersonFact], standing: Sequence[PersonFact]
) -> tuple[str | None, datetime | None]:
    current = standing_of(in_observed_order(facts))
    if current is None:
        if not standing:
            return None, None
        return RECORDED_HERE_ONLY, instant(standing[0].known_ms)
    return current.status, instant(current.since_ms)


def _recordings(facts: Iterable[PersonFact], standing: Collection[FactId]) -> list[Recording]:
    found: list[Recording] = []
    for fact in facts:
        if isinstance(data := fact.data, Captured):
            reason = _reason(fact) or (None if fact.id in standing else WITHDRAWN)
            found.append(_recording(fact, data, reason))
    return found


def _reason(fact: PersonFact) -> str | None:
    """Return why a fact counts for nothing by itself."""
    if not fact.counts:
        return VERDICT_REASONS[fact.verdict][0]
    match fact.data:
        case Observed() as observed if is_ahead(fact, observed):
            return AHEAD
        case Suket() as letter if is_letter_ahead(fact, letter):
            return AHEAD
        case _:
            return None


def _recording(fact: PersonFact, data: Captured, reason: str | None) -> Recording:
    return Recording(
        producer=fact.producer,
        epoch=fact.epoch,
        seq=fact.seq,
        recording=data.recording,
        domicile=data.domicile,
        place=data.place,
        mode=data.mode,
        occurred_on=fact.occurred_on,
        known_at=instant(fact.known_ms),
        counts=reason is None,
        reason=reason,
    )


def _history(facts: Iterable[PersonFact]) -> list[Happening]:
    happenings = [entry for fact in facts if (entry := _happening(fact)) is not None]
    return sorted(happenings, key=lambda entry: (entry.at or entry.known_at, entry.known_at))


def _happening(fact: PersonFact) -> Happening | None:
    data = fact.data
    said: tuple[HappeningKind, str | None, int | None, str | None]
    match data:
        case Captured() | ListedIn() | Erasure():
            return None
        case Observed():
            said = ("status_observed", data.status, data.observed_ms, data.source)
        case Suket():
            said = ("suket_issued", data.status, data.issued_ms, None)
        case Withdrawn() | WithdrawnOf():
            said = ("recording_withdrawn", None, None, None)
        case CaseResolved():
            said = ("duplicate_resolved", data.outcome, data.resolved_ms, data.kind)
        case _:
            assert_never(data)
    kind, status, at_ms, source = said
    reason = _reason(fact)
    return Happening(
        kind=kind,
        producer=fact.producer,
        epoch=fact.epoch,
        seq=fact.seq,
        status=status,
        at=None if at_ms is None else instant(at_ms),
        source=source,
        recording=data.recording if isinstance(data, Withdrawn | WithdrawnOf) else None,
        recorded_by=data.producer if isinstance(data, WithdrawnOf) else None,
        known_at=instant(fact.known_ms),
        counts=reason is None,
        reason=reason,
    )


def _recording_flags(
    facts: Sequence[PersonFact], *, standing: Sequence[PersonFact]
) -> list[RecordingFlag]:
    counting = counted(facts)
    flags: dict[RecordingFlag, bool] = {
        "recorded_more_than_once": len(standing) > 1,
        "date_unknown": any(fact.occurred_on is None for fact in standing),
        "recording_withdrawn": any(
            isinstance(fact.data, Withdrawn | WithdrawnOf) for fact in counting
        ),
        "events_excluded": len(counting) < len(facts),
    }
    return [flag for flag, is_raised in flags.items() if is_raised]
