"""Receipts of producers, read from the ledger and the registry."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from projections.ledger.reads import declared_lost
from projections.ledger.runs import Link, chained_runs
from projections.reading import Connection
from projections.registry.context import context_of
from projections.registry.facts import decode_facts
from rekam.domain.keys import VerifyKey
from rekam.domain.ranges import RangeSet
from rekam.domain.receipt import VERSION, EpochReceipt, Receipt, within_limits
from rekam.runtime.queries import load_queries

QUERIES: Final = load_queries("projections.ledger", "queries_receipts.sql")

Links = dict[int, list[Link]]
"""By epoch."""


class Registrar(msgspec.Struct, frozen=True):
    """The producer whose first key comes from the configuration: the trust root."""

    producer: str
    root: VerifyKey


async def receipts_of(
    connection: Connection, producers: Sequence[str], *, registrar: Registrar
) -> list[Receipt]:
    """Return the receipts of those producers of which the log knows something.

    Each tells at least what its `as_of_ms` promises: the producer's row is read before its
    ledger, so what arrives in between makes the receipt say more, never less.
    """
    rows = await connection.fetch(QUERIES["list_producers_of"], producers)
    links = await _links(connection, producers)
    found: list[Receipt] = []
    for row in rows:
        producer, is_known = row["producer"], bool(row["facts"] or row["contact_ms"])
        if not is_known:
            continue
        facts = decode_facts(row["facts"]) if row["facts"] else []
        root = registrar.root if producer == registrar.producer else None
        lost = declared_lost(facts)
        receipt = Receipt(
            v=VERSION,
            producer=producer,
            as_of_ms=row["contact_ms"],
            keys=tuple(key.to_text() for key in context_of(facts, root=root).keys.values()),
            epochs=tuple(
                _epoch_receipt(epoch, of_epoch, lost[epoch])
                for epoch, of_epoch in sorted(links[producer].items())
            ),
        )
        found.append(within_limits(receipt))
    return found


def _epoch_receipt(epoch: int, links: Sequence[Link], lost: RangeSet) -> EpochReceipt:
    received = RangeSet.of(*((link.first, link.last) for link in links))
    up_to = RangeSet.of((1, max(link.last for link in links)))
    gaps = up_to.subtract(received).subtract(lost)
    return EpochReceipt(epoch, chained_runs(links), gaps.ranges)


async def _links(connection: Connection, producers: Sequence[str]) -> defaultdict[str, Links]:
    found: defaultdict[str, Links] = defaultdict(dict)
    begun = None
    for row in await connection.fetch(QUERIES["list_chain_ends"], producers):
        if row["begins"]:
            begun = row
        if row["ends"]:
            assert begun is not None  # noqa: S101 - a stretch begins before it ends
            link = Link(begun["first"], row["last"], begun["prev"], row["hash"])
            found[row["producer"]].setdefault(row["epoch"], []).append(link)
    return found
