"""The port through which the fold meets its tables: PostgreSQL when live, memory when replaying."""

from collections.abc import Collection, Sequence
from typing import Protocol

from projections.rows import (
    AnchorKey,
    Changes,
    ExcludedRow,
    HeldRow,
    LedgerRow,
    ProducerRow,
    RecordId,
)


class Store(Protocol):
    """Tables of all projections inside one transaction.

    Every method but `write` may be called several times; what was locked stays locked until the
    transaction ends. Reads see what other transactions committed before the lock was granted
    (*lock, then look*). `write` is called once, last; nothing is visible before the commit.
    Conformance: tests/conformance/test_store.py.
    """

    async def lock_producers(self, producers: Sequence[str]) -> dict[str, ProducerRow]:
        """Make missing rows, lock all in the order given (sorted), return them by producer."""
        ...

    async def anchors_of(self, boots: Collection[AnchorKey]) -> dict[AnchorKey, bytes]:
        """Return what clocks are anchored by: encoded facts by session, of those that have any.

        The producers are locked.
        """
        ...

    async def ledger_overlaps(
        self, ranges: Collection[tuple[str, int, int, int]]
    ) -> list[LedgerRow]:
        """Return segments that hold any seq of (producer, epoch, first, last), in any order.

        No range is longer than a segment may be.
        """
        ...

    async def ledger_of(self, producers: Collection[str]) -> list[LedgerRow]:
        """Return every segment of these producers."""
        ...

    async def ledger_of_boots(self, boots: Collection[AnchorKey]) -> list[LedgerRow]:
        """Return every segment that names one of the boot sessions (producer, boot), each once.

        With others of the same epoch that lie between them.
        """
        ...

    async def held_of(self, producers: Collection[str]) -> list[HeldRow]:
        """Return every held record of these producers."""
        ...

    async def lock_partitions(self, partitions: Sequence[int]) -> None:
        """Lock partitions (sorted), so that nobody else folds their records meanwhile."""
        ...

    async def ledger_at(self, places: Collection[RecordId]) -> list[LedgerRow]:
        """Return the segments whose earliest copies lie at these places, in any order."""
        ...

    async def claimed_by(self, places: Collection[RecordId]) -> set[str]:
        """Return the producers that the held records at these places claim to be of."""
        ...

    async def excluded_in(self, ranges: Collection[tuple[str, int, int, int]]) -> list[ExcludedRow]:
        """Return the events of (producer, epoch, first, last) that do not count, in any order."""
        ...

    async def decisions(self, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the encoded facts of those of the records that were ever decided, by key.

        Locks nothing: see docs/adr/0011-discard-by-decree.md for what does.
        """
        ...

    async def lock_entities(self, kind: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Lock all in the order given (sorted), make missing rows, return encoded facts by key.

        A row that was just made has empty bytes.
        """
        ...

    async def write(self, changes: Changes) -> None:
        """Write everything, rows in key order, cells last; cells that become 0 are deleted."""
        ...
