"""Decide again on what does not count: after a fix by command, after an upgrade by itself.

    places ─► records of the log ─► open ─► fold again, one transaction a partition and turn

Exactly once needs no mark of its own: folding a record again changes nothing of what is in the
tables (PostgresFolder.fold_again), so two releases, a processor beside them and a kill in the
middle all end as one rebuild of the log by this software would.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Protocol

import structlog

from projections.facts import VARIANT_BYTES
from projections.quarantine.reasons import LIFTED_AT_START
from projections.rows import Changes, ExcludedRow
from rekam.domain.log import LogRecord
from rekam.runtime.queries import load_queries
from stream_processors.folder import PostgresFolder
from stream_processors.intake import Intake, Opened, Waiting
from stream_processors.places import Place

QUERIES: Final = load_queries("stream_processors", "release_queries.sql")

RECORDS_A_TURN_MAX: Final = 50
"""A turn holds its records in memory (256 KiB each at most) and its partition's lock."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Reader(Protocol):
    """The part of RecordReader that is used here."""

    async def read(self, places: Iterable[Place]) -> list[LogRecord]:
        """Return the records at these places, sorted by place."""
        ...


ReaderOpened = AbstractAsyncContextManager[Reader]


@dataclass(frozen=True, slots=True)
class StillExcluded:
    """Something that still does not count."""

    place: Place
    seq: int | None
    """None: the whole record."""
    reason: str
    detail: str


async def release(
    folder: PostgresFolder, reader: Reader, places: Collection[Place]
) -> list[StillExcluded]:
    """Decide again on the records at these places; return what of them still does not count.

    When this returns, each turn has committed. A place that the processor has not come to yet is
    left to it.
    """
    still: list[StillExcluded] = []
    for partition, turn in _turns(sorted(set(places))):
        records = await reader.read(turn)
        still += await _fold_turn(folder, partition, records)
    return still


async def not_folded_yet(folder: PostgresFolder, places: Collection[Place]) -> list[Place]:
    """Return which of the places the position has not passed: of them nothing is decided again."""
    ends = await folder.positions(folder.topic, {partition for partition, _ in places})
    return sorted(place for place in set(places) if place[1] >= ends.get(place[0], 0))


async def _fold_turn(
    folder: PostgresFolder, partition: int, records: Sequence[LogRecord]
) -> list[StillExcluded]:
    changes = await folder.fold_again(records)
    still = await _still_excluded(changes, records, folder)
    log.info(
        "records_decided_again",
        partition=partition,
        records=len(records),
        still_excluded=len(still),
    )
    return still


def _turns(places: Iterable[Place]) -> Iterable[tuple[int, list[Place]]]:
    for partition, group in groupby(places, key=lambda place: place[0]):
        of_partition = list(group)
        for start in range(0, len(of_partition), RECORDS_A_TURN_MAX):
            yield partition, of_partition[start : start + RECORDS_A_TURN_MAX]


async def _still_excluded(
    changes: Changes, records: Iterable[LogRecord], folder: PostgresFolder
) -> list[StillExcluded]:
    found: list[StillExcluded] = []
    admitted: dict[Place, Opened] = {}
    for record in records:
        place = (record.partition, record.offset)
        row = changes.held.get(place) or changes.quarantined.get(place)
        if row is not None:
            found.append(StillExcluded(place, None, row.reason, row.detail))
        elif isinstance(opened := folder.opener.open_record(record), Opened):
            admitted[place] = opened
    rows = await _excluded_events(folder, admitted.values())
    for place, opened in admitted.items():
        found += [
            StillExcluded(place, event.seq, event.reason, event.detail)
            for event in _excluded_of(opened, rows)
        ]
    return sorted(found, key=lambda one: (one.place, one.seq or 0))


async def _excluded_events(folder: PostgresFolder, segments: Iterable[Opened]) -> list[ExcludedRow]:
    """Return what stands of these segments after the fold.

    Not what the fold wrote: of events that other records judge, such as revoked ones, it writes
    nothing, and they do not count all the same.
    """
    ranges = {
        (header.producer, header.epoch, header.first, header.last)
        for header in (segment.header for segment in segments)
    }
    return await folder.excluded_in(ranges)


def _excluded_of(opened: Opened, rows: Iterable[ExcludedRow]) -> list[ExcludedRow]:
    header, variant = opened.header, opened.hash[:VARIANT_BYTES]
    return [
        row
        for row in rows
        if (row.producer, row.epoch, row.hash) == (header.producer, header.epoch, variant)
        and header.first <= row.seq <= header.last
    ]


async def lift(folder: PostgresFolder, open_reader: Callable[[], ReaderOpened]) -> int:
    """Decide again on what is held and this software with these keys takes otherwise.

    What is held for the registry is not looked at: its arrival releases it. Safe to repeat and to
    run beside processors. Holds RECORDS_A_TURN_MAX records at most; Kafka is asked only when
    single events are held. Returns how many records were decided again.
    """
    return await _lift_records(folder) + await _lift_events(folder, open_reader)


async def _lift_records(folder: PostgresFolder) -> int:
    lifted, after = 0, (-1, -1)
    while rows := await folder.pool.fetch(
        QUERIES["list_liftable_records"], LIFTED_AT_START, *after, RECORDS_A_TURN_MAX
    ):
        after = (rows[-1]["partition"], rows[-1]["log_offset"])
        due = [record for row in rows if _reads_otherwise(row, record := _record(row), folder)]
        for partition, group in groupby(due, key=lambda record: record.partition):
            await _fold_turn(folder, partition, list(group))
        lifted += len(due)
    return lifted


def _record(row: Any) -> LogRecord:
    place = (row["partition"], row["log_offset"])
    return LogRecord(*place, row["append_ms"], row["value"], row["route"])


def _reads_otherwise(row: Any, record: LogRecord, folder: PostgresFolder) -> bool:
    opened = folder.opener.open_record(record)
    found = (opened.reason, opened.detail) if isinstance(opened, Waiting) else None
    return found != (row["reason"], row["detail"])


async def _lift_events(folder: PostgresFolder, open_reader: Callable[[], ReaderOpened]) -> int:
    lifted, after = 0, ("", 0, 0, b"")
    async with AsyncExitStack() as stack:
        reader: Reader | None = None
        while rows := await folder.pool.fetch(
            QUERIES["list_liftable_segments"], LIFTED_AT_START, *after, RECORDS_A_TURN_MAX
        ):
            after = tuple(rows[-1][name] for name in ("producer", "epoch", "first", "hash"))
            if reader is None:
                reader = await stack.enter_async_context(open_reader())
            by_place = {(row["partition"], row["log_offset"]): row for row in rows}
            due = [
                record
                for record in await reader.read(by_place)
                if _holds_less(
                    by_place[record.partition, record.offset], folder.opener.open_record(record)
                )
            ]
            for partition, group in groupby(due, key=lambda record: record.partition):
                await _fold_turn(folder, partition, list(group))
            lifted += len(due)
    return lifted


def _holds_less(row: Any, intake: Intake) -> bool:
    """Tell whether an event that is held is read, refused, or held for another reason now."""
    if not isinstance(intake, Opened):
        return False  # Its reader key was here once, and is no more: what counts, counts.
    now = {event.seq: (event.reason, event.detail) for event in intake.excluded}
    held = zip(row["seqs"], row["reasons"], row["details"], strict=True)
    return any(now.get(seq) != (reason, detail) for seq, reason, detail in held)
