"""How fast real workers fold: Kafka, Faust, PostgreSQL, every signature and body included."""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from projections.store import QUERIES
from rekam.domain.log import Chunk, LogRecord
from rekam.domain.topics import SEGMENTS, Topic
from rekam.runtime.kafka import producer_options
from rekam.runtime.postgres import open_pool
from stream_processors.folder import PostgresFolder
from tests.benchmarks.figures import Figures, figures
from tests.benchmarks.machine import (
    PROCESS_SECONDS_MAX,
    Machine,
    Measured,
    ProcessFailed,
    Timing,
)
from tests.benchmarks.workload import Ends, Workload, enrolment
from tests.support.history import REGISTRAR_KEY, RULES, new_opener

WORKERS: Final = min(os.cpu_count() or 1, SEGMENTS.partitions)
"""A worker folds on one core: whoever has more starts one for each, and they share the work."""
POLL_SECONDS: Final = 0.05
ENROLMENTS: Final = 1
"""Records that are folded before the clock starts; they lie in partition 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldRate:
    """What one run came to."""

    events_per_segment: int
    workers: int
    segments: int
    timing: Timing
    figures: Figures = field(repr=False)
    """What came out of it."""


async def measure_fold(
    machine: Machine, workload: Workload, *, events_per_segment: int, workers: int = 1
) -> FoldRate:
    """Fold a full topic with workers that start with it; joining the group is not counted.

    The clock runs from the first records that reach a worker, nothing of them opened yet, to
    the positions that are the end of the log; the figures that come out are checked.
    """
    segments = workload.segments(events_per_segment)
    ends = Ends.of(segments, skipped=ENROLMENTS)
    async with machine.topic() as topic, machine.database() as dsn:
        pool = await open_pool(dsn)
        try:
            await _enrol(machine, topic, pool)
            await machine.append(topic, segments)
            async with AsyncExitStack() as stack:
                timing = await _watch(
                    pool,
                    topic,
                    ends,
                    workload.events,
                    [
                        await stack.enter_async_context(_worker(machine, dsn, topic, number))
                        for number in range(workers)
                    ],
                )
            await _check(pool, workload)
            found = await figures(pool, "sum_fold")
        finally:
            await pool.close()
    return FoldRate(
        events_per_segment=events_per_segment,
        workers=workers,
        segments=len(segments),
        timing=timing,
        figures=found,
    )


def _worker(
    machine: Machine, dsn: str, topic: Topic, number: int
) -> AbstractAsyncContextManager[Measured]:
    return machine.process(
        "processor",
        dsn,
        machine.broker.bootstrap,
        topic.name,
        str(machine.folder / f"faust-{number}"),
        log_name=f"processor-{number}",
    )


async def _enrol(machine: Machine, topic: Topic, pool: Any) -> None:
    """Append the enrolments and fold them here, so that the worker begins with known producers."""
    value = enrolment()
    async with AIOKafkaProducer(**producer_options(machine.broker.bootstrap)) as producer:
        found = await producer.send_and_wait(topic.name, value, partition=0)
    chunk = Chunk(topic.name, 0, (LogRecord(0, found.offset, found.timestamp, value),))
    folder = PostgresFolder(pool, topic.name, RULES, REGISTRAR_KEY.public, new_opener())
    await folder.fold(chunk, folder.prepare(chunk))


async def _watch(
    pool: Any, topic: Topic, ends: Ends, events: int, workers: Sequence[Measured]
) -> Timing:
    started = min([float(await worker.first_line()) for worker in workers])
    while (now := time.monotonic()) < started + PROCESS_SECONDS_MAX:
        positions = dict(await pool.fetch(QUERIES["list_positions"], topic.name))
        if ends.folded(positions) == events:
            return Timing(events, now - started)
        for worker in workers:
            worker.require_running()
        await asyncio.sleep(POLL_SECONDS)
    raise workers[0].failed(f"has not folded {events} events in {PROCESS_SECONDS_MAX:.0f} s")


async def _check(pool: Any, workload: Workload) -> None:
    """Raise unless the figures are right: a fold that loses events is fast for nothing."""
    people = await pool.fetchval("SELECT coalesce(sum(people), 0) FROM coverage_cell")
    refused = await pool.fetchval(
        "SELECT (SELECT count(*) FROM held_record) + (SELECT count(*) FROM quarantined_record)"
        " + (SELECT count(*) FROM excluded_event)"
    )
    if (people, refused) != (workload.people, 0):
        raise ProcessFailed(
            f"{people} people are covered and {refused} records or events refused; "
            f"wanted {workload.people} and 0"
        )
