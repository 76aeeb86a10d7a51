"""What the fold is held against, on the same events and the same servers in the same run."""

from dataclasses import dataclass
from typing import Final

from rekam.runtime.postgres import connect
from tests.benchmarks.machine import Machine, ProcessFailed, Timing
from tests.benchmarks.workload import Workload

STOCK_MODES: Final = ("statement", "event")
"""How the stock agent commits: each statement by itself, or one transaction an event."""
STOCK_TABLES: Final = ("all", "five")
"""What it keeps: all that the fold does, or the five tables that the fold kept at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StockRate:
    """A stock Faust agent in one of its modes."""

    mode: str
    tables: str
    timing: Timing


async def measure_stock(
    machine: Machine, workload: Workload, *, mode: str, tables: str
) -> StockRate:
    """Let a stock agent upsert every event of a topic; from its first event to its last."""
    async with machine.topic() as topic, machine.database() as dsn:
        await machine.append(topic, workload.plain_records())
        async with machine.process(
            "stock_agent",
            dsn,
            machine.broker.bootstrap,
            topic.name,
            str(machine.folder / "stock"),
            mode,
            tables,
            str(workload.events),
        ) as agent:
            timing = await agent.timing()
        counted = ["cell", *(("month", "year") if tables == "all" else ())]
        for table in counted:
            query = f"SELECT sum(people)::bigint FROM stock_coverage_{table}"  # noqa: S608
            await _check(dsn, query, workload.people)
    return StockRate(mode=mode, tables=tables, timing=timing)


async def measure_floor(machine: Machine, workload: Workload) -> Timing:
    """Let a plain loop copy every event of a topic into one table."""
    async with machine.topic() as topic, machine.database() as dsn:
        await machine.append(topic, workload.plain_records())
        async with machine.process(
            "plain_copy", dsn, machine.broker.bootstrap, topic.name, str(workload.events)
        ) as loop:
            timing = await loop.timing()
        await _check(dsn, "SELECT count(*) FROM plain_event", workload.events)
    return timing


async def _check(dsn: str, query: str, wanted: int) -> None:
    connection = await connect(dsn)
    try:
        found = await connection.fetchval(query)
    finally:
        await connection.close()
    if found != wanted:
        raise ProcessFailed(f"{query}: {found}; wanted {wanted}")
