"""A day is told only when it is known."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekam.domain.clocks import AHEAD_MS_MAX, OfficeZone, occurred_on

HOUR_MS = 3_600_000
ZONE = OfficeZone("Asia/Makassar")
NOON = 1_522_468_800_000  # 2018-03-31 12:00 in Makassar


@pytest.mark.parametrize(
    ("wall_ms", "offset_ms", "expected"),
    [
        (NOON, 0, date(2018, 3, 31)),
        (NOON + 12 * 3_600_000, 0, date(2018, 4, 1)),
        (NOON - 12 * 3_600_000 - 1, 0, date(2018, 3, 30)),
        (0, NOON, date(2018, 3, 31)),
        (NOON, None, None),
        (0, 0, None),
        (NOON + 3 * 365 * 86_400_000, 0, None),
    ],
    ids=["anchored", "midnight", "before", "mended", "no anchor", "1970", "ahead"],
)
def test_the_mended_clock_gives_the_day_or_none(
    wall_ms: int, offset_ms: int | None, expected: date | None
) -> None:
    known_ms = NOON + 86_400_000
    found = occurred_on(
        wall_ms, offset_ms=offset_ms, enrolled_ms=NOON - 86_400_000, known_ms=known_ms, zone=ZONE
    )
    assert found == expected


@pytest.mark.parametrize(("past_limit_ms", "is_known"), [(0, True), (1, False)])
def test_a_day_ahead_of_its_receipt_is_believed_for_24_hours(
    past_limit_ms: int, *, is_known: bool
) -> None:
    found = occurred_on(
        NOON + AHEAD_MS_MAX + past_limit_ms, offset_ms=0, enrolled_ms=0, known_ms=NOON, zone=ZONE
    )
    assert (found is not None) == is_known


@pytest.mark.parametrize(("ms", "day"), [(2**60, date(9999, 12, 30)), (-(2**60), date(1, 1, 2))])
def test_moments_beyond_the_calendar_count_as_its_ends(ms: int, day: date) -> None:
    assert ZONE.day(ms) == day


ODD_ZONES = ["Asia/Makassar", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia", "Europe/Lisbon"]
"""Of a quarter of an hour; that was set back a minute after midnight; that left a day out."""


@given(
    name=st.sampled_from(ODD_ZONES),
    hour=st.integers(0, 2_000_000_000_000 // HOUR_MS)
    | st.integers(1_162_060_000_000 // HOUR_MS, 1_162_440_000_000 // HOUR_MS),
    minutes=st.lists(st.integers(0, HOUR_MS - 1), min_size=2, max_size=6),
)
def test_a_day_does_not_depend_on_what_else_was_asked(
    name: str, hour: int, minutes: list[int]
) -> None:
    zone, plain = OfficeZone(name), ZoneInfo(name)
    for minute in minutes:
        ms = hour * HOUR_MS + minute
        assert zone.day(ms) == datetime.fromtimestamp(ms / 1000, plain).date()


def test_an_hour_that_was_set_back_over_midnight_has_two_days() -> None:
    zone = OfficeZone("America/St_Johns")
    midnight_ms = 1_162_089_000_000  # 2006-10-29 00:00 there; a minute later it is 23:01 again
    days = [zone.day(midnight_ms + ms) for ms in (-1, 90_000, 0, 59_999, 60_000, HOUR_MS)]
    assert days == [date(2006, 10, day) for day in (28, 28, 29, 29, 28, 29)]
