"""The centre's words as data: which are known, how far each one is, and what may follow what.

The official list is not public, so the vocabulary is open: another word is *unknown*, kept as it
came and counted under its own name.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

Stage = Literal["recorded", "sent", "received", "print_ready", "printed", "issued"]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
"""The way of a card, in its order. Who is at one was at all before it."""

RECORDED_HERE_ONLY: Final = "BIO_CAPTURED"
"""Status of a recording of which the centre has said nothing: the data has not left the office."""
SENT: Final = "SENT_FOR_ENROLLMENT"
DUPLICATE_RECORD: Final = "DUPLICATE_RECORD"
"""The centre's word for: the same body is recorded under another number."""

STANDS_AT: Final[Mapping[str, Stage]] = {
    "UNREGISTERED": "recorded",
    RECORDED_HERE_ONLY: "recorded",
    "PROCESSING": "recorded",
    SENT: "sent",
    "RECEIVED_AT_CENTRAL": "received",
    "PRINT_READY_RECORD": "print_ready",
    "SENT_FOR_CARD_PRINTING": "print_ready",
    "CARD_PRINTED": "printed",
    "CARD_SHIPPED": "printed",
    "CARD_ISSUED": "issued",
}
"""The stage at which a record of this status goes on by itself."""

STOPPED_AT: Final[Mapping[str, Stage]] = {
    "ENROLL_FAILURE_AT_REGIONAL": "sent",
    "ENROLL_FAILURE_AT_CENTRAL": "received",
    "SEARCH_FAILURE_AT_CENTRAL": "received",
    "ADJUDICATE_RECORD": "received",
    "REQUEST_VALIDATION": "received",
    DUPLICATE_RECORD: "received",
}
"""The stage that a record of this status has reached, and where it stays until somebody acts."""

AGEING: Final = frozenset((SENT,))
"""Statuses whose age tells that something is wrong: the NIK exists at the centre already, or the
transfer failed."""
SLOW_DAYS: Final = 30
STUCK_DAYS: Final = 183
"""Up to half a year is normal where offices have told; beyond it, nobody saw a record move."""

_OUTCOMES: Final = (
    "PRINT_READY_RECORD",
    "ENROLL_FAILURE_AT_CENTRAL",
    "SEARCH_FAILURE_AT_CENTRAL",
    "ADJUDICATE_RECORD",
    "REQUEST_VALIDATION",
    DUPLICATE_RECORD,
)
_STEPS: Final[Mapping[str, tuple[str, ...]]] = {
    "UNREGISTERED": (RECORDED_HERE_ONLY,),
    RECORDED_HERE_ONLY: ("PROCESSING",),
    "PROCESSING": (SENT,),
    SENT: ("RECEIVED_AT_CENTRAL", "ENROLL_FAILURE_AT_REGIONAL"),
    "RECEIVED_AT_CENTRAL": _OUTCOMES,
    "ADJUDICATE_RECORD": ("PRINT_READY_RECORD", DUPLICATE_RECORD),
    "REQUEST_VALIDATION": ("PRINT_READY_RECORD", DUPLICATE_RECORD),
    "PRINT_READY_RECORD": ("SENT_FOR_CARD_PRINTING",),
    "SENT_FOR_CARD_PRINTING": ("CARD_PRINTED",),
    "CARD_PRINTED": ("CARD_SHIPPED",),
    "CARD_SHIPPED": ("CARD_ISSUED",),
}
"""What follows what. A status that nobody looked at in time was not seen: steps may be skipped."""

_RESETS: Final[Mapping[str, str]] = {
    "ENROLL_FAILURE_AT_REGIONAL": RECORDED_HERE_ONLY,
    "ENROLL_FAILURE_AT_CENTRAL": RECORDED_HERE_ONLY,
    "SEARCH_FAILURE_AT_CENTRAL": RECORDED_HERE_ONLY,
}
"""The official remedy: deleted at the centre, set back, sent again."""
_REPRINTS: Final[Mapping[str, str]] = {"CARD_ISSUED": "SENT_FOR_CARD_PRINTING"}

Turn = Literal["reset", "reprint", "illegal_jump"]
"""What is not a step forward. An illegal jump is kept and flagged, never refused."""


def is_known(status: str) -> bool:
    """Tell whether the vocabulary has the word."""
    return status in _KNOWN


def turn_between(before: str, after: str) -> Turn | None:
    """Return what lies between two statuses seen one after the other; None: nothing special.

    Only of known ones: nobody can tell what an unknown word may follow.
    """
    return _TURNS.get((before, after))


def _forward(status: str) -> frozenset[str]:
    """Return the status and all that steps lead to."""
    found, left = {status}, [status]
    while left:
        for following in _STEPS.get(left.pop(), ()):
            if following not in found:
                found.add(following)
                left.append(following)
    return frozenset(found)


def _turn(before: str, after: str) -> Turn | None:
    if after in _forward(before):
        return None
    if after in _forward(_RESETS.get(before, "")):
        return "reset"
    if after in _forward(_REPRINTS.get(before, "")):
        return "reprint"
    return "illegal_jump"


_KNOWN: Final = frozenset((*STANDS_AT, *STOPPED_AT))
_TURNS: Final[Mapping[tuple[str, str], Turn]] = {
    (before, after): turn
    for before in _KNOWN
    for after in _KNOWN
    if (turn := _turn(before, after)) is not None
}
