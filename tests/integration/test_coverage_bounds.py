"""Both times at their edges: a person for every pair of days, and every pair of days asked for."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from itertools import combinations_with_replacement, product
from typing import Any

import pytest

from projections.coverage.changes import Report, coverage_changes
from projections.coverage.reads import coverage
from projections.coverage.series import Step, coverage_series
from projections.coverage.sums import AHEAD_MAX
from projections.regions import Level, Region
from rekam.domain.clocks import AHEAD_MS_MAX, OfficeZone
from rekam.runtime.postgres import connect
from tests.support.rows import Rows, people

REGENCY = Region("64.08")
# The turn of a year, which is a turn of a month: what is summed from tables of its own ends there.
DAYS = tuple(date(2017, 12, 29) + timedelta(days=number) for number in range(6))
PAIRS: tuple[tuple[date | None, date], ...] = tuple(
    (on, known)
    for on, known in product((None, *DAYS, DAYS[-1] + AHEAD_MAX), DAYS)
    if on is None or on <= known + AHEAD_MAX
)


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    """Give a connection to tables in which every pair of days has a person."""
    rows = Rows()
    for nik, (on, known) in zip(people(len(PAIRS)), PAIRS, strict=True):
        rows.recorded(nik, on=on, known=known)
    await rows.write(database)
    opened = await connect(database)
    yield opened
    await opened.close()


def counted(as_of: date, known_at: date) -> tuple[int, int]:
    """Return who is recorded, and who on an unknown date."""
    known = [on for on, known in PAIRS if known <= known_at]
    return sum(on is not None and on <= as_of for on in known), known.count(None)


def test_no_recording_that_is_believed_lies_further_ahead_than_is_looked() -> None:
    """Where clocks are put forward the day of that is an hour short."""
    zone = OfficeZone("America/New_York")
    start_ms = int(datetime(2018, 1, 1, tzinfo=UTC).timestamp() * 1000)
    hours = (start_ms + hour * 3_600_000 for hour in range(365 * 24))
    ahead = {zone.day(received_ms + AHEAD_MS_MAX) - zone.day(received_ms) for received_ms in hours}
    assert max(ahead) == AHEAD_MAX


async def test_coverage_counts_what_happened_by_one_day_and_was_known_by_another(
    connection: Any,
) -> None:
    for as_of, known_at in product((*DAYS, DAYS[-1] + AHEAD_MAX), DAYS):
        found = await coverage(
            connection, region=REGENCY, level=Level.DESA, as_of=as_of, known_at=known_at
        )
        told = (found.totals.recorded, found.totals.date_unknown)
        assert told == counted(as_of, known_at), (as_of, known_at)


async def test_a_series_counts_the_same_on_each_of_its_days(connection: Any) -> None:
    year_end, last = date(2017, 12, 31), DAYS[-1] + AHEAD_MAX
    every_day = [*DAYS, last - timedelta(days=1), last]
    for known_at, (step, days) in product(
        DAYS, ((Step.DAY, every_day), (Step.MONTH, [year_end, last]))
    ):
        found = await coverage_series(
            connection, region=REGENCY, days=days, step=step, known_at=known_at
        )
        assert [point.recorded for point in found.points] == [
            counted(day, known_at)[0] for day in days
        ]
        assert found.date_unknown == counted(last, known_at)[1]


async def test_a_change_is_what_became_known_after_one_day_and_by_another(connection: Any) -> None:
    for as_of in (*DAYS, DAYS[-1] + AHEAD_MAX):
        for former, later in combinations_with_replacement(DAYS, 2):
            found = await coverage_changes(
                connection,
                region=REGENCY,
                as_of=as_of,
                former=Report(known_at=former),
                later=Report(known_at=later),
            )
            before, after = counted(as_of, former), counted(as_of, later)
            parts = Counter({one.measure: one.count for one in found.causes if one.count})
            assert (parts["recorded"], parts["date_unknown"]) == (
                after[0] - before[0],
                after[1] - before[1],
            ), (as_of, former, later)
            assert (found.before.recorded, found.after.recorded) == (before[0], after[0])


SPREAD = tuple(
    date(year, month, day)
    for year in (2016, 2017)
    for month in (1, 6, 8, 11, 12)
    for day in (2, 20, 28)
)
SPREAD_PAIRS = tuple((on, known) for on, known in product(SPREAD, SPREAD) if on <= known)


async def test_whatever_is_nearer_is_added_or_taken_away(database: str) -> None:
    """Before and after the middle of a month and of a year, known within it and years later."""
    rows = Rows()
    for nik, (on, known) in zip(people(len(SPREAD_PAIRS)), SPREAD_PAIRS, strict=True):
        rows.recorded(nik, on=on, known=known)
    await rows.write(database)
    opened: Any = await connect(database)
    try:
        for as_of, known_at in product(SPREAD, (*SPREAD, date(2018, 1, 1), date(2018, 2, 1))):
            found = await coverage(
                opened, region=REGENCY, level=Level.DESA, as_of=as_of, known_at=known_at
            )
            expected = sum(on <= as_of and known <= known_at for on, known in SPREAD_PAIRS)
            assert found.totals.recorded == expected, (as_of, known_at)
            series = await coverage_series(
                opened, region=REGENCY, days=[as_of], step=Step.DAY, known_at=known_at
            )
            assert [point.recorded for point in series.points] == [expected], (as_of, known_at)
    finally:
        await opened.close()
