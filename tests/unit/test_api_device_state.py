"""A device's label needs evidence: silence alone never says that it is broken."""

from datetime import date

from projections.device_health.state import DeviceState, device_state
from projections.facts import COUNTS, Fact
from projections.registry.context import NOT_ENROLLED, ProducerContext
from projections.registry.facts import Beat, Fault, ProducerData, ProducerFact, Route, Swap, Ticket

ENROLLED = ProducerContext(kind="recorder", place="64.08.04")


def fact(data: ProducerData, *, seq: int, epoch: int = 1, known_ms: int = 1) -> ProducerFact:
    """Return one fact of a device's life."""
    day = date(2018, 3, 1)
    return Fact("recorder-1", epoch, seq, b"", known_ms, 0, "boot", COUNTS, day, data)


def state(
    *facts: ProducerFact, context: ProducerContext = ENROLLED, contact_ms: int = 1
) -> DeviceState:
    """Return what the facts say."""
    return device_state(facts, context=context, contact_ms=contact_ms)


def fault(*, is_present: bool, seq: int) -> ProducerFact:
    """Return a word on the scanner's fault."""
    return fact(Fault("scanner", "no light", is_present=is_present, detail=None), seq=seq)


def test_a_device_that_was_never_heard_is_unknown_and_not_broken() -> None:
    silent = state(contact_ms=0)
    assert (silent.label, silent.contact, silent.progress) == ("UNKNOWN", "NEVER_HEARD", "UNKNOWN")


def test_a_reported_fault_is_the_label_until_it_is_cleared() -> None:
    reported = state(fault(is_present=True, seq=1))
    assert (reported.label, reported.condition) == ("REPORTED_FAULT", "FAULT_REPORTED")
    cleared = state(fault(is_present=False, seq=2))
    assert (cleared.label, cleared.faults) == ("NO_FAULT_REPORTED", [])


def test_a_revoked_device_is_revoked_whatever_it_says() -> None:
    revoked = ProducerContext(kind="recorder", revoked_ms=1)
    assert state(fault(is_present=True, seq=1), context=revoked).label == "REVOKED"


def test_a_device_that_nobody_enrolled_says_so() -> None:
    assert state(context=NOT_ENROLLED).label == "NOT_ENROLLED"


def test_the_queue_is_the_one_of_the_last_heartbeat() -> None:
    waiting = state(fact(Beat(7, 1_500, "kafka", None, "1.0"), seq=1))
    assert (waiting.queue_events, waiting.oldest_unsent_ms) == (7, 1_500)
    assert waiting.progress == "QUEUE_WAITS"
    assert state(fact(Beat(0, None, None, None, None), seq=1)).progress == "QUEUE_EMPTY"


def test_the_route_is_the_one_told_last_in_whatever_event() -> None:
    chosen = fact(Route("usb", "kafka", None), seq=5)
    beat = fact(Beat(0, None, "kafka", None, None), seq=4)
    assert state(chosen, beat).route == "usb"
    assert state(chosen, fact(Beat(0, None, "kafka", None, None), seq=6)).route == "kafka"


def test_components_are_what_the_last_swaps_left() -> None:
    swaps = [
        fact(Swap("scanner", "S1", "S2"), seq=2),
        fact(Swap("scanner", None, "S1"), seq=1),
        fact(Swap("camera", "C1", None), seq=3),
    ]
    found = [(part.slot, part.installed) for part in state(*swaps).components]
    assert found == [("camera", None), ("scanner", "S2")]


def test_a_ticket_is_in_the_step_that_was_known_last() -> None:
    closed = fact(Ticket("t-1", "closed", "new scanner"), seq=1, known_ms=9)
    opened = fact(Ticket("t-1", "opened", "no light"), seq=8, known_ms=2)
    [ticket] = state(closed, opened).tickets
    assert ticket.step == "closed"
