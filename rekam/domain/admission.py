"""Whether a segment is admitted: one pure rule for gateway, processor, replay and audit.

It asks only the record itself and the keys that the registry gives its producer, so the answer
depends on the set of records and not on who asks, or when.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rekam.domain.ids import KeyId
from rekam.domain.keys import VerifyKey
from rekam.domain.segment import Header


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a record does not count (yet): a stable code, and what was found and what to do."""

    code: str
    detail: str


def missing_key(header: Header, keys: Mapping[KeyId, VerifyKey]) -> Reason | None:
    """Return why the segment must be held, or None when its key is one of its producer's.

    `keys` are all that the registry knows of the producer in the header. Until one of them is the
    header's, nothing can be said about the signature: the registry's word may still come, in
    whatever order.
    """
    if KeyId(header.key) in keys:
        return None
    if not keys:
        return Reason("unknown_producer", "not enrolled yet; enrol it and it counts by itself")
    return Reason(
        "unknown_key",
        f"key {header.key} is none of its producer's; enrol the key and it counts by itself",
    )
