"""A day is told only when it is known."""

from datetime import date

import pytest

from rekam.domain.clocks import AHEAD_MS_MAX, OfficeZone, occurred_on

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
