"""One person: recorded or not, where the centre stands, and every event behind it."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Final, Literal, assert_never

import msgspec

from projections.facts import COUNTS, VERDICT_REASONS, counted
from projections.person.facts import (
    Captured,
    Erasure,
    Observed,
    PersonFact,
    Suket,
    Withdrawn,
    decode_facts,
)
from projections.person.state import (
    DATE_UNKNOWN,
    current_observation,
    placement_steps,
)
from projections.reading import Connection, instant
from projections.verification.contributions import RECORDED_HERE_ONLY
from rekam.domain.clocks import OfficeZone
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.person", "queries_read.sql")

Flag = Literal[
    "recorded_more_than_once",
    "date_unknown",
    "duplicate_record",
    "recording_withdrawn",
    "events_excluded",
    "erasure_ordered",
]
HappeningKind = Literal["status_observed", "suket_issued", "recording_withdrawn", "erasure_ordered"]
DUPLICATE_RECORD: Final = "DUPLICATE_RECORD"
"""The centre's word for: the same body is recorded under another number."""


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
    known_at: datetime
    counts: bool
    reason: str | None


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
    flags: list[Flag]


async def find_person(connection: Connection, token: bytes, *, zone: OfficeZone) -> Person | None:
    """Return the person of a token, or None when no event names it."""
    row = await connection.fetchrow(_QUERIES["find_person"], token)
    facts = decode_facts(row["facts"]) if row is not None and row["facts"] else []
    return describe(token, facts, zone=zone) if facts else None


def describe(token: bytes, facts: Sequence[PersonFact], *, zone: OfficeZone) -> Person:
    """Return what a set of facts says of the person."""
    steps = placement_steps(facts, zone)
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
        recordings=[_recording(fact, fact.data) for fact in facts if _is_recording(fact)],
        history=_history(facts),
        duplicates=max(0, len(standing) - 1),
        flags=_flags(facts, standing=standing, status=status),
    )


def standing_recordings(facts: Iterable[PersonFact]) -> list[PersonFact]:
    """Return the recordings that count and are not withdrawn, as they became known."""
    known = counted(facts)
    withdrawn = {fact.data.recording for fact in known if isinstance(fact.data, Withdrawn)}
    return [
        fact
        for fact in known
        if isinstance(fact.data, Captured) and fact.data.recording not in withdrawn
    ]


def _status(
    facts: Sequence[PersonFact], standing: Sequence[PersonFact]
) -> tuple[str | None, datetime | None]:
    current = current_observation(facts)
    if current is None:
        if not standing:
            return None, None
        return RECORDED_HERE_ONLY, instant(standing[0].known_ms)
    since = current[1]
    for _, observed in reversed(_observations(facts)):
        if observed.status != since.status:
            break
        since = observed
    return since.status, instant(since.observed_ms)


def _observations(facts: Iterable[PersonFact]) -> list[tuple[PersonFact, Observed]]:
    """Return the observations that count, in the order that `current_observation` judges by."""
    return sorted(
        (
            (fact, fact.data)
            for fact in facts
            if fact.verdict == COUNTS and isinstance(fact.data, Observed)
        ),
        key=lambda pair: (pair[1].observed_ms, pair[0].id),
    )


def _is_recording(fact: PersonFact) -> bool:
    return isinstance(fact.data, Captured)


def _reason(fact: PersonFact) -> str | None:
    return None if fact.counts else VERDICT_REASONS[fact.verdict][0]


def _recording(fact: PersonFact, data: object) -> Recording:
    assert isinstance(data, Captured)  # noqa: S101 - the caller chose recordings
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
        counts=fact.counts,
        reason=_reason(fact),
    )


def _history(facts: Iterable[PersonFact]) -> list[Happening]:
    happenings = [entry for fact in facts if (entry := _happening(fact)) is not None]
    return sorted(happenings, key=lambda entry: (entry.at or entry.known_at, entry.known_at))


def _happening(fact: PersonFact) -> Happening | None:
    data = fact.data
    said: tuple[HappeningKind, str | None, int | None, str | None]
    match data:
        case Captured():
            return None
        case Observed():
            said = ("status_observed", data.status, data.observed_ms, data.source)
        case Suket():
            said = ("suket_issued", data.status, data.issued_ms, None)
        case Withdrawn():
            said = ("recording_withdrawn", None, None, None)
        case Erasure():
            said = ("erasure_ordered", None, None, None)
        case _:
            assert_never(data)
    kind, status, at_ms, source = said
    return Happening(
        kind=kind,
        producer=fact.producer,
        epoch=fact.epoch,
        seq=fact.seq,
        status=status,
        at=None if at_ms is None else instant(at_ms),
        source=source,
        known_at=instant(fact.known_ms),
        counts=fact.counts,
        reason=_reason(fact),
    )


def _flags(
    facts: Iterable[PersonFact], *, standing: Sequence[PersonFact], status: str | None
) -> list[Flag]:
    known = list(facts)
    counting = counted(known)
    flags: dict[Flag, bool] = {
        "recorded_more_than_once": len(standing) > 1,
        "date_unknown": any(fact.occurred_on is None for fact in standing),
        "duplicate_record": status == DUPLICATE_RECORD,
        "recording_withdrawn": any(isinstance(fact.data, Withdrawn) for fact in counting),
        "events_excluded": len(counting) < len(known),
        "erasure_ordered": any(isinstance(fact.data, Erasure) for fact in counting),
    }
    return [flag for flag, is_raised in flags.items() if is_raised]
