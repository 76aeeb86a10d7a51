"""Who read of whom, when and why: for the person, and for whoever audits the readers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import msgspec

from projections.access.facts import Accessed, AccessFact, decode_facts
from projections.access.state import is_forgotten
from projections.facts import counted
from projections.person.state import DATE_UNKNOWN
from projections.reading import Connection, instant
from rekam.runtime.queries import load_queries

START: Final = b""
"""Before every token."""
_QUERIES: Final = load_queries("projections.access", "queries_read.sql")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of what is known of one person."""

    caller: str
    """Who read, as far as the read API knew: whose token, and for which of its users."""
    call: str
    reason: str
    """In the caller's words."""
    accessed_on: date | None
    """None: the clock of the read API's machine cannot be trusted (yet)."""
    known_at: datetime
    producer: str
    epoch: int
    seq: int


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One reading, and of whom."""

    person: str
    """Token."""
    access: Access


class AccessCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often somebody read of people by one call on one day, erased people included."""

    accessed_on: date | None
    caller: str
    call: str
    accesses: int


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of the people of one page of tokens; `next` is None on the last page."""

    readings: list[Reading]
    next: bytes | None


async def accesses_of(connection: Connection, token: bytes) -> list[Access]:
    """Return who read of a person, as it became known; nothing of one who was erased."""
    row = await connection.fetchrow(_QUERIES["find_accesses"], token)
    facts = decode_facts(row["facts"]) if row is not None and row["facts"] else []
    return [_access(fact, data) for fact, data in _counting(facts)]


async def list_accesses(
    connection: Connection,
    *,
    first: date,
    last: date,
    caller: str | None,
    after: bytes,
    people_max: int,
) -> Readings:
    """Return the readings of days, of the people after a token; those of unknown days with them.

    A page is one of people: it may hold no reading at all and not be the last.
    """
    rows = await connection.fetch(_QUERIES["list_accesses"], after, people_max + 1)
    readings = [
        Reading(person=row["key"].hex(), access=_access(fact, data))
        for row in rows[:people_max]
        for fact, data in _counting(decode_facts(row["facts"]))
        if (fact.occurred_on is None or first <= fact.occurred_on <= last)
        and caller in (None, data.caller)
    ]
    return Readings(readings, rows[people_max - 1]["key"] if len(rows) > people_max else None)


async def count_accesses(connection: Connection, *, first: date, last: date) -> list[AccessCount]:
    """Return how often people were read of, by day, caller and call; unknown days last."""
    rows = [
        *await connection.fetch(_QUERIES["count_accesses"], first, last),
        *await connection.fetch(_QUERIES["count_accesses"], DATE_UNKNOWN, DATE_UNKNOWN),
    ]
    return [
        AccessCount(
            accessed_on=None if row["accessed_on"] == DATE_UNKNOWN else row["accessed_on"],
            caller=row["caller"],
            call=row["call"],
            accesses=row["accesses"],
        )
        for row in rows
    ]


def _counting(facts: Sequence[AccessFact]) -> list[tuple[AccessFact, Accessed]]:
    if is_forgotten(facts):
        return []
    return [(fact, fact.data) for fact in counted(facts) if isinstance(fact.data, Accessed)]


def _access(fact: AccessFact, data: Accessed) -> Access:
    return Access(
        caller=data.caller,
        call=data.call,
        reason=data.reason,
        accessed_on=fact.occurred_on,
        known_at=instant(fact.known_ms),
        producer=fact.producer,
        epoch=fact.epoch,
        seq=fact.seq,
    )
