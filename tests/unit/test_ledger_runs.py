"""Runs: which chains of segments arrived whole."""

import hashlib

from projections.ledger.runs import Link, chained_runs

OPENING = b"opening"


def digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def link(name: str, first: int, last: int, *, after: bytes | Link = OPENING) -> Link:
    return Link(first, last, after.head if isinstance(after, Link) else after, digest(name))


def told(*links: Link) -> list[tuple[int, int, bytes]]:
    return [(run.first, run.last, bytes.fromhex(run.head)) for run in chained_runs(links)]


ONE = link("one", 1, 3)
TWO = link("two", 4, 4, after=ONE)
THREE = link("three", 5, 9, after=TWO)


def test_a_whole_chain_is_one_run_with_the_last_hash() -> None:
    assert told(THREE, ONE, TWO) == [(1, 9, THREE.head)]


def test_a_missing_segment_leaves_two_runs() -> None:
    assert told(ONE, THREE) == [(1, 3, ONE.head), (5, 9, THREE.head)]


def test_a_segment_that_names_another_hash_than_the_one_before_begins_anew() -> None:
    foreign = link("foreign", 4, 6, after=digest("unknown"))
    assert told(ONE, foreign) == [(1, 3, ONE.head), (4, 6, foreign.head)]


def test_a_segment_that_names_the_hash_but_not_the_place_begins_anew() -> None:
    elsewhere = link("elsewhere", 6, 7, after=ONE)
    assert told(ONE, elsewhere) == [(1, 3, ONE.head), (6, 7, elsewhere.head)]


def test_the_trunk_of_a_fork_ends_and_each_branch_is_told_apart() -> None:
    clone = link("clone", 4, 8, after=ONE)
    assert told(ONE, TWO, clone, THREE) == [
        (1, 3, ONE.head),
        (4, 8, clone.head),
        (4, 9, THREE.head),
    ]


def test_a_fork_from_the_opening_leaves_two_runs_over_the_same_seqs() -> None:
    clone = link("clone", 1, 5)
    assert told(clone, ONE, TWO) == [(1, 4, TWO.head), (1, 5, clone.head)]


def test_a_link_that_repeats_is_one() -> None:
    assert told(ONE, ONE, TWO, TWO) == [(1, 4, TWO.head)]


def test_nothing_gives_no_run() -> None:
    assert told() == []
