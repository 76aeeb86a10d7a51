"""Wajib of places that go from regency to regency is the last word of each, and counts once."""

from collections import Counter
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from projections.coverage.wajib import Wajib, regency_of
from projections.reference.reads import DenominatorVersion
from projections.reference.recoding import Recode, Recoding
from projections.regions import Region

REGENCIES = ("64.08", "64.11", "64.12")
FIRST_DAY = date(2017, 1, 1)
PLACES, DAYS = 4, 5


@st.composite
def lives(draw: st.DrawFn) -> list[list[str]]:
    """Return the code of each place by day; some come back to their first, none takes another's."""
    found: list[list[str]] = []
    for place in range(PLACES):
        codes = [f"{draw(st.sampled_from(REGENCIES))}.01.2{place}00"]
        for day in range(1, DAYS):
            went_to = draw(st.sampled_from((None, None, *REGENCIES)))
            new = f"{went_to}.01.2{place}0{day}" if went_to else codes[-1]
            codes.append(draw(st.sampled_from((new, new, codes[0]))))
        found.append(codes)
    return found


@given(lives(), st.data())
def test_of_each_place_the_regency_that_stated_it_last_is_believed(
    places: list[list[str]], data: st.DataObject
) -> None:
    stated: dict[str, int] = {}
    bases: dict[str, DenominatorVersion] = {}
    last_word: dict[int, tuple[int, int]] = {}
    for regency in REGENCIES:
        day = data.draw(st.integers(0, DAYS - 1))
        bases[regency] = DenominatorVersion(
            regency=regency, version="v", basis="DKB", valid_from=FIRST_DAY + timedelta(days=day)
        )
        for place, codes in enumerate(places):
            if regency_of(codes[day]) != regency or data.draw(st.booleans()):
                continue
            # A list may have a code already that the regency gives the place on a later day.
            stay = [codes[day]]
            for code in codes[day + 1 :]:
                if regency_of(code) != regency:
                    break
                stay.append(code)
            wajib = 10 ** len(stated)
            stated[data.draw(st.sampled_from(stay))] = wajib
            last_word[place] = max(last_word.get(place, (-1, 0)), (day, wajib))
    steps = [
        Recode(
            FIRST_DAY + timedelta(days=day),
            "t",
            {codes[day - 1]: codes[day] for codes in places if codes[day - 1] != codes[day]},
        )
        for day in range(1, DAYS)
    ]
    found = Wajib(bases, Recoding(tuple(steps)), stated, ())
    expected = Counter({places[place][-1]: wajib for place, (_, wajib) in last_word.items()})
    assert found.of(Region("64")) == expected
