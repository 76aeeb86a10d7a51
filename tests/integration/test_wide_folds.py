"""One record that concerns many producers, as an office of many devices makes them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from projections.memory_store import MemoryStore
from rekam.domain import events
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.log import LogRecord
from rekam.runtime.postgres import open_pool
from stream_processors.admit import NeedsProducers
from stream_processors.fold import fold_intakes
from stream_processors.refold import refold_all
from tests.support.history import (
    DAY_MS,
    REGISTRAR,
    REGISTRAR_KEY,
    RULES,
    START_MS,
    Life,
    Log,
    anchored,
    fold_all,
    new_opener,
)
from tests.support.live import chunks, compared, fold, new_folder

DEVICES = 25
ROUNDS_MAX = 2
"""What a record surely concerns, and once more with all that it leads to."""


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Any]:
    """Give a pool on a migrated database."""
    pool = await open_pool(database)
    yield pool
    await pool.close()


def lives() -> list[Life]:
    return [
        Life(ProducerId(f"dev-{number:02}"), SigningKey.from_seed(bytes([100 + number]) * 32))
        for number in range(DEVICES)
    ]


def tickets() -> tuple[Log, Life, Life]:
    """Return a log in which a desk opens a ticket for each device, the registrar and the desk."""
    registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
    desk = Life(ProducerId("desk"), SigningKey.from_seed(bytes([50]) * 32), kind="office")
    log, devices = Log(), lives()
    log.append(registrar.seal(registrar.event(desk.enrolment())), partition=2)
    for life in devices:
        log.append(registrar.seal(registrar.event(life.enrolment())), partition=0)
    for number, device in enumerate(devices):
        opened = events.TicketOpened(ticket=f"t{number}", producer=device.producer, summary="x")
        log.append(desk.seal(desk.event(opened)), partition=1)
    return log, registrar, desk


def revoked_late() -> list[LogRecord]:
    """Return the log with the desk's revocation at its end."""
    log, registrar, _ = tickets()
    revoked = events.ProducerRevoked(
        producer="desk", effective_ms=START_MS + 10 * DAY_MS, reason="hilang"
    )
    log.append(registrar.seal(registrar.event(revoked)), partition=0)
    return log.records


def anchored_late() -> list[LogRecord]:
    """Return the log with an anchor of the desk's clock at its end."""
    log, _, desk = tickets()
    log.append(desk.seal(desk.event(anchored("boot-1"))), partition=1)
    return log.records


def enrolled_late() -> list[LogRecord]:
    """Return the tickets, which are held, and at the end the enrolment of their desk."""
    log, *_ = tickets()
    desk, *others = log.records
    return [*others, desk]


def lost_a_fork() -> list[LogRecord]:
    """Return enrolments of one segment, and at the end what the registrar's copy said before."""
    registrar, devices, log = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar"), lives(), Log()
    start = (registrar.next_seq, registrar.prev)
    first = registrar.seal(*(registrar.event(one.enrolment()) for one in devices))
    registrar.next_seq, registrar.prev = start
    earlier = log.append(registrar.seal(registrar.event(devices[0].enrolment())), partition=0)
    return [log.append(first, partition=1), earlier]


HISTORIES = pytest.mark.parametrize(
    "records",
    [revoked_late(), anchored_late(), enrolled_late(), lost_a_fork()],
    ids=["revoked", "anchored", "enrolled", "forked"],
)


@HISTORIES
async def test_what_concerns_many_producers_is_folded_as_in_memory(
    pool: Any, records: list[LogRecord]
) -> None:
    *before, last = records
    for record in (*before, last):
        for chunk in chunks([record]):
            await fold(new_folder(pool), chunk)
    assert await compared(pool, await fold_all(records)) == []


@HISTORIES
async def test_all_producers_that_a_record_leads_to_are_asked_for_at_once(
    records: list[LogRecord],
) -> None:
    """Each time the fold begins anew, with its locks: not once for every device of an office."""
    store, opener, rounds = MemoryStore(), new_opener(), 0
    for record in records:
        producers: frozenset[str] = frozenset()
        rounds = 0
        while True:
            rounds += 1
            try:
                await fold_intakes(
                    store,
                    [opener.open_record(record)],
                    rules=RULES,
                    root=REGISTRAR_KEY.public,
                    opener=opener,
                    producers=producers,
                )
            except NeedsProducers as wider:
                producers |= wider.producers
            else:
                break
        assert rounds <= ROUNDS_MAX
    assert rounds == ROUNDS_MAX


async def test_an_office_of_many_devices_is_refolded(pool: Any) -> None:
    log, *_ = tickets()
    for chunk in chunks(log.records):
        await fold(new_folder(pool), chunk)
    await refold_all(new_folder(pool))
    assert await compared(pool, await fold_all(log.records)) == []
