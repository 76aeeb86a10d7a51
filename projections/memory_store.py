"""The store in memory: what replay and audit fold into, with the same folds as the live tables."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, timedelta

from projections.person.niks import ERASED
from projections.rows import (
    AnchorKey,
    BootKey,
    BootRow,
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
from projections.tables import CELL_TABLES, ENTITY_KINDS, FOLDED_KINDS, PERSON, RECORD, Row
from rekam.domain.segment import SEGMENT_EVENTS_MAX


class MemoryStore:
    """All tables as dictionaries. Transactions are the caller's calls: one fold at a time."""

    def __init__(self) -> None:
        self._producers: dict[str, ProducerRow] = {}
        self._anchors: dict[AnchorKey, bytes] = {}
        self._contacts: defaultdict[str, dict[date, int]] = defaultdict(dict)
        self._services: dict[str, tuple[tuple[date, date], ...]] = {}
        self._ledger: defaultdict[str, dict[LedgerKey, LedgerRow]] = defaultdict(dict)
        self._boots: dict[BootKey, BootRow] = {}
        self._epochs: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        """Epochs by producer and boot session: one, but of an odd device."""
        self._copies: dict[RecordId, CopyRow] = {}
        self._held: dict[RecordId, HeldRow] = {}
        self._quarantined: dict[RecordId, QuarantinedRow] = {}
        self._excluded: dict[ExcludedKey, ExcludedRow] = {}
        self._entities: defaultdict[int, dict[bytes, bytes]] = defaultdict(dict)
        self._niks: dict[bytes, bytes] = {}
        self._cells: defaultdict[str, Counter[tuple[object, ...]]] = defaultdict(Counter)
        self._firsts: defaultdict[tuple[str, int], dict[int, list[LedgerKey]]] = defaultdict(dict)
        """Keys by life and first seq: overlaps are looked for by nearby firsts."""

    async def lock_producers(self, producers: Sequence[str]) -> dict[str, ProducerRow]:
        """Return the rows; there is nobody to lock them against."""
        return {name: self._producers.get(name, ProducerRow(name, b"", 0)) for name in producers}

    async def anchors_of(self, boots: Collection[AnchorKey]) -> dict[AnchorKey, bytes]:
        """Return the facts by which sessions are anchored."""
        return {key: self._anchors[key] for key in boots if key in self._anchors}

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

    async def ledger_of_boots(self, boots: Collection[AnchorKey]) -> list[LedgerRow]:
        """Return the segments between the first and the last that name one of the sessions."""
        found: dict[LedgerKey, LedgerRow] = {}
        for producer, boot in boots:
            for epoch in self._epochs.get((producer, boot), ()):
                named = self._boots[producer, boot, epoch]
                firsts = self._firsts[producer, epoch]
                between: Iterable[int] = range(named.first, named.last + 1)
                if len(firsts) < named.last - named.first:
                    between = (first for first in firsts if named.first <= first <= named.last)
                for first in between:
                    for key in firsts.get(first, ()):
                        found[key] = self._ledger[producer][key]
        return list(found.values())

    async def held_of(self, producers: Collection[str]) -> list[HeldRow]:
        """Return every held record of these producers."""
        return [row for row in self._held.values() if row.producer in producers]

    async def lock_partitions(self, partitions: Sequence[int]) -> None:
        """Do nothing: there is nobody to lock them against."""

    async def ledger_at(self, places: Collection[RecordId]) -> list[LedgerRow]:
        """Return the segments whose earliest copies lie there."""
        return [
            row
            for rows in self._ledger.values()
            for row in rows.values()
            if (row.partition, row.offset) in places
        ]

    async def claimed_by(self, places: Collection[RecordId]) -> set[str]:
        """Return whose held records lie there, as they claim."""
        rows = (self._held[place] for place in places if place in self._held)
        return {row.producer for row in rows if row.producer is not None}

    async def excluded_in(self, ranges: Collection[tuple[str, int, int, int]]) -> list[ExcludedRow]:
        """Return the events of the ranges that do not count."""
        return [
            row
            for row in self._excluded.values()
            if any(
                (row.producer, row.epoch) == (producer, epoch) and first <= row.seq <= last
                for producer, epoch, first, last in ranges
            )
        ]

    async def decisions(self, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """Return what is decided of records, encoded, by key."""
        decided = self._entities[RECORD]
        return {key: decided[key] for key in keys if key in decided} if decided else {}

    async def lock_entities(self, kind: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return encoded facts by key; there is nobody to lock them against."""
        entities = self._entities[kind]
        return {key: entities.get(key, b"") for key in keys}

    async def write(self, changes: Changes) -> None:
        """Apply everything at once."""
        self._producers |= changes.producers
        self._anchors |= changes.anchors
        for (producer, known_on), contact_ms in changes.contacts.items():
            days = self._contacts[producer]
            days[known_on] = max(days.get(known_on, 0), contact_ms)
        self._services |= changes.services
        for key, row in changes.ledger.items():
            if key not in self._ledger[row.producer]:
                life = self._firsts[row.producer, row.epoch]
                life.setdefault(row.first, []).append(key)
            self._ledger[row.producer][key] = row
        for boot_key, boot in changes.boots.items():
            stored = self._boots.get(boot_key, boot)
            self._boots[boot_key] = stored.with_segment(boot.first, boot.last)
            self._epochs[boot.producer, boot.boot].add(boot.epoch)
        self._copies |= changes.copies
        self._write_excluded(changes)
        for kind, entities in changes.entities.items():
            self._entities[kind] |= entities
        self._niks |= changes.niks
        for table, cells in changes.cells.items():
            sums = self._cells[table]
            for cell, difference in cells.items():
                sums[cell] += difference
                if not sums[cell]:
                    del sums[cell]

    def _write_excluded(self, changes: Changes) -> None:
        for place in changes.held_released | changes.retried:
            self._held.pop(place, None)
        for place in changes.retried:
            self._quarantined.pop(place, None)
        self._held |= changes.held
        self._quarantined |= changes.quarantined
        for identity in changes.excluded_removed:
            self._excluded.pop(identity, None)
        self._excluded |= changes.excluded

    def tables(self) -> dict[str, Iterator[Row]]:
        """Return the rows of every table, as the digest reads them."""
        named: dict[str, Iterator[Row]] = {
            "producer": (
                tuple(row) for row in self._producers.values() if row.facts or row.contact_ms
            ),
            "producer_anchor": ((*key, facts) for key, facts in self._anchors.items()),
            "producer_contact": self._contact_rows(),
            "producer_service": self._service_rows(),
            "ledger_segment": (
                (*row[:10], row.lost.bounds, row.contents, row.route)
                for rows in self._ledger.values()
                for row in rows.values()
            ),
            "ledger_boot": (tuple(row) for row in self._boots.values()),
            "ledger_copy": (tuple(row) for row in self._copies.values()),
            "held_record": (tuple(row) for row in self._held.values()),
            "quarantined_record": (tuple(row) for row in self._quarantined.values()),
            "excluded_event": (tuple(row) for row in self._excluded.values()),
        }
        for kind in FOLDED_KINDS:
            named[ENTITY_KINDS[kind].table] = iter(self._entities[kind].items())
        named["person"] = (
            (key, facts, self._niks.get(key, ERASED))
            for key, facts in self._entities[PERSON].items()
        )
        for table in CELL_TABLES:
            named[table] = ((*cell, count) for cell, count in self._cells[table].items())
        return named

    def _contact_rows(self) -> Iterator[Row]:
        for producer, days in self._contacts.items():
            known = sorted(days)
            service_ends = [until_on for _, until_on in self._services.get(producer, ())]
            last_ends = max([*service_ends, known[-1] + timedelta(days=1)])
            for known_on, until_on in zip(known, [*known[1:], last_ends], strict=True):
                yield producer, known_on, until_on, days[known_on]

    def _service_rows(self) -> Iterator[Row]:
        for producer, times in self._services.items():
            heard_on = min(self._contacts.get(producer, ()), default=date.max)
            for known_on, until_on in times:
                yield producer, known_on, until_on, heard_on
