"""The published figures of the regency, at full size."""

from collections import Counter
from datetime import date

import pytest

from producers.simulator.fleet import Fleet
from producers.simulator.regency import (
    DAY_2016,
    LAST_DAY,
    RECORDED,
    Regency,
    day_of,
    nik_of,
)
from producers.simulator.truth import Figures, expected
from rekam.domain.clocks import OfficeZone


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(Regency(RECORDED, seed=1))


@pytest.fixture(scope="module")
def figures(fleet: Fleet) -> Figures:
    return expected(RECORDED, seed=1, fleet=fleet)


def test_published_totals_hold_exactly(figures: Figures) -> None:
    assert figures.wajib_of("64.08", LAST_DAY) == 291_506
    assert figures.recorded_of("64.08", LAST_DAY) == 221_314
    assert figures.wajib_of("64.08", DAY_2016) == 265_000
    assert figures.recorded_of("64.08", DAY_2016) == 180_414


def test_no_settlement_has_more_recorded_than_wajib(figures: Figures) -> None:
    for code, wajib in figures.wajib.items():
        assert figures.recorded_of(code, LAST_DAY) <= wajib
    for code, wajib in figures.wajib_2016.items():
        assert figures.recorded_of(code, DAY_2016) <= wajib


def test_at_the_end_an_office_day_has_about_85_recordings(fleet: Fleet) -> None:
    days = Counter(map(day_of, fleet.regency.at_ms[-2000:]))
    assert set(list(days.values())[1:]) <= {83, 84, 85}
    assert all(day.weekday() < 6 for day in days)


def test_days_are_those_of_the_office_zone(fleet: Fleet) -> None:
    zone = OfficeZone("Asia/Makassar")
    sample = fleet.regency.at_ms[:: RECORDED // 50]
    assert [day_of(at_ms) for at_ms in sample] == [zone.day(at_ms) for at_ms in sample]
    assert day_of(fleet.regency.at_ms[-1]) == LAST_DAY
    assert day_of(fleet.regency.at_ms[0]) == date(2012, 2, 1)


def test_every_person_has_a_nik_of_its_own() -> None:
    niks = {nik_of(person) for person in range(RECORDED)}
    assert len(niks) == RECORDED
    assert all(len(nik) == 16 and nik.isdigit() and nik.startswith("640808") for nik in niks)


def test_the_cohort_has_its_published_buckets_and_a_residual(fleet: Fleet) -> None:
    buckets = Counter(bucket for _, bucket in fleet.regency.cohort)
    assert buckets == {"terverifikasi": 184, "tercetak": 127, "belum_rekam": 83, None: 33}


def test_the_whole_is_about_a_million_events_in_large_segments(fleet: Fleet) -> None:
    segments = sum(
        -(-visit.count // visit.segment_events_max) for plan in fleet.plans for visit in plan.visits
    )
    assert 900_000 <= fleet.events <= 1_100_000
    assert fleet.events / segments >= 128


def test_about_three_statuses_are_observed_of_a_person(fleet: Fleet) -> None:
    assert 2.5 <= sum(fleet.regency.observed_steps) / RECORDED <= 3.5
