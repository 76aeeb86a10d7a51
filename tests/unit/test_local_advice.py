"""What the operator is told to do, in each case and in the right order."""

import pytest
from msgspec.structs import replace

from producers.device.local.advice import (
    WAITING_ACT_DAYS,
    WAITING_WATCH_DAYS,
    Severity,
    advice,
    advices,
)
from producers.device.local.standing import DAY_MS, RouteStanding, Standing
from producers.device.salvage import Salvage
from tests.support.standing import HOUR_MS, NOW_MS, WELL

WAITING = replace(WELL, queue_events=1_087, oldest_unsent_ms=NOW_MS - HOUR_MS)
AWAY = (RouteStanding(label="kafka", is_working=False),)
REFUSED = (RouteStanding(label="gateway", is_working=False, problem="certificate_dates"),)


MENDED = Salvage(wall_ms=NOW_MS - DAY_MS, segments=3, segment_events=1_200, lines=60, broken_rows=0)


def aged(days: int) -> Standing:
    return replace(WAITING, oldest_unsent_ms=NOW_MS - days * DAY_MS, routes=AWAY)


@pytest.mark.parametrize(
    ("standing", "severity", "words"),
    [
        pytest.param(WELL, "good", "Semua data sudah terkirim", id="nothing-waits"),
        pytest.param(WAITING, "good", "1.087 data sedang dikirim", id="waits-and-route-works"),
        pytest.param(replace(WAITING, routes=()), "good", "sedang dikirim", id="route-not-tried"),
        pytest.param(replace(WAITING, routes=AWAY), "good", "Belum ada sambungan", id="offline"),
        pytest.param(aged(WAITING_WATCH_DAYS), "watch", "sudah 2 hari", id="waits-for-days"),
        pytest.param(aged(WAITING_ACT_DAYS), "act", "sudah 14 hari", id="waits-for-weeks"),
        pytest.param(
            replace(WELL, disk_percent=80, is_disk_nearly_full=True),
            "watch",
            "terisi 80 %",
            id="disk-warning",
        ),
        pytest.param(
            replace(WELL, disk_percent=96, is_disk_nearly_full=True, is_disk_full=True),
            "act",
            "Penyimpanan penuh",
            id="full",
        ),
        pytest.param(
            replace(WELL, clock_offset_ms=-3 * 365 * DAY_MS), "watch", "Jam alat", id="clock-ahead"
        ),
        pytest.param(
            replace(WELL, wall_ms=86_400_000, clock_offset_ms=None),
            "watch",
            "Jam alat",
            id="clock-never-set",
        ),
        pytest.param(
            replace(WELL, last_receipt_ms=NOW_MS + 30 * DAY_MS, clock_offset_ms=None),
            "watch",
            "Jam alat",
            id="clock-shows-what-has-passed",
        ),
        pytest.param(
            replace(WAITING, routes=REFUSED),
            "watch",
            "Jam alat ini atau sertifikat server salah",
            id="certificate-dates",
        ),
        pytest.param(replace(WELL, is_fork_suspected=True), "act", "Salinan alat", id="fork"),
        pytest.param(replace(WELL, refused_segments=3), "act", "3 paket data", id="refused"),
        pytest.param(
            replace(WELL, damaged_events=503, damaged_now_events=500, damaged_segments=1),
            "act",
            "merusak 500 data",
            id="damaged",
        ),
        pytest.param(
            replace(WELL, damaged_events=500, damaged_segments=1),
            "good",
            "Semua data sudah terkirim",
            id="damaged-and-looked-at",
        ),
        pytest.param(
            replace(WELL, salvages=(MENDED,)), "watch", "1.260 data diselamatkan", id="mended"
        ),
        pytest.param(
            replace(WELL, salvages=(MENDED, replace(MENDED, broken_rows=2))),
            "act",
            "2 bagian tidak terbaca",
            id="mended-with-loss",
        ),
        pytest.param(replace(WELL, receipt_keys=0), "watch", "receipts.pub", id="no-receipt-keys"),
        pytest.param(replace(WELL, overdue_events=40), "watch", "40 data", id="receipt-old"),
        pytest.param(
            replace(WAITING, emitter_pid=None), "watch", "rekam device run", id="nothing-sends"
        ),
    ],
)
def test_each_case_has_its_severity_and_its_sentence(
    standing: Standing, severity: Severity, words: str
) -> None:
    said = advice(standing)
    assert said.severity == severity
    assert words in said.indonesian
    assert said.english


def test_the_most_urgent_is_said_first_and_nothing_is_left_out() -> None:
    standing = replace(
        aged(WAITING_WATCH_DAYS),
        is_disk_full=True,
        refused_segments=1,
        receipt_keys=0,
        clock_offset_ms=DAY_MS,
    )
    said = advices(standing)
    assert [one.severity for one in said] == ["act", "act", "watch", "watch", "watch"]
    assert "penuh" in said[0].indonesian
    assert "ditolak" in said[1].indonesian


def test_a_wrong_clock_makes_nobody_believe_that_data_waited_for_decades() -> None:
    since_1970 = replace(WAITING, oldest_unsent_ms=1_000)
    back_in_1970 = replace(WAITING, wall_ms=1_000, clock_offset_ms=None)
    assert since_1970.waiting_ms is None
    assert back_in_1970.waiting_ms is None
    assert advice(since_1970).severity == "good"


def test_a_clock_set_back_does_not_make_the_waiting_negative() -> None:
    assert replace(WAITING, oldest_unsent_ms=NOW_MS + HOUR_MS).waiting_ms == 0


def test_only_what_nobody_should_do_is_said_about_deleting() -> None:
    """No sentence may lead an operator to remove data."""
    standing = replace(
        aged(WAITING_ACT_DAYS),
        is_disk_full=True,
        refused_segments=1,
        damaged_now_events=1,
        salvages=(MENDED,),
        is_fork_suspected=True,
        overdue_events=1,
        receipt_keys=0,
        emitter_pid=None,
        clock_offset_ms=DAY_MS,
    )
    said = advices(standing)
    assert len(said) == 10
    for one in said:
        assert one.indonesian.lower().count("hapus") == one.indonesian.lower().count("jangan hapus")
        assert one.english.lower().count("delete") == one.english.lower().count("delete nothing")
