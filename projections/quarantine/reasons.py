"""Why something does not count, and what would release it: one text for each reason, as data.

docs/errors.md tells cause and remedy of the same codes (tests/contract/test_release_texts.py).
"""

from collections.abc import Mapping
from typing import Final

_NEW_SOFTWARE: Final = "Newer software that understands it; it is tried again at its start."
_NEVER_DAMAGED: Final = (
    "Nothing: it is damaged or forged. If the producer sends the right bytes, those count."
)
_MENDED_READING: Final = (
    "Software that reads it otherwise, then `rekam quarantine release`. As a rule nothing: let the "
    "producer record it again."
)

RELEASES_WHEN: Final[Mapping[str, str]] = {
    # Held: by the registry, in whatever order.
    "unknown_producer": "The producer's enrolment: it counts by itself when that arrives.",
    "unknown_key": "The registrar gives this key to the producer: it counts by itself.",
    # Held: by what this server has.
    "unknown_reader": (
        "The file of the reader key that the detail names; it is tried again when the processor "
        "starts."
    ),
    "unknown_version": _NEW_SOFTWARE,
    "unknown_type": _NEW_SOFTWARE,
    "unknown_field": _NEW_SOFTWARE,
    # Quarantined: events of an admitted segment that nobody could take.
    "event_too_large": _MENDED_READING,
    "nested_too_deeply": _MENDED_READING,
    "nik_in_text": "Nothing: it would be shown. Let the producer record it again without the NIK.",
    "not_json": _MENDED_READING,
    "schema_invalid": _MENDED_READING,
    # Quarantined: facts that the set of records judges; they are judged again by themselves.
    "not_authorised": (
        "As a rule nothing: let the right office state it. What producers of another kind may "
        "state counts when an enrolment as such a kind comes that is known earlier than the one "
        "that stands."
    ),
    "fork_lost": "Nothing: another segment holds these seqs, and that one counts.",
    "revoked": "Nothing: a revocation is not taken back. Enrol the device anew and record again.",
    "discarded": "Nothing: the registrar decided that it never counts.",
    # Quarantined: records.
    "segment_too_large": _NEVER_DAMAGED,
    "not_a_segment": _NEVER_DAMAGED,
    "truncated": _NEVER_DAMAGED,
    "header_too_large": _NEVER_DAMAGED,
    "header_invalid": _NEVER_DAMAGED,
    "body_too_large": _NEVER_DAMAGED,
    "key_mismatch": _NEVER_DAMAGED,
    "signature_invalid": _NEVER_DAMAGED,
    "body_mismatch": _NEVER_DAMAGED,
    "body_undecryptable": (
        "The right private key under the id that the header names, then `rekam quarantine "
        "release`. Otherwise nothing: it was made for another header."
    ),
    "body_undecodable": _MENDED_READING,
    "body_expands_too_much": _MENDED_READING,
    "count_mismatch": _MENDED_READING,
}

LIFTED_AT_START: Final = ("unknown_field", "unknown_reader", "unknown_type", "unknown_version")
"""Reasons that other software or another key file may lift: tried again when a processor starts."""

REASONS_IN_ITSELF: Final = frozenset(
    (
        "event_too_large",
        "nested_too_deeply",
        "nik_in_text",
        "not_json",
        "schema_invalid",
        "unknown_field",
        "unknown_type",
    )
)
"""Reasons for which an event of an admitted segment became no fact: there is nothing to judge."""


def releases_when(reason: str) -> str:
    """Return what would release something that does not count for this reason."""
    return RELEASES_WHEN.get(
        reason, "Look the reason up: a later version of this software gave it."
    )
