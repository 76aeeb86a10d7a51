"""Fold chunks of the log into PostgreSQL: one transaction per chunk, position included."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import asyncpg
import structlog

from projections.registry.context import context_of
from projections.registry.facts import decode_facts
from projections.rows import Changes, ExcludedRow, RecordId
from projections.rules import Rules
from projections.store import QUERIES, PostgresStore
from rekam.domain.errors import Corrupt, Misconfigured
from rekam.domain.keys import VerifyKey
from rekam.domain.log import Chunk, LogRecord
from stream_processors.admit import NeedsProducers
from stream_processors.fold import fold_intakes, judge_again
from stream_processors.intake import Intake, Opener
from stream_processors.worker import PositionMoved

Folded = TypeVar("Folded")

DEADLOCKS_MAX: Final = 16
"""Of one transaction, in a row. Each time whoever it waited for has gone on."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@asynccontextmanager
async def folding(connection: Any) -> AsyncIterator[None]:
    """Run a block in a transaction of `connection` (asyncpg's) that looks rows up by indexes."""
    async with connection.transaction():
        await connection.execute(QUERIES["look_up"])
        yield


async def _past_deadlocks(
    partition: int, fold: Callable[[frozenset[str]], Awaitable[Folded]], producers: frozenset[str]
) -> Folded:
    """Fold again when PostgreSQL took back what was folded, because two waited for each other.

    Which positions and rows a fold touches is known only under the locks that it holds already:
    not all of its locks can be taken in the one order.
    """
    for _deadlock in range(DEADLOCKS_MAX):
        try:
            return await fold(producers)
        except asyncpg.DeadlockDetectedError:
            log.info("folding_again_after_a_deadlock", partition=partition)
    return await fold(producers)


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

    async def require_settings(self) -> None:
        """Check that the tables were folded under these rules; the first fold of all decides them.

        Another key of tokens would count everybody twice. Raises Misconfigured.
        """
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(QUERIES["make_settings"], self.rules.id)
            await self._require_own_rules(connection)

    async def _require_own_rules(self, connection: Any) -> None:
        """Check it inside a fold, too: a rebuild may have put other tables in their place."""
        found = await connection.fetchval(QUERIES["read_settings"])
        if found is not None and found != self.rules.id:
            raise Misconfigured(
                [
                    (
                        f"the tables were folded under {found}; the settings and key files now say "
                        f"{self.rules.id}. Restore what was changed, or make the tables anew: "
                        "`rekam projection rebuild --switch` (`rekam up --rebuild` where that runs "
                        "the servers)"
                    )
                ]
            )

    def prepare(self, chunk: Chunk) -> list[Intake]:
        """Open every record as far as it goes without the registry."""
        return [self.opener.open_record(record) for record in chunk.records]

    async def fold(self, chunk: Chunk, prepared: Sequence[Intake]) -> None:
        """Apply a chunk and move the position past it, in one transaction.

        Raises PositionMoved when the position is behind the chunk; what is ahead of it is skipped.
        """
        await self._in_rounds(
            chunk.partition, lambda producers: self._fold_once(chunk, prepared, producers)
        )

    async def _fold_once(
        self, chunk: Chunk, prepared: Sequence[Intake], producers: frozenset[str]
    ) -> None:
        async with self.pool.acquire() as connection, folding(connection):
            place = (self.topic, chunk.partition)
            next_offset = await connection.fetchval(QUERIES["lock_position"], *place)
            if next_offset is None:
                await connection.execute(QUERIES["make_position"], *place)
                next_offset = await connection.fetchval(QUERIES["lock_position"], *place)
            await self._require_own_rules(connection)
            if next_offset < chunk.first_offset:
                raise PositionMoved(
                    f"the position is {next_offset}, the chunk begins at {chunk.first_offset}"
                )
            fresh = prepared[next_offset - chunk.first_offset :]
            if not fresh:
                return
            await fold_intakes(
                PostgresStore(connection, topic=self.topic),
                fresh,
                rules=self.rules,
                root=self.root,
                opener=self.opener,
                producers=producers,
            )
            await connection.execute(QUERIES["move_position"], *place, chunk.next_offset)

    async def fold_again(self, records: Sequence[LogRecord]) -> Changes:
        """Decide again on records of one partition that were folded before; one transaction.

        What other software, other keys or a corrected registry can take counts then, as if it had
        been taken at first; of what is in the tables already nothing changes, so this may be
        repeated, and run beside processors and itself. What the position has not passed yet is
        left to the processor.
        """
        intakes = [self.opener.open_record(record) for record in records]
        return await self._in_rounds(
            records[0].partition, lambda producers: self._again_once(intakes, producers)
        )

    async def _again_once(self, intakes: Sequence[Intake], producers: frozenset[str]) -> Changes:
        async with self.pool.acquire() as connection, folding(connection):
            # The partition's position first, as every fold of its records takes it.
            partition = intakes[0].record.partition
            next_offset = await connection.fetchval(QUERIES["lock_position"], self.topic, partition)
            await self._require_own_rules(connection)
            folded = [one for one in intakes if one.record.offset < (next_offset or 0)]
            if not folded:
                return Changes()
            return await fold_intakes(
                PostgresStore(connection, topic=self.topic),
                folded,
                rules=self.rules,
                root=self.root,
                opener=self.opener,
                producers=producers,
                again=[(one.record.partition, one.record.offset) for one in folded],
            )

    async def judge_again(self, places: Sequence[RecordId]) -> Changes:
        """Judge again what the admitted segments at these places of one partition say.

        One transaction; of what is judged rightly already nothing changes.
        """
        return await self._in_rounds(
            places[0][0], lambda producers: self._judge_once(places, producers)
        )

    async def _judge_once(self, places: Sequence[RecordId], producers: frozenset[str]) -> Changes:
        async with self.pool.acquire() as connection, folding(connection):
            store = PostgresStore(connection, topic=self.topic)
            # Positions first, as every fold takes them: a switch waits for us or we for it.
            await store.lock_partitions(sorted({partition for partition, _ in places}))
            await self._require_own_rules(connection)
            return await judge_again(
                store,
                places,
                rules=self.rules,
                root=self.root,
                opener=self.opener,
                producers=producers,
            )

    async def _in_rounds(
        self, partition: int, fold: Callable[[frozenset[str]], Awaitable[Folded]]
    ) -> Folded:
        """Fold, each time with the locks of what the time before found concerned besides."""
        producers: frozenset[str] = frozenset()
        while True:
            try:
                return await _past_deadlocks(partition, fold, producers)
            except NeedsProducers as wider:
                if wider.producers <= producers:
                    raise Corrupt(
                        f"partition {partition}: the fold asks for producers that it has locked "
                        f"({len(wider.producers)} of {len(producers)}). This is a bug: report it "
                        "with these numbers."
                    ) from None
                producers |= wider.producers

    async def excluded_in(self, ranges: Collection[tuple[str, int, int, int]]) -> list[ExcludedRow]:
        """Return the events of ranges (producer, epoch, first, last) that do not count."""
        # As the folds of this session ask it: they share its plan.
        async with self.pool.acquire() as connection, folding(connection):
            store = PostgresStore(connection, topic=self.topic)
            return await store.excluded_in(sorted(ranges))

    async def positions(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """Return the next offset of each of the partitions that has one."""
        rows = await self.pool.fetch(QUERIES["list_positions"], topic)
        return {number: offset for number, offset in rows if number in partitions}

    async def close(self) -> None:
        """Close the pool."""
        await self.pool.close()
