"""The store in PostgreSQL: what the live processor folds into. SQL in store_queries.sql."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from projections.rows import Changes, HeldRow, LedgerRow, ProducerRow
from projections.tables import CELL_TABLES, ENTITY_KINDS, FOLDED_KINDS
from rekam.domain.ranges import RangeSet
from rekam.runtime.queries import load_queries

QUERIES: Final = load_queries("projections", "store_queries.sql")


class PostgresStore:
    """The tables inside one transaction (READ COMMITTED) of `connection`, which the caller ends."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def lock_producers(self, producers: Sequence[str]) -> dict[str, ProducerRow]:
        """Make missing rows, lock all in order, return them as they are under the lock."""
        await self._connection.execute(QUERIES["make_producers"], producers)
        rows = await self._connection.fetch(QUERIES["lock_producers"], producers)
        return {row["producer"]: ProducerRow(*row) for row in rows}

    async def ledger_overlaps(
        self, ranges: Collection[tuple[str, int, int, int]]
    ) -> list[LedgerRow]:
        """Return segments that hold any seq of the ranges."""
        if not ranges:
            return []
        rows = await self._connection.fetch(QUERIES["find_overlaps"], *_columns(ranges))
        return [_ledger_row(row) for row in rows]

    async def ledger_of(self, producers: Collection[str]) -> list[LedgerRow]:
        """Return every segment of these producers."""
        rows = await self._connection.fetch(QUERIES["list_segments_of"], list(producers))
        return [_ledger_row(row) for row in rows]

    async def held_of(self, producers: Collection[str]) -> list[HeldRow]:
        """Return every held record of these producers."""
        rows = await self._connection.fetch(QUERIES["list_held_of"], list(producers))
        return [HeldRow(*row) for row in rows]

    async def lock_entities(self, kind: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Make missing rows, lock all in order, return encoded facts as they are under the lock."""
        table = ENTITY_KINDS[kind].table
        await self._connection.execute(QUERIES[f"make_{table}"], keys)
        # A statement of its own: under READ COMMITTED it sees what was committed before the lock.
        return dict(await self._connection.fetch(QUERIES[f"lock_{table}"], keys))

    async def write(self, changes: Changes) -> None:
        """Write everything; cells last, so that hot ones are locked for the shortest time."""
        await self._write("write_producers", (tuple(row) for row in changes.producers.values()))
        await self._write("write_segments", map(_segment_values, changes.ledger.values()))
        await self._write("write_copies", changes.copies.values())
        await self._write("mark_receipts_due", {(name,) for name in _owed_receipts(changes)})
        await self._write("delete_held", changes.held_released)
        await self._write("write_held", changes.held.values())
        await self._write("write_quarantined", changes.quarantined.values())
        await self._write("delete_excluded", changes.excluded_removed)
        await self._write("write_excluded", changes.excluded.values())
        for kind in FOLDED_KINDS:
            if entities := changes.entities.get(kind):
                await self._connection.execute(
                    QUERIES[f"write_{ENTITY_KINDS[kind].table}"],
                    *_columns(sorted(entities.items())),
                )
        for table in CELL_TABLES:
            await self._add_cells(table, changes.cells.get(table, {}))

    async def _add_cells(self, table: str, sums: Mapping[tuple[Any, ...], int]) -> None:
        added = sorted(item for item in sums.items() if item[1])
        if added:
            columns = _columns(cell for cell, _ in added)
            nothing = await self._connection.fetch(
                QUERIES[f"add_{table}"], *columns, [count for _, count in added]
            )
            if nothing:
                await self._connection.execute(
                    QUERIES[f"drop_{table}"], *_columns(sorted(tuple(row) for row in nothing))
                )

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


def _leading(row: Sequence[object]) -> tuple[Any, ...]:
    # Keys lead and are never null; what follows a full key does not change the order.
    return tuple(value for value in row[:5] if value is not None)


def _columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _segment_values(row: LedgerRow) -> tuple[object, ...]:
    # An array of arrays would have to be rectangular, so each set goes as PostgreSQL's array text.
    lost = "{" + ",".join(map(str, row.lost.bounds)) + "}"
    return (*row[:10], lost, row.contents)


def _ledger_row(row: Any) -> LedgerRow:
    values = list(row)
    values[10] = RangeSet.from_bounds(values[10])
    return LedgerRow(*values)
