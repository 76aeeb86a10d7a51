"""What Faust's guide shows: `async for event in stream`, and an upsert for everything it touches.

Plain events, no cryptography, an untouched `faust.App`. `mode` is `statement` (each statement
commits by itself) or `event` (one transaction an event). Ends after `events` events and says how
long it took from the first to the last.
"""

import asyncio
import hashlib
import sys
import time
from datetime import UTC, datetime
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


async def upsert(connection: Any, event: dict[str, Any]) -> None:
    """Write one event to every table that it concerns."""
    data, kind = event["data"], event["type"]
    nik = data.get("nik")
    person = _token(nik) if nik else None
    await connection.execute(
        QUERIES["insert_fact"],
        event["producer"],
        event["epoch"],
        event["seq"],
        kind,
        event["wall_ms"],
        person,
        msgspec.json.encode(
            {name: value for name, value in data.items() if name != "nik"}
        ).decode(),
    )
    match kind:
        case "recording.captured.v1":
            day = datetime.fromtimestamp(event["wall_ms"] / 1000, UTC).date()
            desa = data["domicile"]
            before = await connection.fetchrow(QUERIES["upsert_recording"], person, desa, day)
            if before[0] is None:
                await connection.execute(QUERIES["add_coverage"], desa, day)
            await _move(connection, before, (desa, before[1]))
        case "centre.status_observed.v1":
            before = await connection.fetchrow(
                QUERIES["upsert_status"], person, data["status"], data["observed_ms"]
            )
            await _move(connection, before, (before[0], data["status"]))
        case _:
            await connection.execute(
                QUERIES["upsert_device"],
                event["producer"],
                event["wall_ms"],
                msgspec.json.encode(data).decode(),
            )


async def _move(
    connection: Any, before: tuple[str | None, str | None], now: tuple[str | None, str | None]
) -> None:
    cells = {_cell(*now): 1}
    if before != (None, None):
        old = _cell(*before)
        cells[old] = cells.get(old, 0) - 1
    await connection.execute(
        QUERIES["move_verification"],
        [desa for desa, _ in cells],
        [status for _, status in cells],
        list(cells.values()),
    )


def _cell(desa: str | None, status: str | None) -> tuple[str, str]:
    return (desa or UNPLACED, status or RECORDED_HERE_ONLY)


def _token(nik: str) -> bytes:
    return hashlib.blake2b(nik.encode(), key=RULES.person_key, digest_size=16).digest()


async def _run(arguments: list[str]) -> None:
    dsn, bootstrap, topic_name, folder, mode, events = arguments
    connection = await connect(dsn)
    await connection.execute(QUERIES["create_tables"])
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
                    await upsert(connection, event)
            else:
                await upsert(connection, event)
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
