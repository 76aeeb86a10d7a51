"""What a fold looks up by key it finds by an index, also with a plan of when a table was empty."""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from projections.store import QUERIES
from rekam.runtime.postgres import connect
from stream_processors.folder import folding

WHOLE = {
    "list_producers": "every producer of which something is known",
    "make_settings": "whether anything is folded: a row for each partition",
    "read_settings": "one row",
}
"""Statements that read all of a table, and why they may."""

LOOKED_UP = sorted(QUERIES.keys() - WHOLE - {"look_up"})
CONDITIONS = ("Index Cond", "Recheck Cond", "TID Cond")


@pytest.fixture(params=["never analyzed", "known to be empty", "small"])
async def session(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Any]:
    """Give a session that keeps its first plans, which are of tables as the planner sees them."""
    connection: Any = await connect(database)
    if request.param == "small":
        await connection.execute(
            "INSERT INTO person (key, facts)"
            " SELECT sha256(number::text::bytea), ''::bytea FROM generate_series(1, 300) AS number"
        )
    if request.param != "never analyzed":
        await connection.execute("VACUUM ANALYZE")
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    try:
        yield connection
    finally:
        await connection.close()


async def test_what_a_fold_looks_up_it_finds_by_an_index(session: Any) -> None:
    """Were a table read whole, or joined from its side, chunks would cost more and more."""
    unbound = {}
    async with folding(session):
        for name in LOOKED_UP:
            for scan in _scans(await _plan(session, name)):
                if not any(condition in scan for condition in CONDITIONS):
                    unbound[name] = f"{scan['Node Type']} of {scan['Relation Name']}"
    assert unbound == {}


async def test_the_statements_that_read_a_table_whole_do_so(session: Any) -> None:
    """Else they need not be left out of the test above, and that one sees what it looks for."""
    async with folding(session):
        for name in WHOLE:
            scans = list(_scans(await _plan(session, name)))
            assert any("Index Cond" not in scan for scan in scans), name


async def test_a_session_that_met_an_empty_table_locks_people_of_a_full_one_by_their_keys(
    database: str,
) -> None:
    """As a worker meets it: few people in each of its first chunks, then many in one."""
    connection: Any = await connect(database)
    try:
        await connection.execute("VACUUM ANALYZE person")
        keys = [hashlib.sha256(str(number).encode()).digest() for number in range(2_000)]
        for few in range(8):
            async with folding(connection):
                await connection.fetch(QUERIES["lock_person"], keys[few : few + 3])
        name, generic_plans = await connection.fetchrow(
            "SELECT name, generic_plans FROM pg_prepared_statements WHERE statement = $1",
            QUERIES["lock_person"],
        )
        [scan] = _scans(await _explain(connection, f"{name}(NULL)"))
    finally:
        await connection.close()
    assert generic_plans > 0
    assert scan["Index Cond"] == "(key = ANY ($1))"


async def _plan(session: Any, name: str) -> Mapping[str, Any]:
    """Return the plan that is kept for a statement whatever its values are."""
    numbers = {int(number) for number in re.findall(r"\$(\d+)", QUERIES[name])}
    given = f"({', '.join(['NULL'] * max(numbers))})" if numbers else ""
    await session.execute(f"PREPARE {name} AS {QUERIES[name]}")
    return await _explain(session, name + given)


async def _explain(session: Any, execution: str) -> Mapping[str, Any]:
    found = await session.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {execution}")
    plan: Mapping[str, Any] = json.loads(found)[0]["Plan"]
    return plan


def _scans(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield each node of a plan that reads a table; who inserts finds its conflicts by an index."""
    if "Relation Name" in plan and plan["Node Type"] != "ModifyTable":
        yield plan
    if plan["Node Type"] == "Bitmap Heap Scan":
        return
    for part in plan.get("Plans", ()):
        yield from _scans(part)
