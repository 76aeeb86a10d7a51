"""The port through which the fold meets its tables: PostgreSQL when live, memory when replaying."""

from collections.abc import Collection, Sequence
from typing import Protocol

from projections.rows import Changes, HeldRow, LedgerRow, ProducerRow


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

    async def held_of(self, producers: Collection[str]) -> list[HeldRow]:
        """Return every held record of these producers."""
        ...

    async def lock_entities(self, kind: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Make missing rows, lock all in the order given (sorted), return encoded facts by key.

        A row that was just made has empty bytes.
        """
        ...

    async def write(self, changes: Changes) -> None:
        """Write everything, rows in key order, cells last; cells that become 0 are deleted."""
        ...
