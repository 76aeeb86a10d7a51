"""Which chains of segments arrived whole: the runs of a receipt. Pure.

Segments of one epoch are a forest: each names the one before it by its hash. Without a fork it is
a row of chains. A run is a longest stretch without a branch in it, so that every branch of a fork
is told apart, and the part that the branches share is told once.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rekam.domain.receipt import Run


class Link(NamedTuple):
    """A segment, or a stretch of segments that are known to be chained and not to branch."""

    first: int
    last: int
    prev: bytes
    """Hash that the first of them names."""
    head: bytes
    """Hash of the last of them."""


def chained_runs(links: Iterable[Link]) -> tuple[Run, ...]:
    """Return the runs of one epoch's links, in order; a function of their set alone.

    Links that repeat are one. No link may begin in the inside of another: where segments branch,
    the stretch before ends.
    """
    by_head = {link.head: link for link in links}
    before = {
        head: parent
        for head, link in by_head.items()
        if (parent := by_head.get(link.prev)) is not None and parent.last == link.first - 1
    }
    branches = Counter(parent.head for parent in before.values())
    after = {
        parent.head: by_head[head] for head, parent in before.items() if branches[parent.head] == 1
    }
    begins = (
        link
        for head, link in by_head.items()
        if head not in before or branches[before[head].head] > 1
    )
    return tuple(sorted((_run(link, after) for link in begins), key=_place))


def _run(first: Link, after: Mapping[bytes, Link]) -> Run:
    last = first
    while (following := after.get(last.head)) is not None:
        last = following
    return Run(first.first, last.last, last.head.hex())


def _place(run: Run) -> tuple[int, int, str]:
    return (run.first, run.last, run.head)
