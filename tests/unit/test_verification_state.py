"""One person at the centre: the latest word by its own time, its age, its turns, the letters."""

from datetime import date

import pytest
from msgspec import structs

from projections.facts import COUNTS, REVOKED, Fact
from projections.person.facts import Observed, PersonData, PersonFact, Suket
from projections.person.state import UNPLACED, Placement
from projections.tables import ENTITY_KINDS, PERSON
from projections.verification.contributions import (
    AGE_TABLE,
    NEVER,
    SUKET_TABLE,
    TABLE,
    TURN_TABLE,
    verification_contributions,
)
from projections.verification.flags import CentreFlag, centre_flags
from projections.verification.state import (
    Standing,
    in_observed_order,
    standing_of,
    suket_valid_after,
    turns_of,
)
from rekam.domain.clocks import OfficeZone
from tests.support.rows import RULES

ZONE = OfficeZone("Asia/Makassar")
DAY_MS = 86_400_000
START_MS = 1_519_963_200_000  # 2018-03-02 12:00 there
DESA = "64.08.04.2001"
PLACED = Placement(DESA, date(2018, 3, 1))
SENT = "SENT_FOR_ENROLLMENT"


def fact(data: PersonData, *, seq: int, verdict: int = COUNTS) -> PersonFact:
    """Return a fact that became known some weeks after the start, in the order of its seq."""
    known_ms = START_MS + 90 * DAY_MS + seq
    return Fact("siak", 1, seq, b"", known_ms, START_MS, "boot", verdict, None, data)


def shown(*statuses: tuple[int, str]) -> list[PersonFact]:
    """Return observations of some days after the start, in the order in which they arrived."""
    return [
        fact(Observed(status, START_MS + day * DAY_MS, "siak"), seq=seq)
        for seq, (day, status) in enumerate(statuses, start=1)
    ]


def test_a_stale_observation_that_comes_late_takes_its_place_and_changes_nothing() -> None:
    facts = shown((0, SENT), (9, "PRINT_READY_RECORD"), (4, "RECEIVED_AT_CENTRAL"))
    observed = in_observed_order(facts)
    assert [one.status for one in observed][1:] == ["RECEIVED_AT_CENTRAL", "PRINT_READY_RECORD"]
    assert standing_of(observed) == Standing("PRINT_READY_RECORD", START_MS + 9 * DAY_MS)
    assert turns_of(observed) == []


def test_of_several_words_of_one_time_the_one_known_last_stands_whoever_says_it() -> None:
    words = shown((3, SENT), (3, "CARD_ISSUED"))
    for names in (("centre-a", "centre-b"), ("centre-b", "centre-a")):
        facts = [
            structs.replace(one, producer=name) for one, name in zip(words, names, strict=True)
        ]
        for order in (facts, facts[::-1]):
            assert [one.status for one in in_observed_order(order)] == [SENT, "CARD_ISSUED"]


def test_a_status_stands_since_the_first_of_its_run() -> None:
    observed = in_observed_order(shown((0, SENT), (3, SENT), (8, SENT)))
    assert standing_of(observed) == Standing(SENT, START_MS)


def test_what_does_not_count_shows_nothing() -> None:
    revoked = fact(Observed(SENT, START_MS, "siak"), seq=1, verdict=REVOKED)
    assert in_observed_order([revoked]) == []
    assert verification_contributions([revoked], [], PLACED, ZONE) == {
        TABLE: {(DESA, "BIO_CAPTURED"): 1}
    }
    assert verification_contributions([revoked], [], None, ZONE) == {}


def test_a_failure_that_was_set_back_and_sent_again_is_a_reset_and_ages_anew() -> None:
    facts = shown((0, SENT), (5, "ENROLL_FAILURE_AT_CENTRAL"), (6, "BIO_CAPTURED"), (7, SENT))
    assert verification_contributions(facts, [], PLACED, ZONE) == {
        TABLE: {(DESA, SENT): 1},
        AGE_TABLE: {(DESA, SENT, date(2018, 3, 9)): 1},
        TURN_TABLE: {(DESA, "reset", "ENROLL_FAILURE_AT_CENTRAL", "BIO_CAPTURED"): 1},
    }


def test_a_reprint_and_an_impossible_order_are_told_apart() -> None:
    facts = shown((0, "CARD_SHIPPED"), (1, "CARD_PRINTED"), (2, "CARD_ISSUED"))
    facts += [fact(Observed("SENT_FOR_CARD_PRINTING", START_MS + 3 * DAY_MS, "siak"), seq=9)]
    assert verification_contributions(facts, [], PLACED, ZONE)[TURN_TABLE] == {
        (DESA, "illegal_jump", "CARD_SHIPPED", "CARD_PRINTED"): 1,
        (DESA, "reprint", "CARD_ISSUED", "SENT_FOR_CARD_PRINTING"): 1,
    }


def test_an_unknown_word_stands_raw_and_hides_no_jump() -> None:
    facts = shown((0, "CARD_ISSUED"), (1, "KODE_18"), (2, SENT))
    assert turns_of(in_observed_order(facts)) == [("illegal_jump", "CARD_ISSUED", SENT)]
    assert verification_contributions(shown((0, "KODE_18")), [], None, ZONE) == {
        TABLE: {(UNPLACED, "KODE_18"): 1}
    }


def test_a_time_that_has_not_come_is_believed_of_no_observation() -> None:
    facts = shown((0, SENT), (1, "PRINT_READY_RECORD"), (36_500, "CARD_ISSUED"))
    believed = Standing("PRINT_READY_RECORD", START_MS + DAY_MS)
    assert standing_of(in_observed_order(facts)) == believed
    assert centre_flags(facts, as_of=date(2018, 4, 1), zone=ZONE) == ["observed_ahead"]
    person = ENTITY_KINDS[PERSON].contributions(bytes(16), facts, RULES)  # type: ignore[arg-type]
    assert person[TABLE] == {(UNPLACED, "PRINT_READY_RECORD"): 1}


def letters_on(*days: int) -> list[PersonFact]:
    return [
        fact(Suket(f"s-{days}", START_MS + days * DAY_MS, SENT), seq=seq)
        for seq, days in enumerate(days, start=1)
    ]


def test_each_letter_is_the_latest_until_the_next_one() -> None:
    found = verification_contributions([], letters_on(40, 0, 40), PLACED, ZONE)
    first, second = date(2018, 3, 2), date(2018, 4, 11)
    assert found[SUKET_TABLE] == {(DESA, first, second): 1, (DESA, second, NEVER): 1}


def test_a_letter_of_a_day_that_has_not_come_is_believed_by_nobody() -> None:
    letters = letters_on(0, 36_500)
    found = verification_contributions([], letters, PLACED, ZONE)
    assert found[SUKET_TABLE] == {(DESA, date(2018, 3, 2), NEVER): 1}
    flags = centre_flags(letters, as_of=date(2018, 9, 2), zone=ZONE)
    assert flags == ["suket_expired", "suket_ahead"]


@pytest.mark.parametrize(
    ("as_of", "after"),
    [
        (date(2018, 9, 2), date(2018, 3, 2)),
        (date(2018, 8, 31), date(2018, 2, 28)),
        (date(2020, 8, 30), date(2020, 2, 29)),
        (date(2018, 3, 1), date(2017, 9, 1)),
        (date(1, 3, 1), date.min),
    ],
)
def test_a_letter_is_valid_for_six_months_of_the_calendar(as_of: date, after: date) -> None:
    assert suket_valid_after(as_of) == after


@pytest.mark.parametrize(
    ("facts", "as_of", "flags"),
    [
        (shown((0, SENT)), date(2018, 9, 1), []),
        (shown((0, SENT)), date(2018, 9, 2), ["stuck"]),
        (shown((0, "RECEIVED_AT_CENTRAL")), date(2030, 1, 1), []),
        (shown((0, "DUPLICATE_RECORD")), date(2018, 4, 1), ["duplicate_record"]),
        (shown((0, "KODE_18")), date(2018, 4, 1), ["unknown_status"]),
        (shown((0, "CARD_ISSUED"), (1, SENT)), date(2018, 4, 1), ["illegal_jump"]),
        ([fact(Suket("s", START_MS, SENT), seq=1)], date(2018, 9, 1), ["suket_valid"]),
        ([fact(Suket("s", START_MS, SENT), seq=1)], date(2018, 9, 2), ["suket_expired"]),
        (letters_on(0, 40), date(2018, 3, 1), []),
        (letters_on(0, 40), date(2018, 3, 2), ["suket_valid"]),
        (letters_on(0, 80), date(2018, 11, 20), ["suket_valid"]),
        (letters_on(0, 80), date(2018, 11, 21), ["suket_expired"]),
    ],
)
def test_flags_say_what_to_look_at_as_of_a_day(
    facts: list[PersonFact], as_of: date, flags: list[CentreFlag]
) -> None:
    assert centre_flags(facts, as_of=as_of, zone=ZONE) == flags
