"""What time it is for a device whose clock may say anything."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from producers.device.clock import Reading
from producers.device.known_time import (
    AHEAD_MS_MAX,
    BEHIND_MS_MAX,
    WRITTEN,
    CertificateMoment,
    KnownTime,
)
from rekam.domain.errors import OutboxBusy

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
WRITTEN_MS = 1_600_000_000_000
TRUE_MS = WRITTEN_MS + 90 * DAY_MS


@dataclass
class Clocks:
    """Clocks that a test sets."""

    wall_ms: int = TRUE_MS
    mono_ms: int = 5_000
    boot: str = "boot-1"

    def read(self) -> Reading:
        return Reading(self.wall_ms, self.mono_ms, self.boot)


def known(clocks: Clocks, *, receipt_ms: int | None = None) -> KnownTime:
    return KnownTime(clocks, receipt_as_of_ms=lambda: receipt_ms, written_ms=WRITTEN_MS)


def moment(wall_ms: int, *, receipt_ms: int | None = None) -> CertificateMoment:
    return known(Clocks(wall_ms), receipt_ms=receipt_ms).certificate_moment()


def test_a_clock_that_may_be_right_is_believed() -> None:
    for wall_ms in (WRITTEN_MS - BEHIND_MS_MAX, TRUE_MS, WRITTEN_MS + AHEAD_MS_MAX):
        assert moment(wall_ms) == "clock"


def test_a_clock_that_shows_what_has_passed_is_not_believed() -> None:
    assert moment(0) == "unknown"
    assert moment(WRITTEN_MS - BEHIND_MS_MAX - 1) == "unknown"
    assert moment(TRUE_MS, receipt_ms=TRUE_MS + YEAR_MS) == "unknown", "a receipt is later"


def test_a_clock_that_is_years_ahead_is_not_believed_until_a_receipt_says_so() -> None:
    ahead_ms = TRUE_MS + 3 * YEAR_MS
    assert moment(ahead_ms) == "unknown"
    assert moment(ahead_ms, receipt_ms=TRUE_MS) == "unknown"
    assert moment(ahead_ms, receipt_ms=ahead_ms - DAY_MS) == "clock"


def test_a_contact_tells_the_time_and_it_goes_on_whatever_the_clock_is_set_to() -> None:
    clocks = Clocks(wall_ms=0)
    time = known(clocks)
    time.tell(TRUE_MS, at=clocks.read())
    assert time.certificate_moment() == TRUE_MS
    clocks.mono_ms += 60_000
    for wall_ms in (0, TRUE_MS + 3 * YEAR_MS):
        clocks.wall_ms = wall_ms
        assert time.certificate_moment() == TRUE_MS + 60_000
    clocks.wall_ms = TRUE_MS + 3_600_000
    assert time.certificate_moment() == "clock", "the operator has set it"


def test_another_boot_session_knows_nothing_of_an_earlier_contact() -> None:
    clocks = Clocks(wall_ms=0)
    time = known(clocks)
    time.tell(TRUE_MS, at=clocks.read())
    clocks.boot = "boot-2"
    assert time.certificate_moment() == "unknown"


def test_a_contact_that_tells_what_has_passed_is_not_believed() -> None:
    clocks = Clocks()
    time = known(clocks, receipt_ms=TRUE_MS)
    assert not time.tell(-30 * DAY_MS, at=clocks.read())
    assert time.certificate_moment() == "clock"


def test_a_receipt_that_cannot_be_read_now_leaves_the_time_of_writing() -> None:
    def busy() -> int:
        raise OutboxBusy("another process writes")

    time = KnownTime(Clocks(), receipt_as_of_ms=busy, written_ms=WRITTEN_MS)
    assert time.passed_ms == WRITTEN_MS


def test_each_version_says_when_it_was_written() -> None:
    """Who raises the version moves the time beside it."""
    assert WRITTEN[0] == version("rekam")
    here = Path(__file__).stat().st_mtime * 1000
    assert WRITTEN[1] <= here, "no version is written in the future"
