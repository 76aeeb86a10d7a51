"""Of which places wajib is known, and by whose word, when codes change."""

from datetime import date, timedelta

import pytest

from projections.coverage.wajib import Wajib
from projections.reference.reads import DenominatorVersion
from projections.reference.recoding import Recode, Recoding
from projections.regions import Region

OLD, NEW, SILENT = "64.08", "64.12", "64.13"
HERE, THERE = "64.08.04.2001", "64.12.01.2001"
FIRST_DAY = date(2018, 1, 1)


def wajib(
    *mappings: dict[str, str],
    stated: dict[str, int],
    own_from: date | None = None,
    codes: tuple[str, ...] = (),
) -> Wajib:
    """Return what is stated by the old regency, and by the new one from a day on; a tree a day."""
    valid = {OLD: date(2017, 1, 1)} | ({NEW: own_from} if own_from else {})
    return Wajib(
        {
            regency: DenominatorVersion(regency=regency, version="v", basis="DKB", valid_from=day)
            for regency, day in valid.items()
        },
        Recoding(
            tuple(
                Recode(FIRST_DAY + timedelta(days=number), f"t{number}", mapping)
                for number, mapping in enumerate(mappings)
            )
        ),
        stated,
        codes,
    )


@pytest.mark.parametrize(
    ("own_from", "expected"),
    [
        (FIRST_DAY - timedelta(days=1), 9 + 2),
        (FIRST_DAY, 2),
        (FIRST_DAY + timedelta(days=1), 2),
    ],
)
def test_a_regencys_own_word_stands_alone_from_the_first_day_of_the_tree_on(
    own_from: date, expected: int
) -> None:
    found = wajib({HERE: THERE}, stated={HERE: 9, THERE: 2}, own_from=own_from)
    assert found.of(Region(NEW)) == {THERE: expected}
    assert found.of(Region(OLD)) == {}
    assert found.total(Region("64"), ()) == expected


def test_what_a_regencys_own_word_leaves_out_is_still_told_by_the_former_one() -> None:
    found = wajib({HERE: THERE}, stated={HERE: 9}, own_from=FIRST_DAY)
    assert found.of(Region(NEW)) == {THERE: 9}
    assert [one.regency for one in found.publishers(Region(NEW))] == [OLD, NEW]


def test_a_regencys_own_word_stands_alone_also_under_a_code_that_it_gave_the_place_later() -> None:
    later = "64.12.01.1001"
    trees = ({HERE: THERE}, {THERE: later})
    for code in (THERE, later):
        found = wajib(*trees, stated={HERE: 9, code: 2}, own_from=FIRST_DAY + timedelta(days=1))
        assert found.of(Region(NEW)) == {later: 2}
    before = FIRST_DAY - timedelta(days=1)
    assert wajib(*trees, stated={HERE: 9, later: 2}, own_from=before).of(Region(NEW)) == {later: 11}


@pytest.mark.parametrize(("own_from", "expected"), [(-1, 9), (2, 2), (3, 2)])
def test_of_a_desa_that_came_back_the_regency_that_stated_it_last_is_believed(
    own_from: int, expected: int
) -> None:
    left, stated, came_back, own = (
        FIRST_DAY + timedelta(days=number) for number in (0, 1, 2, own_from)
    )
    trees = Recoding((Recode(left, "t0", {HERE: THERE}), Recode(came_back, "t2", {THERE: HERE})))
    bases = {
        regency: DenominatorVersion(regency=regency, version="v", basis="DKB", valid_from=day)
        for regency, day in ((OLD, own), (NEW, stated))
    }
    found = Wajib(bases, trees, {HERE: 2, THERE: 9}, ())
    assert found.of(Region("64")) == {HERE: expected}


def test_of_a_regency_nothing_is_known_while_a_part_of_it_came_from_nowhere() -> None:
    stranger = "64.12.01.2002"
    found = wajib({HERE: THERE}, stated={HERE: 9}, codes=(NEW, "64.12.01", THERE, stranger))
    assert [found.is_based(code) for code in (THERE, stranger, "64.12.01", NEW)] == [
        True,
        False,
        False,
        False,
    ]
    assert (found.total(Region(THERE), ()), found.total(Region(NEW), ())) == (9, None)
    assert found.total(Region("64"), ()) is None


def test_of_a_place_that_nothing_names_the_place_above_decides() -> None:
    found = wajib({HERE: THERE}, stated={HERE: 9}, codes=(NEW, "64.12.01", THERE))
    assert found.is_based("64.12.01.2009")
    assert found.is_based("64.12.07.2001")
    assert not found.is_based(f"{SILENT}.01.2001")


def test_a_place_that_was_made_of_two_is_known_when_both_were() -> None:
    silent = f"{SILENT}.01.2001"
    both = wajib({HERE: THERE, "64.08.05.2001": THERE}, stated={HERE: 9})
    assert both.is_based(THERE)
    for order in ([HERE, silent], [silent, HERE]):
        assert not wajib(dict.fromkeys(order, THERE), stated={HERE: 9}).is_based(THERE)


def test_a_place_is_known_over_several_trees() -> None:
    between, last = f"{SILENT}.01.2001", THERE
    found = wajib({HERE: between}, {between: last}, stated={HERE: 9})
    assert found.of(Region(NEW)) == {last: 9}
    assert found.is_based(last)


def test_a_code_that_was_given_away_and_used_again_did_not_come_with_the_former_place() -> None:
    found = wajib({HERE: THERE}, {THERE: "64.12.01.2005"}, stated={HERE: 9}, codes=(THERE,))
    assert found.of(Region(NEW)) == {"64.12.01.2005": 9}
    assert (found.is_based("64.12.01.2005"), found.is_based(THERE)) == (True, False)


def test_a_desa_that_went_elsewhere_did_not_come_with_its_kecamatan() -> None:
    moved = {"64.08.04": "64.12.01", HERE: "64.12.09.2001"}
    found = wajib(moved, stated={HERE: 9, "64.08.04.2002": 4}, codes=(THERE, "64.12.01.2002"))
    assert found.of(Region(NEW)) == {"64.12.09.2001": 9, "64.12.01.2002": 4}
    assert found.is_based("64.12.01.2002")
    assert not found.is_based(THERE)


def test_of_a_province_of_which_nobody_has_said_anything_nothing_is_known() -> None:
    found = wajib(stated={HERE: 9})
    assert found.total(Region("63"), ()) is None
    assert found.total(Region("64"), ()) == 9
    assert found.total(Region("64"), [f"{SILENT}.01.2001"]) is None
    assert found.total(Region("64"), ["64.08.09.2001", "63.01.01.2001"]) == 9
