"""Regions: codes, levels, and the desa below."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.regions import Level, Region

DESA = st.from_regex(r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}\.[0-9]{4}", fullmatch=True)


@given(desa=DESA, other=DESA, level=st.sampled_from(list(Level)))
def test_the_range_of_a_region_is_exactly_its_desa(desa: str, other: str, level: Level) -> None:
    region = Region(desa[: level.code_length])
    low, high = region.desa_range
    assert low <= desa <= high
    assert (low <= other <= high) == region.holds(other)


@pytest.mark.parametrize(
    ("level", "below"),
    [
        (Level.PROVINCE, Level.REGENCY),
        (Level.REGENCY, Level.KECAMATAN),
        (Level.KECAMATAN, Level.DESA),
        (Level.DESA, Level.DESA),
    ],
)
def test_every_level_but_the_last_has_one_below(level: Level, below: Level) -> None:
    assert level.below is below


def test_a_region_holds_itself_and_what_is_below_and_no_neighbour() -> None:
    region = Region("64.08")
    assert region.holds("64.08")
    assert region.holds("64.08.04.2001")
    assert not region.holds("64.09")
    assert not region.holds("64")
    assert not region.holds("-")
    assert not region.holds("")
