"""Coverage reads on real tables: as of D, known at K, with nothing dropped and nothing clamped."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections.api.database import SESSION
from projections.coverage.reads import Coverage, coverage
from projections.person.facts import Withdrawn
from projections.reading import DAY_MAX
from projections.regions import Level, Region
from rekam.runtime.postgres import connect
from rekam.runtime.queries import load_queries
from tests.support.rows import (
    DESA,
    KNOWN_ON,
    NIK,
    OTHER_DESA,
    OTHER_NIK,
    RECORDED_ON,
    TODAY,
    Rows,
    people,
    regency,
)

REGENCY = Region("64.08")


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    """Give a connection to a fresh migrated database."""
    opened = await connect(database)
    yield opened
    await opened.close()


async def read(
    connection: Any,
    *,
    region: Region = REGENCY,
    level: Level = Level.REGENCY,
    as_of: date = TODAY,
    known_at: date = TODAY,
) -> Coverage:
    return await coverage(connection, region=region, level=level, as_of=as_of, known_at=known_at)


async def test_a_recording_counts_from_its_day_on_as_known_from_the_day_it_arrived(
    database: str, connection: Any
) -> None:
    rows = regency({DESA: 4})
    rows.recorded(NIK)
    await rows.write(database)
    day = timedelta(days=1)

    assert (await read(connection)).totals.recorded == 1
    assert (await read(connection, as_of=RECORDED_ON)).totals.recorded == 1
    assert (await read(connection, as_of=RECORDED_ON - day)).totals.recorded == 0
    assert (await read(connection, known_at=KNOWN_ON)).totals.recorded == 1
    assert (await read(connection, known_at=KNOWN_ON - day)).totals.recorded == 0


async def test_an_unknown_date_has_a_column_of_its_own_and_is_not_in_recorded(
    database: str, connection: Any
) -> None:
    rows = regency({DESA: 4})
    rows.recorded(NIK, on=None)
    rows.recorded(OTHER_NIK)
    await rows.write(database)

    totals = (await read(connection)).totals
    assert (totals.recorded, totals.date_unknown, totals.unrecorded) == (1, 1, 3)


async def test_percent_is_exact_to_two_decimals_half_up(database: str, connection: Any) -> None:
    rows = regency({DESA: 800})
    for nik in people(1):
        rows.recorded(nik)
    await rows.write(database)
    # 1 of 800 is 0.125 %, which a float would round to 0.12.
    assert (await read(connection)).totals.percent == Decimal("0.13")


async def test_more_recorded_than_wajib_is_shown_and_not_clamped(
    database: str, connection: Any
) -> None:
    rows = regency({DESA: 1})
    for nik in people(3):
        rows.recorded(nik)
    await rows.write(database)

    totals = (await read(connection)).totals
    assert (totals.recorded, totals.unrecorded, totals.percent) == (3, -2, Decimal("300.00"))


async def test_a_desa_that_only_recordings_name_is_a_row_of_its_own(
    database: str, connection: Any
) -> None:
    rows = regency({DESA: 10})
    rows.recorded(NIK)
    rows.recorded(OTHER_NIK, desa="64.08.12.2002")
    await rows.write(database)

    found = await read(connection, level=Level.DESA)
    stray = next(row for row in found.rows if row.region == "64.08.12.2002")
    assert (stray.name, stray.wajib, stray.recorded, stray.unrecorded) == (None, 0, 1, -1)
    assert (stray.percent, stray.reason) == (None, "not_in_denominator")
    assert (found.totals.wajib, found.totals.recorded, found.totals.unrecorded) == (10, 2, 8)


async def test_without_a_valid_denominator_wajib_and_percent_are_null_with_a_reason(
    database: str, connection: Any
) -> None:
    rows = regency({DESA: 10})
    rows.recorded(NIK, on=date(2017, 6, 1))
    await rows.write(database)

    found = await read(connection, as_of=date(2017, 7, 1))
    [row] = found.rows
    assert (row.wajib, row.unrecorded, row.percent) == (None, None, None)
    assert (row.reason, row.recorded, found.totals.wajib) == ("no_denominator", 1, None)
    assert found.denominators == ()


async def test_the_latest_denominator_valid_by_then_and_known_by_then_is_used(
    database: str, connection: Any
) -> None:
    rows = regency({DESA: 10})
    rows.denominators(
        {DESA: 8}, version="DKB-1-2018", valid=date(2018, 2, 1), known=date(2018, 3, 20)
    )
    rows.recorded(NIK)
    await rows.write(database)

    assert (await read(connection)).totals.wajib == 8
    assert (await read(connection, as_of=date(2018, 1, 31))).totals.wajib == 10
    before = await read(connection, known_at=date(2018, 3, 19))
    assert before.totals.wajib == 10
    assert [base.version for base in before.denominators] == ["DKB-2-2017"]


async def test_a_denominator_published_again_replaces_its_rows_from_that_day_on(
    database: str, connection: Any
) -> None:
    rows = regency({DESA: 10, OTHER_DESA: 5})
    rows.denominators({DESA: 12}, known=date(2018, 2, 1))
    await rows.write(database)

    assert (await read(connection)).totals.wajib == 12
    assert (await read(connection, known_at=date(2018, 1, 31))).totals.wajib == 15


async def test_the_denominator_of_another_regency_is_not_used(
    database: str, connection: Any
) -> None:
    rows = regency({DESA: 10})
    rows.denominators({"64.72.01.1001": 99}, version="DKB-1-2018", valid=date(2018, 2, 1))
    await rows.write(database)

    assert (await read(connection)).totals.wajib == 10
    province = await read(connection, region=Region("64"))
    assert [row.wajib for row in province.rows] == [10, 99]
    assert [base.regency for base in province.denominators] == ["64.08", "64.72"]


async def test_two_regencies_may_call_their_publications_by_one_name(
    database: str, connection: Any
) -> None:
    """A semester has one name all over the nation: neither takes back what the other stated."""
    elsewhere = "64.72.01.1001"
    rows = regency({DESA: 10})
    rows.denominators({elsewhere: 99}, known=date(2018, 2, 1))
    rows.tree({"64.72": "Samarinda", elsewhere: "Harapan Baru"}, known=date(2018, 2, 1))
    rows.denominators({elsewhere: 98}, known=date(2018, 3, 1))
    await rows.write(database)

    told = await read(connection)
    assert (told.totals.wajib, told.rows[0].name) == (10, "Kutai Timur")
    province = await read(connection, region=Region("64"))
    assert [(row.name, row.wajib) for row in province.rows] == [
        ("Kutai Timur", 10),
        ("Samarinda", 98),
    ]


async def test_names_come_from_the_tree_valid_then(database: str, connection: Any) -> None:
    rows = regency({DESA: 10})
    rows.tree({DESA: "Teluk Lingga Baru"}, version="2018", valid=date(2018, 3, 1))
    await rows.write(database)

    async def name(as_of: date) -> str | None:
        found = await read(connection, level=Level.DESA, as_of=as_of)
        return next(row.name for row in found.rows if row.region == DESA)

    assert await name(date(2018, 2, 1)) == "Teluk Lingga"
    assert await name(TODAY) == "Teluk Lingga Baru"


async def test_a_region_without_people_is_still_a_row(database: str, connection: Any) -> None:
    await regency({DESA: 10}).write(database)
    found = await read(connection, level=Level.KECAMATAN)
    assert [row.region for row in found.rows] == ["64.08.04", "64.08.05"]


async def test_a_withdrawn_recording_of_an_unlisted_desa_leaves_no_row(
    database: str, connection: Any
) -> None:
    rows = regency({DESA: 10})
    rows.recorded(NIK, desa="64.08.12.2002")
    rows.say(NIK, Withdrawn("r-1"), known=KNOWN_ON + timedelta(days=3))
    await rows.write(database)

    regions = [row.region for row in (await read(connection, level=Level.DESA)).rows]
    assert "64.08.12.2002" not in regions


async def test_a_kecamatan_holds_its_own_desa_only(database: str, connection: Any) -> None:
    rows = regency({DESA: 10, OTHER_DESA: 5})
    rows.recorded(NIK)
    rows.recorded(OTHER_NIK, desa=OTHER_DESA)
    await rows.write(database)

    found = await read(connection, region=Region("64.08.05"), level=Level.DESA)
    assert [(row.region, row.recorded, row.wajib) for row in found.rows] == [(OTHER_DESA, 1, 5)]


CELL_DESA = ("64.08.04.2001", "64.08.04.2002", "64.08.05.2001", "64.08.18.2009")
DAYS = st.integers(0, 40).map(lambda number: date(2018, 3, 1) + timedelta(days=number))
LATE = st.integers(-1, 40).map(lambda days: timedelta(days=days))
"""No day is believed that lies more than one after the day on which it became known."""
RECORDINGS = st.lists(
    st.tuples(st.sampled_from(CELL_DESA), DAYS, LATE, st.booleans()).map(
        lambda one: (one[0], one[1] if one[3] else None, one[1] + one[2])
    ),
    min_size=1,
    max_size=25,
)
WAJIB = st.dictionaries(st.sampled_from(CELL_DESA), st.integers(1, 30), max_size=4)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(recordings=RECORDINGS, wajib=WAJIB, as_of=DAYS, known_at=DAYS)
async def test_sums_add_up_over_any_cells(
    database: str,
    connection: Any,
    *,
    recordings: list[tuple[str, date | None, date]],
    wajib: dict[str, int],
    as_of: date,
    known_at: date,
) -> None:
    """L4: recorded + unrecorded = wajib in every row and in totals; levels sum to each other."""
    await connection.execute(
        "TRUNCATE coverage_cell, coverage_month, coverage_year, denominator_cell, "
        "publication_cell, person, reference, projection_position"
    )
    rows = Rows()
    if wajib:
        rows.denominators(wajib)
    for nik, (desa, on, known) in zip(people(len(recordings)), recordings, strict=True):
        rows.recorded(nik, desa=desa, on=on, known=known)
    await rows.write(database)

    expected = sum(
        known <= known_at and on is not None and on <= as_of for _, on, known in recordings
    )
    undated = sum(known <= known_at and on is None for _, on, known in recordings)
    found = {
        level: await read(connection, level=level, as_of=as_of, known_at=known_at)
        for level in (Level.REGENCY, Level.KECAMATAN, Level.DESA)
    }
    for answer in found.values():
        assert (answer.totals.recorded, answer.totals.date_unknown) == (expected, undated)
        assert answer.totals.wajib == (sum(wajib.values()) if wajib else None)
        for row in (*answer.rows, answer.totals):
            if row.wajib is not None:
                assert row.unrecorded is not None
                assert row.recorded + row.unrecorded == row.wajib
    for kecamatan in found[Level.KECAMATAN].rows:
        below = [
            row for row in found[Level.DESA].rows if row.region.startswith(f"{kecamatan.region}.")
        ]
        assert sum(row.recorded for row in below) == kecamatan.recorded
        assert sum(row.date_unknown for row in below) == kecamatan.date_unknown


def scanned(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the tables that a plan reads as a whole."""
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from scanned(part)


async def test_no_read_of_a_region_scans_a_big_table(connection: Any) -> None:
    """Whether the planner knows the values or not."""
    await connection.execute(
        """
        INSERT INTO coverage_cell
            (desa, occurred_on, known_on, cause, producer, mode, route, people)
        SELECT format('64.%s.%s.2001', to_char(regency, 'FM00'), to_char(kecamatan, 'FM00')),
            date '2018-01-01' + day, date '2018-01-02' + day, 'arrived', 'dev', 'offline', 'usb', 3
        FROM generate_series(1, 20) AS regency, generate_series(1, 20) AS kecamatan,
            generate_series(1, 100) AS day
        """
    )
    await connection.execute(
        """
        INSERT INTO coverage_month
        SELECT desa, date_trunc('month', occurred_on), date_trunc('month', known_on), sum(people)
        FROM coverage_cell GROUP BY 1, 2, 3
        """
    )
    await connection.execute(
        """
        INSERT INTO coverage_year
        SELECT desa, date_trunc('year', occurred_on), date_trunc('year', known_on), sum(people)
        FROM coverage_cell GROUP BY 1, 2, 3
        """
    )
    await connection.execute(
        """
        INSERT INTO coverage_duplicate
        SELECT desa, occurred_on, known_on, 1 FROM coverage_cell WHERE random() < 0.2
        """
    )
    await connection.execute(
        """
        INSERT INTO denominator_cell
        SELECT 'DKB-' || version, 'DKB', date '2010-01-01' + version * 180, date '2010-01-02',
            desa, 9
        FROM generate_series(1, 20) AS version, (SELECT DISTINCT desa FROM coverage_cell) AS every
        """
    )
    await connection.execute(
        """
        INSERT INTO region_cell
        SELECT 'tree-' || version, date '2010-01-01' + version * 180, date '2010-01-02',
            desa, 'n', 1
        FROM generate_series(1, 20) AS version, (SELECT DISTINCT desa FROM coverage_cell) AS every
        """
    )
    await connection.execute(
        """
        INSERT INTO publication_cell
        SELECT kind, left(desa, 5), valid_from, version, basis, known_on, count(*)
        FROM (
            SELECT 'denominator' AS kind, desa, valid_from, version, basis, known_on
            FROM denominator_cell
            UNION ALL
            SELECT 'tree', code, valid_from, version, '', known_on FROM region_cell
        ) AS every GROUP BY 1, 2, 3, 4, 5, 6
        """
    )
    await connection.execute(
        """
        INSERT INTO recode_cell
        SELECT 'tree-1', date '2010-06-30', date '2010-07-01', left(desa, 9) || 2000 + number,
            left(desa, 9) || 3000 + number, 1
        FROM (SELECT DISTINCT desa FROM coverage_cell) AS every, generate_series(1, 50) AS number
        """
    )
    await connection.execute(
        """
        INSERT INTO producer_contact
        SELECT 'recorder-' || number, date '2018-01-01' + day,
            CASE day WHEN 99 THEN 'infinity' ELSE date '2018-01-02' + day END, day
        FROM generate_series(1, 1000) AS number, generate_series(0, 99) AS day
        """
    )
    await connection.execute(
        """
        INSERT INTO producer_service
        SELECT 'recorder-' || number, date '2017-12-31', 'infinity', date '2018-01-01'
        FROM generate_series(1, 1000) AS number
        """
    )
    await connection.execute(
        """
        INSERT INTO ledger_segment
        SELECT producer, 1, contact_ms * 10 + 1, '\\x00', contact_ms * 10 + 9, '\\x00', 0,
            contact_ms, contact_ms, contact_ms, '{}', '\\x00', 'usb'
        FROM producer_contact
        """
    )
    await connection.execute("ANALYZE")
    for name, value in SESSION.items():
        await connection.execute("SELECT set_config($1, $2, false)", name, value)
    low, high = Region("64.08").desa_range
    year, month, split = date(2018, 1, 1), TODAY.replace(day=1), date(2018, 3, 1)
    late = [date(2018, number, 1) for number in range(1, TODAY.month)]
    bounds = (low, high, year, month, TODAY, year, split, TODAY, late)
    of_coverage = load_queries("projections.coverage", "queries_read.sql")
    of_reference = load_queries("projections.reference", "queries_read.sql")
    of_registry = load_queries("projections.registry", "queries_read.sql")
    valid = date(2015, 1, 1)
    for query, *arguments in (
        (of_coverage["sum_people"], *bounds),
        (of_coverage["sum_people"], low, high, year, month, TODAY, year, month, split, late),
        (of_coverage["sum_points"], *bounds, [TODAY], Level.DESA.code_length),
        (of_coverage["sum_points"], *bounds, [TODAY], Level.REGENCY.code_length),
        (of_coverage["sum_points"], *bounds, [TODAY], 0),
        (of_coverage["sum_duplicates"], low, high, TODAY, TODAY),
        (of_coverage["sum_duplicate_points"], low, high, TODAY, TODAY, [TODAY], 0),
        (of_coverage["sum_changes"], low, high, split, TODAY, TODAY),
        (of_registry["find_earliest_contact"], split),
        (of_registry["find_earliest_contact"], DAY_MAX),
        (of_reference["list_recodes"], TODAY, TODAY, "64.08"),
        (of_reference["list_publications"], TODAY, TODAY, ["64.08"]),
        (of_reference["list_regencies"], "64.00", "64.99"),
        (of_reference["sum_denominators"], TODAY, ["64.08"], ["DKB-3"], ["DKB"], [valid]),
        (of_reference["list_codes"], TODAY, ["64.08"], ["tree-3"], [valid]),
    ):
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"SET plan_cache_mode = {mode}")
            [plan] = json.loads(
                await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments)
            )
            assert not [*scanned(plan["Plan"])], (mode, query)


async def test_infinity_is_how_the_tables_say_unknown(database: str, connection: Any) -> None:
    rows = Rows()
    rows.recorded(NIK, on=None)
    await rows.write(database)
    assert await connection.fetchval(
        "SELECT count(*) FROM coverage_cell WHERE occurred_on = 'infinity'"
    )
