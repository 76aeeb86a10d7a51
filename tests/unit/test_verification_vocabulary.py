"""The centre's words: what may follow what, and where a record of each status is."""

import pytest

from projections.verification.funnel import UNKNOWN, funnel
from projections.verification.vocabulary import (
    STANDS_AT,
    STOPPED_AT,
    Turn,
    is_known,
    turn_between,
)


@pytest.mark.parametrize(
    ("before", "after", "turn"),
    [
        ("BIO_CAPTURED", "PROCESSING", None),
        ("BIO_CAPTURED", "CARD_ISSUED", None),  # nobody looked in between
        ("SENT_FOR_ENROLLMENT", "SENT_FOR_ENROLLMENT", None),
        ("RECEIVED_AT_CENTRAL", "DUPLICATE_RECORD", None),
        ("ADJUDICATE_RECORD", "PRINT_READY_RECORD", None),
        ("ENROLL_FAILURE_AT_CENTRAL", "BIO_CAPTURED", "reset"),
        ("ENROLL_FAILURE_AT_REGIONAL", "BIO_CAPTURED", "reset"),
        ("ENROLL_FAILURE_AT_CENTRAL", "SENT_FOR_ENROLLMENT", "reset"),  # set back and sent again
        ("CARD_ISSUED", "SENT_FOR_CARD_PRINTING", "reprint"),
        ("CARD_ISSUED", "CARD_PRINTED", "reprint"),
        ("CARD_SHIPPED", "CARD_PRINTED", "illegal_jump"),
        ("CARD_ISSUED", "SENT_FOR_ENROLLMENT", "illegal_jump"),
        ("PRINT_READY_RECORD", "BIO_CAPTURED", "illegal_jump"),
        ("DUPLICATE_RECORD", "CARD_PRINTED", "illegal_jump"),  # no card can be issued
        ("SENT_FOR_ENROLLMENT", "BIO_CAPTURED", "illegal_jump"),
        ("SOMETHING_NEW", "BIO_CAPTURED", None),
        ("CARD_ISSUED", "SOMETHING_NEW", None),
    ],
)
def test_a_turn_is_what_no_steps_lead_to(before: str, after: str, turn: Turn | None) -> None:
    assert turn_between(before, after) == turn


def test_every_word_stands_or_has_stopped_and_another_word_is_unknown() -> None:
    assert not STANDS_AT.keys() & STOPPED_AT.keys()
    assert all(map(is_known, [*STANDS_AT, *STOPPED_AT]))
    assert not is_known("CARD_EATEN_BY_GOAT")


def test_the_funnel_counts_who_came_so_far_and_where_the_others_are() -> None:
    found = funnel(
        {
            "BIO_CAPTURED": 10,
            "ENROLL_FAILURE_AT_REGIONAL": 1,
            "SENT_FOR_ENROLLMENT": 5,
            "DUPLICATE_RECORD": 2,
            "PRINT_READY_RECORD": 20,
            "SENT_FOR_CARD_PRINTING": 3,
            "CARD_SHIPPED": 4,
            "CARD_ISSUED": 30,
            "SOMETHING_NEW": 7,
        }
    )
    assert {stage: one.reached for stage, one in found.stages.items()} == {
        "recorded": 82,
        "sent": 65,
        "received": 59,
        "print_ready": 57,
        "printed": 34,
        "issued": 30,
    }
    assert found.residuals == {"DUPLICATE_RECORD": 2, "ENROLL_FAILURE_AT_REGIONAL": 1, UNKNOWN: 7}
    here = sum(one.here for one in found.stages.values())
    assert here + sum(found.residuals.values()) == found.recorded == 82
