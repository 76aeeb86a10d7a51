"""Two versions of a list, entry by entry.

An entry is matched by the person when both versions give a NIK, else by its number: lists are
numbered anew when they are made again. Pure.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from projections.cohort.reads import CohortEntry
from rekam.domain.buckets import UNLISTED


class EntryMove(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries went from one bucket into another."""

    bucket_from: str
    bucket_to: str
    entries: int


class EntryChange(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that is in both versions and not the same."""

    entry_from: int
    entry_to: int
    bucket_from: str
    bucket_to: str
    code_from: str | None
    code_to: str | None
    is_person_new: bool
    """The later version gives a NIK, or another one, for the same number."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was added, removed and changed; numbers are those of the version that has them."""

    added: Sequence[int]
    removed: Sequence[int]
    changed: Sequence[EntryChange]
    renumbered: int
    moves: Sequence[EntryMove]

    def named(self, entries_max: int) -> tuple[set[int], set[int]]:
        """Return whom the first entries of each kind name: numbers of the former, of the later."""
        changed = self.changed[:entries_max]
        return (
            {*self.removed[:entries_max], *(change.entry_from for change in changed)},
            {*self.added[:entries_max], *(change.entry_to for change in changed)},
        )


def compare(former: Sequence[CohortEntry], later: Sequence[CohortEntry]) -> Comparison:
    """Return how a list's later version differs from the former one; both by number.

    A number that a version does not have was not added or removed by what a source says of it.
    """
    former, later = _listed(former), _listed(later)
    pairs = _pairs(former, later)
    matched_former = {entry.entry for entry, _ in pairs}
    matched_later = {entry.entry for _, entry in pairs}
    moves = Counter(
        (one.bucket, other.bucket) for one, other in pairs if one.bucket != other.bucket
    )
    changed = [_change(one, other) for one, other in pairs]
    return Comparison(
        added=[entry.entry for entry in later if entry.entry not in matched_later],
        removed=[entry.entry for entry in former if entry.entry not in matched_former],
        changed=[change for change in changed if change is not None],
        renumbered=sum(one.entry != other.entry for one, other in pairs),
        moves=[
            EntryMove(bucket_from=one, bucket_to=other, entries=count)
            for (one, other), count in sorted(moves.items())
        ],
    )


def _listed(entries: Sequence[CohortEntry]) -> Sequence[CohortEntry]:
    return [entry for entry in entries if entry.bucket != UNLISTED]


def _pairs(
    former: Sequence[CohortEntry], later: Sequence[CohortEntry]
) -> list[tuple[CohortEntry, CohortEntry]]:
    by_person = _once_each(former)
    found = [
        (by_person[entry.token], entry)
        for person, entry in _once_each(later).items()
        if person in by_person and entry.token is not None
    ]
    taken_former = {one.entry for one, _ in found}
    taken_later = {other.entry for _, other in found}
    by_number = {one.entry: one for one in former if one.entry not in taken_former}
    for entry in later:
        one = by_number.get(entry.entry)
        if one is None or entry.entry in taken_later:
            continue
        if one.token is not None and entry.token is not None and one.token != entry.token:
            continue  # another person stands under the number
        found.append((one, entry))
    return sorted(found, key=lambda pair: pair[1].entry)


def _once_each(entries: Sequence[CohortEntry]) -> Mapping[str, CohortEntry]:
    """Return the entries of people who stand in the list once, by token."""
    times = Counter(entry.token for entry in entries if entry.token is not None)
    return {
        entry.token: entry
        for entry in entries
        if entry.token is not None and times[entry.token] == 1
    }


def _change(one: CohortEntry, other: CohortEntry) -> EntryChange | None:
    if (one.bucket, one.code, one.token) == (other.bucket, other.code, other.token):
        return None
    return EntryChange(
        entry_from=one.entry,
        entry_to=other.entry,
        bucket_from=one.bucket,
        bucket_to=other.bucket,
        code_from=one.code,
        code_to=other.code,
        is_person_new=other.token is not None and one.token != other.token,
    )
