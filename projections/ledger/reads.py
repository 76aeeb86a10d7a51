"""A device's ledger: what arrived of each epoch, what is missing, and where its story splits."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from projections.facts import counted
from projections.reading import Connection
from projections.registry.facts import DeclaredLost, ProducerFact
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.ranges import Range, RangeSet
from rekam.domain.segment import opening_hash
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.ledger", "queries_read.sql")


class EpochLedger(msgspec.Struct, frozen=True, kw_only=True):
    """One life of a producer's outbox. Ranges are [first, last], both included, in order."""

    epoch: int
    received: list[Range]
    gaps: list[Range]
    """Below the highest seq received, not received, and given up by nobody."""
    declared_lost: list[Range]
    """Ranges that a person gave up; what of them arrived is in `received` too."""
    forks: list[Range]
    """Seqs that several segments hold with other bytes."""
    chain_breaks: list[int]
    """First seqs of segments that do not continue the one before them."""
    head: str | None
    """Hash of the segment that holds the highest seq (hexadecimal)."""
    duplicates: int
    """Further copies of segments that arrived: they change nothing."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A producer's ledger in short."""

    received_events: int = 0
    gap_events: int = 0
    is_suspect: bool = False
    """A fork exists: two outboxes speak under one name."""


async def summaries(
    connection: Connection, facts: dict[str, tuple[ProducerFact, ...]]
) -> dict[str, Summary]:
    """Return the summaries of the producers whose facts are given; of no segments, an empty one."""
    received = await _received(connection, facts.keys())
    return {
        producer: _summary(received[producer], declared_lost(own))
        for producer, own in facts.items()
    }


async def ledger(
    connection: Connection, producer: str, *, facts: Iterable[ProducerFact]
) -> list[EpochLedger]:
    """Return every epoch of which something arrived or was given up, in order."""
    lost = declared_lost(facts)
    received = (await _received(connection, [producer]))[producer]
    forks: defaultdict[int, RangeSet] = defaultdict(RangeSet)
    for row in await connection.fetch(_QUERIES["list_forks"], producer):
        forks[row["epoch"]] = forks[row["epoch"]].union(RangeSet.from_bounds(row["lost"]))
    breaks = await _chain_breaks(connection, producer)
    heads = {
        row["epoch"]: row["hash"].hex()
        for row in await connection.fetch(_QUERIES["list_heads"], producer)
    }
    copies = {
        row["epoch"]: row["copies"]
        for row in await connection.fetch(_QUERIES["count_copies"], producer)
    }
    return [
        EpochLedger(
            epoch=epoch,
            received=list(received[epoch].ranges if epoch in received else RangeSet()),
            gaps=list(_gaps(received[epoch], lost[epoch])) if epoch in received else [],
            declared_lost=list(lost[epoch]),
            forks=list(forks[epoch]),
            chain_breaks=breaks[epoch],
            head=heads.get(epoch),
            duplicates=copies.get(epoch, 0),
        )
        for epoch in sorted({*received, *lost})
    ]


def declared_lost(facts: Iterable[ProducerFact]) -> defaultdict[int, RangeSet]:
    """Return the ranges that the registrar gave up, by epoch."""
    lost: defaultdict[int, RangeSet] = defaultdict(RangeSet)
    for fact in counted(facts):
        if isinstance(fact.data, DeclaredLost) and fact.data.first <= fact.data.last:
            given_up = RangeSet.of((fact.data.first, fact.data.last))
            lost[fact.data.epoch] = lost[fact.data.epoch].union(given_up)
    return lost


@dataclass(frozen=True, slots=True)
class _Received:
    ranges: RangeSet
    last: int
    is_forked: bool


async def _received(
    connection: Connection, producers: Collection[str]
) -> defaultdict[str, dict[int, _Received]]:
    found: defaultdict[str, dict[int, _Received]] = defaultdict(dict)
    for row in await connection.fetch(_QUERIES["list_epochs"], sorted(producers)):
        # PostgreSQL writes 1..3 as [1, 4).
        ranges = RangeSet.of(*((part.lower, part.upper - 1) for part in row["received"]))
        found[row["producer"]][row["epoch"]] = _Received(ranges, row["last"], row["is_forked"])
    return found


def _gaps(received: _Received, lost: RangeSet) -> RangeSet:
    return RangeSet.of((1, received.last)).subtract(received.ranges).subtract(lost)


def _summary(epochs: dict[int, _Received], lost: defaultdict[int, RangeSet]) -> Summary:
    return Summary(
        received_events=sum(len(received.ranges) for received in epochs.values()),
        gap_events=sum(len(_gaps(received, lost[epoch])) for epoch, received in epochs.items()),
        is_suspect=any(received.is_forked for received in epochs.values()),
    )


async def _chain_breaks(connection: Connection, producer: str) -> defaultdict[int, list[int]]:
    breaks: defaultdict[int, list[int]] = defaultdict(list)
    for row in await connection.fetch(_QUERIES["list_openings"], producer):
        opening = opening_hash(ProducerId(producer), Epoch(row["epoch"]))
        if row["prev"].hex() != opening and not breaks[row["epoch"]]:
            breaks[row["epoch"]].append(1)
    for row in await connection.fetch(_QUERIES["list_chain_breaks"], producer):
        breaks[row["epoch"]].append(row["first"])
    return breaks
