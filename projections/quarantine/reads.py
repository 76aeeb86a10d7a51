"""What arrived and does not count, page by page: refused for ever (quarantined) or held."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import msgspec

from projections.reading import Connection, Row, instant
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.quarantine", "queries_read.sql")

Verdict = Literal["held", "quarantined"]

_LIST_RECORDS: Final = {
    "held": _QUERIES["list_held_records"],
    "quarantined": _QUERIES["list_quarantined_records"],
}
_COUNT: Final = {"held": _QUERIES["count_held"], "quarantined": _QUERIES["count_quarantined"]}


class Excluded(msgspec.Struct, frozen=True, kw_only=True):
    """A record, or one event of an admitted segment, that does not count."""

    scope: Literal["record", "event"]
    reason: str
    detail: str
    producer: str | None
    """For a record: as its header claims, nobody has proved it."""
    epoch: int | None
    range: tuple[int, int] | None
    """First and last seq; None when the header could not be read."""
    since: datetime | None
    """Append time of the record that brought it."""
    partition: int | None
    offset: int | None


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


@dataclass(frozen=True, slots=True)
class ExcludedPage:
    """Entries in the list's order, and where the next page starts (None: this is the last)."""

    entries: tuple[Excluded, ...]
    next: Place | None


async def excluded(
    connection: Connection, verdict: Verdict, *, after: Place = START, entries_max: int
) -> ExcludedPage:
    """Return the next entries behind a place: whole records first, then single events.

    Entries that come or go between two pages are seen or not; no other is missed or seen twice.
    """
    wanted = entries_max + 1
    found: list[tuple[Place, Excluded]] = []
    if isinstance(after, RecordPlace):
        rows = await connection.fetch(_LIST_RECORDS[verdict], after.partition, after.offset, wanted)
        found += [(RecordPlace(row["partition"], row["log_offset"]), _record(row)) for row in rows]
        after = _EVENTS_START
    if len(found) < wanted:
        rows = await connection.fetch(
            _QUERIES["list_excluded_events"],
            verdict,
            after.producer,
            after.epoch,
            after.seq,
            after.hash,
            wanted - len(found),
        )
        found += [
            (EventPlace(row["producer"], row["epoch"], row["seq"], row["hash"]), _event(row))
            for row in rows
        ]
    page = found[:entries_max]
    return ExcludedPage(
        tuple(entry for _, entry in page), page[-1][0] if len(found) > entries_max else None
    )


async def count_excluded(connection: Connection, verdict: Verdict) -> dict[str, int]:
    """Return how many records and events do not count, by reason."""
    rows = await connection.fetch(_COUNT[verdict])
    return {row["reason"]: row["entries"] for row in rows}


def _record(row: Row) -> Excluded:
    has_range = row["first"] is not None and row["last"] is not None
    return Excluded(
        scope="record",
        reason=row["reason"],
        detail=row["detail"],
        producer=row["producer"],
        epoch=row["epoch"],
        range=(row["first"], row["last"]) if has_range else None,
        since=instant(row["append_ms"]),
        partition=row["partition"],
        offset=row["log_offset"],
    )


def _event(row: Row) -> Excluded:
    return Excluded(
        scope="event",
        reason=row["reason"],
        detail=row["detail"],
        producer=row["producer"],
        epoch=row["epoch"],
        range=(row["seq"], row["seq"]),
        since=None if row["append_ms"] is None else instant(row["append_ms"]),
        partition=row["partition"],
        offset=row["log_offset"],
    )
