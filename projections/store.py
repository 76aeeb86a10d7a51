"""The store in PostgreSQL: what the live processor folds into. SQL in store_queries.sql."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from projections.rows import (
    AnchorKey,
    Changes,
    ExcludedRow,
    HeldRow,
    LedgerRow,
    ProducerRow,
    RecordId,
)
from projections.tables import CELL_TABLES, ENTITY_KINDS, FOLDED_KINDS, PERSON
from rekam.domain.ranges import RangeSet
from rekam.domain.topics import SEGMENTS
from rekam.runtime.queries import load_queries

QUERIES: Final = load_queries("projections", "store_queries.sql")
_DROPS: Final = {
    table: f"DELETE FROM {table} WHERE ctid = ANY ($1::text[]::tid[])"  # noqa: S608 - our own names
    for table in CELL_TABLES
}
"""A cell that has come to nothing is no row. By its place, which nobody else can change: a look-up
by key is planned while the table is small, and would read all of it for ever."""


class PostgresStore:
    """The tables inside one transaction (READ COMMITTED) of `connection`, which the caller ends."""

    def __init__(self, connection: Any, *, topic: str = SEGMENTS.name) -> None:
        self._connection = connection
        self._topic = topic

    async def lock_producers(self, producers: Sequence[str]) -> dict[str, ProducerRow]:
        """Make missing rows, lock all in order, return them as they are under the lock."""
        await self._connection.execute(QUERIES["make_producers"], producers)
        rows = await self._connection.fetch(QUERIES["lock_producers"], producers)
        return {row["producer"]: ProducerRow(*row) for row in rows}

    async def anchors_of(self, boots: Collection[AnchorKey]) -> dict[AnchorKey, bytes]:
        """Return the facts by which sessions are anchored; the lock is their producer's."""
        rows = await self._connection.fetch(QUERIES["find_anchors"], *_columns(boots))
        return {(row["producer"], row["boot"]): row["facts"] for row in rows}

    async def ledger_overlaps(
        self, ranges: Collection[tuple[str, int, int, int]]
    ) -> list[LedgerRow]:
        """Return segments that hold any seq of the ranges."""
        if not ranges:
            return []
        rows = await self._connection.fetch(QUERIES["find_overlaps"], *_columns(ranges))
        return _ledger_rows(rows)

    async def ledger_of(self, producers: Collection[str]) -> list[LedgerRow]:
        """Return every segment of these producers."""
        rows = await self._connection.fetch(QUERIES["list_segments_of"], list(producers))
        return [_ledger_row(row) for row in rows]

    async def ledger_of_boots(self, boots: Collection[AnchorKey]) -> list[LedgerRow]:
        """Return the segments between the first and the last that name one of the sessions."""
        if not boots:
            return []
        rows = await self._connection.fetch(QUERIES["list_segments_of_boots"], *_columns(boots))
        return _ledger_rows(rows)

    async def held_of(self, producers: Collection[str]) -> list[HeldRow]:
        """Return every held record of these producers."""
        rows = await self._connection.fetch(QUERIES["list_held_of"], list(producers))
        return [HeldRow(*row) for row in rows]

    async def lock_partitions(self, partitions: Sequence[int]) -> None:
        """Lock their positions: whoever folds one of them holds it."""
        topic = [self._topic] * len(partitions)
        await self._connection.execute(QUERIES["make_positions"], topic, partitions)
        await self._connection.execute(QUERIES["lock_positions"], self._topic, partitions)

    async def ledger_at(self, places: Collection[RecordId]) -> list[LedgerRow]:
        """Return the segments whose earliest copies lie there."""
        if not places:
            return []
        rows = await self._connection.fetch(QUERIES["list_segments_at"], *_columns(places))
        return [_ledger_row(row) for row in rows]

    async def claimed_by(self, places: Collection[RecordId]) -> set[str]:
        """Return whose held records lie there, as they claim."""
        if not places:
            return set()
        rows = await self._connection.fetch(QUERIES["list_claims_at"], *_columns(places))
        return {row["producer"] for row in rows}

    async def excluded_in(self, ranges: Collection[tuple[str, int, int, int]]) -> list[ExcludedRow]:
        """Return the events of the ranges that do not count."""
        if not ranges:
            return []
        rows = await self._connection.fetch(QUERIES["list_excluded_in"], *_columns(ranges))
        return [ExcludedRow(*row) for row in rows]

    async def decisions(self, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """Return what is decided of records, encoded, by key."""
        if not keys:
            return {}
        return dict(await self._connection.fetch(QUERIES["list_decisions"], list(keys)))

    async def lock_entities(self, kind: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Lock rows in order, make missing ones, return encoded facts as they are under the lock.

        Most rows are there: to make them all first would look each of them up twice. What is made
        here nobody else can see, so it needs no lock.
        """
        table = ENTITY_KINDS[kind].table
        lock, make = QUERIES[f"lock_{table}"], QUERIES[f"make_{table}"]
        found = dict(await self._connection.fetch(lock, keys))
        missing = [key for key in keys if key not in found]
        if missing:
            made = await self._connection.execute(make, missing)
            found.update(dict.fromkeys(missing, b""))
            if made != f"INSERT 0 {len(missing)}":
                # Another worker made some meanwhile, and has committed. These locks are out of
                # order: should two workers wait for each other, one is told and comes again.
                found.update(dict(await self._connection.fetch(lock, missing)))
        return found

    async def write(self, changes: Changes) -> None:
        """Write everything; cells last, so that hot ones are locked for the shortest time."""
        await self._write("write_producers", (tuple(row) for row in changes.producers.values()))
        await self._write(
            "write_anchors", ((*key, facts) for key, facts in changes.anchors.items())
        )
        await self._write("write_contacts", _contact_values(changes))
        await self._write("close_contacts", changes.contacts)
        await self._write("hear_services", changes.contacts)
        if changes.services:
            producers = sorted(changes.services)
            await self._connection.execute(QUERIES["delete_services"], producers)
            await self._write("write_services", _service_values(changes))
            await self._connection.execute(QUERIES["end_contacts"], producers)
        await self._write("write_segments", map(_segment_values, changes.ledger.values()))
        await self._write("write_boots", changes.boots.values())
        await self._write("write_copies", changes.copies.values())
        await self._write("mark_receipts_due", {(name,) for name in _owed_receipts(changes)})
        await self._write("delete_held", changes.held_released | changes.retried)
        await self._write("delete_quarantined", changes.retried)
        await self._write("write_held", changes.held.values())
        await self._write("write_quarantined", changes.quarantined.values())
        await self._write("delete_excluded", changes.excluded_removed)
        await self._write("write_excluded", changes.excluded.values())
        for kind in FOLDED_KINDS:
            await self._write_entities(kind, changes.entities.get(kind, {}), changes.niks)
        for table in CELL_TABLES:
            await self._add_cells(table, changes.cells.get(table, {}))

    async def _write_entities(
        self, kind: int, entities: Mapping[bytes, bytes], niks: Mapping[bytes, bytes]
    ) -> None:
        """Write rows that are locked, so that their order is nobody's business."""
        if kind == PERSON and niks:
            facts = [entities[key] for key in niks]
            await self._connection.execute(
                QUERIES["write_person_and_nik"], list(niks), facts, list(niks.values())
            )
            entities = {key: blob for key, blob in entities.items() if key not in niks}
        if entities:
            query = QUERIES[f"write_{ENTITY_KINDS[kind].table}"]
            await self._connection.execute(query, list(entities), list(entities.values()))

    async def _add_cells(self, table: str, sums: Mapping[tuple[Any, ...], int]) -> None:
        added = sorted(item for item in sums.items() if item[1])
        if added:
            columns = _columns(cell for cell, _ in added)
            nothing = await self._connection.fetch(
                QUERIES[f"add_{table}"], *columns, [count for _, count in added]
            )
            if nothing:
                await self._connection.execute(_DROPS[table], [row["ctid"] for row in nothing])

    async def _write(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        ordered = sorted(rows, key=_leading)
        if ordered:
            await self._connection.execute(QUERIES[query], *_columns(ordered))


def _owed_receipts(changes: Changes) -> set[str]:
    """Return whose ledger or registry changes: all of them are locked by now."""
    return {
        *changes.producers,
        *(row.producer for row in changes.ledger.values()),
        *(row.producer for row in changes.copies.values()),
    }


def _contact_values(changes: Changes) -> Iterable[tuple[str, date, int]]:
    return ((*key, contact_ms) for key, contact_ms in changes.contacts.items())


def _service_values(changes: Changes) -> Iterable[tuple[str, date, date]]:
    return ((producer, *time) for producer, times in changes.services.items() for time in times)


def _leading(row: Sequence[object]) -> tuple[Any, ...]:
    # Keys lead and are never null; what follows a full key does not change the order.
    return tuple(value for value in row[:5] if value is not None)


def _columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _segment_values(row: LedgerRow) -> tuple[object, ...]:
    # An array of arrays would have to be rectangular, so each set goes as PostgreSQL's array text.
    lost = "{" + ",".join(map(str, row.lost.bounds)) + "}"
    return (*row[:10], lost, row.contents, row.route)


def _ledger_rows(rows: Iterable[Any]) -> list[LedgerRow]:
    """Return each row once."""
    return list({row.key: row for row in map(_ledger_row, rows)}.values())


def _ledger_row(row: Any) -> LedgerRow:
    values = list(row)
    values[10] = RangeSet.from_bounds(values[10])
    return LedgerRow(*values)
