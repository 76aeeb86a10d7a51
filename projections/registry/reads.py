"""Producers as the log knows them, and the time up to which every recorder has reported."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from projections.reading import DAY_MAX, Connection, Row, instant
from projections.registry.facts import ProducerFact, decode_facts
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.registry", "queries_read.sql")


@dataclass(frozen=True, slots=True)
class Producer:
    """A producer: its set of facts and when the log last heard of it."""

    producer: str
    facts: tuple[ProducerFact, ...]
    contact_ms: int
    """Append time of its latest record; 0 before the first."""


async def producers(connection: Connection, *, after: str, producers_max: int) -> list[Producer]:
    """Return the next producers behind an id, in the order of ids; also those never enrolled."""
    rows = await connection.fetch(_QUERIES["list_producers"], after, producers_max)
    return [_producer(row) for row in rows]


async def find_producer(connection: Connection, producer: str) -> Producer | None:
    """Return one producer, or None when the log has never named it."""
    row = await connection.fetchrow(_QUERIES["find_producer"], producer)
    return None if row is None else _producer(row)


async def complete_through(
    connection: Connection, *, known_at: date | None = None
) -> datetime | None:
    """Return the time up to which every device that should report has: their earliest last contact.

    The devices are the enrolled recorders that are not revoked, whenever the revocation takes
    effect. None when one of them was never heard, and when there is none: then nobody can say.
    A contact says that its sender was there, not that its queue was empty.
    With `known_at`, enrolments, revocations and contacts as known at the end of that day.
    """
    found = await connection.fetchrow(_QUERIES["find_earliest_contact"], known_at or DAY_MAX)
    earliest_ms = None if found is None else found["contact_ms"]
    return instant(earliest_ms) if earliest_ms else None


def _producer(row: Row) -> Producer:
    facts = tuple(decode_facts(row["facts"])) if row["facts"] else ()
    return Producer(row["producer"], facts, row["contact_ms"])
