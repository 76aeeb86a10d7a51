"""A digest of each projection's rows: equal rows in any order, equal digests.

A table's digest is the sum of the hashes of its rows, modulo 2^256: adding is commutative, so the
order of reading leaves no trace. It tells accidents and bugs from equality; against somebody who
can choose rows freely the log's own signatures stand, not this sum.
"""

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from projections.tables import KEY_COLUMNS, PROJECTIONS, Row
from rekam.runtime.queries import load_queries

QUERIES: Final = load_queries("projections", "digest_queries.sql")
ROWS_A_FETCH: Final = 5_000
TABLES: Final = tuple(table for tables in PROJECTIONS.values() for table in tables)
_MODULUS: Final = 1 << 256

_encode = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class TableDigest:
    """The rows of one table as far as a comparison needs them: the hash of each by its key."""

    hashes: dict[bytes, bytes] = field(default_factory=dict)

    def add(self, table: str, rows: Iterable[Row]) -> None:
        """Take rows in; each has a key of its own."""
        key_columns = KEY_COLUMNS[table]
        for row in rows:
            key = _encode(row[:key_columns])
            self.hashes[key] = _hash(row)

    @property
    def sum(self) -> int:
        """Return the sum of the rows' hashes."""
        return sum(int.from_bytes(row, "big") for row in self.hashes.values()) % _MODULUS


def _hash(row: Row) -> bytes:
    return hashlib.blake2b(_encode(row), digest_size=32).digest()


class TableSum(NamedTuple):
    """A table's digest without its rows."""

    rows: int
    sum: int


Digests = Mapping[str, TableDigest]
"""By table."""


def digests_of(tables: Mapping[str, Iterable[Row]]) -> Digests:
    """Return the digests of rows in memory."""
    digests = {table: TableDigest() for table in tables}
    for table, rows in tables.items():
        digests[table].add(table, rows)
    return digests


async def live_digests(connection: Any, tables: Iterable[str] = TABLES) -> Digests:
    """Return the digests of the live tables, read inside the caller's (snapshot) transaction."""
    digests: dict[str, TableDigest] = {}
    for table in tables:
        digests[table] = TableDigest()
        async for rows in _fetches(connection, QUERIES[f"read_{table}"]):
            digests[table].add(table, rows)
    return digests


async def live_sums(connection: Any) -> dict[str, TableSum]:
    """Return the sum of each live table, with what one row needs of memory; as `live_digests`."""
    sums: dict[str, TableSum] = {}
    for table in TABLES:
        rows_all = total = 0
        async for rows in _fetches(connection, QUERIES[f"read_{table}"]):
            rows_all += len(rows)
            total += sum(int.from_bytes(_hash(row), "big") for row in rows)
        sums[table] = TableSum(rows_all, total % _MODULUS)
    return sums


async def _fetches(connection: Any, query: str) -> AsyncIterator[list[Row]]:
    cursor = await connection.cursor(query)
    while rows := await cursor.fetch(ROWS_A_FETCH):
        yield [tuple(row) for row in rows]


def projection_digests(digests: Mapping[str, TableDigest | TableSum]) -> dict[str, str]:
    """Return the digest of each projection, hex: of its tables' names and sums."""
    found: dict[str, str] = {}
    for projection, tables in PROJECTIONS.items():
        told = "".join(f"{table} {digests[table].sum:064x}\n" for table in tables)
        found[projection] = hashlib.sha256(told.encode()).hexdigest()
    return found


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not the same on both sides. `key` is printable and holds no NIK."""

    table: str
    key: str
    found: str
    """`only live`, `only replayed` or `differs`."""


def differences(live: Digests, replayed: Digests) -> list[Difference]:
    """Return every row that differs, by table and key; none when all digests are equal."""
    found: list[Difference] = []
    for table in sorted(live.keys() | replayed.keys()):
        one, other = live[table].hashes, replayed[table].hashes
        for key in sorted(one.keys() | other.keys()):
            if one.get(key) == other.get(key):
                continue
            word = (
                "only live"
                if key not in other
                else "only replayed"
                if key not in one
                else "differs"
            )
            found.append(Difference(table, _shown(key), word))
    return found


def _shown(key: bytes) -> str:
    parts = msgspec.msgpack.decode(key)
    return "/".join(part.hex() if isinstance(part, bytes) else str(part) for part in parts)
