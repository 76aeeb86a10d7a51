"""Runs from any set of segments: a function of the set, claiming all that is there and no more."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from projections.ledger.runs import Link, chained_runs
from rekam.domain.receipt import Run

OPENING: Final = bytes(32)
COUNTS: Final = st.integers(1, 4)


def sealed(parent: Link | None, count: int, number: int) -> Link:
    """Seal a segment after another one, as a device or a clone of it does."""
    prev, first = (parent.head, parent.last + 1) if parent else (OPENING, 1)
    return Link(first, first + count - 1, prev, hashlib.sha256(b"%d" % number + prev).digest())


@st.composite
def forests(draw: st.DrawFn) -> list[Link]:
    """Draw whatever outboxes under one name may have sealed: chains, clones, restored copies."""
    links: list[Link] = []
    for number in range(draw(st.integers(0, 24))):
        is_continued = bool(links) and draw(st.booleans())
        parent = links[-1] if is_continued else draw(st.sampled_from([None, *links]))
        links.append(sealed(parent, draw(COUNTS), number))
    for number in range(draw(st.integers(0, 3))):
        place = draw(st.integers(1, 40))
        prev = draw(st.sampled_from([OPENING, b"x" * 32, *(link.head for link in links)]))
        head = hashlib.sha256(b"stray %d" % number).digest()
        links.append(Link(place, place + draw(COUNTS) - 1, prev, head))
    return links


@st.composite
def arrivals(draw: st.DrawFn) -> list[Link]:
    """Draw which of them arrived, in which order, some twice."""
    links = draw(forests())
    if not links:
        return []
    return draw(st.lists(st.sampled_from(links), max_size=2 * len(links)))


def chain_of(run: Run, links: Sequence[Link]) -> list[Link]:
    """Return the links back from a run's head to its first seq, each named by the one after it."""
    by_head = {link.head: link for link in links}
    chain = [by_head[bytes.fromhex(run.head)]]
    while chain[-1].first > run.first:
        chain.append(by_head[chain[-1].prev])
    return chain[::-1]


@given(links=arrivals(), order=st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(links: list[Link], order: object) -> None:
    shuffled = [*links, *links[::2]]
    order.shuffle(shuffled)  # type: ignore[attr-defined] # random.Random of Hypothesis
    assert chained_runs(shuffled) == chained_runs(links)


@given(links=arrivals())
def test_every_segment_is_in_exactly_one_run_and_no_run_claims_another(links: list[Link]) -> None:
    runs = chained_runs(links)
    told = [link for run in runs for link in chain_of(run, links)]
    assert sorted(told) == sorted(set(links))
    for run in runs:
        chain = chain_of(run, links)
        assert (chain[0].first, chain[-1].last) == (run.first, run.last)
        for one, following in pairwise(chain):
            assert (following.prev, following.first) == (one.head, one.last + 1)


@given(links=arrivals())
def test_a_device_that_sealed_a_chain_finds_all_of_it_that_arrived_covered(
    links: list[Link],
) -> None:
    """By the rule of docs/receipt-v1.md, section 5, for the owner of every branch."""
    runs = chained_runs(links)
    arrived = set(links)
    by_head = {link.head: link for link in links}
    for tip in arrived:
        own, walked = [tip], tip
        while walked.prev in by_head and by_head[walked.prev].last == walked.first - 1:
            walked = by_head[walked.prev]
            own.append(walked)
        heads = {(link.last, link.head.hex()) for link in own}
        mine = [run for run in runs if (run.last, run.head) in heads]
        # The run that holds the tip may go on into what this owner has not sealed (yet).
        covered = {
            link
            for link in own
            if any(run.first <= link.first and link.last <= run.last for run in mine)
        }
        longest = next(run for run in runs if tip in chain_of(run, links))
        if longest.head == tip.head.hex():
            assert covered == set(own)
        else:
            assert {link for link in own if link.last < longest.first} <= covered


@given(links=arrivals(), cuts=st.data())
def test_stretches_joined_beforehand_give_the_same_runs(
    links: list[Link], cuts: st.DataObject
) -> None:
    """The database joins neighbours before it hands them over; where, must not matter."""
    runs = chained_runs(links)
    joined: list[Link] = []
    for run in runs:
        chain = chain_of(run, links)
        while chain:
            size = cuts.draw(st.integers(1, len(chain)))
            stretch, chain = chain[:size], chain[size:]
            joined.append(
                Link(stretch[0].first, stretch[-1].last, stretch[0].prev, stretch[-1].head)
            )
    assert chained_runs(joined) == runs
