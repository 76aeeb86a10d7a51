"""The repair path: judge again what is said of some entities.

What arrives late is repaired as it arrives: an anchor, a revocation, a withdrawal or a re-coding
judges again whatever it touches. This is for what the log does not tell: rows that were written by
software with a mistake in its judgement. Where the cells themselves were added up by another rule,
this one cannot take them back: that is `rekam projection rebuild`. Nor can it bring back facts that
the tables have lost, because those lie in the log alone; it refuses to judge without them.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from projections.facts import Fact
from projections.person.facts import Captured
from projections.regions import Region
from projections.rows import EntityRef, decode_contents
from projections.tables import ENTITY_KINDS, FOLDED_KINDS, PERSON, PRODUCER
from rekam.domain.errors import Corrupt
from rekam.domain.segment import SEGMENT_EVENTS_MAX
from rekam.runtime.queries import load_queries
from stream_processors.folder import PostgresFolder
from stream_processors.places import Place

QUERIES: Final = load_queries("stream_processors", "refold_queries.sql")

SEGMENTS_A_TURN_MAX: Final = 200
"""A turn is one transaction; what its segments say of others is judged again in it, too."""
ROWS_A_LOOK_MAX: Final = 1_000
"""Of how many entities the facts are looked at in one go."""


async def refold(folder: PostgresFolder, places: Collection[Place]) -> int:
    """Judge again the segments at these places of the log; returns how many those are.

    Judgements, states and cells are afterwards what they would be had all that is known now been
    known at first. Safe to repeat, beside processors, and after a kill in the middle: each turn is
    one transaction. Raises Corrupt when the tables have lost what a segment says of somebody.
    """
    for turn in _turns(sorted(places)):
        await _judge(folder, turn)
    return len(places)


async def refold_all(folder: PostgresFolder) -> int:
    """Judge again every segment that counts; memory holds one turn. Raises as `refold` does."""
    judged = 0
    async for rows in _segments(folder):
        found = [(row["partition"], row["log_offset"]) for row in rows]
        for turn in _turns(found):
            await _judge(folder, turn)
        judged += len(found)
    return judged


# Where the segments lie that say something of whom -----------------------------------------------


async def places_of(
    folder: PostgresFolder, refs: Collection[EntityRef]
) -> dict[EntityRef, set[Place]]:
    """Return of each entity (kind, key) where the segments lie that say something of it.

    An entity that has no fact is looked for in the whole ledger: what is found of it then was lost.
    """
    found: dict[EntityRef, set[Place]] = {}
    for kind, of_kind in groupby(sorted(refs), key=lambda ref: ref[0]):
        for ref in of_kind:
            found[ref] = await _places_of_facts(folder, await _facts_of(folder, kind, ref[1]))
    if absent := {ref for ref, places in found.items() if not places}:
        async for rows in _segments(folder):
            for row in rows:
                for ref in absent.intersection(decode_contents(row["contents"]).entities):
                    found[ref].add((row["partition"], row["log_offset"]))
    return found


async def places_of_producer(folder: PostgresFolder, producer: str) -> set[Place]:
    """Return where a producer's own segments lie, and those that speak of it."""
    own = await folder.pool.fetch(QUERIES["list_segments_of_producer"], producer)
    said = await _places_of_facts(folder, await _facts_of(folder, PRODUCER, producer.encode()))
    return said.union((row["partition"], row["log_offset"]) for row in own)


async def places_of_region(folder: PostgresFolder, region: Region) -> set[Place]:
    """Return where the segments lie that say something of people recorded as living in a region.

    By the codes that recordings name, which no later tree changes. Looks at every person once.
    """
    places: set[Place] = set()
    after = b""
    while rows := await folder.pool.fetch(QUERIES["list_people"], after, ROWS_A_LOOK_MAX):
        after = rows[-1]["key"]
        people = [ENTITY_KINDS[PERSON].decode(row["facts"]) for row in rows if row["facts"]]
        places |= await _places_of_facts(
            folder, [fact for facts in people if _is_of(facts, region) for fact in facts]
        )
    return places


def _is_of(facts: Iterable[Fact[object]], region: Region) -> bool:
    return any(
        isinstance(fact.data, Captured) and region.holds(fact.data.domicile) for fact in facts
    )


async def _facts_of(folder: PostgresFolder, kind: int, key: bytes) -> list[Fact[object]]:
    entity = ENTITY_KINDS[kind]
    named = key.decode() if kind == PRODUCER else key
    found = await folder.pool.fetch(QUERIES[f"read_facts_of_{entity.table}"], named)
    return [fact for row in found if row["facts"] for fact in entity.decode(row["facts"])]


async def _places_of_facts(folder: PostgresFolder, facts: Sequence[Fact[object]]) -> set[Place]:
    if not facts:
        return set()
    rows = await folder.pool.fetch(
        QUERIES["find_segments"],
        [fact.producer for fact in facts],
        [fact.epoch for fact in facts],
        [fact.seq for fact in facts],
        SEGMENT_EVENTS_MAX,
    )
    return {(row["partition"], row["log_offset"]) for row in rows}


async def _segments(folder: PostgresFolder) -> AsyncIterator[list[Any]]:
    """Yield every segment of the ledger by place, a turn of them at a time."""
    after = (-1, -1)
    while rows := await folder.pool.fetch(QUERIES["list_segments"], *after, SEGMENTS_A_TURN_MAX):
        after = (rows[-1]["partition"], rows[-1]["log_offset"])
        yield rows


# One turn ----------------------------------------------------------------------------------------


def _turns(places: Iterable[Place]) -> Iterable[list[Place]]:
    for _, group in groupby(places, key=lambda place: place[0]):
        of_partition = list(group)
        for start in range(0, len(of_partition), SEGMENTS_A_TURN_MAX):
            yield of_partition[start : start + SEGMENTS_A_TURN_MAX]


async def _judge(folder: PostgresFolder, turn: Sequence[Place]) -> None:
    await _require_facts(folder, turn)
    await folder.judge_again(turn)


async def _require_facts(folder: PostgresFolder, turn: Sequence[Place]) -> None:
    """Check that everybody of whom these segments speak has facts to judge.

    A fold writes both in one transaction, and facts are never taken away: so whoever is named by a
    ledger row that was read before has a row with facts in it. Raises Corrupt.
    """
    rows = await folder.pool.fetch(
        QUERIES["read_contents"],
        [partition for partition, _ in turn],
        [offset for _, offset in turn],
    )
    named: defaultdict[int, set[bytes]] = defaultdict(set)
    for row in rows:
        for kind, key in decode_contents(row["contents"]).entities:
            named[kind].add(key)
    for kind in FOLDED_KINDS:
        if not named[kind]:
            continue
        table = ENTITY_KINDS[kind].table
        told = await folder.pool.fetchval(QUERIES[f"count_told_of_{table}"], sorted(named[kind]))
        if lost := len(named[kind]) - told:
            places = ", ".join(f"{turn[0][0]}:{offset}" for offset in (turn[0][1], turn[-1][1]))
            raise Corrupt(
                f"{table}: of {lost} rows the facts are gone that records between {places} of the "
                "log have given. Judging cannot bring them back; find out who changed the table, "
                "then make the tables anew from the log: `rekam projection rebuild --switch`."
            )
