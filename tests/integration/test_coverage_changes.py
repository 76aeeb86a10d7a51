"""Why figures differ, and how they grew: folded from real logs into real tables."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from projections.coverage.changes import Changes, Report, coverage_changes
from projections.coverage.reads import coverage
from projections.coverage.series import (
    DenominatorStretch,
    Step,
    TreeStretch,
    coverage_series,
    days_of,
)
from projections.reference.reads import DenominatorVersion, TreeVersion
from projections.regions import Level, Region
from projections.rules import COVERAGE_RULE_DEFAULT, COVERAGE_RULES, CoverageRule
from rekam.domain import events
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.log import LogRecord
from rekam.runtime.postgres import connect, open_pool
from tests.support.history import (
    DAY_MS,
    DESA,
    REGISTRAR,
    REGISTRAR_KEY,
    RULES,
    START_MS,
    Life,
    Log,
    anchored,
    captured,
    nik,
    random_history,
)
from tests.support.live import chunks, fold_partition, new_folder
from tests.support.regency_split import NEW_DESA, NEW_REGENCY, SILENT_DESA, with_regency_split

REGION = Region("64.08")
OTHER_REGION = Region(DESA[2])
PROVINCE = Region("64")
PLACES = (
    PROVINCE,
    REGION,
    Region(NEW_REGENCY),
    Region("64.08.04"),
    Region("64.08.12"),
    Region("64.08.19"),
    OTHER_REGION,
    Region(NEW_DESA[0]),
)
SEEDS = range(12)
QUESTIONS = 12


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    """Give a connection to a fresh migrated database."""
    opened = await connect(database)
    yield opened
    await opened.close()


async def write(database: str, records: list[LogRecord]) -> None:
    """Fold records into a database as a worker does."""
    pool = await open_pool(database)
    try:
        await fold_partition(new_folder(pool), chunks(records))
    finally:
        await pool.close()


def named(
    versions: Sequence[DenominatorStretch | TreeStretch], day: date
) -> list[tuple[str, str, date]]:
    """Return the versions that the point of a day rests on."""
    return named_by([one for one in versions if one.first_point <= day <= one.last_point])


def named_by(
    versions: Sequence[DenominatorVersion | TreeVersion],
) -> list[tuple[str, str, date]]:
    """Return regency, version and first day of each."""
    return [(one.regency, one.version, one.valid_from) for one in versions]


def sums(changes: Changes) -> dict[str, int]:
    """Return the sum of the causes' counts by measure."""
    found: dict[str, int] = defaultdict(int)
    for one in changes.causes:
        if one.count is not None:
            found[one.measure] += one.count
    return found


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_parts_of_a_change_sum_to_it_whatever_happened(
    database: str, connection: Any, seed: int
) -> None:
    records = with_regency_split(random_history(seed, segments=40), seed)
    await write(database, records)
    choose = random.Random(seed)
    days = sorted({RULES.zone.day(record.append_ms) for record in records})
    for _ in range(QUESTIONS):
        region = choose.choice(PLACES)
        as_of = choose.choice([date(2017, 7, 15), *days, days[-1] + timedelta(days=400)])
        former, later = (
            Report(known_at=day, rule=choose.choice(COVERAGE_RULES))
            for day in sorted(choose.choices(days, k=2))
        )
        found = await coverage_changes(
            connection, region=region, as_of=as_of, former=former, later=later
        )
        for report, told, denominators, trees in (
            (former, found.before, found.denominators_from, found.trees_from),
            (later, found.after, found.denominators_to, found.trees_to),
        ):
            asked = await coverage(
                connection,
                region=region,
                level=Level.DESA,
                as_of=as_of,
                known_at=report.known_at,
                rule=report.rule,
            )
            assert (asked.totals.recorded, asked.totals.date_unknown, asked.totals.wajib) == (
                told.recorded,
                told.date_unknown,
                told.wajib,
            )
            assert (asked.denominators, asked.trees) == (denominators, trees)
        parts = sums(found)
        assert parts.get("recorded", 0) == found.delta.recorded
        assert parts.get("date_unknown", 0) == found.delta.date_unknown
        # What is unknown has no sum: the part that made it so has no count, and only then.
        are_known = None not in (found.before.wajib, found.after.wajib)
        assert (found.delta.wajib is not None) == are_known
        if are_known:
            assert parts.get("wajib", 0) == found.delta.wajib
            assert all(one.count is not None for one in found.causes)
        elif found.before.wajib != found.after.wajib:
            assert [one.measure for one in found.causes if one.count is None] == ["wajib"]
        for one in found.causes:
            if one.producers:
                assert sum(share.count for share in one.producers) == one.count


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_point_of_a_series_is_the_coverage_as_of_its_day(
    database: str, connection: Any, seed: int
) -> None:
    records = with_regency_split(random_history(seed, segments=40), seed)
    await write(database, records)
    choose = random.Random(seed)
    known_days = sorted({RULES.zone.day(record.append_ms) for record in records})
    for region in PLACES:
        step, rule = choose.choice([*Step]), choose.choice(COVERAGE_RULES)
        start = date(2017, 6, 1) + timedelta(days=choose.randrange(90))
        days = days_of(start, start + timedelta(days=choose.randrange(150)), step)
        known_at = choose.choice(known_days)
        series = await coverage_series(
            connection, region=region, days=days, step=step, known_at=known_at, rule=rule
        )
        assert [point.date for point in series.points] == days
        for point in choose.sample(series.points, k=min(4, len(days))):
            asked = await coverage(
                connection,
                region=region,
                level=Level.DESA,
                as_of=point.date,
                known_at=known_at,
                rule=rule,
            )
            assert (point.recorded, point.wajib) == (asked.totals.recorded, asked.totals.wajib)
            assert named(series.denominators, point.date) == named_by(asked.denominators)
            assert named(series.trees, point.date) == named_by(asked.trees)
            if point.date == days[-1]:
                assert series.date_unknown == asked.totals.date_unknown


# One case after the other -------------------------------------------------------------------------


class Office:
    """An office in which one thing after the other becomes known, a day apart."""

    def __init__(self) -> None:
        self.registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
        self.dev_a, self.dev_b, self.centre = (
            Life(ProducerId(name), SigningKey.from_seed(bytes([number]) * 32), kind=kind)
            for number, (name, kind) in enumerate(
                (("dev-a", "recorder"), ("dev-b", "recorder"), ("centre", "centre")), start=70
            )
        )
        self.log = Log()
        lives = (self.dev_a, self.dev_b, self.centre)
        self.say(self.registrar, *[life.enrolment() for life in lives])
        self.say(self.dev_a, anchored("boot-1"))
        self.say(self.dev_b, anchored("boot-1"))

    def say(
        self, life: Life, *data: events.EventData, wall_ms: int = START_MS, route: str = ""
    ) -> date:
        """Append a segment on a new day, and return the day."""
        return self.append(self.seal(life, *data, wall_ms=wall_ms), route=route)

    def seal(self, life: Life, *data: events.EventData, wall_ms: int = START_MS) -> bytes:
        """Seal a segment without sending it."""
        return life.seal(*[life.event(one, wall_ms=wall_ms) for one in data])

    def append(self, raw: bytes, *, route: str) -> date:
        """Append a segment by a route on a new day, and return the day."""
        record = self.log.append(raw, partition=0, later_ms=DAY_MS, route=route)
        return RULES.zone.day(record.append_ms)


Share = tuple[str | None, str | None, str | None, int]
"""(producer, mode, route, people)"""


async def changed(
    connection: Any,
    *,
    since: date,
    until: date,
    region: Region = REGION,
    rules: tuple[CoverageRule, CoverageRule] = (COVERAGE_RULE_DEFAULT, COVERAGE_RULE_DEFAULT),
) -> dict[tuple[str, str], tuple[int | None, list[Share]]]:
    """Return count and producers by measure and cause, as of a day after all recordings."""
    found = await coverage_changes(
        connection,
        region=region,
        as_of=RULES.zone.day(START_MS + 30 * DAY_MS),
        former=Report(known_at=since, rule=rules[0]),
        later=Report(known_at=until, rule=rules[1]),
    )
    return {
        (one.measure, one.cause): (
            one.count,
            [(share.producer, share.mode, share.route, share.count) for share in one.producers],
        )
        for one in found.causes
    }


async def test_late_arrivals_are_named_by_producer_and_mode(database: str, connection: Any) -> None:
    office = Office()
    first = office.say(office.dev_a, captured(1, "a1"))
    office.say(office.dev_a, captured(2, "a2"))
    last = office.say(office.dev_b, captured(3, "b1"), captured(4, "b2"))
    await write(database, office.log.records)
    assert await changed(connection, since=first, until=last) == {
        ("recorded", "arrived"): (3, [("dev-b", "offline", None, 2), ("dev-a", "offline", None, 1)])
    }


@pytest.mark.parametrize("is_reversed", [False, True])
async def test_late_arrivals_are_told_apart_by_the_route_of_the_earliest_copy(
    database: str, connection: Any, *, is_reversed: bool
) -> None:
    office = Office()
    first = office.say(office.dev_a, captured(1, "a1"), route="kafka")
    office.say(office.dev_a, captured(2, "a2"), route="kafka")
    on_stick = office.seal(office.dev_a, captured(3, "a3"), captured(4, "a4"))
    office.append(on_stick, route="usb")
    office.append(on_stick, route="gateway")
    office.say(office.dev_b, captured(5, "b1"), route="relay")
    withdrawn = events.RecordingWithdrawn(recording="a2", nik=nik(2), reason="test")
    last = office.say(office.dev_a, withdrawn, route="usb")
    pool = await open_pool(database)
    try:  # in partitions of their own, so that they may be folded in any order
        records = [
            replace(record, partition=number, offset=0)
            for number, record in enumerate(office.log.records)
        ]
        for record in records[::-1] if is_reversed else records:
            await fold_partition(new_folder(pool), chunks([record]))
    finally:
        await pool.close()
    assert await changed(connection, since=first, until=last) == {
        ("recorded", "arrived"): (
            4,
            [
                ("dev-a", "offline", "usb", 2),
                ("dev-a", "offline", "kafka", 1),
                ("dev-b", "offline", "relay", 1),
            ],
        ),
        ("recorded", "withdrawn"): (-1, [("dev-a", None, None, -1)]),
    }


async def test_a_withdrawal_takes_away_what_another_device_recorded(
    database: str, connection: Any
) -> None:
    office = Office()
    before = office.say(office.dev_a, captured(1, "a1"))
    withdrawn = events.RecordingWithdrawn(recording="a1", nik=nik(1), reason="test")
    last = office.say(office.dev_b, withdrawn)
    await write(database, office.log.records)
    assert await changed(connection, since=before, until=last) == {
        ("recorded", "withdrawn"): (-1, [("dev-b", None, None, -1)])
    }


async def test_a_clock_that_is_anchored_late_moves_people_out_of_date_unknown(
    database: str, connection: Any
) -> None:
    office = Office()
    office.dev_a.boot = "boot-9"
    before = office.say(office.dev_a, captured(1, "a1"), captured(2, "a2"))
    last = office.say(office.dev_a, anchored("boot-9"))
    await write(database, office.log.records)
    assert await changed(connection, since=before, until=last) == {
        ("date_unknown", "redated"): (-2, [("dev-a", "offline", None, -2)]),
        ("recorded", "redated"): (2, [("dev-a", "offline", None, 2)]),
    }
    as_known = await coverage(
        connection, region=REGION, level=Level.DESA, as_of=last, known_at=before
    )
    assert (as_known.totals.recorded, as_known.totals.date_unknown) == (0, 2)


async def test_a_revocation_that_reaches_back_takes_people_away_from_its_day_of_knowledge_on(
    database: str, connection: Any
) -> None:
    office = Office()
    before = office.say(office.dev_a, captured(1, "a1"))
    revoked = events.ProducerRevoked(producer="dev-a", effective_ms=START_MS, reason="stolen")
    last = office.say(office.registrar, revoked)
    await write(database, office.log.records)
    assert await changed(connection, since=before, until=last) == {
        ("recorded", "revoked"): (-1, [("dev-a", "offline", None, -1)])
    }


async def test_a_recording_elsewhere_moves_a_person_between_desa_and_changes_no_sum(
    database: str, connection: Any
) -> None:
    office = Office()
    before = office.say(office.dev_a, captured(1, "a1", DESA[0]))
    last = office.say(office.dev_b, captured(1, "b1", DESA[2]), wall_ms=START_MS + DAY_MS)
    await write(database, office.log.records)
    assert await changed(connection, since=before, until=last) == {}
    assert await changed(connection, since=before, until=last, region=OTHER_REGION) == {
        ("recorded", "arrived"): (1, [("dev-b", "offline", None, 1)])
    }


async def test_denominator_tree_and_rule_each_have_a_part_of_their_own(
    database: str, connection: Any
) -> None:
    office = Office()
    office.say(
        office.registrar,
        events.DenominatorPublished(
            version="v1",
            basis="DKB",
            valid_from=date(2017, 1, 1),
            rows=(events.Denominator(DESA[0], 9), events.Denominator(DESA[1], 5)),
        ),
    )
    office.say(office.dev_a, captured(1, "a1", DESA[0]), captured(2, "a2", DESA[0]))
    before = office.say(
        office.centre,
        events.StatusObserved(
            nik=nik(1), status="DUPLICATE_RECORD", observed_ms=START_MS, source="test"
        ),
    )
    office.say(
        office.registrar,
        events.DenominatorPublished(
            version="v2",
            basis="DKB",
            valid_from=date(2017, 2, 1),
            rows=(events.Denominator(DESA[0], 8), events.Denominator(DESA[1], 5)),
        ),
    )
    last = office.say(
        office.registrar,
        events.TreePublished(
            version="t1",
            valid_from=date(2017, 1, 1),
            regions=(events.Region("64.08", "Kutai Timur"),),
            mapping={DESA[0]: "64.72.01.1001"},
        ),
    )
    await write(database, office.log.records)
    found = await changed(
        connection, since=before, until=last, rules=(COVERAGE_RULES[0], COVERAGE_RULES[1])
    )
    # Recoded to another regency, both are gone, before the rule can leave one of them out.
    assert found == {
        ("recorded", "tree"): (-2, []),
        ("wajib", "denominator"): (-1, []),
        ("wajib", "tree"): (-8, []),
    }
    by_rule = await changed(
        connection, since=before, until=before, rules=(COVERAGE_RULES[0], COVERAGE_RULES[1])
    )
    assert by_rule == {("recorded", "rule"): (-1, [])}


def wajib(version: str, counts: dict[str, int]) -> events.DenominatorPublished:
    """Return a denominator of so many people by desa."""
    rows = tuple(events.Denominator(code, count) for code, count in counts.items())
    return events.DenominatorPublished(
        version=version, basis="DKB", valid_from=date(2017, 1, 1), rows=rows
    )


async def test_a_denominator_that_comes_to_be_known_makes_no_difference_that_can_be_counted(
    database: str, connection: Any
) -> None:
    office = Office()
    before = office.say(office.dev_a, captured(1, "a1"))
    last = office.say(office.registrar, wajib("v1", {DESA[0]: 9}))
    await write(database, office.log.records)
    assert await changed(connection, since=before, until=last) == {
        ("wajib", "denominator"): (None, [])
    }


async def test_people_of_a_regency_that_publishes_nothing_make_wajib_of_the_province_unknown(
    database: str, connection: Any
) -> None:
    office = Office()
    before = office.say(office.registrar, wajib("v1", {DESA[0]: 9}))
    unknown = office.say(office.dev_a, captured(1, "a1", SILENT_DESA))
    last = office.say(office.registrar, wajib("v2", {DESA[0]: 8, SILENT_DESA: 3}))
    await write(database, office.log.records)
    arrived = {("recorded", "arrived"): (1, [("dev-a", "offline", None, 1)])}
    assert await changed(connection, since=before, until=unknown, region=PROVINCE) == {
        **arrived,
        ("wajib", "inhabited"): (None, []),
    }
    # It is known on both sides again: what makes it so tells all of the difference.
    assert await changed(connection, since=before, until=last, region=PROVINCE) == {
        **arrived,
        ("wajib", "denominator"): (2, []),
    }


async def test_wajib_goes_to_a_new_regency_by_its_tree_and_not_by_a_denominator(
    database: str, connection: Any
) -> None:
    office = Office()
    office.say(office.registrar, wajib("v1", {DESA[0]: 9, DESA[2]: 4}))
    before = office.say(office.dev_a, captured(1, "a1", DESA[0]))
    last = office.say(
        office.registrar,
        events.TreePublished(
            version="t1",
            valid_from=date(2017, 1, 1),
            regions=(events.Region(NEW_DESA[0], "new"),),
            mapping={DESA[0]: NEW_DESA[0]},
        ),
    )
    await write(database, office.log.records)
    assert await changed(connection, since=before, until=last) == {
        ("recorded", "tree"): (-1, []),
        ("wajib", "tree"): (-9, []),
    }
    assert await changed(connection, since=before, until=last, region=PROVINCE) == {}
    # Before, nobody had said anything of the new regency: that is not nobody.
    assert await changed(connection, since=before, until=last, region=Region(NEW_REGENCY)) == {
        ("recorded", "tree"): (1, []),
        ("wajib", "tree"): (None, []),
    }


async def test_a_status_that_comes_is_a_cause_only_where_the_rule_asks_for_it(
    database: str, connection: Any
) -> None:
    office = Office()
    before = office.say(office.dev_a, captured(1, "a1"))
    last = office.say(
        office.centre,
        events.StatusObserved(
            nik=nik(1), status="DUPLICATE_RECORD", observed_ms=START_MS, source="test"
        ),
    )
    await write(database, office.log.records)
    assert await changed(connection, since=before, until=last) == {}
    excluding = COVERAGE_RULES[1]
    assert await changed(connection, since=before, until=last, rules=(excluding, excluding)) == {
        ("recorded", "duplicate_status"): (-1, [])
    }


def test_points_are_the_ends_of_months_and_the_last_day() -> None:
    assert days_of(date(2018, 1, 15), date(2018, 3, 10), Step.MONTH) == [
        date(2018, 1, 31),
        date(2018, 2, 28),
        date(2018, 3, 10),
    ]
    assert days_of(date(2018, 1, 31), date(2018, 1, 31), Step.MONTH) == [date(2018, 1, 31)]
    assert days_of(date(2018, 1, 1), date(2018, 1, 9), Step.WEEK) == [
        date(2018, 1, 1),
        date(2018, 1, 8),
        date(2018, 1, 9),
    ]
    assert days_of(date(9999, 12, 1), date(9999, 12, 30), Step.MONTH) == [date(9999, 12, 30)]
