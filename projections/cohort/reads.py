"""Cohorts: a list of people and the buckets that its entries are in, which sum to it."""

from collections import defaultdict
from typing import Final

import msgspec

from projections.cohort.contributions import RESIDUAL
from projections.reading import Connection
from projections.reference.facts import CohortHead
from projections.reference.reads import cohort_heads
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.cohort", "queries_read.sql")


class Cohort(msgspec.Struct, frozen=True, kw_only=True):
    """One list. The buckets sum to `total`."""

    cohort: str
    title: str | None
    """None, as the version, source and announced are: its head has not arrived (yet)."""
    version: str | None
    source: str | None
    announced: int | None
    """How many entries the list said that it has; shown beside what arrived, never mended."""
    total: int
    buckets: dict[str, int]
    """Entries by bucket. `unlisted` are resolutions of entries that no list has (yet)."""
    residual: int
    """Entries of which no source has said anything: the bucket `unresolved`."""


async def cohorts(connection: Connection) -> list[Cohort]:
    """Return every list that was handed over or that an entry names, by its id."""
    heads = await cohort_heads(connection)
    buckets: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in await connection.fetch(_QUERIES["list_buckets"]):
        buckets[row["cohort"]][row["bucket"]] = row["entries"]
    return [
        _cohort(cohort, heads.get(cohort), buckets[cohort]) for cohort in sorted({*heads, *buckets})
    ]


async def find_cohort(connection: Connection, cohort: str) -> Cohort | None:
    """Return one list, or None when nothing names it."""
    found = [entry for entry in await cohorts(connection) if entry.cohort == cohort]
    return found[0] if found else None


def _cohort(cohort: str, head: CohortHead | None, buckets: dict[str, int]) -> Cohort:
    return Cohort(
        cohort=cohort,
        title=head.title if head else None,
        version=head.version if head else None,
        source=head.source if head else None,
        announced=head.entries if head else None,
        total=sum(buckets.values()),
        buckets=buckets,
        residual=buckets.get(RESIDUAL, 0),
    )
