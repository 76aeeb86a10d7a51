"""In which order knowledge changes: by day, and within a day in one fixed order."""

from datetime import date

from msgspec import structs

from projections.facts import (
    COUNTS,
    REVOKED,
    Fact,
    Judgement,
    changes_of_knowledge,
    known_by,
    known_days,
)
from projections.person.facts import Captured, PersonData, Withdrawn
from projections.person.state import Placement, placement_moves
from tests.support.rows import DESA, OTHER_DESA, RULES, noon_ms

DAY = date(2018, 3, 1)
NEXT = date(2018, 3, 2)


def fact(
    seq: int,
    data: PersonData,
    *,
    known: date = DAY,
    later_ms: int = 0,
    history: tuple[Judgement, ...] = (),
) -> Fact[PersonData]:
    known_ms = noon_ms(known) + later_ms
    verdict, day = (history[-1].verdict, history[-1].occurred_on) if history else (COUNTS, DAY)
    return Fact("dev", 1, seq, b"v", known_ms, known_ms, "b", verdict, day, data, history)


def recorded(recording: str = "r1", desa: str = DESA) -> Captured:
    return Captured(recording, desa, desa[:8], "online")


def test_within_a_day_what_was_judged_anew_comes_first_then_what_became_known_first() -> None:
    rejudged = fact(
        3,
        recorded("r3"),
        history=(Judgement(DAY, COUNTS, None), Judgement(NEXT, COUNTS, DAY)),
    )
    early = fact(2, recorded("r2"), known=NEXT)
    late = fact(1, recorded("r1"), known=NEXT, later_ms=5)
    changes = changes_of_knowledge([late, early, rejudged], RULES.zone)
    assert [(one.day, one.after.seq, one.before is None) for one in changes] == [
        (DAY, 3, True),
        (NEXT, 3, False),
        (NEXT, 2, True),
        (NEXT, 1, True),
    ]


def test_each_day_has_what_counts_at_its_end() -> None:
    revoked = fact(
        1, recorded(), history=(Judgement(DAY, COUNTS, DAY), Judgement(NEXT, REVOKED, DAY))
    )
    days = [(day, len(known)) for day, known in known_days([revoked], RULES.zone)]
    assert days == [(DAY, 1), (NEXT, 0)]


def test_what_was_known_by_a_day_is_judged_as_it_was_then() -> None:
    early, late = fact(1, recorded("r1")), fact(2, recorded("r2"), known=NEXT)
    turned = fact(
        3, recorded("r3"), history=(Judgement(DAY, COUNTS, DAY), Judgement(NEXT, REVOKED, DAY))
    )
    held = fact(4, recorded("r4"), history=(Judgement(NEXT, COUNTS, DAY),))
    facts = [early, late, turned, held]
    assert known_by(facts, date(2018, 2, 28), RULES.zone) == []
    then = known_by(facts, DAY, RULES.zone)
    assert [(one.seq, one.verdict, len(one.history)) for one in then] == [
        (1, COUNTS, 0),
        (3, COUNTS, 1),
    ]
    assert known_by(facts, NEXT, RULES.zone) == facts


def test_a_move_names_the_one_fact_that_caused_it() -> None:
    facts = [
        fact(1, recorded("r1"), known=DAY),
        fact(2, recorded("r2", OTHER_DESA), known=NEXT),
        fact(3, Withdrawn("r1"), known=NEXT, later_ms=1),
        fact(4, Withdrawn("r2"), known=NEXT, later_ms=2),
    ]
    here, there = Placement(DESA, DAY), Placement(OTHER_DESA, DAY)
    assert [structs.astuple(move) for move in placement_moves(facts, RULES.zone)] == [
        (DAY, None, here, "arrived", "dev", "online", ""),
        (NEXT, here, there, "arrived", "dev", "online", ""),
        (NEXT, there, None, "withdrawn", "dev", "", ""),
    ]
