"""Devices, their ledgers, and the time through which every recorder has reported."""

import random
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from projections.device_health.reads import DeviceFilter, device_ledger, devices, find_device
from projections.reading import instant
from projections.regions import Region
from projections.registry.facts import Beat, DeclaredLost, Fault, Revoked
from projections.registry.reads import complete_through
from rekam.domain.ranges import RangeSet
from rekam.runtime.postgres import connect
from tests.support.rows import KNOWN_ON, TODAY, Rows, noon_ms

DEVICE = "recorder-1"


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    """Give a connection to a fresh migrated database."""
    opened = await connect(database)
    yield opened
    await opened.close()


async def ids(connection: Any, wanted: DeviceFilter, *, page: int = 2) -> list[str]:
    """Return the ids of all pages."""
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        answer = await devices(
            connection, wanted=wanted, after=after, devices_max=page, registrar="registrar"
        )
        assert len(answer.devices) <= page
        found += [device.id for device in answer.devices]
        after = answer.next
    return found


async def test_pages_hold_every_enrolled_producer_once(database: str, connection: Any) -> None:
    rows = Rows()
    for number in range(5):
        rows.enrolled(f"recorder-{number}")
    rows.tell("stranger", Beat(1, None, None, None, None))
    await rows.write(database)
    expected = [f"recorder-{number}" for number in range(5)]
    assert [await ids(connection, DeviceFilter(), page=page) for page in (1, 2, 5, 9)] == [
        expected
    ] * 4


async def test_filters_take_what_they_say(database: str, connection: Any) -> None:
    rows = Rows()
    rows.enrolled("a", place="64.08.04")
    rows.enrolled("b", place="64.08.05.2001", contact=None)
    rows.enrolled("c", place="64.08", kind="office")
    rows.tell("a", Fault("scanner", "no light", is_present=True, detail=None))
    await rows.write(database)

    assert await ids(connection, DeviceFilter(region=Region("64.08.05"))) == ["b"]
    assert await ids(connection, DeviceFilter(label="REPORTED_FAULT")) == ["a"]
    assert await ids(connection, DeviceFilter(label="UNKNOWN")) == ["b"]
    assert await ids(connection, DeviceFilter(kind="office")) == ["c"]


async def test_a_device_shows_its_queue_its_gaps_and_its_last_contact(
    database: str, connection: Any
) -> None:
    rows = Rows()
    rows.enrolled(DEVICE)
    rows.tell(DEVICE, Beat(12, 1_500_000_000_000, "kafka", 10, "1.0"))
    rows.segment(DEVICE, 1, 10)
    rows.segment(DEVICE, 21, 30)
    await rows.write(database)

    device = await find_device(connection, DEVICE, registrar="registrar")
    assert device is not None
    assert (device.queue_events, device.route, device.progress) == (12, "kafka", "QUEUE_WAITS")
    assert device.oldest_unsent_at == instant(1_500_000_000_000)
    assert (device.received_events, device.gap_events, device.suspect) == (20, 10, False)
    assert device.last_contact_at == instant(noon_ms(KNOWN_ON))


async def test_the_trust_root_is_a_registrar_by_configuration(
    database: str, connection: Any
) -> None:
    rows = Rows()
    rows.tell("registrar", Beat(0, None, None, None, None))
    rows.contacts["registrar"] = noon_ms(KNOWN_ON)
    await rows.write(database)
    device = await find_device(connection, "registrar", registrar="registrar")
    assert device is not None
    assert (device.kind, device.label) == ("registrar", "NO_FAULT_REPORTED")
    assert await ids(connection, DeviceFilter()) == ["registrar"]


async def test_a_device_that_the_log_never_named_is_none(connection: Any) -> None:
    assert await find_device(connection, "nobody", registrar="registrar") is None
    assert await device_ledger(connection, "nobody") is None


async def test_a_ledger_names_ranges_gaps_and_what_a_person_gave_up(
    database: str, connection: Any
) -> None:
    rows = Rows()
    rows.enrolled(DEVICE)
    first = rows.segment(DEVICE, 1, 10)
    second = rows.segment(DEVICE, 11, 20, prev=first)
    head = rows.segment(DEVICE, 51, 60)
    rows.tell(DEVICE, DeclaredLost(1, 21, 30, "the card burnt"))
    rows.tell(DEVICE, DeclaredLost(2, 1, 5, "never came"))
    rows.copy(DEVICE, 11, second)
    rows.copy(DEVICE, 11, second)
    await rows.write(database)

    ledger = await device_ledger(connection, DEVICE)
    assert ledger is not None
    one, two = ledger.epochs
    assert (one.received, one.gaps) == ([(1, 20), (51, 60)], [(31, 50)])
    assert (one.declared_lost, one.head, one.duplicates) == ([(21, 30)], head, 2)
    assert (one.forks, one.chain_breaks, ledger.suspect) == ([], [], False)
    assert (two.received, two.gaps, two.declared_lost, two.head) == ([], [], [(1, 5)], None)


async def test_a_missing_beginning_is_a_gap(database: str, connection: Any) -> None:
    rows = Rows()
    rows.enrolled(DEVICE)
    rows.segment(DEVICE, 8, 9)
    await rows.write(database)
    ledger = await device_ledger(connection, DEVICE)
    assert ledger is not None
    assert ledger.epochs[0].gaps == [(1, 7)]


async def test_a_fork_makes_its_producer_suspect_and_names_the_seqs(
    database: str, connection: Any
) -> None:
    rows = Rows()
    rows.enrolled(DEVICE)
    rows.segment(DEVICE, 1, 10)
    rows.segment(DEVICE, 1, 10, mark="other", lost=RangeSet.of((1, 10)))
    rows.segment(DEVICE, 5, 12, mark="third", lost=RangeSet.of((5, 10)))
    await rows.write(database)

    ledger = await device_ledger(connection, DEVICE)
    device = await find_device(connection, DEVICE, registrar="registrar")
    assert ledger is not None
    assert device is not None
    assert (ledger.suspect, device.suspect) == (True, True)
    assert ledger.epochs[0].forks == [(1, 10)]
    assert ledger.epochs[0].received == [(1, 12)]


async def test_a_segment_that_does_not_continue_the_one_before_it_is_a_chain_break(
    database: str, connection: Any
) -> None:
    rows = Rows()
    rows.enrolled(DEVICE)
    rows.segment(DEVICE, 1, 10)
    rows.segment(DEVICE, 11, 20, prev="ab" * 32)
    rows.segment(DEVICE, 31, 40, prev="ab" * 32)
    rows.segment(DEVICE, 1, 5, epoch=2, prev="cd" * 32)
    await rows.write(database)

    ledger = await device_ledger(connection, DEVICE)
    assert ledger is not None
    # Nobody can tell of 31: what stands before it has not arrived.
    assert [epoch.chain_breaks for epoch in ledger.epochs] == [[11], [1]]


async def test_complete_through_is_the_earliest_last_contact_of_recorders_in_service(
    database: str, connection: Any
) -> None:
    rows = Rows()
    rows.enrolled("a", contact=date(2018, 3, 9))
    rows.enrolled("b", contact=date(2018, 3, 5))
    rows.enrolled("gone", contact=date(2018, 1, 1))
    rows.tell("gone", Revoked(0, "stolen"))
    rows.enrolled("desk", kind="office", contact=None)
    await rows.write(database)
    assert await complete_through(connection) == instant(noon_ms(date(2018, 3, 5)))


async def test_nobody_can_say_while_a_recorder_was_never_heard(
    database: str, connection: Any
) -> None:
    assert await complete_through(connection) is None
    rows = Rows()
    rows.enrolled("a")
    rows.enrolled("b", contact=None)
    await rows.write(database)
    assert await complete_through(connection) is None


async def test_complete_through_of_the_past_knows_nothing_of_later_contacts(
    database: str, connection: Any
) -> None:
    rows = Rows()
    rows.enrolled("a", contact=date(2018, 3, 20))
    rows.segment("a", 1, 2, known=date(2018, 3, 3))
    rows.segment("a", 3, 4, known=date(2018, 3, 20))
    await rows.write(database)
    for known_at in (date(2018, 3, 3), date(2018, 3, 10), date(2018, 3, 19)):
        earlier = await complete_through(connection, known_at=known_at)
        assert earlier == instant(noon_ms(date(2018, 3, 3)))
    later = await complete_through(connection, known_at=date(2018, 3, 20))
    assert later == await complete_through(connection) == instant(noon_ms(date(2018, 3, 20)))
    # On the second it is enrolled and not heard yet; on the first nobody knows of it.
    for unheard in (KNOWN_ON, KNOWN_ON - timedelta(days=1)):
        assert await complete_through(connection, known_at=unheard) is None


async def test_who_is_known_as_revoked_is_not_waited_for_but_was_before(
    database: str, connection: Any
) -> None:
    rows = Rows()
    for producer in ("a", "gone"):
        rows.enrolled(producer, contact=date(2018, 3, 3))
    rows.segment("a", 1, 2, known=date(2018, 3, 9))
    rows.tell("gone", Revoked(0, "stolen"), known=date(2018, 3, 8))
    await rows.write(database)
    for known_at, earliest in ((date(2018, 3, 7), 3), (date(2018, 3, 8), 3), (TODAY, 9)):
        found = await complete_through(connection, known_at=known_at)
        assert found == instant(noon_ms(date(2018, 3, earliest)))


@pytest.mark.parametrize("seed", range(4))
async def test_complete_through_is_that_of_the_ledger_on_every_day(
    database: str, connection: Any, seed: int
) -> None:
    """The table of contacts by day says what a look at every record would say."""
    choose = random.Random(seed)
    first, days = date(2018, 2, 20), 30
    rows = Rows()
    heard: dict[str, list[date]] = {}
    known: dict[str, tuple[date, date]] = {}
    for producer in ("a", "b", "c"):
        enrolled, revoked = sorted(first + timedelta(days=choose.randrange(days)) for _ in range(2))
        rows.enrolled(producer, contact=None, known=enrolled)
        known[producer] = (enrolled, date.max)
        if producer == "a":
            rows.tell(producer, Revoked(0, "stolen"), known=revoked)
            known[producer] = (enrolled, revoked)
        heard[producer] = [
            first + timedelta(days=choose.randrange(days)) for _ in range(choose.randrange(5))
        ]
        for number, day in enumerate(heard[producer]):
            rows.segment(producer, 10 * number + 1, 10 * number + 5, known=day)
    await rows.write(database)

    def expected(known_at: date) -> datetime | None:
        last = [
            max((day for day in heard[producer] if day <= known_at), default=None)
            for producer, (since, until) in known.items()
            if since <= known_at < until
        ]
        days_heard = [day for day in last if day is not None]
        if not last or len(days_heard) < len(last):
            return None
        return instant(noon_ms(min(days_heard)))

    for number in range(days + 2):
        known_at = first + timedelta(days=number - 1)
        assert await complete_through(connection, known_at=known_at) == expected(known_at)
