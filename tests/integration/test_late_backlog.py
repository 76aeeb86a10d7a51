"""A stick a month late changes closed months: what was published stays, the change is told."""

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from projections.coverage.changes import Report, coverage_changes
from projections.coverage.reads import coverage
from projections.regions import Level, Region
from rekam.runtime.postgres import connect
from tests.benchmarks.backlog import (
    AS_OF,
    BOOTS,
    DAYS,
    EXPLAINED_ON,
    MEMORY_BYTES_MAX,
    PEOPLE_A_DAY,
    PUBLISHED_ON,
    RECORDINGS,
    REGULAR_RECORDERS,
    STICK,
    Folded,
    measure_backlog,
)

REGENCY = Region("64.08")
IN_TIME = REGULAR_RECORDERS * DAYS * PEOPLE_A_DAY


@pytest.fixture
async def folded(database: str) -> Folded:
    """Fold a regency's weeks, then the stick, in a process of its own."""
    return await measure_backlog(database)


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    """Give a connection."""
    opened = await connect(database)
    yield opened
    await opened.close()


async def recorded(connection: Any, *, known_at: date, as_of: date = AS_OF) -> tuple[int, int]:
    found = await coverage(
        connection, region=REGENCY, level=Level.DESA, as_of=as_of, known_at=known_at
    )
    return found.totals.recorded, found.totals.date_unknown


async def test_a_stick_a_month_late_changes_closed_months_and_the_change_is_explained(
    folded: Folded, connection: Any
) -> None:
    assert await recorded(connection, known_at=PUBLISHED_ON) == (IN_TIME, 0)
    assert await recorded(connection, known_at=EXPLAINED_ON) == (IN_TIME + RECORDINGS, 0)

    in_july = await recorded(connection, known_at=EXPLAINED_ON, as_of=date(2017, 7, 31))
    then_in_july = await recorded(connection, known_at=PUBLISHED_ON, as_of=date(2017, 7, 31))
    assert in_july[0] > then_in_july[0] > 0

    changes = await coverage_changes(
        connection,
        region=REGENCY,
        as_of=AS_OF,
        former=Report(known_at=PUBLISHED_ON),
        later=Report(known_at=EXPLAINED_ON),
    )
    assert (changes.before.recorded, changes.after.recorded) == (IN_TIME, IN_TIME + RECORDINGS)
    (cause,) = changes.causes
    assert (cause.measure, cause.cause, cause.count) == ("recorded", "arrived", RECORDINGS)
    (share,) = cause.producers
    assert (share.producer, share.mode, share.route) == (STICK, "offline", "usb")
    assert share.count == RECORDINGS
    sessions = await connection.fetchval(
        "SELECT count(*) FROM ledger_boot WHERE producer = $1", STICK
    )
    assert sessions == BOOTS

    # Everything was judged twice, the second time in one transaction.
    assert folded.taken_bytes <= MEMORY_BYTES_MAX, folded
