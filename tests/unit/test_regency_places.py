"""The regions that the simulated regency has."""

from collections import Counter

from producers.simulator.places import DISTRICTS, PLACES, SETTLEMENTS

SETTLEMENTS_PER_DISTRICT = [9, 10, 7, 4, 15, 6, 8, 7, 11, 7, 9, 4, 6, 9, 8, 7, 7, 7]


def test_every_kecamatan_has_its_real_number_of_settlements() -> None:
    assert [place.code for place in DISTRICTS] == [f"64.08.{n:02}" for n in range(1, 19)]
    counts = Counter(place.district for place in SETTLEMENTS)
    assert [counts[place.code] for place in DISTRICTS] == SETTLEMENTS_PER_DISTRICT


def test_two_of_the_settlements_are_kelurahan() -> None:
    kelurahan = {place.code: place.name for place in SETTLEMENTS if place.level == "kelurahan"}
    assert kelurahan == {"64.08.04.1010": "Teluk Lingga", "64.08.12.1002": "Singa Geweh"}


def test_codes_are_distinct_and_sorted() -> None:
    codes = [place.code for place in PLACES]
    assert codes == sorted(set(codes))
    assert len(codes) == 1 + 18 + 141
