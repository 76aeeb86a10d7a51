"""The tree of errors: what commands exit with, what may be tried again, what a message holds."""

from collections.abc import Iterator

import pytest

from rekam.domain import errors
from rekam.domain.errors import (
    Corrupt,
    EventRejected,
    Held,
    Misconfigured,
    Overloaded,
    ProblemFound,
    Rejected,
    RekamError,
    SegmentRejected,
    Unavailable,
)


def tree(root: type[RekamError] = RekamError) -> Iterator[type[RekamError]]:
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from tree(child)


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [error.code for error in tree()]
    assert len(codes) == len(set(codes))
    assert "error" not in codes


def test_the_tree_in_the_docstring_names_every_class() -> None:
    drawn = errors.__doc__ or ""
    families = {child for child in tree() if child.__base__ in {RekamError, Rejected}}
    assert {child.__name__ for child in families if child.__name__ not in drawn} == set()


@pytest.mark.parametrize(
    ("error", "exit_code", "retriable"),
    [
        (Rejected("x"), 2, False),
        (SegmentRejected("r", "d"), 2, False),
        (EventRejected("r", "d"), 2, False),
        (Held("r", "d"), 1, True),
        (Unavailable("x"), 75, True),
        (Overloaded("x"), 75, True),
        (Misconfigured(["x"]), 2, False),
        (ProblemFound("x"), 1, False),
        (Corrupt("x"), 1, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_command_ends_with_the_familys_exit_code(
    error: RekamError, exit_code: int, *, retriable: bool
) -> None:
    assert (error.exit_code, error.retriable) == (exit_code, retriable)


def test_what_can_be_tried_again_is_told_by_exit_75_or_held() -> None:
    for error in tree():
        assert error.retriable == (error.exit_code == 75 or issubclass(error, Held))


@pytest.mark.parametrize("error", [SegmentRejected, EventRejected, Held])
def test_a_refusal_carries_reason_and_detail_apart(
    error: type[SegmentRejected | EventRejected | Held],
) -> None:
    raised = error("reason_code", "what was found")
    assert (raised.reason, raised.detail) == ("reason_code", "what was found")
    assert str(raised) == "reason_code: what was found"


def test_misconfigured_tells_every_fault_at_once() -> None:
    raised = Misconfigured(["first fault", "second fault"])
    assert raised.faults == ("first fault", "second fault")
    assert str(raised) == "first fault; second fault"
