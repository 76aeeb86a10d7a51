"""What a fold came to, cell by cell: two folds of the same events must agree."""

from collections.abc import Mapping
from typing import Any, Final

from rekam.runtime.queries import load_queries
from tests.benchmarks.machine import ProcessFailed

QUERIES: Final = load_queries("tests.benchmarks", "figures_queries.sql")
DIFFERENCES_SHOWN_MAX: Final = 5

Figures = Mapping[tuple[str, str, str], int]
"""Counts by (kind, place, detail)."""


async def figures(connection: Any, query: str) -> Figures:
    """Return the figures that are in the tables of a query."""
    return {tuple(row[:3]): row[3] for row in await connection.fetch(QUERIES[query])}


def require_same(ours: Figures, others: Figures, *, whose: str) -> None:
    """Raise ProcessFailed, naming some cells, unless both are the same."""
    if ours == others:
        return
    differing = sorted(
        cell for cell in ours.keys() | others.keys() if ours.get(cell) != others.get(cell)
    )
    shown = "\n".join(
        f"{' '.join(cell)}: {ours.get(cell, 0)}, {whose} {others.get(cell, 0)}"
        for cell in differing[:DIFFERENCES_SHOWN_MAX]
    )
    raise ProcessFailed(f"{len(differing)} cells differ; it is not the same fold:\n{shown}")
