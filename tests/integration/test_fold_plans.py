"""What a fold looks up by key it finds by an index, also with a plan of when tables were small."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from projections.store import QUERIES
from rekam.runtime.postgres import connect

DAYS = [date(2018, 3, 1) + timedelta(days=number) for number in range(40)]
LOOKUPS: dict[str, tuple[Sequence[object], ...]] = {
    "find_overlaps": (["dev"] * 40, [1] * 40, list(range(40)), list(range(40))),
    "find_anchors": (["dev"] * 40, [f"boot-{number}" for number in range(40)]),
    "write_contacts": (["dev"] * 40, DAYS, list(range(40))),
    "close_contacts": (["dev"] * 40, DAYS),
    "hear_services": (["dev"] * 40, DAYS),
    "write_services": ([f"dev-{number}" for number in range(40)], DAYS, DAYS),
    "end_contacts": ([f"dev-{number}" for number in range(40)],),
    "delete_services": ([f"dev-{number}" for number in range(40)],),
    "list_segments_of_boots": (["dev"] * 40, [f"boot-{number}" for number in range(40)]),
}


@pytest.mark.parametrize("query", LOOKUPS)
async def test_a_lookup_of_a_fold_never_reads_a_whole_table(database: str, query: str) -> None:
    """Forty keys in tables of ten pages: a join would read them whole, and keep doing it."""
    connection: Any = await connect(database)
    try:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        found = await connection.fetch(f"EXPLAIN {QUERIES[query]}", *LOOKUPS[query])
        plan = "\n".join(row[0] for row in found)
    finally:
        await connection.close()
    assert "Seq Scan" not in plan
    assert "Index" in plan
