"""The repair path: judge again what is said of some entities.

What arrives late is repaired as it arrives: an anchor, a revocation, a withdrawal or a re-coding
judges again whatever it touches. This is for what the log does not tell: rows that were written by
software with a mistake in its judgement. Where the cells themselves were added up by another rule,
this one cannot take them back: that is `rekam projection rebuild`.
"""

from collections.abc import Collection, Iterable
from itertools import groupby
from typing import Final

from projections.rows import EntityRef
from projections.tables import ENTITY_KINDS, PRODUCER
from rekam.domain.segment import SEGMENT_EVENTS_MAX
from rekam.runtime.queries import load_queries
from stream_processors.folder import PostgresFolder
from stream_processors.places import Place

QUERIES: Final = load_queries("stream_processors", "refold_queries.sql")

SEGMENTS_A_TURN_MAX: Final = 200
"""A turn is one transaction; what its segments say of others is judged again in it, too."""


async def refold(folder: PostgresFolder, refs: Collection[EntityRef]) -> int:
    """Judge again every segment that says something of these entities (kind, key).

    Judgements, states and cells are afterwards what they would be had all that is known now been
    known at first. Safe to repeat, beside processors, and after a kill in the middle: each turn is
    one transaction. Returns how many segments were judged.
    """
    places: set[Place] = set()
    for ref in sorted(refs):
        places |= await _places_of(folder, *ref)
    for turn in _turns(sorted(places)):
        await folder.judge_again(turn)
    return len(places)


async def refold_all(folder: PostgresFolder) -> int:
    """Judge again every segment that counts; memory holds one turn."""
    judged, after = 0, (-1, -1)
    while rows := await folder.pool.fetch(QUERIES["list_segments"], *after, SEGMENTS_A_TURN_MAX):
        found = [(row["partition"], row["log_offset"]) for row in rows]
        after = found[-1]
        for turn in _turns(found):
            await folder.judge_again(turn)
        judged += len(found)
    return judged


def _turns(places: Iterable[Place]) -> Iterable[list[Place]]:
    for _, group in groupby(places, key=lambda place: place[0]):
        of_partition = list(group)
        for start in range(0, len(of_partition), SEGMENTS_A_TURN_MAX):
            yield of_partition[start : start + SEGMENTS_A_TURN_MAX]


async def _places_of(folder: PostgresFolder, kind: int, key: bytes) -> set[Place]:
    """Return where the segments lie whose events are among the entity's facts."""
    entity = ENTITY_KINDS[kind]
    named = key.decode() if kind == PRODUCER else key
    found = await folder.pool.fetch(QUERIES[f"read_facts_of_{entity.table}"], named)
    facts = [fact for row in found if row["facts"] for fact in entity.decode(row["facts"])]
    rows = await folder.pool.fetch(
        QUERIES["find_segments"],
        [fact.producer for fact in facts],
        [fact.epoch for fact in facts],
        [fact.seq for fact in facts],
        SEGMENT_EVENTS_MAX,
    )
    return {(row["partition"], row["log_offset"]) for row in rows}
