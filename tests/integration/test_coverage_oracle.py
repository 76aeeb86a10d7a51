"""Coverage as it is read is coverage as it is defined, whatever happened and whatever is asked."""

import random
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest

from projections.coverage.reads import CoverageTotals, coverage
from projections.regions import Level, Region
from projections.rules import COVERAGE_RULES
from rekam.runtime.postgres import connect, open_pool
from tests.support.coverage_oracle import Oracle, Row
from tests.support.figures import Figures
from tests.support.history import DESA, RULES, fold_all, random_history
from tests.support.live import chunks, fold_partition, new_folder
from tests.support.regency_split import NEW_DESA, NEW_REGENCY, SILENT_DESA, with_regency_split
from tests.support.whole_history import TIMES

PLACES = (
    "64",
    "64",
    "64.08",
    NEW_REGENCY,
    "64.13",
    "64.08.04",
    "64.08.12",
    "64.08.19",
    "64.12.01",
    DESA[2],
    SILENT_DESA,
    *NEW_DESA,
)
SEEDS = range(12 * TIMES)
QUESTIONS = 96


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    """Give a connection to a fresh migrated database."""
    opened = await connect(database)
    yield opened
    await opened.close()


def row(figures: CoverageTotals) -> Row:
    """Return what the oracle tells too."""
    return Row(figures.wajib, figures.recorded, figures.date_unknown)


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_is_read_is_what_the_definition_says(
    database: str, connection: Any, seed: int
) -> None:
    records = with_regency_split(random_history(seed, segments=40), seed)
    pool = await open_pool(database)
    try:
        await fold_partition(new_folder(pool), chunks(records))
    finally:
        await pool.close()
    whole = Figures.of(await fold_all(records))
    choose = random.Random(seed)
    days = sorted({RULES.zone.day(record.append_ms) for record in records})
    for known_at in choose.sample(days, k=min(6, len(days))):
        prefix = [one for one in records if RULES.zone.day(one.append_ms) <= known_at]
        store = await fold_all(prefix)
        for _ in range(QUESTIONS // 6):
            region, rule = choose.choice(PLACES), choose.choice(COVERAGE_RULES)
            as_of = choose.choice([date(2017, 7, 15), *days, days[-1] + timedelta(days=400)])
            expected = Oracle(
                store, as_of, RULES.zone, without_duplicates=rule == COVERAGE_RULES[1]
            ).coverage(region)
            found = await coverage(
                connection,
                region=Region(region),
                level=Level.DESA,
                as_of=as_of,
                known_at=known_at,
                rule=rule,
            )
            asked = (region, as_of, known_at, rule)
            assert {one.region: row(one) for one in found.rows} == expected.rows, asked
            assert row(found.totals) == expected.totals, asked
            assert {one.region: one.name for one in found.rows} == {
                code: expected.names.get(code) for code in expected.rows
            }, asked
            assert [tree.version for tree in found.trees] == expected.trees, asked
            if region == "64.08":  # what laws ask in memory
                shown = whole.coverage(as_of=as_of, known_at=known_at, rule=rule)
                assert {code: row(one) for code, one in shown.rows.items()} == expected.rows, asked
                assert row(shown.totals) == expected.totals, asked
