"""What Faust's guide shows: `async for event in stream`, and an upsert for everything it touches.

Plain events, no cryptography, an untouched `faust.App`. `mode` is `statement` (each statement
commits by itself) or `event` (one transaction an event). `tables` is `all` (those that the fold
keeps, as far as these events touch them) or `five` (those that it kept at first: facts, people,
devices, coverage by day, statuses). Ends after `events` events and says how long it took from the
first to the last.

What it does less than the fold, even with all tables: it knows no late knowledge (one count a desa
and day, whoever recorded by which route), no forks, clocks, revocations or withdrawals, no turns of
statuses, no ledger by segment, and seals no NIK.
"""

import asyncio
import hashlib
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Final

import faust
import msgspec
import uvloop

from rekam.runtime.logging import configure_logging
from rekam.runtime.postgres import connect
from rekam.runtime.queries import load_queries
from tests.benchmarks.machine import Timing
from tests.support.history import RULES

QUERIES: Final = load_queries("tests.benchmarks", "stock_queries.sql")
UNPLACED: Final = "-"
RECORDED_HERE_ONLY: Final = "BIO_CAPTURED"
AGEING: Final = "SENT_FOR_ENROLLMENT"
DUPLICATE: Final = "DUPLICATE_RECORD"


@dataclass(frozen=True, slots=True)
class Person:
    """A row of `stock_person`; a person of whom nothing was known has nothing in it."""

    domicile: str | None
    occurred_on: date | None
    recorder: str | None
    status: str | None
    observed_ms: int | None

    @property
    def desa(self) -> str:
        """Return where the person is counted."""
        return self.domicile or UNPLACED

    @property
    def observed_on(self) -> date:
        """Return the day of the status."""
        return _day(self.observed_ms or 0)


@dataclass(frozen=True, slots=True)
class Upserts:
    """Writes one event to every table that it concerns."""

    connection: Any
    are_all: bool

    async def write(self, event: dict[str, Any]) -> None:
        """Write it."""
        execute, data, kind = self.connection.execute, event["data"], event["type"]
        nik = data.get("nik")
        token = _token(nik) if nik else None
        told = {name: value for name, value in data.items() if name != "nik"}
        producer, wall_ms = event["producer"], event["wall_ms"]
        await execute(
            QUERIES["insert_fact"],
            producer,
            event["epoch"],
            event["seq"],
            kind,
            wall_ms,
            token,
            msgspec.json.encode(told).decode(),
        )
        match kind:
            case "recording.captured.v1":
                day, desa = _day(wall_ms), data["domicile"]
                before = await self._upsert("upsert_recording", token, desa, day, producer)
                if before.domicile is None:
                    await execute(QUERIES["add_coverage"], desa, day)
                    if self.are_all:
                        await execute(QUERIES["add_coverage_month"], desa, day)
                        await execute(QUERIES["add_coverage_year"], desa, day)
                now = replace(before, domicile=desa, occurred_on=day, recorder=producer)
                await self._move(token, before, now)
            case "centre.status_observed.v1":
                status, observed_ms = data["status"], data["observed_ms"]
                before = await self._upsert("upsert_status", token, status, observed_ms)
                now = replace(before, status=status, observed_ms=observed_ms)
                await self._move(token, before, now)
            case _:
                await execute(
                    QUERIES["upsert_device"], producer, wall_ms, msgspec.json.encode(data).decode()
                )
        if self.are_all:
            await execute(QUERIES["upsert_contact"], producer, _day(wall_ms), wall_ms)

    async def _upsert(self, query: str, *arguments: object) -> Person:
        return Person(*await self.connection.fetchrow(QUERIES[query], *arguments))

    async def _move(self, token: bytes | None, before: Person, now: Person) -> None:
        await self._count(
            "move_verification",
            _status_cell(before) if before.domicile or before.status else None,
            _status_cell(now),
        )
        if not self.are_all:
            return
        await self._count("move_ages", _age_cell(before), _age_cell(now))
        await self._count("move_duplicates", _duplicate_cell(before), _duplicate_cell(now))
        if now.status == DUPLICATE:
            await self.connection.execute(
                QUERIES["upsert_case"], token, now.desa, now.observed_on, now.recorder
            )
        elif before.status == DUPLICATE:
            await self.connection.execute(QUERIES["close_case"], token)

    async def _count(
        self, query: str, before: tuple[object, ...] | None, now: tuple[object, ...] | None
    ) -> None:
        """Count a person in one cell instead of another one."""
        if before == now:
            return
        cells = [(*cell, count) for cell, count in ((before, -1), (now, 1)) if cell is not None]
        await self.connection.execute(QUERIES[query], *zip(*cells, strict=True))


def _status_cell(person: Person) -> tuple[object, ...]:
    return (person.desa, person.status or RECORDED_HERE_ONLY)


def _age_cell(person: Person) -> tuple[object, ...] | None:
    return (person.desa, AGEING, person.observed_on) if person.status == AGEING else None


def _duplicate_cell(person: Person) -> tuple[object, ...] | None:
    if person.status != DUPLICATE or person.occurred_on is None:
        return None
    return (person.desa, max(person.occurred_on, person.observed_on))


def _day(moment_ms: int) -> date:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).date()


def _token(nik: str) -> bytes:
    return hashlib.blake2b(nik.encode(), key=RULES.person_key, digest_size=16).digest()


async def _run(arguments: list[str]) -> None:
    dsn, bootstrap, topic_name, folder, mode, tables, events = arguments
    connection = await connect(dsn)
    await connection.execute(QUERIES["create_tables"])
    upserts = Upserts(connection, are_all=tables == "all")
    wanted = int(events)
    done: asyncio.Future[Timing] = asyncio.get_running_loop().create_future()
    app = faust.App(
        f"stock-{topic_name}",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=folder,
        web_enabled=False,  # its port may be taken
        topic_allow_declare=False,  # the topic is there
        topic_disable_leader=True,
    )
    topic = app.topic(topic_name, value_serializer="json")

    @app.agent(topic, name="upsert-events")
    async def upsert_events(stream: Any) -> None:
        count, started = 0, 0.0
        async for event in stream:
            if not count:
                started = time.monotonic()
            if mode == "event":
                async with connection.transaction():
                    await upserts.write(event)
            else:
                await upserts.write(event)
            count += 1
            if count == wanted:
                done.set_result(Timing(count, time.monotonic() - started))

    await app.start()
    sys.stdout.buffer.write(msgspec.json.encode(await done))
    sys.stdout.flush()
    await app.stop()
    await connection.close()


if __name__ == "__main__":
    configure_logging(json=True)
    uvloop.run(_run(sys.argv[1:]))
