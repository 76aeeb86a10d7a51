"""The figures of a list as they are signed."""

from collections.abc import Iterable

from msgspec import UNSET

from projections.cohort.reads import Cohort, CohortEntry, Moment
from rekam.domain.cohort_snapshot import CohortSnapshot, entries_hash


def snapshot_of(cohort: Cohort, entries: Iterable[CohortEntry], moment: Moment) -> CohortSnapshot:
    """Return what is signed: a function of the log up to `known_at`, the rules and the zone.

    `entries` are those of the same version and moment, by number.
    """
    return CohortSnapshot(
        cohort=cohort.cohort,
        version=cohort.version,
        title=cohort.title,
        source=cohort.source,
        announced=cohort.announced,
        as_of=moment.as_of,
        known_at=moment.known_at,
        time_zone=moment.zone.name,
        rule=cohort.rule,
        conflict_rule=cohort.disputed.rule,
        total=cohort.total,
        buckets=cohort.buckets,
        unlisted=cohort.unlisted or UNSET,
        parts=cohort.parts,
        residual=cohort.residual,
        codes=cohort.codes,
        disputed=cohort.disputed.buckets,
        sources={word.source: word.buckets for word in cohort.sources},
        entries_sha256=entries_hash((entry.entry, entry.code, entry.bucket) for entry in entries),
    )
