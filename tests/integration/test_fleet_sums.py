"""L4: the states of a fleet sum to its enrolled devices, chunk by chunk of whole histories."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from projections.device_health.reads import Device, DeviceFilter, devices
from projections.device_health.state import LABELS
from projections.registry.facts import Enrolled, decode_facts
from rekam.domain.log import LogRecord
from rekam.runtime.postgres import connect, open_pool
from tests.support.history import REGISTRAR
from tests.support.live import chunks, fold, new_folder
from tests.support.whole_history import TIMES, seeded

PAGE = 3
SEEDS = range(4 * TIMES)


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    """Give a connection to a fresh migrated database."""
    opened = await connect(database)
    yield opened
    await opened.close()


async def fleet(connection: Any, wanted: DeviceFilter) -> list[Device]:
    """Return the devices of all pages."""
    found: list[Device] = []
    after: str | None = ""
    while after is not None:
        page = await devices(
            connection, wanted=wanted, after=after, devices_max=PAGE, registrar=REGISTRAR
        )
        found += page.devices
        after = page.next
    return found


async def enrolled(connection: Any) -> set[str]:
    """Return who is enrolled by the registrar's word that counts; the trust root needs none."""
    found: set[str] = {REGISTRAR}
    for row in await connection.fetch("SELECT producer, facts FROM producer"):
        facts = decode_facts(row["facts"]) if row["facts"] else []
        if any(isinstance(fact.data, Enrolled) and fact.counts for fact in facts):
            found.add(row["producer"])
    known = {row["producer"] for row in await connection.fetch("SELECT producer FROM producer")}
    return found & known


@pytest.mark.parametrize("seed", SEEDS)
async def test_states_sum_to_the_enrolled_devices_after_every_chunk(
    database: str, connection: Any, seed: int
) -> None:
    records: list[LogRecord] = seeded(seed, turns=20).records
    pool = await open_pool(database)
    sizes: set[int] = set()
    try:
        folder = new_folder(pool)
        for chunk in chunks(records, records_max=5):
            await fold(folder, chunk)
            by_label = Counter(dict.fromkeys(LABELS, 0))
            named: list[str] = []
            for label in LABELS:
                of_label = await fleet(connection, DeviceFilter(label=label))
                assert {device.label for device in of_label} <= {label}
                by_label[label] = len(of_label)
                named += [device.id for device in of_label]
            expected = await enrolled(connection)
            assert by_label.total() == len(expected)
            assert sorted(named) == sorted(expected)
            assert by_label["NOT_ENROLLED"] == 0
            assert [one.id for one in await fleet(connection, DeviceFilter())] == sorted(expected)
            sizes.add(len(expected))
    finally:
        await pool.close()
    assert len(sizes) > 1
