"""Fold the log from its beginning into memory: the answer that every other one must equal."""

from collections.abc import AsyncIterator, Callable

from projections.memory_store import MemoryStore
from projections.rules import Rules
from rekam.domain.keys import VerifyKey
from rekam.domain.log import Chunk
from stream_processors.admit import NeedsProducers
from stream_processors.fold import fold_intakes
from stream_processors.intake import Intake, Opener


async def fold_in_memory(
    store: MemoryStore, intakes: list[Intake], *, rules: Rules, root: VerifyKey, opener: Opener
) -> None:
    """Fold records into `store`, as one transaction of the live processor would."""
    producers: frozenset[str] = frozenset()
    while True:
        try:
            await fold_intakes(
                store, intakes, rules=rules, root=root, opener=opener, producers=producers
            )
        except NeedsProducers as wider:
            producers |= wider.producers
        else:
            return


async def rebuild(
    chunks: AsyncIterator[Chunk],
    *,
    rules: Rules,
    root: VerifyKey,
    opener: Opener,
    report: Callable[[int], None] = lambda _records: None,
) -> MemoryStore:
    """Fold all chunks and return the tables; `report` gets the number of records so far."""
    store = MemoryStore()
    records = 0
    async for chunk in chunks:
        intakes = [opener.open_record(record) for record in chunk.records]
        await fold_in_memory(store, intakes, rules=rules, root=root, opener=opener)
        records += len(chunk.records)
        report(records)
    return store
