"""One person's answer: status and its age, duplicates, and why something does not count."""

from datetime import date

from projections.facts import COUNTS, FORK_LOST, Fact
from projections.person.facts import (
    Captured,
    Observed,
    PersonData,
    PersonFact,
    Suket,
    Withdrawn,
    WithdrawnOf,
)
from projections.person.reads import Person, describe
from projections.reading import instant
from tests.support.rows import RULES

DAY_MS = 86_400_000
START_MS = 1_520_000_000_000
TODAY = date(2018, 4, 1)


def fact(
    data: PersonData,
    *,
    seq: int,
    day: int = 0,
    on: date | None = date(2018, 3, 1),
    verdict: int = COUNTS,
) -> PersonFact:
    """Return a fact that became known some days after the start."""
    known_ms = START_MS + day * DAY_MS
    return Fact("recorder-1", 1, seq, b"", known_ms, known_ms, "boot", verdict, on, data)


def captured(recording: str = "r-1") -> Captured:
    """Return a recording."""
    return Captured(recording, "64.08.04.2001", "64.08.04", "offline")


def observed(status: str, *, day: int) -> Observed:
    """Return the centre's word of a day."""
    return Observed(status, START_MS + day * DAY_MS, "siak")


def person(*facts: PersonFact) -> Person:
    """Return what the facts say."""
    return describe(b"\1" * 16, facts, rules=RULES, today=TODAY)


def test_a_recording_that_the_centre_has_not_mentioned_is_captured_since_it_is_known() -> None:
    found = person(fact(captured(), seq=1, day=2))
    assert (found.status, found.status_since) == ("BIO_CAPTURED", instant(START_MS + 2 * DAY_MS))
    assert (found.recorded, found.domicile, found.flags) == (True, "64.08.04.2001", [])
    assert found.recorded_on == date(2018, 3, 1)


def test_a_status_holds_since_the_first_of_its_last_run_of_observations() -> None:
    days = enumerate(["BIO_CAPTURED", "SENT_FOR_ENROLLMENT", "BIO_CAPTURED", "BIO_CAPTURED"])
    found = person(*(fact(observed(status, day=day), seq=day + 1, day=day) for day, status in days))
    assert (found.status, found.status_since) == ("BIO_CAPTURED", instant(START_MS + 2 * DAY_MS))
    assert [entry.status for entry in found.history][:2] == ["BIO_CAPTURED", "SENT_FOR_ENROLLMENT"]


def test_somebody_only_the_centre_knows_is_not_recorded() -> None:
    found = person(fact(observed("PRINT_READY_RECORD", day=1), seq=1))
    assert (found.recorded, found.domicile, found.recordings) == (False, None, [])


def test_a_second_standing_recording_is_a_duplicate_and_a_withdrawn_one_is_not() -> None:
    twice = [fact(captured("r-1"), seq=1), fact(captured("r-2"), seq=2, day=1)]
    assert person(*twice).duplicates == 1
    assert "recorded_more_than_once" in person(*twice).flags
    once = person(*twice, fact(Withdrawn("r-2"), seq=3, day=2))
    assert (once.duplicates, once.flags) == (0, ["recording_withdrawn"])
    assert [(one.counts, one.reason) for one in once.recordings] == [
        (True, None),
        (False, "withdrawn"),
    ]
    assert [(one.recording, one.recorded_by) for one in once.history] == [("r-2", None)]
    of_device = person(*twice, fact(WithdrawnOf("r-2", "recorder-1"), seq=3, day=2))
    assert [one.counts for one in of_device.recordings] == [True, False]
    assert [one.recorded_by for one in of_device.history] == ["recorder-1"]


def test_what_is_of_a_time_that_had_not_come_counts_for_nothing_and_says_why() -> None:
    found = person(
        fact(observed("CARD_ISSUED", day=0), seq=1),
        fact(observed("DUPLICATE_RECORD", day=900), seq=2),
        fact(Suket("PRINT_READY_RECORD", START_MS + 900 * DAY_MS, "s-1"), seq=3),
    )
    assert found.status == "CARD_ISSUED"
    assert [(one.counts, one.reason) for one in found.history] == [
        (True, None),
        (False, "ahead"),
        (False, "ahead"),
    ]


def test_a_recording_that_lost_a_fork_is_shown_with_its_reason_and_does_not_count() -> None:
    found = person(fact(captured(), seq=1, verdict=FORK_LOST))
    [recording] = found.recordings
    assert (recording.counts, recording.reason) == (False, "fork_lost")
    assert (found.recorded, found.status, found.flags) == (False, None, ["events_excluded"])


def test_an_unknown_day_is_null_and_flagged() -> None:
    found = person(fact(captured(), seq=1, on=None))
    assert (found.recorded, found.recorded_on, found.flags) == (True, None, ["date_unknown"])


def test_a_status_of_duplicate_is_flagged_and_a_suket_is_history() -> None:
    found = person(
        fact(observed("DUPLICATE_RECORD", day=1), seq=1),
        fact(Suket("S-1", START_MS, "SENT_FOR_ENROLLMENT"), seq=2),
    )
    assert found.flags == ["duplicate_record", "suket_valid"]
    assert [entry.kind for entry in found.history] == ["suket_issued", "status_observed"]


def test_a_clock_beyond_the_calendar_is_shown_as_its_end() -> None:
    found = person(fact(Observed("X", 2**53, "siak"), seq=1))
    assert (found.status, found.flags) == (None, ["observed_ahead"])
    [shown] = found.history
    assert shown.at is not None
    assert shown.at.year == 9999
