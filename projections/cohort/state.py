"""What is to be said of one entry of a list: what each source says, and the bucket that counts.

Pure, and a function of the set of facts alone.

Sources may contradict each other: one paper finds 184 people verified, another says that 186 are
not found. Each source's latest word is kept and shown. The bucket follows one rule,
`evidence-first/v1`: who found a person outweighs who did not, whenever either said so; of those
that remain, the latest word decides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, TypeVar

from projections.cohort.facts import EntryFact, Listed, Resolved
from projections.facts import Fact, known_order
from rekam.domain.buckets import RESIDUAL, UNLISTED
from rekam.domain.clocks import OfficeZone

CONFLICT_RULE: Final = "evidence-first/v1"
NOT_FOUND: Final = frozenset({"not_found", "tidak_ditemukan"})
"""Buckets that say that somebody looked and found nobody."""

DataT = TypeVar("DataT")


@dataclass(frozen=True, slots=True)
class Claim:
    """The latest word of one source."""

    source: str
    bucket: str
    stated_on: date


@dataclass(frozen=True, slots=True)
class EntryState:
    """One entry of one version of a list."""

    bucket: str
    code: str | None = None
    """The election commission's code, as the list has it."""
    person: bytes | None = None
    claims: tuple[Claim, ...] = field(default=())
    """Of each source, by source."""

    @property
    def is_disputed(self) -> bool:
        """Tell whether sources name different buckets."""
        return len({claim.bucket for claim in self.claims}) > 1


def stated_on(fact: Fact[DataT], zone: OfficeZone) -> date:
    """Return the day on which the office stated it.

    Its own clock's, if that can be trusted, but never after the log had it.
    """
    known = zone.append_day(fact.known_ms)
    return known if fact.occurred_on is None else min(fact.occurred_on, known)


def entry_state(
    facts: Iterable[EntryFact], zone: OfficeZone, *, version: str | None, as_of: date
) -> EntryState | None:
    """Return what the facts that count say of an entry as of a day; None: nothing.

    Of a version, with what was said of all versions; with None, of the latter alone.
    """
    listed: Listed | None = None
    claims: dict[str, Claim] = {}
    latest: list[Claim] = []
    for day, fact in in_order(facts, zone):
        if day > as_of or fact.data.version not in (None, version):
            continue
        match fact.data:
            case Listed():
                listed = fact.data
            case Resolved():
                claim = Claim(fact.data.source, fact.data.bucket, day)
                claims[fact.data.source] = claim
                latest.append(claim)
    if listed is None and not claims:
        return None
    told = tuple(claims[source] for source in sorted(claims))
    if listed is None:
        return EntryState(UNLISTED, claims=told)
    standing = [claim for claim in latest if claims[claim.source] is claim]
    return EntryState(_bucket(standing), listed.code, listed.person, told)


def in_order(facts: Iterable[Fact[DataT]], zone: OfficeZone) -> list[tuple[date, Fact[DataT]]]:
    """Return facts with the days on which they were stated: the order of a source's words."""
    dated = [(stated_on(fact, zone), fact) for fact in facts]
    dated.sort(key=lambda one: (one[0], known_order(one[1])))
    return dated


def _bucket(standing: Sequence[Claim]) -> str:
    """Return the bucket of the claims that stand, the latest last. See the module's rule."""
    found = [claim for claim in standing if claim.bucket not in NOT_FOUND]
    words = found or standing
    return words[-1].bucket if words else RESIDUAL
