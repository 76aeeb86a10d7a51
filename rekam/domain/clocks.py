"""On which day something happened, when it is known: the office's calendar and mended clocks.

Four clocks are kept apart: a producer's wall clock, its monotonic clock (with its boot session),
the time of sealing, and the broker's append time. Only the last one is trusted.
"""

from collections.abc import Callable
from datetime import date, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

AHEAD_MS_MAX: Final = 24 * 3600 * 1000
"""How far an event may lie after its append time, and still be believed."""

APPEND_DAYS_MAX: Final = 4096
"""How many append times are remembered with their days."""

HOURS_REMEMBERED_MAX: Final = 100_000
"""Of how many hours the day is remembered: eleven years of them, some 10 MB."""

RELAY_SOURCES: Final = frozenset({"relay", "relay_carried"})
"""Of an anchor's `source`: a relay's clock told it, in this boot session or in a later one. It
dates a session of which the log itself has said nothing, and nothing else: a relay's clock is one
of many, and nobody looks after it."""

_HOUR_MS: Final = 3600 * 1000
_CALENDAR_MS_MIN: Final = -62_135_510_400_000  # 0001-01-02
_CALENDAR_MS_MAX: Final = 253_402_128_000_000  # 9999-12-30


class OfficeZone:
    """The time zone in which the office counts days."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._zone = ZoneInfo(name)
        self._day_of_hour: dict[int, date] = {}
        """Of the hours that lie within one day, whichever minute was asked for: nearly all events
        come in hours that others came in."""
        self.append_day: Callable[[int], date] = lru_cache(APPEND_DAYS_MAX)(self.day)
        """`day` for append times, remembered: all events of a segment share one."""

    def day(self, ms: int) -> date:
        """Return the office's day of a moment (ms since 1970, UTC).

        Moments beyond the calendar (years 1 to 9999) count as its first or last day.
        """
        hour = ms // _HOUR_MS
        remembered = self._day_of_hour.get(hour)
        if remembered is not None:
            return remembered
        first, last = self._local(hour * _HOUR_MS), self._local(hour * _HOUR_MS + _HOUR_MS - 1)
        if first.date() == last.date() and first.utcoffset() == last.utcoffset():
            if len(self._day_of_hour) >= HOURS_REMEMBERED_MAX:
                self._day_of_hour.clear()
            self._day_of_hour[hour] = first.date()
        return self._local(ms).date()

    def _local(self, ms: int) -> datetime:
        try:
            return datetime.fromtimestamp(ms / 1000, self._zone)
        except (OverflowError, ValueError, OSError):
            within = min(max(ms, _CALENDAR_MS_MIN), _CALENDAR_MS_MAX)
            return datetime.fromtimestamp(within / 1000, self._zone)


def occurred_on(
    wall_ms: int, *, offset_ms: int | None, enrolled_ms: int, known_ms: int, zone: OfficeZone
) -> date | None:
    """Return the day of an event by its mended clock, or None when it cannot be known.

    It cannot without the anchor of its boot session (`offset_ms`), nor when it would lie before
    its producer's enrolment or more than AHEAD_MS_MAX after it was received.
    """
    if offset_ms is None:
        return None
    happened_ms = wall_ms + offset_ms
    if not enrolled_ms <= happened_ms <= known_ms + AHEAD_MS_MAX:
        return None
    return zone.day(happened_ms)
