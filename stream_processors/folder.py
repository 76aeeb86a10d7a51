"""Fold chunks of the log into PostgreSQL: one transaction per chunk, position included."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from projections.registry.context import context_of
from projections.registry.facts import decode_facts
from projections.rules import Rules
from projections.store import QUERIES, PostgresStore
from rekam.domain.errors import Corrupt
from rekam.domain.keys import VerifyKey
from rekam.domain.log import Chunk
from stream_processors.admit import NeedsProducers
from stream_processors.fold import fold_intakes
from stream_processors.intake import Intake, Opener
from stream_processors.worker import PositionMoved

LOCK_ROUNDS_MAX: Final = 16
"""Each round locks what the one before found concerned; a chunk that needs more is our bug."""


@dataclass(frozen=True, slots=True)
class PostgresFolder:
    """A ChunkFolder. Owns `pool` (asyncpg's) from the start on; one fold at a time."""

    pool: Any
    topic: str
    rules: Rules
    root: VerifyKey
    opener: Opener

    async def meet_known_keys(self) -> None:
        """Let the opener know every key of the registry, so that it need not wait for a fold."""
        for row in await self.pool.fetch(QUERIES["list_producers"]):
            self.opener.meet_keys(context_of(decode_facts(row["facts"])).keys)

    def prepare(self, chunk: Chunk) -> list[Intake]:
        """Open every record as far as it goes without the registry."""
        return [self.opener.open_record(record) for record in chunk.records]

    async def fold(self, chunk: Chunk, prepared: Sequence[Intake]) -> None:
        """Apply a chunk and move the position past it, in one transaction.

        Raises PositionMoved when the position is behind the chunk; what is ahead of it is skipped.
        """
        producers: frozenset[str] = frozenset()
        for _round in range(LOCK_ROUNDS_MAX):
            try:
                await self._fold_once(chunk, prepared, producers)
            except NeedsProducers as wider:
                producers |= wider.producers
            else:
                return
        raise Corrupt(
            f"partition {chunk.partition} offset {chunk.first_offset}: the fold asks for ever more "
            f"producers ({len(producers)}). This is a bug: report it with these numbers."
        )

    async def _fold_once(
        self, chunk: Chunk, prepared: Sequence[Intake], producers: frozenset[str]
    ) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            place = (self.topic, chunk.partition)
            next_offset = await connection.fetchval(QUERIES["lock_position"], *place)
            if next_offset is None:
                await connection.execute(QUERIES["make_position"], *place)
                next_offset = await connection.fetchval(QUERIES["lock_position"], *place)
            if next_offset < chunk.first_offset:
                raise PositionMoved(
                    f"the position is {next_offset}, the chunk begins at {chunk.first_offset}"
                )
            fresh = prepared[next_offset - chunk.first_offset :]
            if not fresh:
                return
            await fold_intakes(
                PostgresStore(connection),
                fresh,
                rules=self.rules,
                root=self.root,
                opener=self.opener,
                producers=producers,
            )
            await connection.execute(QUERIES["move_position"], *place, chunk.next_offset)

    async def positions(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """Return the next offset of each of the partitions that has one."""
        rows = await self.pool.fetch(QUERIES["list_positions"], topic)
        return {number: offset for number, offset in rows if number in partitions}

    async def close(self) -> None:
        """Close the pool."""
        await self.pool.close()
