"""Orders to erase and the events of their people, folded by workers that race."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from projections.cohort.facts import Listed, decode_facts
from projections.store import QUERIES
from rekam.domain import events
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.runtime.postgres import open_pool
from tests.support.history import (
    REGISTRAR,
    REGISTRAR_KEY,
    RULES,
    Life,
    Log,
    captured,
    fold_all,
    nik,
)
from tests.support.live import chunks, compared, fold, fold_partition, new_folder

PEOPLE = 25


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Any]:
    """Give a pool on a migrated database."""
    pool = await open_pool(database)
    yield pool
    await pool.close()


@pytest.mark.parametrize("attempt", range(4))
async def test_orders_lists_and_recordings_of_the_same_people_pass_each_other(
    pool: Any, attempt: int
) -> None:
    """Lock, then look: no list keeps a token because its order was looked for too early."""
    registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
    kpu, dev, api = (
        Life(ProducerId(kind), SigningKey.from_seed(bytes([number]) * 32), kind=kind)
        for number, kind in enumerate(("kpu", "recorder", "api"), start=50 + attempt)
    )
    log = Log()
    enrolments = [registrar.event(one.enrolment()) for one in (kpu, dev, api)]
    log.append(registrar.seal(*enrolments), partition=3)
    for number in range(PEOPLE):
        person = nik(number)
        order = events.ErasureOrdered(nik=person, order=f"o-{number}", reason="test")
        log.append(registrar.seal(registrar.event(order)), partition=0)
        other = PEOPLE - 1 - number
        listed = events.CohortEntryListed(cohort="c", entry=number, nik=nik(other))
        log.append(kpu.seal(kpu.event(listed)), partition=1)
        log.append(dev.seal(dev.event(captured(number, f"r-{number}"))), partition=2)
        reading = events.PersonAccessed(
            nik=nik(other), caller="office", call="get_person", reason="at the desk"
        )
        log.append(api.seal(api.event(reading)), partition=4)
    found = chunks(log.records, records_max=1)
    for chunk in found:
        if chunk.partition == 3:
            await fold(new_folder(pool), chunk)
    # Rows that are there already: making them would line workers up before they look.
    await pool.execute(QUERIES["make_person"], sorted(RULES.token(nik(n)) for n in range(PEOPLE)))
    await asyncio.gather(
        *(
            fold_partition(new_folder(pool), [one for one in found if one.partition == partition])
            for partition in (0, 1, 2, 4)
        )
    )
    entries = await pool.fetch("SELECT facts FROM cohort_entry")
    assert len(entries) == PEOPLE
    for (raw,) in entries:
        [entry] = decode_facts(raw)
        assert isinstance(entry.data, Listed)
        assert entry.data.person is None
    assert await pool.fetchval("SELECT count(*) FROM person WHERE nik <> ''::bytea") == 0
    assert await pool.fetchval("SELECT sum(people) FROM coverage_cell") == PEOPLE
    assert await pool.fetchval("SELECT sum(accesses) FROM access_cell") == PEOPLE
    assert await compared(pool, await fold_all(log.records)) == []
