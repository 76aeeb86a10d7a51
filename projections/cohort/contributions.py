"""What one entry adds to its cohort: one count in one bucket, so that buckets sum to the list."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from projections.cohort.facts import EntryFact, Listed, Resolved
from projections.facts import counted

TABLE: Final = "cohort_cell"
RESIDUAL: Final = "unresolved"
"""Bucket of the entries of which no source has said anything."""
UNLISTED: Final = "unlisted"
"""Bucket of resolutions that name an entry which no list has (yet)."""

CohortCell = tuple[str, str]
"""(cohort, bucket)"""


def cohort_contributions(facts: Sequence[EntryFact]) -> Counter[CohortCell]:
    """Return the one cell of an entry: the bucket named last, as known last."""
    cohort: str | None = None
    is_listed = False
    bucket = RESIDUAL
    for fact in counted(facts):
        cohort = fact.data.cohort
        match fact.data:
            case Listed():
                is_listed = True
            case Resolved():
                bucket = fact.data.bucket
    if cohort is None:
        return Counter()
    return Counter({(cohort, bucket if is_listed else UNLISTED): 1})
