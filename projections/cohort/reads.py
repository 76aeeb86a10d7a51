"""Cohorts: a list of people and the buckets that its entries are in, which sum to it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, TypeVar

import msgspec

from projections.cohort.codes import KpuMeaning, kpu_meaning
from projections.cohort.contributions import EVERY_VERSION
from projections.cohort.facts import decode_facts, entry_keys
from projections.cohort.rules import CohortRule, read_buckets
from projections.cohort.state import CONFLICT_RULE, EntryState, entry_state, in_order
from projections.facts import Fact, known_days
from projections.reading import Connection
from projections.reference.facts import CohortHead, ReferenceData, reference_key
from projections.reference.facts import decode_facts as decode_references
from rekam.domain.buckets import RESIDUAL, UNLISTED
from rekam.domain.clocks import OfficeZone
from rekam.runtime.queries import load_queries

ENTRIES_A_FETCH: Final = 1_000
_QUERIES: Final = load_queries("projections.cohort", "queries_read.sql")
_REFERENCES: Final = load_queries("projections.reference", "queries_read.sql")


@dataclass(frozen=True, slots=True)
class Moment:
    """As of which day, as known at which day; days are the office's."""

    as_of: date
    known_at: date
    zone: OfficeZone


class SourceWord(msgspec.Struct, frozen=True, kw_only=True):
    """What one source says of a list, whether it decides or not."""

    source: str
    buckets: dict[str, int]


class Disputed(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of which sources name different buckets."""

    rule: str
    """By which one of the buckets was chosen."""
    entries: int
    buckets: dict[str, int]
    """By the bucket that was chosen; they sum to `entries`."""


class Cohort(msgspec.Struct, frozen=True, kw_only=True):
    """One list. The buckets sum to `total`."""

    cohort: str
    title: str | None
    """None, as the source and announced are: its head has not arrived (yet)."""
    version: str | None
    """None: nothing names a version."""
    versions: list[str]
    """All of them, the latest last."""
    source: str | None
    announced: int | None
    """How many entries the list said that it has; shown beside what arrived, never mended."""
    rule: CohortRule
    """How buckets are read."""
    total: int
    """Entries that arrived."""
    buckets: dict[str, int]
    """Entries by bucket."""
    unlisted: int
    """Numbers of which a source has said something and which the list does not have (yet)."""
    parts: dict[str, dict[str, int]]
    """Of a bucket, those that another bucket counts by itself under the rule `exclusive/v1`."""
    residual: int
    """Entries of which no source has said anything: the bucket `unresolved`."""
    codes: dict[str, int]
    """Entries by the election commission's code; those without one are left out."""
    disputed: Disputed
    sources: list[SourceWord]


class SourceClaim(msgspec.Struct, frozen=True, kw_only=True):
    """The latest word of one source on one entry."""

    source: str
    bucket: str
    stated_on: date


class CohortEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a list, without its NIK."""

    entry: int
    token: str | None
    """The person's token; None when the list gave no NIK."""
    code: str | None
    """The election commission's code, as the list has it."""
    code_means: KpuMeaning | None
    """None: nobody has said what the code means, or there is none."""
    bucket: str
    is_disputed: bool
    sources: list[SourceClaim]


DataT = TypeVar("DataT")


@dataclass(frozen=True, slots=True)
class _Heads:
    """What was said of the versions of one list, the latest last."""

    heads: Sequence[CohortHead]

    def of(self, version: str | None) -> CohortHead | None:
        return next((head for head in self.heads if head.version == version), None)


async def cohorts(connection: Connection, moment: Moment, *, rule: CohortRule) -> list[Cohort]:
    """Return every list that was handed over or that an entry names, by its id."""
    heads = await _heads(connection, moment)
    named = await connection.fetch(_QUERIES["list_versions"], moment.as_of, moment.known_at, None)
    ids = sorted({*heads, *(row["cohort"] for row in named)})
    found = [await find_cohort(connection, one, moment, rule=rule) for one in ids]
    return [one for one in found if one is not None]


async def find_cohort(
    connection: Connection,
    cohort: str,
    moment: Moment,
    *,
    rule: CohortRule,
    version: str | None = None,
) -> Cohort | None:
    """Return one version of a list, the latest if none is named; None when nothing names it."""
    heads = (await _heads(connection, moment, cohort)).get(cohort, _Heads(()))
    versions = await _versions(connection, cohort, moment, heads)
    if versions is None or (version is not None and version not in versions):
        return None
    chosen = version or (versions[-1] if versions else None)
    days = (moment.as_of, moment.known_at, cohort, chosen or EVERY_VERSION)
    entries: dict[str, int] = {}
    codes: dict[str, int] = {}
    disputed: dict[str, int] = {}
    for row in await connection.fetch(_QUERIES["sum_buckets"], *days):
        bucket, code, count = row["bucket"], row["code"], row["entries"]
        entries[bucket] = entries.get(bucket, 0) + count
        if code:
            codes[code] = codes.get(code, 0) + count
        if row["is_disputed"]:
            disputed[bucket] = disputed.get(bucket, 0) + count
    words: dict[str, dict[str, int]] = {}
    for row in await connection.fetch(_QUERIES["sum_claims"], *days):
        words.setdefault(row["source"], {})[row["bucket"]] = row["entries"]
    unlisted = entries.pop(UNLISTED, 0)
    # Codes and disputes of one bucket may take each other back: a bucket of nobody is none.
    buckets, parts = read_buckets({name: n for name, n in entries.items() if n}, rule)
    head = heads.of(chosen)
    return Cohort(
        cohort=cohort,
        title=head.title if head else None,
        version=chosen,
        versions=versions,
        source=head.source if head else None,
        announced=head.entries if head else None,
        rule=rule,
        total=sum(buckets.values()),
        buckets=buckets,
        unlisted=unlisted,
        parts=parts,
        residual=buckets.get(RESIDUAL, 0),
        codes={code: count for code, count in codes.items() if count},
        disputed=Disputed(
            rule=CONFLICT_RULE,
            entries=sum(disputed.values()),
            buckets={bucket: count for bucket, count in disputed.items() if count},
        ),
        sources=[SourceWord(source=source, buckets=of) for source, of in words.items()],
    )


async def cohort_entries(
    connection: Connection,
    cohort: str,
    moment: Moment,
    *,
    version: str | None,
    after: int = -1,
) -> AsyncIterator[CohortEntry]:
    """Yield the entries of a version after a number, by number."""
    low, high = entry_keys(cohort)
    place = low if after < 0 else low + str(after).encode()
    while rows := await connection.fetch(
        _QUERIES["list_entries"], low, high, place, ENTRIES_A_FETCH
    ):
        for row in rows:
            facts = [fact for fact in decode_facts(row["facts"]) if fact.data.cohort == cohort]
            known = _known(facts, moment)
            state = entry_state(known, moment.zone, version=version, as_of=moment.as_of)
            if state is not None:
                yield _entry(known[0].data.entry, state)
        place = rows[-1]["key"]


def _entry(number: int, state: EntryState) -> CohortEntry:
    return CohortEntry(
        entry=number,
        token=None if state.person is None else state.person.hex(),
        code=state.code,
        code_means=kpu_meaning(state.code),
        bucket=state.bucket,
        is_disputed=state.is_disputed,
        sources=[
            SourceClaim(source=claim.source, bucket=claim.bucket, stated_on=claim.stated_on)
            for claim in state.claims
        ],
    )


def _known(facts: Sequence[Fact[DataT]], moment: Moment) -> Sequence[Fact[DataT]]:
    """Return the facts that count at the end of the day, in the order of becoming known."""
    known: Sequence[Fact[DataT]] = ()
    for day, of_day in known_days(facts, moment.zone):
        if day > moment.known_at:
            break
        known = of_day
    return known


async def _heads(
    connection: Connection, moment: Moment, cohort: str | None = None
) -> dict[str, _Heads]:
    """Return what was said of lists by then, each version's latest word, by cohort.

    In the order in which they were handed over first: who corrects a version makes no later one.
    """
    low = reference_key("cohort", "" if cohort is None else f"{cohort}/")
    rows = await connection.fetch(
        _REFERENCES["list_references"],
        low,
        low[:-1] + b"0",  # "0" follows "/"
    )
    heads: list[Fact[ReferenceData]] = []
    for row in rows:
        facts = decode_references(row["facts"]) if row["facts"] else []
        heads += (fact for fact in _known(facts, moment) if isinstance(fact.data, CohortHead))
    found: dict[str, dict[str, CohortHead]] = {}
    """By list and version: their ids may hold slashes, so that two of them share a key."""
    for day, fact in in_order(heads, moment.zone):
        head = fact.data
        if isinstance(head, CohortHead) and day <= moment.as_of:
            # A version that is there keeps its place.
            found.setdefault(head.cohort, {})[head.version] = head
    return {name: _Heads([*versions.values()]) for name, versions in found.items()}


async def _versions(
    connection: Connection, cohort: str, moment: Moment, heads: _Heads
) -> list[str] | None:
    """Return the versions of a list, the latest last; None when nothing names the list.

    Those that were handed over come last, in the order of their first time; before them, those
    that entries alone name, by their latest word.
    """
    named = await connection.fetch(_QUERIES["list_versions"], moment.as_of, moment.known_at, cohort)
    if not named and not heads.heads:
        return None
    handed_over = [head.version for head in heads.heads]
    others = sorted(
        (row["stated_on"], row["version"])
        for row in named
        if row["version"] not in {EVERY_VERSION, *handed_over}
    )
    return [*(version for _, version in others), *handed_over]
