"""Both readings of a list's buckets, by name. A rule's meaning never changes: it gets a version.

No source settles whether the 127 people with a printed card are a part of the 184 verified ones.
So facts stay as they were stated, and the reading is the reader's, told in every answer.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

CohortRule = Literal["exclusive/v1", "printed-within-verified/v1"]
"""Every bucket stands for itself; or who has a printed card counts among the verified, of whom
they are shown as a part."""

COHORT_RULES: Final[tuple[CohortRule, ...]] = get_args(CohortRule)
COHORT_RULE_DEFAULT: Final[CohortRule] = "exclusive/v1"

_WITHIN: Final[Mapping[str, str]] = {"tercetak": "terverifikasi", "printed": "verified"}


def read_buckets(
    entries: Mapping[str, int], rule: CohortRule
) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Return entries by bucket under a rule, whose sum stays, and the parts of each bucket."""
    if rule == "exclusive/v1":
        return dict(entries), {}
    buckets: dict[str, int] = {}
    parts: dict[str, dict[str, int]] = {}
    for bucket, count in entries.items():
        whole = _WITHIN.get(bucket, bucket)
        buckets[whole] = buckets.get(whole, 0) + count
        if whole != bucket:
            parts.setdefault(whole, {})[bucket] = count
    return dict(sorted(buckets.items())), parts
