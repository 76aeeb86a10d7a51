"""The 427 of Bontang prison, and what is to be said when sources contradict each other."""

from collections import Counter
from datetime import date

import pytest

from projections.cohort.codes import kpu_meaning
from projections.cohort.comparison import compare
from projections.cohort.facts import EntryData, EntryFact, Listed, Resolved
from projections.cohort.reads import CohortEntry
from projections.cohort.rules import read_buckets
from projections.cohort.state import entry_state
from projections.facts import COUNTS, Fact
from rekam.domain.buckets import RESIDUAL, UNLISTED
from rekam.domain.clocks import OfficeZone

ZONE = OfficeZone("Asia/Makassar")
DAY = date(2018, 4, 11)
NOON_MS = 1_523_419_200_000


def fact(data: EntryData, *, seq: int, on: date | None = DAY) -> EntryFact:
    return Fact("kpu", 1, seq, b"v" * 8, NOON_MS + seq, 0, "b", COUNTS, on, data)


def said(*words: tuple[str, str], listed: bool = True) -> list[EntryFact]:
    """Return an entry of which sources said, one after the other, in which bucket it is."""
    data: list[EntryData] = [Listed("c", 1, None, None)] if listed else []
    data += [Resolved("c", 1, bucket, source) for source, bucket in words]
    return [fact(one, seq=seq) for seq, one in enumerate(data)]


@pytest.mark.parametrize(
    ("words", "bucket", "is_disputed"),
    [
        ((), RESIDUAL, False),
        ((("kpu", "verified"),), "verified", False),
        ((("kpu", "verified"), ("koran", "not_found")), "verified", True),
        ((("koran", "not_found"), ("kpu", "verified")), "verified", True),
        ((("koran", "tidak_ditemukan"),), "tidak_ditemukan", False),
        ((("kpu", "verified"), ("dinas", "printed")), "printed", True),
        ((("dinas", "printed"), ("kpu", "verified")), "verified", True),
        ((("kpu", "verified"), ("kpu", "not_found")), "not_found", False),
        ((("kpu", "verified"), ("dinas", "verified")), "verified", False),
    ],
)
def test_who_found_a_person_outweighs_who_did_not_then_the_latest_word_decides(
    words: tuple[tuple[str, str], ...], bucket: str, *, is_disputed: bool
) -> None:
    state = entry_state(said(*words), ZONE, version=None, as_of=DAY)
    assert state is not None
    assert (state.bucket, state.is_disputed) == (bucket, is_disputed)
    assert {claim.source: claim.bucket for claim in state.claims} == dict(words)


def test_a_resolution_of_a_name_that_no_list_has_is_apart() -> None:
    state = entry_state(said(("kpu", "verified"), listed=False), ZONE, version=None, as_of=DAY)
    assert state is not None
    assert (state.bucket, len(state.claims)) == (UNLISTED, 1)


def test_what_was_not_stated_yet_is_not_there() -> None:
    assert entry_state(said(), ZONE, version=None, as_of=date(2018, 4, 10)) is None


def test_a_clock_that_runs_ahead_of_the_log_does_not_hide_what_is_known() -> None:
    facts = [fact(Listed("c", 1, None, None), seq=0, on=date(2018, 4, 12))]
    assert entry_state(facts, ZONE, version=None, as_of=DAY) is not None


def test_a_version_has_what_is_said_of_all_and_of_itself() -> None:
    facts = [
        fact(Listed("c", 1, None, "11", "1"), seq=0),
        fact(Resolved("c", 1, "printed", "kpu"), seq=1),
        fact(Resolved("c", 1, "verified", "kpu", "1"), seq=2),
    ]
    states = {v: entry_state(facts, ZONE, version=v, as_of=DAY) for v in (None, "1", "2")}
    assert [state.bucket for state in states.values() if state] == [UNLISTED, "verified", UNLISTED]


# Both readings of "127 are a part of the 184" ----------------------------------------------------

BONTANG = {"belum_rekam": 83, "tercetak": 127, "terverifikasi": 184, "unresolved": 33}


def test_the_default_reading_takes_the_published_buckets_as_exclusive() -> None:
    assert read_buckets(BONTANG, "exclusive/v1") == (BONTANG, {})


def test_the_other_reading_counts_printed_cards_among_the_verified_and_shows_them() -> None:
    buckets, parts = read_buckets(BONTANG, "printed-within-verified/v1")
    assert buckets == {"belum_rekam": 83, "terverifikasi": 311, "unresolved": 33}
    assert parts == {"terverifikasi": {"tercetak": 127}}
    assert sum(buckets.values()) == 427


def test_each_reading_of_the_same_people_sums_to_the_list() -> None:
    """If the 127 are among the 184, a list of names says both of them: its sum is 427 as well."""
    words = (
        [(("kpu", "terverifikasi"), ("dinas", "tercetak"))] * 127
        + [(("kpu", "terverifikasi"),)] * 57
        + [(("kpu", "belum_rekam"),)] * 83
        + [()] * 160
    )
    entries: Counter[str] = Counter()
    for one in words:
        state = entry_state(said(*one), ZONE, version=None, as_of=DAY)
        assert state is not None
        entries[state.bucket] += 1
    exclusive, _ = read_buckets(entries, "exclusive/v1")
    within, parts = read_buckets(entries, "printed-within-verified/v1")
    assert exclusive == {
        "tercetak": 127,
        "terverifikasi": 57,
        "belum_rekam": 83,
        "unresolved": 160,
    }
    assert within == {"terverifikasi": 184, "belum_rekam": 83, "unresolved": 160}
    assert parts == {"terverifikasi": {"tercetak": 127}}
    assert sum(exclusive.values()) == sum(within.values()) == 427


# Codes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("1", "not_eligible"),
        ("10", "not_eligible"),
        ("u", "changed"),
        ("B", "new"),
        ("11", "without_electronic_card"),
        ("12", "not_yet_ascertained"),
        ("0", None),
        ("13", None),
        ("TMS", None),
        (None, None),
    ],
)
def test_codes_of_2018_have_a_meaning_and_others_stay_raw(
    code: str | None, meaning: str | None
) -> None:
    assert kpu_meaning(code) == meaning


# Two versions ------------------------------------------------------------------------------------


def entry(
    number: int, token: str | None = None, bucket: str = "a", code: str | None = None
) -> CohortEntry:
    return CohortEntry(
        entry=number,
        token=token,
        code=code,
        code_means=None,
        bucket=bucket,
        is_disputed=False,
        sources=[],
    )


def test_a_person_is_found_again_under_another_number() -> None:
    found = compare([entry(1, "x"), entry(2, "y")], [entry(1, "y", "b"), entry(2, "z")])
    assert (found.added, found.removed, found.renumbered) == ([2], [1], 1)
    [change] = found.changed
    assert (change.entry_from, change.entry_to, change.bucket_to) == (2, 1, "b")
    [move] = found.moves
    assert (move.bucket_from, move.bucket_to, move.entries) == ("a", "b", 1)


def test_an_entry_without_a_nik_is_matched_by_its_number() -> None:
    found = compare(
        [entry(1), entry(2, code="11"), entry(3)], [entry(1, "x"), entry(2, code="12"), entry(4)]
    )
    assert (found.added, found.removed, found.moves) == ([4], [3], [])
    assert [(one.entry_to, one.is_person_new) for one in found.changed] == [(1, True), (2, False)]


def test_a_person_who_stands_in_a_list_twice_is_matched_by_number() -> None:
    found = compare([entry(1, "x"), entry(2, "x")], [entry(1, "x"), entry(2, "x"), entry(3, "x")])
    assert (found.added, found.removed, found.changed) == ([3], [], [])


def test_a_list_is_the_same_as_itself() -> None:
    same = [entry(1, "x"), entry(2), entry(3, "y", "b")]
    found = compare(same, same)
    assert not [*found.added, *found.removed, *found.changed, *found.moves]
    assert found.renumbered == 0
