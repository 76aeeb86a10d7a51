"""What each call answers: arguments in, one snapshot, a typed answer out."""

from datetime import date, timedelta
from typing import Final

from projections.api import answers, parameters
from projections.api.answers import Stated
from projections.api.office import Asked, known_day, require_own_rules, state
from projections.api.parameters import PAGE_DEFAULT, device_cursor
from projections.api.problems import ProblemError, shown
from projections.coverage.changes import Report, coverage_changes
from projections.coverage.reads import read_coverage
from projections.coverage.series import POINTS_MAX, Step, coverage_series, days_of
from projections.device_health.reads import (
    Device,
    DeviceFilter,
    DeviceLedger,
    device_ledger,
    devices,
    find_device,
)
from projections.position.reads import pending_migrations, position
from projections.quarantine.reads import count_excluded
from projections.reading import read_beside
from projections.regions import Level, Region
from projections.rules import COVERAGE_RULE_DEFAULT
from projections.verification.reads import verification

MIGRATIONS: Final = "projections.migrations"
SERIES_DEFAULT: Final = timedelta(days=365)
"""How long before its last point a series begins, unless asked otherwise."""
DAY_MIN: Final = date(1, 1, 1)


async def get_coverage(asked: Asked) -> Stated[answers.Coverage]:
    """Answer coverage of a region's parts as of a day, as known at a day."""
    region, level = _region_and_level(asked)
    known_at = known_day(asked, parameters.KNOWN_AT)
    as_of = asked.arguments.get(parameters.AS_OF) or asked.office.today
    rule = asked.arguments.get(parameters.RULE) or COVERAGE_RULE_DEFAULT
    async with asked.database.snapshot() as connection:
        read = await read_coverage(
            connection, region=region, level=level, as_of=as_of, known_at=known_at, rule=rule
        )
        found, stated = await read_beside(
            read.shown, state(asked.office, connection, as_of=as_of, known_at=known_at)
        )
    bases = {(base.version, base.basis, base.valid_from) for base in found.denominators}
    return Stated(
        stated,
        answers.Coverage(
            region=region.code,
            level=level,
            rule=rule,
            denominator=found.denominators[0] if len(bases) == 1 else None,
            denominators=list(found.denominators),
            trees=list(found.trees),
            rows=list(found.rows),
            totals=found.totals,
        ),
    )


async def get_coverage_series(asked: Asked) -> Stated[answers.CoverageSeries]:
    """Answer coverage of a region over time, as known at a day."""
    region = asked.arguments.required(parameters.REGION)
    known_at = known_day(asked, parameters.KNOWN_AT)
    end = asked.arguments.get(parameters.TO) or asked.office.today
    start = asked.arguments.get(parameters.FROM) or end - min(SERIES_DEFAULT, end - DAY_MIN)
    step = asked.arguments.get(parameters.STEP) or Step.MONTH
    rule = asked.arguments.get(parameters.RULE) or COVERAGE_RULE_DEFAULT
    if start > end:
        raise ProblemError("invalid_parameter", f"from={start} lies after to={end}")
    days = days_of(start, end, step)
    if len(days) > POINTS_MAX:
        raise ProblemError(
            "invalid_parameter",
            f"more than {POINTS_MAX} points from {start} to {end} by step={step}; "
            "wanted fewer: a longer step, or a shorter time",
        )
    async with asked.database.snapshot() as connection:
        found = await coverage_series(
            connection, region=region, days=days, step=step, known_at=known_at, rule=rule
        )
        stated = await state(asked.office, connection, as_of=end, known_at=known_at)
    return Stated(
        stated,
        answers.CoverageSeries(
            region=region.code,
            step=step,
            rule=rule,
            denominators=list(found.denominators),
            trees=list(found.trees),
            points=list(found.points),
            date_unknown=found.date_unknown,
        ),
    )


async def get_coverage_changes(asked: Asked) -> Stated[answers.CoverageChanges]:
    """Answer why a figure differs between two reports, part by part."""
    region = asked.arguments.required(parameters.REGION)
    as_of = asked.arguments.get(parameters.AS_OF) or asked.office.today
    former = Report(
        known_at=known_day(asked, parameters.KNOWN_FROM),
        rule=asked.arguments.get(parameters.RULE_FROM) or COVERAGE_RULE_DEFAULT,
    )
    later = Report(
        known_at=known_day(asked, parameters.KNOWN_TO),
        rule=asked.arguments.get(parameters.RULE_TO) or COVERAGE_RULE_DEFAULT,
    )
    if former.known_at > later.known_at:
        raise ProblemError(
            "invalid_parameter",
            f"known_from={former.known_at} lies after known_to={later.known_at}; exchange them",
        )
    async with asked.database.snapshot() as connection:
        found = await coverage_changes(
            connection, region=region, as_of=as_of, former=former, later=later
        )
        stated = await state(asked.office, connection, as_of=as_of, known_at=later.known_at)
    return Stated(
        stated,
        answers.CoverageChanges(
            region=region.code,
            known_from=former.known_at,
            known_to=later.known_at,
            rule_from=former.rule,
            rule_to=later.rule,
            denominators_from=list(found.denominators_from),
            denominators_to=list(found.denominators_to),
            trees_from=list(found.trees_from),
            trees_to=list(found.trees_to),
            before=found.before,
            after=found.after,
            delta=found.delta,
            causes=list(found.causes),
        ),
    )


async def get_verification(asked: Asked) -> Stated[answers.Verification]:
    """Answer people by region and status, as they are known now.

    The day that is asked for binds regions, ages and letters alone; see `answers.Verification`.
    """
    region, level = _region_and_level(asked)
    as_of = asked.arguments.get(parameters.STATUSES_AS_OF) or asked.office.today
    async with asked.database.snapshot() as connection:
        found = await verification(connection, region=region, level=level, as_of=as_of)
        return Stated(
            await state(asked.office, connection, as_of=as_of),
            answers.Verification(
                region=region.code,
                level=level,
                trees=list(found.trees),
                rows=list(found.rows),
                totals=found.totals,
            ),
        )


async def get_devices(asked: Asked) -> Stated[answers.Devices]:
    """Answer one page of enrolled producers."""
    arguments = asked.arguments
    wanted = DeviceFilter(
        region=arguments.get(parameters.WITHIN),
        label=arguments.get(parameters.LABEL),
        kind=arguments.get(parameters.KIND),
    )
    async with asked.database.snapshot() as connection:
        page = await devices(
            connection,
            wanted=wanted,
            after=arguments.get(parameters.DEVICE_CURSOR) or "",
            devices_max=arguments.get(parameters.LIMIT) or PAGE_DEFAULT,
            registrar=asked.office.rules.registrar,
        )
        return Stated(
            await state(asked.office, connection),
            answers.Devices(
                devices=list(page.devices),
                next_cursor=None if page.next is None else device_cursor(page.next),
            ),
        )


async def get_device(asked: Asked) -> Stated[Device]:
    """Answer one producer."""
    device = asked.arguments.required(parameters.DEVICE)
    async with asked.database.snapshot() as connection:
        found = await find_device(connection, device, registrar=asked.office.rules.registrar)
        if found is None:
            raise _device_unknown(device)
        return Stated(await state(asked.office, connection), found)


async def get_ledger(asked: Asked) -> Stated[DeviceLedger]:
    """Answer what arrived of a producer, and what is missing."""
    device = asked.arguments.required(parameters.DEVICE)
    async with asked.database.snapshot() as connection:
        found = await device_ledger(connection, device)
        if found is None:
            raise _device_unknown(device)
        return Stated(await state(asked.office, connection), found)


async def get_alive(_: Asked) -> answers.Alive:
    """Answer that the process turns; asks nobody."""
    return answers.Alive(status="alive")


async def get_ready(asked: Asked) -> answers.Ready:
    """Answer that figures can be had: the database answers, has all tables, something is folded."""
    async with asked.database.snapshot() as connection:
        pending = await pending_migrations(connection, package=MIGRATIONS)
        if pending:
            raise ProblemError(
                "database_not_migrated",
                f"{len(pending)} migrations are pending, first {pending[0]}; "
                "run `rekam db migrate`",
            )
        await require_own_rules(asked.office, connection)
        found = await position(connection, topic=asked.office.topic)
    if not found:
        raise ProblemError(
            "nothing_folded", "no position is stored; start the processor: `rekam processor run`"
        )
    return answers.Ready(status="ready", position=found)


async def get_metrics(asked: Asked) -> bytes:
    """Answer what was counted, with the database's own figures when it answers."""
    metrics = asked.office.metrics
    try:
        async with asked.database.snapshot() as connection:
            offsets = await position(connection, topic=asked.office.topic)
            held = await count_excluded(connection, "held")
            quarantined = await count_excluded(connection, "quarantined")
    except ProblemError:
        # A scrape must tell that the database is away, so it cannot fail with it.
        metrics.show("rekam_database_up", {"": 0})
        return metrics.text()
    metrics.show("rekam_database_up", {"": 1})
    metrics.show("rekam_position_next_offset", {str(key): offsets[key] for key in offsets})
    metrics.show("rekam_held_entries", held)
    metrics.show("rekam_quarantined_entries", quarantined)
    return metrics.text()


def _region_and_level(asked: Asked) -> tuple[Region, Level]:
    region = asked.arguments.required(parameters.REGION)
    level = asked.arguments.get(parameters.LEVEL) or region.level.below
    if not level.is_within(region.level):
        raise ProblemError(
            "invalid_parameter",
            f"level={level} lies above region={region.code}, a {region.level}; "
            f"wanted {region.level} or below",
        )
    return region, level


def _device_unknown(device: str) -> ProblemError:
    return ProblemError(
        "device_unknown", f"the log has never named {shown(device)}; see /v1/devices"
    )
