"""How fast one real worker folds: Kafka, Faust, PostgreSQL, every signature and body included."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from projections.store import QUERIES
from rekam.domain.log import Chunk, LogRecord
from rekam.domain.topics import Topic
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

POLL_SECONDS: Final = 0.05
ENROLMENTS: Final = 1
"""Records that are folded before the clock starts; they lie in partition 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldRate:
    """What one run came to."""

    events_per_segment: int
    segments: int
    timing: Timing
    figures: Figures = field(repr=False)
    """What came out of it."""


async def measure_fold(
    machine: Machine, workload: Workload, *, events_per_segment: int
) -> FoldRate:
    """Fold a full topic with a worker that starts with it; joining the group is not counted.

    The clock runs from the first records that reach the worker, nothing of them opened yet, to
    the position that is the end of the log; the figures that come out are checked.
    """
    segments = workload.segments(events_per_segment)
    ends = Ends.of(segments, skipped=ENROLMENTS)
    async with machine.topic() as topic, machine.database() as dsn:
        pool = await open_pool(dsn)
        try:
            await _enrol(machine, topic, pool)
            await machine.append(topic, segments)
            async with machine.process(
                "processor",
                dsn,
                machine.broker.bootstrap,
                topic.name,
                str(machine.folder / "faust"),
            ) as worker:
                timing = await _watch(pool, topic, ends, workload.events, worker)
            await _check(pool, workload)
            found = await figures(pool, "sum_fold")
        finally:
            await pool.close()
    return FoldRate(
        events_per_segment=events_per_segment,
        segments=len(segments),
        timing=timing,
        figures=found,
    )


async def _enrol(machine: Machine, topic: Topic, pool: Any) -> None:
    """Append the enrolments and fold them here, so that the worker begins with known producers."""
    value = enrolment()
    async with AIOKafkaProducer(**producer_options(machine.broker.bootstrap)) as producer:
        found = await producer.send_and_wait(topic.name, value, partition=0)
    chunk = Chunk(topic.name, 0, (LogRecord(0, found.offset, found.timestamp, value),))
    folder = PostgresFolder(pool, topic.name, RULES, REGISTRAR_KEY.public, new_opener())
    await folder.fold(chunk, folder.prepare(chunk))


async def _watch(pool: Any, topic: Topic, ends: Ends, events: int, worker: Measured) -> Timing:
    started = float(await worker.first_line())
    while (now := time.monotonic()) < started + PROCESS_SECONDS_MAX:
        positions = dict(await pool.fetch(QUERIES["list_positions"], topic.name))
        if ends.folded(positions) == events:
            return Timing(events, now - started)
        worker.require_running()
        await asyncio.sleep(POLL_SECONDS)
    raise worker.failed(f"has not folded {events} events in {PROCESS_SECONDS_MAX:.0f} s")


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
