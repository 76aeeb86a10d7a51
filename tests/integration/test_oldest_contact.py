"""The look-up of the oldest contact says what a look at everybody's last contact would say."""

import json
import random
from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from projections.api.database import SESSION
from projections.digest import QUERIES as DIGESTED
from projections.memory_store import MemoryStore
from projections.reading import DAY_MAX
from projections.rows import Changes
from projections.store import PostgresStore
from rekam.runtime.postgres import connect
from rekam.runtime.queries import load_queries
from tests.support.older_migrations import migrate_before
from tests.support.rows import noon_ms

FIND = load_queries("projections.registry", "queries_read.sql")["find_earliest_contact"]
EVERYBODYS_LAST_CONTACT = """
    SELECT min(coalesce(contact.contact_ms, 0)) AS contact_ms
    FROM producer_service AS service
    LEFT JOIN producer_contact AS contact
        ON contact.producer = service.producer
        AND daterange(contact.known_on, contact.until_on) @> $1::date
    WHERE service.known_on <= $1 AND service.until_on > $1
"""
FIRST_DAY = date(2009, 1, 1)
DAYS = 4_500
IN_PLACE = "0015_pre_find_the_oldest_contact.sql"
TABLES = ("producer_contact", "producer_service")


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    """Give a connection to a fresh migrated database."""
    opened = await connect(database)
    yield opened
    await opened.close()


def random_changes(choose: random.Random) -> Changes:
    """Return recorders that come, fall silent for days or years, go, and some of which come back.

    Desks are heard, too, and never in service.
    """
    told = Changes()
    for number in range(choose.choice((1, 3, 12, 30))):
        producer = f"dev-{number}"
        enrolled = FIRST_DAY + timedelta(days=choose.randrange(DAYS))
        turns = sorted(choose.sample(range(1, 2_000), k=choose.choice((0, 0, 1, 3))))
        bounds = [enrolled, *(enrolled + timedelta(days=turn) for turn in turns), date.max]
        if choose.random() < 0.8:
            told.services[producer] = tuple(zip(bounds[::2], bounds[1::2], strict=False))
        heard = enrolled + timedelta(days=choose.choice((-3, 0, 0, 0, 0, 1, 40)))
        pace = choose.choice((1, 4, 30, 300, 1_500))
        for _ in range(choose.choice((0, 1, 2, 15, 15, 40, 40))):
            told.contacts[producer, heard] = noon_ms(heard) + choose.randrange(1_000)
            heard += timedelta(days=choose.randint(1, pace))
    return told


def parts_of(told: Changes, choose: random.Random) -> Iterator[Changes]:
    """Yield the same in any order, a few contacts at a time."""
    services = [Changes(services={producer: told.services[producer]}) for producer in told.services]
    contacts = choose.sample(sorted(told.contacts.items()), len(told.contacts))
    parts = [
        Changes(contacts=dict(contacts[first : first + 5])) for first in range(0, len(contacts), 5)
    ]
    yield from choose.sample(services + parts, len(services) + len(parts))


def days_of(told: Changes, choose: random.Random) -> set[date]:
    """Return days on which answers change, those around them, some others, and the outermost."""
    days = {day for _, day in told.contacts}
    days |= {day for times in told.services.values() for time in times for day in time}
    days.discard(date.max)
    days = set(choose.sample(sorted(days), min(60, len(days))))
    days |= {day + timedelta(days=step) for day in days for step in (-1, 1)}
    days |= {FIRST_DAY + timedelta(days=choose.randrange(2 * DAYS)) for _ in range(40)}
    return days | {date.min, FIRST_DAY, DAY_MAX}


async def rows_of(connection: Any, table: str) -> list[tuple[object, ...]]:
    return sorted(map(tuple, await connection.fetch(DIGESTED[f"read_{table}"])))


@pytest.mark.parametrize("seed", range(12))
async def test_it_is_the_earliest_of_everybodys_last_contacts_on_every_day(
    connection: Any, seed: int
) -> None:
    choose = random.Random(seed)
    told = random_changes(choose)
    in_memory = MemoryStore()
    for part in parts_of(told, choose):
        await PostgresStore(connection).write(part)
        await in_memory.write(part)
    for table in TABLES:
        assert await rows_of(connection, table) == sorted(in_memory.tables()[table])
    for day in sorted(days_of(told, choose)):
        expected = await connection.fetchval(EVERYBODYS_LAST_CONTACT, day)
        assert await connection.fetchval(FIND, day) == expected, day


@pytest.mark.parametrize("seed", range(12, 16))
async def test_tables_that_are_changed_in_place_are_what_a_fold_would_make_of_them(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    await migrate_before(empty_database, IN_PLACE, folder=tmp_path, monkeypatch=monkeypatch)
    told = random_changes(random.Random(seed))
    in_memory = MemoryStore()
    await in_memory.write(told)
    connection: Any = await connect(empty_database)
    try:
        await connection.executemany(
            "INSERT INTO producer_service VALUES ($1, $2, $3)",
            [(producer, *time) for producer, times in told.services.items() for time in times],
        )
        for producer in {producer for producer, _ in told.contacts}:
            known = sorted(day for name, day in told.contacts if name == producer)
            await connection.executemany(
                "INSERT INTO producer_contact VALUES ($1, $2, $3, $4)",
                [
                    (producer, known_on, until_on, told.contacts[producer, known_on])
                    for known_on, until_on in zip(known, [*known[1:], date.max], strict=True)
                ],
            )
        # With it, and before any later one that empties the tables.
        after = f"{IN_PLACE}~"
        await migrate_before(empty_database, after, folder=tmp_path, monkeypatch=monkeypatch)
        for table in TABLES:
            assert await rows_of(connection, table) == sorted(in_memory.tables()[table])
    finally:
        await connection.close()


def lookups(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield how a plan reads tables: the kind of scan and its index."""
    if "Relation Name" in plan:
        yield plan["Node Type"], plan.get("Index Name", "")
    for part in plan.get("Plans", ()):
        yield from lookups(part)


async def test_contacts_are_walked_in_their_order_from_the_index_alone(connection: Any) -> None:
    await connection.execute(
        """
        INSERT INTO producer_contact
        SELECT 'recorder-' || number, date '2018-01-01' + day,
            CASE WHEN day < 96 THEN date '2018-01-04' + day ELSE 'infinity' END, day
        FROM generate_series(1, 2000) AS number, generate_series(0, 98, 3) AS day
        """
    )
    await connection.execute(
        """
        INSERT INTO producer_service
        SELECT 'recorder-' || number, date '2017-12-31', 'infinity', date '2018-01-01'
        FROM generate_series(1, 2000) AS number
        """
    )
    await connection.execute("VACUUM ANALYZE producer_contact, producer_service")
    for name, value in SESSION.items():
        await connection.execute("SELECT set_config($1, $2, false)", name, value)
    for day in (date(2017, 6, 1), date(2018, 2, 1), DAY_MAX):
        [explained] = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {FIND}", day))
        assert sorted(lookups(explained["Plan"])) == [
            ("Index Only Scan", "producer_contact_oldest_idx"),
            ("Index Scan", "producer_service_pkey"),
            ("Index Scan", "producer_service_unheard_idx"),
        ]
