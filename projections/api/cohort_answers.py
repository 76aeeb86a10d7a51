"""Answers about lists of people."""

import msgspec

from projections.cohort.comparison import EntryChange, EntryMove
from projections.cohort.reads import Cohort, CohortEntry
from projections.cohort.rules import CohortRule


class Cohorts(msgspec.Struct, frozen=True, kw_only=True):
    """Every list of people, each in its latest version."""

    cohorts: list[Cohort]


class CohortEntries(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list's entries, by number. No NIK."""

    cohort: str
    version: str | None
    rule: CohortRule
    """How buckets are read."""
    conflict_rule: str
    """By which one of the buckets that sources name was chosen."""
    entries: list[CohortEntry]
    next_cursor: str | None
    """Null: this is the last page."""


class CohortComparison(msgspec.Struct, frozen=True, kw_only=True):
    """How a version of a list differs from an earlier one.

    `total_from` + added - removed = `total_to`. The first entries of each kind are named.
    """

    cohort: str
    version_from: str
    version_to: str
    rule: CohortRule
    """How buckets are read."""
    conflict_rule: str
    """By which one of the buckets that sources name was chosen, in both versions."""
    total_from: int
    total_to: int
    added: int
    removed: int
    changed: int
    renumbered: int
    """Entries of a person who has another number now; they may be among the changed."""
    moves: list[EntryMove]
    """Entries that are in both versions and in another bucket, by bucket and bucket."""
    added_entries: list[int]
    """Numbers of the later version."""
    removed_entries: list[int]
    """Numbers of the earlier version."""
    changed_entries: list[EntryChange]
