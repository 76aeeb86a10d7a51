"""How far a demo has come: what the simulator has sent, and what of the log is folded."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import asyncpg
import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from rekam.domain.errors import Unavailable
from rekam.domain.topics import SEGMENTS
from rekam.runtime.kafka import consumer_options
from rekam.runtime.postgres import open_pool
from rekam.runtime.queries import load_queries
from rekam.runtime.settings import KafkaSecurity

MEASURE_SECONDS_MAX = 3.0

QUERIES: Final = load_queries("rekam.cli")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What a database that is away raises; `up` starts it again meanwhile."""


class Sending(msgspec.Struct, frozen=True):
    """A line of the simulator: events in its outboxes, of them in Kafka, and planned."""

    appended: int = 0
    sent: int = 0
    total: int = 0
    phase: str = ""

    @property
    def is_complete(self) -> bool:
        """Return whether everything planned is in Kafka."""
        return 0 < self.total <= self.sent


@dataclass(frozen=True, slots=True)
class Standing:
    """One look at the whole: events on the sending side, records and people on the other."""

    sending: Sending
    log_end: Mapping[int, int]
    positions: Mapping[int, int]
    recorded: int

    @property
    def records(self) -> int:
        """Return how many records the log holds."""
        return sum(self.log_end.values())

    @property
    def folded_records(self) -> int:
        """Return how many of them the projections have."""
        return sum(self.positions.values())

    @property
    def folded_events(self) -> int:
        """Return about how many of the sent events are folded: records hold unlike many."""
        if not self.records:
            return 0
        return round(self.sending.sent * min(1.0, self.folded_records / self.records))

    def has_reached(self, goal: Mapping[int, int]) -> bool:
        """Return whether every partition is folded as far as `goal`."""
        return all(self.positions.get(partition, 0) >= end for partition, end in goal.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFigures:
    """What arrived, over all producers."""

    segments: int
    events: int
    gaps: int
    duplicates: int


@dataclass(slots=True)
class Observer:
    """Looks at simulator, log and database; open it before `look`. Not for concurrent use."""

    bootstrap: str
    security: KafkaSecurity
    dsn: str
    sending: Sending = field(default_factory=Sending)
    """The simulator's latest line; written by `hear` alone."""
    _consumer: Any = None
    _pool: Any = None

    async def __aenter__(self) -> Self:
        self._pool = await open_pool(self.dsn, connections_max=2, application_name="rekam up")
        self._consumer = AIOKafkaConsumer(**consumer_options(self.bootstrap, self.security))
        try:
            await self._consumer.start()
        except KafkaError as error:
            await self._consumer.stop()
            await self._pool.close()
            raise Unavailable(f"Kafka at {self.bootstrap} does not answer: {error}") from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._consumer.stop()
        # Not close(): it would wait for a server that may be gone.
        self._pool.terminate()

    def hear(self, line: bytes) -> None:
        """Take a line of the simulator; one that is none of ours changes nothing and is logged."""
        try:
            self.sending = msgspec.json.decode(line, type=Sending)
        except msgspec.MsgspecError as error:
            log.warning("progress_line_refused", error=str(error), line_bytes=len(line))

    async def look(self) -> Standing | None:
        """Return the standing now; None while Kafka or PostgreSQL is away."""
        sending = self.sending
        try:
            async with asyncio.timeout(MEASURE_SECONDS_MAX):
                # The end first: a position beyond it would look like more than everything.
                log_end = await self._consumer.end_offsets(
                    [TopicPartition(SEGMENTS.name, index) for index in range(SEGMENTS.partitions)]
                )
                row = await self._pool.fetchrow(QUERIES["read_standing"], SEGMENTS.name)
        except (KafkaError, *AWAY) as error:
            log.info("standing_unknown", error=type(error).__name__)
            return None
        positions = {int(key): value for key, value in json.loads(row["positions"]).items()}
        return Standing(
            sending,
            {partition.partition: end for partition, end in log_end.items()},
            positions,
            row["recorded"],
        )

    async def ledger(self) -> LedgerFigures:
        """Return what the ledger holds. Raises Unavailable when PostgreSQL is away."""
        try:
            row = await self._pool.fetchrow(QUERIES["read_ledger_figures"])
        except AWAY as error:
            raise Unavailable(f"PostgreSQL does not answer ({type(error).__name__})") from error
        return LedgerFigures(**row)
