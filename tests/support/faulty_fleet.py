"""A fleet with faults, driven in this process, and other commands as processes beside it."""

import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from producers.simulator.faulty.check import Findings, check
from producers.simulator.faulty.drive import drive
from producers.simulator.faulty.living import Driven
from producers.simulator.faulty.log import LogPlace
from producers.simulator.faulty.plan import FaultyFleet
from producers.simulator.faulty.ways import Ways
from producers.simulator.progress import Standing
from rekam.domain.topics import RECEIPTS, SEGMENTS, Topic
from rekam.runtime.keyring import load_readers
from rekam.runtime.settings import Settings
from stream_processors.configured import folding_settings
from stream_processors.replay.audit import Comparison, compare
from tests.support.machine import command


@dataclass(frozen=True, kw_only=True)
class Run:
    """What became of a fleet."""

    fleet: FaultyFleet
    driven: Driven
    findings: Findings


async def let_live(
    fleet: FaultyFleet,
    settings: Settings,
    *,
    addresses: Sequence[str] = (),
    topic: Topic = SEGMENTS,
    receipts: Topic = RECEIPTS,
    stopping: asyncio.Event | None = None,
) -> Run:
    """Drive a fleet, and hold the log against its plan."""
    assert settings.kafka is not None
    log = LogPlace(bootstrap=settings.kafka, topic=topic.name, partitions=topic.partitions)
    starts = await log.ends()
    ways = Ways(settings=settings, addresses=tuple(addresses), topic=topic.name, receipts=receipts)
    with Standing(stream=io.StringIO()) as standing:
        driven = await drive(fleet, ways, standing=standing, stopping=stopping or asyncio.Event())
    findings = await check(fleet, driven, log=log, starts=starts, readers=load_readers(settings))
    return Run(fleet=fleet, driven=driven, findings=findings)


async def audit(pool: Any, settings: Settings) -> Comparison:
    """Rebuild every projection from the log in memory, and compare it with the database."""
    assert settings.kafka is not None
    rules, root, opener = folding_settings(settings)
    async with pool.acquire() as connection:
        return await compare(
            connection, settings.kafka, SEGMENTS.name, rules=rules, root=root, opener=opener
        )


@asynccontextmanager
async def running(
    *arguments: str, home: Path, **environ: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Give a running `rekam …`; killed at the end if it has not ended by then."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("REKAM_")}
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=sys.stderr,
        env={**kept, "REKAM_HOME": str(home), **environ},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
