"""Producers as the log knows them, and the time up to which every recorder has reported."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from projections.reading import Connection, Row, instant
from projections.registry.context import context_of
from projections.registry.facts import ProducerFact, decode_facts
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.registry", "queries_read.sql")

RECORDER: Final = "recorder"
"""The kind of producer whose silence leaves a figure incomplete."""


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
    connection: Connection, *, known_before_ms: int | None = None
) -> datetime | None:
    """Return the time up to which every device that should report has: their earliest last contact.

    The devices are the enrolled recorders that are not revoked, whenever the revocation takes
    effect. None when one of them was never heard, and when there is none: then nobody can say.
    A contact says that its sender was there, not that its queue was empty.
    With `known_before_ms`, what was known then: enrolments, revocations and contacts before it.
    """
    contacts: list[int] = []
    before: dict[str, int] | None = None
    if known_before_ms is not None:
        rows = await connection.fetch(_QUERIES["list_contacts_before"], known_before_ms)
        before = {row["producer"]: row["contact_ms"] for row in rows}
    for row in await connection.fetch(_QUERIES["list_contacts"]):
        facts = [
            fact
            for fact in decode_facts(row["facts"])
            if known_before_ms is None or fact.known_ms < known_before_ms
        ]
        context = context_of(facts)
        if context.kind == RECORDER and context.revoked_ms is None:
            contacts.append(row["contact_ms"] if before is None else before.get(row["producer"], 0))
    if not contacts or min(contacts) == 0:
        return None
    return instant(min(contacts))


def _producer(row: Row) -> Producer:
    facts = tuple(decode_facts(row["facts"])) if row["facts"] else ()
    return Producer(row["producer"], facts, row["contact_ms"])
