"""What arrived and does not count, page by page: refused (quarantined), held, or discarded."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import msgspec

from projections.quarantine.facts import decode_facts, place_of, record_key
from projections.quarantine.reasons import releases_when
from projections.reading import Connection, Row, instant
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.quarantine", "queries_read.sql")

Verdict = Literal["held", "quarantined"]

_LIST_RECORDS: Final = {
    "held": _QUERIES["list_held_records"],
    "quarantined": _QUERIES["list_quarantined_records"],
}
_FIND_RECORD: Final = {
    "held": _QUERIES["find_held_record"],
    "quarantined": _QUERIES["find_quarantined_record"],
}
_COUNT: Final = {"held": _QUERIES["count_held"], "quarantined": _QUERIES["count_quarantined"]}
_DAY_MS: Final = 86_400_000


class Excluded(msgspec.Struct, frozen=True, kw_only=True):
    """A record, or one event of an admitted segment, that does not count."""

    scope: Literal["record", "event"]
    reason: str
    detail: str
    releases_when: str
    """What would make it count."""
    producer: str | None
    """For a record: as its header claims, nobody has proved it."""
    epoch: int | None
    range: tuple[int, int] | None
    """First and last seq; None when the header could not be read."""
    since: datetime | None
    """Append time of the record that brought it."""
    age_days: int | None
    """Whole days since then."""
    partition: int | None
    offset: int | None
    bytes: int | None
    """Length of a held record; of others the log alone knows it."""


class Discard(msgspec.Struct, frozen=True, kw_only=True):
    """A decision of the registrar that a record, or some events of it, never count."""

    partition: int
    offset: int
    range: tuple[int, int] | None
    """First and last seq; None: all of the record."""
    record_hash: str
    """SHA-256 of the record that was meant."""
    by: str
    """The producer that decided."""
    reason: str
    since: datetime
    """When that became known."""


class RecordPlace(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """A list goes on behind this record."""

    partition: int
    offset: int


class EventPlace(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """A list goes on behind this event."""

    producer: str
    epoch: int
    seq: int
    hash: bytes


Place = RecordPlace | EventPlace

START: Final = RecordPlace(-1, -1)
_EVENTS_START: Final = EventPlace("", 0, 0, b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries a list gives; None: any."""

    producer: str | None = None
    reason: str | None = None
    days_min: int | None = None
    """How old they are at least."""


ANY: Final = Wanted()


@dataclass(frozen=True, slots=True)
class ExcludedPage:
    """Entries in the list's order, and where the next page starts (None: this is the last)."""

    entries: tuple[Excluded, ...]
    next: Place | None


async def excluded(
    connection: Connection,
    verdict: Verdict,
    *,
    now_ms: int,
    wanted: Wanted = ANY,
    after: Place = START,
    entries_max: int,
) -> ExcludedPage:
    """Return the next entries behind a place: whole records first, then single events.

    Entries that come or go between two pages are seen or not; no other is missed or seen twice.
    What was discarded is none of them.
    """
    rows_max = entries_max + 1
    before_ms = None if wanted.days_min is None else now_ms - wanted.days_min * _DAY_MS + 1
    chosen = (wanted.producer, wanted.reason, before_ms)
    found: list[tuple[Place, Excluded]] = []
    if isinstance(after, RecordPlace):
        rows = await connection.fetch(
            _LIST_RECORDS[verdict], after.partition, after.offset, rows_max, *chosen
        )
        found += [
            (RecordPlace(row["partition"], row["log_offset"]), _record(row, now_ms)) for row in rows
        ]
        after = _EVENTS_START
    if len(found) < rows_max:
        rows = await connection.fetch(
            _QUERIES["list_excluded_events"],
            verdict,
            after.producer,
            after.epoch,
            after.seq,
            after.hash,
            rows_max - len(found),
            *chosen,
        )
        found += [
            (
                EventPlace(row["producer"], row["epoch"], row["seq"], row["hash"]),
                _event(row, now_ms),
            )
            for row in rows
        ]
    page = found[:entries_max]
    return ExcludedPage(
        tuple(entry for _, entry in page), page[-1][0] if len(found) > entries_max else None
    )


async def excluded_at(
    connection: Connection, verdict: Verdict, *, partition: int, offset: int, now_ms: int
) -> list[Excluded]:
    """Return what does not count at one place: the record, or events of the segment there.

    Also what was discarded; the last line of a story is not its whole.
    """
    row = await connection.fetchrow(_FIND_RECORD[verdict], partition, offset)
    if row is not None:
        return [_record(row, now_ms)]
    rows = await connection.fetch(_QUERIES["find_excluded_events"], partition, offset)
    return [_event(row, now_ms) for row in rows if row["verdict"] == verdict]


async def discards(
    connection: Connection, *, after: tuple[int, int] | None = None, records_max: int
) -> tuple[list[Discard], tuple[int, int] | None]:
    """Return the decisions on the next records, by place, and where the next page starts."""
    key = b"" if after is None else record_key(*after)
    rows = await connection.fetch(_QUERIES["list_decisions"], key, records_max + 1)
    page = rows[:records_max]
    following = place_of(page[-1]["key"]) if len(rows) > records_max else None
    return [discard for row in page for discard in _discards(row)], following


async def discards_at(connection: Connection, *, partition: int, offset: int) -> list[Discard]:
    """Return the decisions on one record."""
    row = await connection.fetchrow(_QUERIES["find_decisions"], record_key(partition, offset))
    return [] if row is None else _discards(row)


async def count_excluded(connection: Connection, verdict: Verdict) -> dict[str, int]:
    """Return how many records and events do not count, by reason; without what was discarded."""
    rows = await connection.fetch(_COUNT[verdict])
    return {row["reason"]: row["entries"] for row in rows}


def _discards(row: Row) -> list[Discard]:
    return [
        Discard(
            partition=fact.data.partition,
            offset=fact.data.offset,
            range=None if fact.data.is_whole else (fact.data.first, fact.data.last),
            record_hash=fact.data.record_hash.hex(),
            by=fact.producer,
            reason=fact.data.reason,
            since=instant(fact.known_ms),
        )
        for fact in decode_facts(row["facts"])
        if fact.counts
    ]


def _record(row: Row, now_ms: int) -> Excluded:
    has_range = row["first"] is not None and row["last"] is not None
    return Excluded(
        scope="record",
        reason=row["reason"],
        detail=row["detail"],
        releases_when=releases_when(row["reason"]),
        producer=row["producer"],
        epoch=row["epoch"],
        range=(row["first"], row["last"]) if has_range else None,
        since=instant(row["append_ms"]),
        age_days=_age_days(row, now_ms),
        partition=row["partition"],
        offset=row["log_offset"],
        bytes=row["bytes"],
    )


def _event(row: Row, now_ms: int) -> Excluded:
    return Excluded(
        scope="event",
        reason=row["reason"],
        detail=row["detail"],
        releases_when=releases_when(row["reason"]),
        producer=row["producer"],
        epoch=row["epoch"],
        range=(row["seq"], row["seq"]),
        since=None if row["append_ms"] is None else instant(row["append_ms"]),
        age_days=_age_days(row, now_ms),
        partition=row["partition"],
        offset=row["log_offset"],
        bytes=None,
    )


def _age_days(row: Row, now_ms: int) -> int | None:
    append_ms: int | None = row["append_ms"]
    # Kafka's clock may be a little ahead of ours.
    return None if append_ms is None else max(0, now_ms - append_ms) // _DAY_MS
