"""Verification: whatever the order, one person is one status, and the parts are the whole."""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from projections.facts import COUNTS, REVOKED, Fact
from projections.person.facts import Observed, PersonData, PersonFact, Suket
from projections.person.state import Placement
from projections.verification.contributions import (
    AGE_TABLE,
    SUKET_TABLE,
    TABLE,
    TURN_TABLE,
    verification_contributions,
)
from projections.verification.funnel import funnel
from projections.verification.vocabulary import AGEING, STAGES, STANDS_AT, STOPPED_AT
from rekam.domain.clocks import OfficeZone

ZONE = OfficeZone("Asia/Makassar")
WORDS = st.sampled_from([*STANDS_AT, *STOPPED_AT, "KODE_17", "KODE_18"])
MOMENTS = st.integers(0, 40).map(lambda hours: 1_519_963_200_000 + hours * 7_200_000)
KNOWN_MS = 1_524_000_000_000
SAID = st.one_of(
    st.builds(Observed, WORDS, MOMENTS, st.just("siak")),
    st.builds(Suket, st.just("s"), MOMENTS, WORDS),
)


@st.composite
def facts_of_a_person(draw: st.DrawFn) -> list[PersonFact]:
    """Draw what the centre and the office said of one person."""
    said: list[PersonData] = draw(st.lists(SAID, max_size=6))
    verdicts = st.sampled_from([COUNTS, COUNTS, COUNTS, REVOKED])
    return [
        Fact("siak", 1, seq, b"", KNOWN_MS + seq, 0, "b", draw(verdicts), None, data)
        for seq, data in enumerate(said, start=1)
    ]


def added(facts: list[PersonFact], placement: Placement | None) -> Mapping[str, Mapping[Any, int]]:
    """Return the person's cells, from observations and letters as the fold tells them apart."""
    observed = [fact for fact in facts if isinstance(fact.data, Observed)]
    letters = [fact for fact in facts if isinstance(fact.data, Suket)]
    return verification_contributions(observed, letters, placement, ZONE)


PLACEMENTS = st.sampled_from([None, Placement("64.08.04.2001", date(2018, 3, 1))])


@given(facts=facts_of_a_person(), placement=PLACEMENTS, data=st.data())
def test_a_person_is_one_status_in_whatever_order_it_was_told(
    facts: list[PersonFact], placement: Placement | None, data: st.DataObject
) -> None:
    cells = added(facts, placement)
    assert added(data.draw(st.permutations(facts)), placement) == cells
    shown = any(fact.counts and isinstance(fact.data, Observed) for fact in facts)
    assert list(cells.get(TABLE, {}).values()) == [1] * (shown or placement is not None)
    # What is told beside the status is told of one who is counted at that status.
    statuses = {(desa, status) for desa, status in cells.get(TABLE, {})}
    ages = {(desa, status) for desa, status, _ in cells.get(AGE_TABLE, {})}
    assert ages == {cell for cell in statuses if shown and cell[1] in AGEING}
    issued = [
        ZONE.day(fact.data.issued_ms)
        for fact in facts
        if fact.counts and isinstance(fact.data, Suket)
    ]
    for day in {*issued, date(2018, 3, 1), date(2030, 1, 1)}:
        latest = [cell[1] for cell in cells.get(SUKET_TABLE, {}) if cell[1] <= day < cell[2]]
        assert latest == sorted(one for one in set(issued) if one <= day)[-1:]
    assert set(cells.get(TURN_TABLE, {}).values()) <= {1}


@given(statuses=st.dictionaries(WORDS, st.integers(0, 50)))
def test_the_stages_and_residuals_of_a_funnel_sum_to_the_recorded(
    statuses: dict[str, int],
) -> None:
    found = funnel(statuses)
    here = sum(stage.here for stage in found.stages.values())
    assert here + sum(found.residuals.values()) == found.recorded == Counter(statuses).total()
    reached = [found.stages[stage].reached for stage in STAGES]
    assert reached == sorted(reached, reverse=True)
    assert reached[0] == found.recorded
