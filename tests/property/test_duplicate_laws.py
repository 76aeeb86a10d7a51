"""Duplicates: one person is one case of a kind, whatever came first, and counts once."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from projections.duplicate.contributions import DEVICE_TABLE, TABLE
from projections.duplicate.state import cases_of, name_of, standing_recordings
from projections.facts import COUNTS, REVOKED, Fact
from projections.person.facts import (
    Captured,
    CaseResolved,
    Observed,
    PersonData,
    PersonFact,
    Withdrawn,
    WithdrawnOf,
)
from projections.person.state import placement_moves
from projections.tables import ENTITY_KINDS, PERSON
from projections.verification.vocabulary import DUPLICATE_RECORD, RECORDED_HERE_ONLY
from tests.support.rows import RULES

TOKEN = bytes(16)
DAY_MS = 86_400_000
START_MS = 1_519_963_200_000
KIND = ENTITY_KINDS[PERSON]


def captured(
    seq: int,
    *,
    producer: str = "recorder-1",
    place: str = "64.08.04",
    desa: str = "64.08.04.2001",
    day: int = 0,
    verdict: int = COUNTS,
) -> PersonFact:
    """Return a recording that was known on its day."""
    known_ms = START_MS + day * DAY_MS + seq
    data = Captured(f"{producer}-{seq}", desa, place, "offline")
    on = date(2018, 3, 1)
    return Fact(producer, 1, seq, b"", known_ms, known_ms, "b", verdict, on, data)


def resolved(
    *names: str, day: int, outcome: str = "same_person", kind: str = "two_recordings", seq: int = 90
) -> PersonFact:
    """Return a resolution that rests on recordings."""
    at_ms = START_MS + day * DAY_MS
    data = CaseResolved(kind, outcome, names, at_ms)
    return Fact("office", 1, seq + day, b"", at_ms, at_ms, "b", COUNTS, None, data)


def observed(status: str, *, day: int) -> PersonFact:
    """Return the centre's word of a day."""
    at_ms = START_MS + day * DAY_MS
    return Fact("siak", 1, 50 + day, b"", at_ms, at_ms, "b", COUNTS, None,
        Observed(status, at_ms, "siak"))  # fmt: skip


FIRST = captured(1, day=1)
ELSEWHERE = captured(1, producer="recorder-2", place="64.08.05", desa="64.08.05.2001", day=9)


def outcomes(*facts: PersonFact) -> dict[str, str]:
    """Return the outcome of each case; empty: it is open."""
    return {case.kind: case.outcome for case in cases_of(facts)}


def test_two_devices_make_one_case_that_names_both() -> None:
    facts = KIND.union([FIRST, ELSEWHERE])  # type: ignore[list-item]
    cells = KIND.contributions(TOKEN, facts, RULES)
    [case] = cells[TABLE]
    assert case[1:] == ("two_recordings", "open", "", "64.08.05.2001", date(2018, 3, 11), TOKEN)
    assert set(cells[DEVICE_TABLE]) == {("recorder-1", case[0]), ("recorder-2", case[0])}
    assert sum(cells["coverage_cell"].values()) == 1


def test_a_retake_by_the_same_device_at_the_same_place_is_no_case() -> None:
    assert outcomes(FIRST, captured(2, day=2)) == {}
    assert outcomes(FIRST, captured(2, day=2, place="64.08.04.2001")) == {"two_recordings": ""}


def test_a_recording_that_does_not_count_or_was_withdrawn_makes_no_case() -> None:
    revoked = captured(1, producer="recorder-2", verdict=REVOKED)
    assert outcomes(FIRST, revoked) == {}
    withdrawn: PersonFact = Fact("office", 1, 1, b"", START_MS, START_MS, "b", COUNTS, None,
        Withdrawn("recorder-2-1"))  # fmt: skip
    assert outcomes(FIRST, ELSEWHERE, withdrawn) == {}


def test_of_recordings_that_two_devices_gave_one_id_the_named_one_is_withdrawn() -> None:
    made = [
        structs.replace(fact, data=structs.replace(fact.data, recording="r-1"))
        for fact in (FIRST, ELSEWHERE)
        if isinstance(fact.data, Captured)
    ]

    def standing_after(data: PersonData) -> list[str]:
        said: PersonFact = Fact("office", 1, 1, b"", START_MS, START_MS, "b", COUNTS, None, data)
        moves = placement_moves([*made, said], RULES.zone)
        standing = standing_recordings([*made, said])
        # Both readings of the set agree on whether anybody stands.
        assert bool(standing) == (bool(moves) and moves[-1].after is not None)
        return [fact.producer for fact in standing]

    assert standing_after(WithdrawnOf("r-1", "recorder-1")) == ["recorder-2"]
    assert standing_after(WithdrawnOf("r-1", "recorder-2")) == ["recorder-1"]
    assert standing_after(WithdrawnOf("r-1", "recorder-3")) == ["recorder-1", "recorder-2"]
    assert standing_after(WithdrawnOf("r-2", "recorder-1")) == ["recorder-1", "recorder-2"]
    assert standing_after(Withdrawn("r-1")) == []


def test_a_person_lives_where_the_recording_was_made_that_is_not_withdrawn() -> None:
    for producer, desa in (("recorder-1", "64.08.05.2001"), ("recorder-2", "64.08.04.2001")):
        said: PersonFact = Fact("office", 1, 1, b"", START_MS, START_MS, "b", COUNTS, None,
            WithdrawnOf(f"{producer}-1", producer))  # fmt: skip
        last = placement_moves([FIRST, ELSEWHERE, said], RULES.zone)[-1].after
        assert last is not None
        assert last.desa == desa


def test_a_resolution_settles_a_case_until_a_recording_comes_that_it_does_not_name() -> None:
    names = (name_of(FIRST), name_of(ELSEWHERE))
    settled = (FIRST, ELSEWHERE, resolved(*names, day=12))
    assert outcomes(*settled) == {"two_recordings": "same_person"}
    third = captured(7, producer="recorder-3", day=2)  # known earlier than the resolution
    assert outcomes(*settled, third) == {"two_recordings": ""}
    again = resolved(*names, name_of(third), day=20, outcome="not_a_duplicate")
    assert outcomes(*settled, third, again) == {"two_recordings": "not_a_duplicate"}


def test_a_resolution_by_a_clock_that_is_years_ahead_keeps_no_later_one_out() -> None:
    names = (name_of(FIRST), name_of(ELSEWHERE))
    third = captured(7, producer="recorder-3", day=14)
    ahead = by_clock(resolved(*names, day=12), days=4_000)
    again = resolved(*names, name_of(third), day=20, outcome="not_a_duplicate")
    assert outcomes(FIRST, ELSEWHERE, ahead) == {"two_recordings": "same_person"}
    assert outcomes(FIRST, ELSEWHERE, ahead, third, again) == {"two_recordings": "not_a_duplicate"}
    # Nor does it settle what the centre says after it.
    shown = observed(DUPLICATE_RECORD, day=3)
    settled = by_clock(resolved(day=4, kind="centre_duplicate"), days=4_000)
    words = (shown, settled, observed(RECORDED_HERE_ONLY, day=5), observed(DUPLICATE_RECORD, day=6))
    assert outcomes(FIRST, *words[:2]) == {"centre_duplicate": "same_person"}
    assert outcomes(FIRST, *words) == {"centre_duplicate": ""}


def by_clock(fact: PersonFact, *, days: int) -> PersonFact:
    """Return a resolution whose office had a clock so many days ahead."""
    assert isinstance(fact.data, CaseResolved)
    resolved_ms = fact.data.resolved_ms + days * DAY_MS
    return structs.replace(fact, data=structs.replace(fact.data, resolved_ms=resolved_ms))


def test_the_centres_word_is_a_case_of_its_own_and_a_later_word_opens_it_again() -> None:
    shown = observed(DUPLICATE_RECORD, day=3)
    settled = resolved(day=4, kind="centre_duplicate", outcome="wrong_nik")
    assert outcomes(FIRST, shown) == {"centre_duplicate": ""}
    assert outcomes(FIRST, shown, settled) == {"centre_duplicate": "wrong_nik"}
    set_back = observed(RECORDED_HERE_ONLY, day=5)
    assert outcomes(FIRST, shown, settled, set_back) == {}
    once_more = observed(DUPLICATE_RECORD, day=6)
    assert outcomes(FIRST, shown, settled, set_back, once_more) == {"centre_duplicate": ""}


@st.composite
def people(draw: st.DrawFn) -> list[PersonFact]:
    """Draw recordings by some devices, words of the centre, and resolutions of what there is."""
    made = [
        captured(seq, producer=f"recorder-{draw(st.integers(1, 3))}",
            place=draw(st.sampled_from(["64.08.04", "64.08.05"])),
            day=draw(st.integers(0, 9)), verdict=draw(st.sampled_from([COUNTS, COUNTS, REVOKED])))
        for seq in range(1, draw(st.integers(1, 4)) + 1)
    ]  # fmt: skip
    words = draw(st.lists(st.sampled_from([DUPLICATE_RECORD, RECORDED_HERE_ONLY]), max_size=3))
    shown = [observed(word, day=day) for day, word in enumerate(words)]
    names = [name_of(fact) for fact in made]
    said = [
        resolved(*draw(st.lists(st.sampled_from(names), max_size=4)), day=day,
            kind=draw(st.sampled_from(["two_recordings", "centre_duplicate"])))
        for day in range(draw(st.integers(0, 3)))
    ]  # fmt: skip
    return made + shown + said


@given(facts=people(), data=st.data())
def test_the_same_facts_are_the_same_cases_and_one_person_whatever_came_first(
    facts: list[PersonFact], data: st.DataObject
) -> None:
    wanted = KIND.contributions(TOKEN, KIND.union(facts), RULES)  # type: ignore[arg-type]
    order = data.draw(st.permutations(facts))
    told: list[PersonFact] = []
    sums: dict[str, dict[object, int]] = {}
    for fact in order:  # as the fold does: the difference to what was known before
        now = [*told, fact]
        change = KIND.change(TOKEN, KIND.union(told), KIND.union(now), RULES)  # type: ignore[arg-type]
        for table, cells in change.items():
            for cell, count in cells.items():
                of_table = sums.setdefault(table, {})
                of_table[cell] = of_table.get(cell, 0) + count
        told = now
        standing = bool(standing_recordings(told))
        assert sum(sums.get("coverage_cell", {}).values()) == standing
        kinds = [case.kind for case in cases_of(told)]
        assert sorted({*kinds}) == sorted(kinds)
    for table in (TABLE, DEVICE_TABLE):
        added = {cell: count for cell, count in sums.get(table, {}).items() if count}
        assert added == wanted.get(table, {})
