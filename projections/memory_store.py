"""The store in memory: what replay and audit fold into, with the same folds as the live tables."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

from projections.rows import (
    Changes,
    CopyRow,
    ExcludedKey,
    ExcludedRow,
    HeldRow,
    LedgerKey,
    LedgerRow,
    ProducerRow,
    QuarantinedRow,
    RecordId,
)
from projections.tables import CELL_TABLES, ENTITY_KINDS, FOLDED_KINDS, Row
from rekam.domain.segment import SEGMENT_EVENTS_MAX


class MemoryStore:
    """All tables as dictionaries. Transactions are the caller's calls: one fold at a time."""

    def __init__(self) -> None:
        self._producers: dict[str, ProducerRow] = {}
        self._ledger: defaultdict[str, dict[LedgerKey, LedgerRow]] = defaultdict(dict)
        self._copies: dict[RecordId, CopyRow] = {}
        self._held: dict[RecordId, HeldRow] = {}
        self._quarantined: dict[RecordId, QuarantinedRow] = {}
        self._excluded: dict[ExcludedKey, ExcludedRow] = {}
        self._entities: defaultdict[int, dict[bytes, bytes]] = defaultdict(dict)
        self._cells: defaultdict[str, Counter[tuple[object, ...]]] = defaultdict(Counter)
        self._firsts: defaultdict[tuple[str, int], dict[int, list[LedgerKey]]] = defaultdict(dict)
        """Keys by life and first seq: overlaps are looked for by nearby firsts."""

    async def lock_producers(self, producers: Sequence[str]) -> dict[str, ProducerRow]:
        """Return the rows; there is nobody to lock them against."""
        return {name: self._producers.get(name, ProducerRow(name, b"", 0)) for name in producers}

    async def ledger_overlaps(
        self, ranges: Collection[tuple[str, int, int, int]]
    ) -> list[LedgerRow]:
        """Return segments that hold any seq of the ranges."""
        found: dict[LedgerKey, LedgerRow] = {}
        for producer, epoch, first, last in ranges:
            firsts = self._firsts.get((producer, epoch))
            if not firsts:
                continue
            rows = self._ledger[producer]
            for start in range(max(1, first - SEGMENT_EVENTS_MAX + 1), last + 1):
                for key in firsts.get(start, ()):
                    if rows[key].last >= first:
                        found[key] = rows[key]
        return list(found.values())

    async def ledger_of(self, producers: Collection[str]) -> list[LedgerRow]:
        """Return every segment of these producers."""
        return [
            row for name in producers if name in self._ledger for row in self._ledger[name].values()
        ]

    async def held_of(self, producers: Collection[str]) -> list[HeldRow]:
        """Return every held record of these producers."""
        return [row for row in self._held.values() if row.producer in producers]

    async def lock_entities(self, kind: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return encoded facts by key; there is nobody to lock them against."""
        entities = self._entities[kind]
        return {key: entities.get(key, b"") for key in keys}

    async def write(self, changes: Changes) -> None:
        """Apply everything at once."""
        self._producers |= changes.producers
        for key, row in changes.ledger.items():
            if key not in self._ledger[row.producer]:
                life = self._firsts[row.producer, row.epoch]
                life.setdefault(row.first, []).append(key)
            self._ledger[row.producer][key] = row
        self._copies |= changes.copies
        for place in changes.held_released:
            self._held.pop(place, None)
        self._held |= changes.held
        self._quarantined |= changes.quarantined
        for identity in changes.excluded_removed:
            self._excluded.pop(identity, None)
        self._excluded |= changes.excluded
        for kind, entities in changes.entities.items():
            self._entities[kind] |= entities
        for table, cells in changes.cells.items():
            sums = self._cells[table]
            for cell, difference in cells.items():
                sums[cell] += difference
                if not sums[cell]:
                    del sums[cell]

    def tables(self) -> dict[str, Iterator[Row]]:
        """Return the rows of every table, as the digest reads them."""
        named: dict[str, Iterator[Row]] = {
            "producer": (
                tuple(row) for row in self._producers.values() if row.facts or row.contact_ms
            ),
            "ledger_segment": (
                (*row[:10], row.lost.bounds, row.contents)
                for rows in self._ledger.values()
                for row in rows.values()
            ),
            "ledger_copy": (tuple(row) for row in self._copies.values()),
            "held_record": (tuple(row) for row in self._held.values()),
            "quarantined_record": (tuple(row) for row in self._quarantined.values()),
            "excluded_event": (tuple(row) for row in self._excluded.values()),
        }
        for kind in FOLDED_KINDS:
            named[ENTITY_KINDS[kind].table] = iter(self._entities[kind].items())
        for table in CELL_TABLES:
            named[table] = ((*cell, count) for cell, count in self._cells[table].items())
        return named
