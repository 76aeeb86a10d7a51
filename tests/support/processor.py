"""The real processor as a process to be killed, folding a test's history: `python -m …`."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Self, get_args

from aiokafka import AIOKafkaProducer

from rekam.domain.log import ArrivalRoute, route_headers
from rekam.domain.topics import Topic
from rekam.runtime.kafka import producer_options
from rekam.runtime.postgres import open_pool
from stream_processors.app import ProcessorOptions, run_processor
from stream_processors.folder import PostgresFolder
from stream_processors.replay.audit import Comparison, compare
from tests.support.device_log import log_ends
from tests.support.history import REGISTRAR_KEY, RULES, new_opener
from tests.support.waiting import until

CHUNK_RECORDS_MAX = 20
"""Small, so that a kill falls between many transactions."""


async def produce(bootstrap: str, topic: Topic, records: Iterable[tuple[int, bytes]]) -> None:
    """Append (partition, bytes) in this order, and return when the broker has them all.

    By every route in turn.
    """
    async with AIOKafkaProducer(**producer_options(bootstrap)) as producer:
        sent = [
            await producer.send(
                topic.name, value, partition=partition, headers=route_headers(route)
            )
            for route, (partition, value) in zip(cycle(get_args(ArrivalRoute)), records)
        ]
        await asyncio.gather(*sent)


@dataclass(frozen=True)
class Projections:
    """A database that processors fold a topic into."""

    dsn: str
    pool: Any
    bootstrap: str
    topic: Topic

    @classmethod
    @asynccontextmanager
    async def of(cls, dsn: str, bootstrap: str, topic: Topic) -> AsyncIterator[Self]:
        """Give it with an open pool."""
        pool = await open_pool(dsn)
        try:
            yield cls(dsn, pool, bootstrap, topic)
        finally:
            await pool.close()

    async def folded(self) -> int:
        """Return how many records are folded."""
        return int(
            await self.pool.fetchval(
                "SELECT coalesce(sum(next_offset), 0) FROM projection_position WHERE topic = $1",
                self.topic.name,
            )
        )

    async def appended(self) -> int:
        """Return how many records the log has."""
        return sum((await log_ends(self.bootstrap, self.topic)).values())

    async def until_folded(self, count: int) -> None:
        """Return when at least that many records are folded."""

        async def are_folded() -> bool:
            return await self.folded() >= count

        await until(are_folded)

    async def audit(self) -> Comparison:
        """Replay the log into memory and compare."""
        async with self.pool.acquire() as connection:
            return await compare(
                connection,
                self.bootstrap,
                self.topic.name,
                rules=RULES,
                root=REGISTRAR_KEY.public,
                opener=new_opener(),
            )

    @asynccontextmanager
    async def processor(self, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
        """Give a running processor; killed at the end if it has not ended by then."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.processor",
            self.dsn,
            self.bootstrap,
            self.topic.name,
            str(folder),
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _run(dsn: str, bootstrap: str, topic: str, folder: str) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)

    async def open_folder() -> PostgresFolder:
        return PostgresFolder(
            await open_pool(dsn), topic, RULES, REGISTRAR_KEY.public, new_opener()
        )

    options = ProcessorOptions(
        bootstrap=bootstrap,
        data_dir=Path(folder),
        group=f"group-{topic}",
        topic=topic,
        chunk_records_max=CHUNK_RECORDS_MAX,
        # A killed worker is forgotten soon.
        session_timeout_ms=1_500,
        heartbeat_interval_ms=400,
    )
    await run_processor(options, open_folder, stopping)


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
