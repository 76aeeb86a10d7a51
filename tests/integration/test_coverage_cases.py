"""The cases of the domain, on real tables: trees change, denominators fall, 104.8 %, duplicates."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from projections.coverage.changes import Report, coverage_changes
from projections.coverage.reads import Coverage, CoverageRow, CoverageTotals, coverage
from projections.coverage.series import Step, coverage_series
from projections.regions import Level, Region
from projections.rules import COVERAGE_RULES, CoverageRule
from rekam.runtime.postgres import connect
from tests.support.rows import TODAY, Rows, people

REGENCY = Region("64.08")
SANGATTA_UTARA = "64.08.04"
SANGATTA_SELATAN = "64.08.12"
SINGA_GEWEH_DESA = "64.08.12.2002"
SINGA_GEWEH = "64.08.12.1002"
TELUK_LINGGA = "64.08.04.2001"
BENUA_BARU = "64.08.05.2006"
TREE_2017 = date(2017, 1, 1)
IN_2015, IN_2018 = date(2015, 6, 1), date(2018, 2, 1)
SETTLEMENTS_2016, SETTLEMENTS_2017 = 135, 141


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    """Give a connection to a fresh migrated database."""
    opened = await connect(database)
    yield opened
    await opened.close()


def trees() -> Rows:
    """Return the tree of 2016 and that of 2017, as far as they are told apart here.

    Other settlements are numbered as the places of kecamatan 18 are: the names do not matter.
    """
    rows = Rows()
    named = {
        "64.08": "Kutai Timur",
        SANGATTA_UTARA: "Sangatta Utara",
        SANGATTA_SELATAN: "Sangatta Selatan",
        "64.08.05": "Sangkulirang",
        "64.08.18": "Long Mesangat",
        TELUK_LINGGA: "Teluk Lingga",
    }
    others = {f"64.08.18.{2001 + number}": f"desa {number}" for number in range(138)}
    before = dict(list(others.items())[: SETTLEMENTS_2016 - 3])
    rows.tree(
        named | {SINGA_GEWEH_DESA: "Singa Geweh", BENUA_BARU: "Benua Baru"} | before,
        version="2016",
        valid=date(2010, 1, 1),
        known=date(2010, 1, 1),
    )
    rows.tree(
        named | {SINGA_GEWEH: "Singa Geweh", BENUA_BARU: "Benua Baru Ilir"} | others,
        version="2017",
        valid=TREE_2017,
        known=date(2017, 2, 1),
        mapping={SINGA_GEWEH_DESA: SINGA_GEWEH},
    )
    return rows


async def read(
    connection: Any,
    *,
    region: Region = REGENCY,
    level: Level = Level.DESA,
    as_of: date = TODAY,
    known_at: date = TODAY,
    rule: CoverageRule = "duplicates-count/v1",
) -> Coverage:
    return await coverage(
        connection, region=region, level=level, as_of=as_of, known_at=known_at, rule=rule
    )


def row_of(found: Coverage, code: str) -> CoverageRow:
    return next(row for row in found.rows if row.region == code)


def remarks_of(figures: CoverageTotals) -> dict[str, tuple[int, list[str]]]:
    return {one.remark: (one.people, one.regions) for one in figures.remarks}


async def test_a_report_of_2016_has_the_135_settlements_of_then_and_later_ones_141(
    database: str, connection: Any
) -> None:
    await trees().write(database)
    assert len((await read(connection, as_of=date(2016, 4, 11))).rows) == SETTLEMENTS_2016
    assert len((await read(connection)).rows) == SETTLEMENTS_2017
    found = await read(connection, as_of=date(2016, 4, 11))
    assert [(tree.version, tree.valid_from) for tree in found.trees] == [("2016", date(2010, 1, 1))]


async def test_people_of_singa_geweh_are_counted_under_its_new_code_and_history_stays(
    database: str, connection: Any
) -> None:
    rows = trees()
    rows.denominators({SINGA_GEWEH_DESA: 10}, version="2015", valid=date(2015, 1, 1))
    first, second, third = people(3)
    rows.recorded(first, desa=SINGA_GEWEH_DESA, on=IN_2015, known=IN_2015)
    rows.recorded(second, desa=SINGA_GEWEH_DESA, on=IN_2018, known=IN_2018)  # an old form
    rows.recorded(third, desa=SINGA_GEWEH, on=IN_2018, known=IN_2018)
    await rows.write(database)

    now = await read(connection)
    moved = row_of(now, SINGA_GEWEH)
    assert (moved.name, moved.recorded, moved.wajib) == ("Singa Geweh", 3, 10)
    assert SINGA_GEWEH_DESA not in [row.region for row in now.rows]
    assert remarks_of(moved)["recoded"] == (2, [SINGA_GEWEH_DESA])

    before = await read(connection, as_of=TREE_2017 - timedelta(days=1))
    stayed = row_of(before, SINGA_GEWEH_DESA)
    assert (stayed.recorded, stayed.wajib, stayed.remarks) == (1, 10, [])
    assert SINGA_GEWEH not in [row.region for row in before.rows]
    assert row_of(await read(connection, as_of=TREE_2017), SINGA_GEWEH).recorded == 1

    # Nobody knew of the new tree before it was published, whatever its first day.
    unaware = await read(connection, known_at=date(2017, 1, 31), as_of=date(2017, 1, 31))
    assert row_of(unaware, SINGA_GEWEH_DESA).recorded == 1
    both = [await read(connection, level=level) for level in (Level.KECAMATAN, Level.REGENCY)]
    assert [found.totals.recorded for found in both] == [3, 3]


async def test_one_settlement_asked_for_by_its_new_code_holds_those_of_the_old_one(
    database: str, connection: Any
) -> None:
    rows = trees()
    rows.recorded(people(1)[0], desa=SINGA_GEWEH_DESA, on=IN_2015, known=IN_2015)
    await rows.write(database)
    assert (await read(connection, region=Region(SINGA_GEWEH))).totals.recorded == 1
    former = await read(connection, region=Region(SINGA_GEWEH_DESA))
    assert former.totals.recorded == 0
    assert remarks_of(former.totals)["region_recoded"] == (0, [SINGA_GEWEH])
    then = await read(connection, region=Region(SINGA_GEWEH_DESA), as_of=date(2016, 12, 31))
    assert then.totals.recorded == 1
    assert "region_recoded" not in remarks_of(then.totals)


async def test_a_kecamatan_that_is_recoded_takes_its_desa_with_it(
    database: str, connection: Any
) -> None:
    rows = trees()
    rows.tree(
        {"64.08": "Kutai Timur", "64.08.19": "Baru", "64.08.19.2001": "Teluk Lingga"},
        version="2018",
        valid=date(2018, 1, 1),
        mapping={SANGATTA_UTARA: "64.08.19"},
    )
    rows.recorded(people(1)[0], desa=TELUK_LINGGA, on=IN_2015, known=IN_2015)
    await rows.write(database)
    assert row_of(await read(connection), "64.08.19.2001").recorded == 1
    former = await read(connection, region=Region(SANGATTA_UTARA))
    assert remarks_of(former.totals)["region_recoded"] == (0, ["64.08.19"])
    assert row_of(await read(connection, as_of=date(2017, 12, 31)), TELUK_LINGGA).recorded == 1


async def test_people_who_come_from_another_regency_are_counted_once(
    database: str, connection: Any
) -> None:
    rows = trees()
    rows.tree(
        {"64.74": "Bontang", "64.74.01.1001": "Sidrap"},
        version="bontang-2018",
        valid=date(2018, 1, 1),
        mapping={TELUK_LINGGA: "64.74.01.1001"},
    )
    rows.denominators({TELUK_LINGGA: 8, SINGA_GEWEH: 5})
    rows.recorded(people(1)[0], desa=TELUK_LINGGA, on=IN_2015, known=IN_2015)
    await rows.write(database)
    bontang = (await read(connection, region=Region("64.74"))).totals
    assert bontang.recorded == 1
    assert (await read(connection)).totals.recorded == 0
    assert (await read(connection)).totals.wajib == 5
    assert (await read(connection, region=Region("64"), level=Level.REGENCY)).totals.recorded == 1
    then = await read(connection, as_of=date(2017, 12, 31))
    assert (then.totals.recorded, then.totals.wajib) == (1, 13)


NEW_REGENCY, NEW_DESA, NEW_OTHER = "64.12", "64.12.01.2001", "64.12.01.2002"
SPLIT_ON = date(2018, 1, 1)
STAYED = "64.08.18.2001"


def split(*, others: tuple[str, ...] = ()) -> Rows:
    """Return Kutai Timur, of which Sangatta Utara became a regency of its own in 2018."""
    rows = trees()
    rows.tree(
        {code: code for code in (NEW_REGENCY, "64.12.01", NEW_DESA, *others)},
        version="new-2018",
        valid=SPLIT_ON,
        mapping={SANGATTA_UTARA: "64.12.01"},
    )
    rows.denominators({TELUK_LINGGA: 8, STAYED: 5})
    first, second = people(2)
    rows.recorded(first, desa=TELUK_LINGGA, on=IN_2015, known=IN_2015)
    rows.recorded(second, desa=STAYED, on=IN_2015, known=IN_2015)
    return rows


async def wajib_and_recorded(
    connection: Any, region: str, *, as_of: date = TODAY
) -> tuple[int | None, int]:
    totals = (await read(connection, region=Region(region), as_of=as_of)).totals
    return totals.wajib, totals.recorded


async def test_desa_of_a_new_regency_take_their_denominators_along(
    database: str, connection: Any
) -> None:
    await split().write(database)
    before = SPLIT_ON - timedelta(days=1)
    assert await wajib_and_recorded(connection, "64.08", as_of=before) == (13, 2)
    assert await wajib_and_recorded(connection, "64", as_of=before) == (13, 2)

    assert await wajib_and_recorded(connection, "64.08") == (5, 1)
    assert await wajib_and_recorded(connection, "64") == (13, 2)
    for region in (NEW_REGENCY, "64.12.01", NEW_DESA):
        found = await read(connection, region=Region(region))
        assert (found.totals.wajib, found.totals.recorded) == (8, 1)
        assert found.totals.percent == Decimal("12.50")
        assert remarks_of(found.totals) == {"recoded": (1, [TELUK_LINGGA])}
        # What a figure rests on is told, also when another regency has said it.
        assert [one.regency for one in found.denominators] == ["64.08"]


async def test_a_new_regency_is_counted_once_from_its_own_denominator_on(
    database: str, connection: Any
) -> None:
    rows = split()
    own_on = SPLIT_ON + timedelta(days=31)
    rows.denominators({NEW_DESA: 9}, version="own", valid=own_on)
    await rows.write(database)
    assert await wajib_and_recorded(connection, NEW_REGENCY, as_of=SPLIT_ON) == (8, 1)
    # The former regency has not published since: its word of the place is told no more.
    assert await wajib_and_recorded(connection, NEW_REGENCY, as_of=own_on) == (9, 1)
    assert await wajib_and_recorded(connection, "64", as_of=own_on) == (14, 2)
    found = await read(connection, region=Region(NEW_REGENCY))
    assert [one.regency for one in found.denominators] == [NEW_REGENCY]


async def test_a_new_regencys_0_is_no_word_until_the_former_regency_leaves_the_desa_out(
    database: str, connection: Any
) -> None:
    rows = split()
    own_on, next_on = date(2018, 2, 1), date(2018, 3, 1)
    rows.denominators({NEW_DESA: 0, NEW_OTHER: 9}, version="own", valid=own_on)
    rows.denominators({STAYED: 5}, version="next", valid=next_on)
    await rows.write(database)
    assert await wajib_and_recorded(connection, NEW_REGENCY, as_of=own_on) == (8 + 9, 1)
    assert await wajib_and_recorded(connection, NEW_REGENCY, as_of=next_on) == (9, 1)


async def test_desa_that_join_a_regency_are_added_to_what_it_had_stated_before(
    database: str, connection: Any
) -> None:
    rows = split()
    rows.denominators({NEW_DESA: 1, NEW_OTHER: 2}, version="own", valid=date(2017, 12, 31))
    await rows.write(database)
    assert await wajib_and_recorded(connection, NEW_REGENCY, as_of=date(2017, 12, 31)) == (3, 0)
    assert await wajib_and_recorded(connection, NEW_REGENCY) == (11, 1)
    assert await wajib_and_recorded(connection, "64") == (16, 2)


async def test_of_a_place_that_came_from_nowhere_nothing_is_stated_nor_of_what_it_lies_in(
    database: str, connection: Any
) -> None:
    await split(others=("64.12.02", "64.12.02.2001")).write(database)
    found = await read(connection, region=Region(NEW_REGENCY))
    assert {row.region: row.wajib for row in found.rows} == {NEW_DESA: 8, "64.12.02.2001": None}
    assert [(await wajib_and_recorded(connection, one))[0] for one in ("64.12", "64")] == [None] * 2
    assert [one.remark for one in found.totals.remarks] == ["no_denominator", "recoded"]


async def test_a_regency_with_people_and_without_publications_leaves_its_province_without_wajib(
    database: str, connection: Any
) -> None:
    rows = split()
    rows.recorded("6408044101910009", desa="64.13.01.2001", on=IN_2018, known=IN_2018)
    await rows.write(database)
    province = Region("64")
    days = [IN_2018 - timedelta(days=1), IN_2018]
    series = await coverage_series(
        connection, region=province, days=days, step=Step.DAY, known_at=TODAY
    )
    assert [(point.wajib, point.recorded) for point in series.points] == [(13, 2), (None, 3)]
    for day, point in zip(days, series.points, strict=True):
        for level in (Level.REGENCY, Level.KECAMATAN, Level.DESA):
            totals = (await read(connection, region=province, level=level, as_of=day)).totals
            assert (totals.wajib, totals.recorded) == (point.wajib, point.recorded)


async def test_rows_of_places_that_left_a_regency_say_what_has_become_of_them(
    database: str, connection: Any
) -> None:
    await split().write(database)
    for level, left, current in (
        (Level.KECAMATAN, SANGATTA_UTARA, "64.12.01"),
        (Level.DESA, TELUK_LINGGA, NEW_DESA),
    ):
        found = await read(connection, level=level)
        row = row_of(found, left)
        assert (row.wajib, row.recorded) == (0, 0)
        alone = (await read(connection, region=Region(left))).totals
        assert remarks_of(row) == remarks_of(alone) == {"region_recoded": (0, [current])}
        # The regency itself is still what it was.
        assert remarks_of(found.totals) == {}
        then = row_of(await read(connection, level=level, as_of=date(2017, 12, 31)), left)
        assert (then.wajib, then.recorded, remarks_of(then)) == (8, 1, {})


async def test_a_code_that_was_given_up_and_is_listed_again_says_where_its_people_are(
    database: str, connection: Any
) -> None:
    rows = trees()
    rows.tree(
        {"64.08": "Kutai Timur", SINGA_GEWEH: "Singa Geweh", SINGA_GEWEH_DESA: "Desa Baru"},
        version="2018",
        valid=SPLIT_ON,
    )
    rows.denominators({SINGA_GEWEH: 9, SINGA_GEWEH_DESA: 1})
    rows.recorded(people(1)[0], desa=SINGA_GEWEH_DESA, on=IN_2018, known=IN_2018)
    await rows.write(database)
    found = await read(connection)
    kept, reused = row_of(found, SINGA_GEWEH), row_of(found, SINGA_GEWEH_DESA)
    assert (kept.wajib, kept.recorded, reused.wajib, reused.recorded) == (10, 1, 0, 0)
    assert remarks_of(reused) == {"region_recoded": (0, [SINGA_GEWEH])}
    assert remarks_of(found.totals) == remarks_of(kept) == {"recoded": (1, [SINGA_GEWEH_DESA])}


async def test_people_of_a_desa_that_left_with_its_kecamatan_and_came_back_are_counted_once(
    database: str, connection: Any
) -> None:
    rows = trees()
    rows.tree(
        {"64.08": "Kutai Timur", "64.08.19": "Baru", "64.08.19.2001": "Teluk Lingga"},
        version="2018",
        valid=SPLIT_ON,
        mapping={SANGATTA_UTARA: "64.08.19"},
    )
    rows.tree(
        {"64.08": "Kutai Timur", SANGATTA_UTARA: "Sangatta Utara", TELUK_LINGGA: "Teluk Lingga"},
        version="2018-2",
        valid=IN_2018,
        mapping={"64.08.19.2001": TELUK_LINGGA},
    )
    first, second, third = people(3)
    rows.recorded(first, desa=TELUK_LINGGA, on=IN_2018, known=IN_2018)
    rows.recorded(second, desa=TELUK_LINGGA, on=IN_2018, known=TODAY)
    rows.recorded(third, desa="64.08.04.2002", on=IN_2015, known=TODAY)  # which did not come back
    await rows.write(database)
    region = Region(TELUK_LINGGA)
    assert (await read(connection, region=region)).totals.recorded == 2
    for rule in COVERAGE_RULES:
        series = await coverage_series(
            connection, region=region, days=[TODAY], step=Step.DAY, known_at=TODAY, rule=rule
        )
        assert [point.recorded for point in series.points] == [2]
    former, later = Report(known_at=IN_2018), Report(known_at=TODAY)
    found = await coverage_changes(
        connection, region=region, as_of=TODAY, former=former, later=later
    )
    assert found.delta.recorded == 1
    assert [(one.cause, one.count) for one in found.causes] == [("arrived", 1)]


async def test_a_tree_published_again_under_another_version_takes_the_place_of_its_recodings(
    database: str, connection: Any
) -> None:
    rows = trees()
    rows.tree(
        {"64.08": "Kutai Timur", "64.08.12.1003": "Singa Geweh"},
        version="2017-correction",
        valid=TREE_2017,
        known=date(2018, 3, 1),
        mapping={SINGA_GEWEH_DESA: "64.08.12.1003"},
    )
    rows.recorded(people(1)[0], desa=SINGA_GEWEH_DESA, on=IN_2015, known=IN_2015)
    await rows.write(database)
    assert row_of(await read(connection), "64.08.12.1003").recorded == 1
    assert row_of(await read(connection, known_at=date(2018, 2, 28)), SINGA_GEWEH).recorded == 1


async def test_a_rename_shows_each_report_the_name_of_its_time(
    database: str, connection: Any
) -> None:
    await trees().write(database)
    assert row_of(await read(connection), BENUA_BARU).name == "Benua Baru Ilir"
    assert row_of(await read(connection, as_of=IN_2015), BENUA_BARU).name == "Benua Baru"


async def test_the_denominator_falls_and_each_answer_names_its_own(
    database: str, connection: Any
) -> None:
    rows = trees()
    march, april = date(2018, 3, 31), date(2019, 4, 28)
    rows.denominators({TELUK_LINGGA: 291_506}, version="DKB-2-2017", valid=date(2017, 12, 31))
    rows.denominators(
        {TELUK_LINGGA: 289_542},
        version="DKB-2-2018",
        valid=date(2018, 12, 31),
        known=date(2019, 1, 10),
    )
    await rows.write(database)

    async def asked(as_of: date, known_at: date) -> tuple[int | None, str]:
        found = await read(connection, as_of=as_of, known_at=known_at)
        [base] = found.denominators
        return found.totals.wajib, base.version

    assert await asked(march, march) == (291_506, "DKB-2-2017")
    assert await asked(april, april) == (289_542, "DKB-2-2018")
    assert await asked(march, april) == (291_506, "DKB-2-2017")
    assert await asked(april, date(2019, 1, 9)) == (291_506, "DKB-2-2017")


async def test_more_than_a_hundred_percent_is_shown_with_its_causes(
    database: str, connection: Any
) -> None:
    rows = trees()
    rows.denominators({TELUK_LINGGA: 100, SINGA_GEWEH: 25})
    strays = ("64.08.04.2009", "64.08.18.2002")
    for number, nik in enumerate(people(131)):
        desa = TELUK_LINGGA if number < 105 else SINGA_GEWEH if number < 128 else strays[0]
        rows.recorded(nik, desa=strays[1] if number == 130 else desa)
    await rows.write(database)

    found = await read(connection, level=Level.KECAMATAN)
    assert found.totals.percent == Decimal("104.80")
    assert (found.totals.unrecorded, found.totals.recorded) == (-6, 131)
    assert remarks_of(found.totals) == {
        "more_recorded_than_wajib": (6, sorted([TELUK_LINGGA, *strays])),
        "not_in_denominator": (3, sorted(strays)),
        "not_in_tree": (2, [strays[0]]),
    }
    assert remarks_of(row_of(found, SANGATTA_SELATAN)) == {}
    assert remarks_of(row_of(found, SANGATTA_UTARA)) == {
        "more_recorded_than_wajib": (7, [TELUK_LINGGA, strays[0]]),
        "not_in_denominator": (2, [strays[0]]),
        "not_in_tree": (2, [strays[0]]),
    }


async def test_duplicate_records_count_by_one_rule_and_not_by_the_other(
    database: str, connection: Any
) -> None:
    rows = trees()
    rows.denominators({TELUK_LINGGA: 4})
    plain, shown, cleared, undated = people(4)
    for nik in (plain, shown, cleared):
        rows.recorded(nik, on=date(2018, 1, 10), known=date(2018, 1, 10))
    rows.recorded(undated, on=None, known=date(2018, 1, 10))
    for nik in (shown, cleared, undated):
        rows.observed(nik, "DUPLICATE_RECORD", on=date(2018, 2, 1), known=date(2018, 2, 20))
    rows.observed(cleared, "PRINT_READY_RECORD", on=date(2018, 3, 1), known=date(2018, 3, 5))
    await rows.write(database)

    async def excluded(as_of: date, known_at: date) -> tuple[int, int]:
        found = await read(
            connection, as_of=as_of, known_at=known_at, rule="duplicates-excluded/v1"
        )
        plainly = await read(connection, as_of=as_of, known_at=known_at)
        assert (plainly.totals.recorded, plainly.totals.date_unknown) == (3, 1)
        left_out = sum(
            one.people for one in found.totals.remarks if one.remark == "duplicates_excluded"
        )
        assert left_out == 4 - found.totals.recorded - found.totals.date_unknown
        assert found.totals.recorded + (found.totals.unrecorded or 0) == found.totals.wajib
        return found.totals.recorded, found.totals.date_unknown

    assert await excluded(TODAY, TODAY) == (2, 0)
    # By what was known before the 20th, nobody was a duplicate.
    assert await excluded(TODAY, date(2018, 2, 19)) == (3, 1)
    assert await excluded(TODAY, date(2018, 2, 20)) == (1, 0)
    # As of January nobody had been shown as one, whatever is known now; without a date, the
    # latest status of all decides.
    assert await excluded(date(2018, 1, 31), TODAY) == (3, 0)
    assert await excluded(date(2018, 2, 1), TODAY) == (1, 0)
