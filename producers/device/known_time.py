"""What time it is, as far as this device can know without believing its own clock.

Certificates have dates, and a clock at 1970 would refuse every server: no contact, so no anchor, so
the clock stays wrong. A clock that cannot be right must not decide about servers. What can be
known besides it: a moment that has certainly passed (a receipt that the office signed, or the
writing of this software), and, once a contact has told the time, how long ago that was.

Source: docs/adr/0014-judge-certificates-by-known-time.md
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from producers.device.clock import Clock, Reading
from rekam.domain.errors import RekamError

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

WRITTEN: Final = ("0.1.0", 1_793_491_200_000)  # 2026-11-01
"""A version of this software, and a moment at which it was not there yet; moved with each."""

DAY_MS: Final = 86_400_000

BEHIND_MS_MAX: Final = DAY_MS
"""A clock may lag behind what has certainly passed by this and still be believed: a wrong zone."""

AHEAD_MS_MAX: Final = 300 * DAY_MS
"""How far beyond it a clock is believed. Less than a year: the year is what people mistype. A
device that had no receipt for longer is wrongly disbelieved until its first contact, and no
longer."""

AGREES_MS_MAX: Final = DAY_MS
"""A clock this close to the time that a contact told is right enough for certificates."""

CertificateMoment = Literal["clock", "unknown"] | int
"""When certificates must be valid: by the clock of this machine; nobody knows, so their dates say
nothing; or at that moment (ms)."""

CertificateTime = Callable[[], CertificateMoment]


def by_clock() -> CertificateMoment:
    """Believe the clock of this machine: for those who have nothing else to go by."""
    return "clock"


def is_plausible(wall_ms: int, *, passed_ms: int) -> bool:
    """Return whether a clock may be right, of which only `passed_ms` is known to have passed."""
    return passed_ms - BEHIND_MS_MAX <= wall_ms <= passed_ms + AHEAD_MS_MAX


@dataclass(frozen=True, slots=True)
class _Told:
    """The true time, when the clocks read `at`."""

    true_ms: int
    at: Reading


class KnownTime:
    """Knows the time of one machine; kept in memory, so a new process asks anew."""

    def __init__(
        self,
        clock: Clock,
        *,
        receipt_as_of_ms: Callable[[], int | None] = lambda: None,
        written_ms: int = WRITTEN[1],
    ) -> None:
        """Take the clocks, and where to read the time of the newest receipt that was believed."""
        self._clock = clock
        self._receipt_as_of_ms = receipt_as_of_ms
        self._noted_ms = written_ms
        self._told: _Told | None = None

    def read_clock(self) -> Reading:
        """Return all clocks of this moment, as they are."""
        return self._clock.read()

    @property
    def passed_ms(self) -> int:
        """Return a moment that has certainly passed."""
        try:
            receipt_ms = self._receipt_as_of_ms()
        except RekamError as error:
            # It is asked in the middle of a handshake: the outbox's trouble is told elsewhere.
            log.warning("receipt_time_not_read", error=str(error))
            receipt_ms = None
        return max(self._noted_ms, receipt_ms or 0)

    def now_ms(self) -> int:
        """Return the time that a contact told, carried on, or else what the clock shows."""
        now = self._clock.read()
        true_ms = self._carried_on(now)
        return now.wall_ms if true_ms is None else true_ms

    def note_receipt(self, as_of_ms: int) -> None:
        """Learn from a receipt that was believed, for those who keep no newest one."""
        self._noted_ms = max(self._noted_ms, as_of_ms)

    def tell(self, offset_ms: int, *, at: Reading) -> bool:
        """Learn from a contact with the log; return False if what it tells has long passed."""
        true_ms = at.wall_ms + offset_ms
        if true_ms < self.passed_ms - BEHIND_MS_MAX:
            log.warning("contact_time_refused", told_ms=true_ms, passed_ms=self.passed_ms)
            return False
        self._told = _Told(true_ms, at)
        return True

    def certificate_moment(self) -> CertificateMoment:
        """Return when a server's certificate must be valid.

        Once a contact has told the time it goes on by the monotonic clock, which nobody sets.
        """
        now = self._clock.read()
        true_ms = self._carried_on(now)
        if true_ms is None:
            return "clock" if is_plausible(now.wall_ms, passed_ms=self.passed_ms) else "unknown"
        return "clock" if abs(now.wall_ms - true_ms) <= AGREES_MS_MAX else true_ms

    def _carried_on(self, now: Reading) -> int | None:
        told = self._told
        if told is None or told.at.boot != now.boot:
            return None
        return told.true_ms + now.mono_ms - told.at.mono_ms
