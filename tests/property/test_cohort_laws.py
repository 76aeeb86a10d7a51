"""Lists of people: an entry is in one bucket of each version on every day, as known on any day."""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from projections.cohort.contributions import CLAIM_TABLE, TABLE, cohort_contributions
from projections.cohort.facts import EntryData, EntryFact, Listed, Resolved
from projections.cohort.state import EntryState, entry_state
from projections.facts import COUNTS, REVOKED, Fact, Judgement, known_days
from rekam.domain.clocks import OfficeZone

ZONE = OfficeZone("Asia/Makassar")
FIRST = date(2018, 4, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(6)]
NOON_MS = 1_522_555_200_000  # of FIRST, in the office
VERSIONS = (None, "1", "2")

versions = st.sampled_from(VERSIONS)
listed = st.builds(
    Listed,
    st.just("c"),
    st.just(7),
    st.sampled_from((None, b"p" * 16)),
    st.sampled_from((None, "11", "U")),
    versions,
)
resolved = st.builds(
    Resolved,
    st.just("c"),
    st.just(7),
    st.sampled_from(("a", "b", "not_found")),
    st.sampled_from(("kpu", "koran", "dinas")),
    versions,
)


@st.composite
def entries(draw: st.DrawFn) -> list[EntryFact]:
    """Return the facts of one entry: late, undated, judged again."""
    facts: list[EntryFact] = []
    for seq in range(draw(st.integers(1, 7))):
        data: EntryData = draw(st.one_of(listed, resolved))
        known = draw(st.sampled_from(DAYS))
        days = st.sampled_from((None, *DAYS))
        verdicts = st.sampled_from((COUNTS, COUNTS, REVOKED))
        history = tuple(
            Judgement(day, draw(verdicts), draw(days))
            for day in sorted(draw(st.sets(st.sampled_from(DAYS), max_size=2)))
            if day >= known
        )
        latest = history[-1] if history else Judgement(known, draw(verdicts), draw(days))
        known_ms = NOON_MS + (known - FIRST).days * 86_400_000 + draw(st.integers(0, 3))
        facts.append(
            Fact(
                "kpu",
                1,
                seq,
                b"v" * 8,
                known_ms,
                0,
                "b",
                latest.verdict,
                latest.occurred_on,
                data,
                history,
            )
        )
    return facts


def known_at(facts: Sequence[EntryFact], day: date) -> Sequence[EntryFact]:
    found: Sequence[EntryFact] = ()
    for since, of_day in known_days(facts, ZONE):
        if since <= day:
            found = of_day
    return found


def summed(
    cells: dict[tuple[object, ...], int], version: str | None, *, as_of: date, known: date
) -> Counter[tuple[object, ...]]:
    """Return what a read sums: cells of every version and of this one, without their days."""
    found: Counter[tuple[object, ...]] = Counter()
    for (_, of_version, *told, stated_on, known_on), count in cells.items():
        if of_version in ("", version) and stated_on <= as_of and known_on <= known:  # type: ignore[operator]
            found[tuple(told)] += count
    return Counter({cell: count for cell, count in found.items() if count})


def buckets_of(state: EntryState | None) -> Counter[tuple[object, ...]]:
    if state is None:
        return Counter()
    return Counter({(state.bucket, state.code or "", int(state.is_disputed)): 1})


@given(facts=entries())
@settings(max_examples=400, deadline=None)
def test_the_sum_of_cells_is_the_state_of_the_entry_on_every_day_known_on_any_day(
    facts: list[EntryFact],
) -> None:
    """L4, L7: so buckets sum to the list, and a claim of each source is counted once."""
    cells = cohort_contributions(facts, ZONE)
    table, claims = dict(cells.get(TABLE, {})), dict(cells.get(CLAIM_TABLE, {}))
    assert all([*table.values(), *claims.values()])
    for known in DAYS:
        standing = known_at(facts, known)
        for as_of in DAYS:
            for version in VERSIONS:
                state = entry_state(standing, ZONE, version=version, as_of=as_of)
                assert summed(table, version, as_of=as_of, known=known) == buckets_of(state)
                words = Counter(
                    {(claim.source, claim.bucket): 1 for claim in (state.claims if state else ())}
                )
                assert summed(claims, version, as_of=as_of, known=known) == words


@given(facts=entries(), order=st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_the_order_of_facts_changes_nothing(facts: list[EntryFact], order: random.Random) -> None:
    """L2."""
    shuffled = list(facts)
    order.shuffle(shuffled)
    assert cohort_contributions(shuffled, ZONE) == cohort_contributions(facts, ZONE)
    for version in VERSIONS:
        one = entry_state(known_at(facts, DAYS[-1]), ZONE, version=version, as_of=DAYS[-1])
        assert one == entry_state(
            known_at(shuffled, DAYS[-1]), ZONE, version=version, as_of=DAYS[-1]
        )


@given(facts=entries(), until=st.sampled_from(DAYS))
@settings(max_examples=200, deadline=None)
def test_what_becomes_known_later_leaves_the_past_as_it_was_known(
    facts: list[EntryFact], until: date
) -> None:
    """L7: as known at K is the fold of what was known by K."""
    past = [fact for fact in facts if not fact.history and ZONE.append_day(fact.known_ms) <= until]
    later = [fact for fact in facts if not fact.history and ZONE.append_day(fact.known_ms) > until]
    for table in (TABLE, CLAIM_TABLE):
        before = cohort_contributions(past, ZONE).get(table, {})
        after = cohort_contributions([*past, *later], ZONE).get(table, {})
        assert before == {cell: count for cell, count in after.items() if cell[-1] <= until}  # type: ignore[operator]
