"""`rekam audit replay`: rebuild everything from the log and compare with what is published."""

import asyncio
import sys
import time
from collections.abc import Callable

import click
import msgspec
import structlog

from rekam.domain.clocks import OfficeZone
from rekam.domain.errors import Misconfigured, ProblemFound
from rekam.domain.topics import SEGMENTS
from rekam.runtime.endpoints import kafka_bootstrap, postgres_dsn
from rekam.runtime.invocation import settings_of
from rekam.runtime.postgres import connect
from rekam.runtime.settings import Settings
from stream_processors.configured import folding_settings
from stream_processors.replay.audit import Comparison, compare
from stream_processors.replay.knowledge import Known, Moment, replay_known_at
from stream_processors.replay.shadow import Log

DIFFERENCES_SHOWN_MAX = 50
REPORT_SECONDS = 2.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@click.group()
def audit() -> None:
    """Prove the published figures from the log."""


@audit.command()
@click.option("--compare", "is_comparing", is_flag=True, help="Compare with the live tables.")
@click.option(
    "--known-at",
    metavar="T",
    help="Only what the log had taken by the end of this day, or by this instant (ISO 8601).",
)
@click.option("--as-of", metavar="DAY", help="Day of the figures; without it, the day of T.")
@click.option("--region", "region_code", metavar="CODE", help="Figures of this region alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def replay(
    context: click.Context,
    *,
    is_comparing: bool,
    known_at: str | None,
    as_of: str | None,
    region_code: str | None,
    as_json: bool,
) -> None:
    """Fold the log from its beginning up to where the live tables are; print the digests.

    With --compare every row is compared: exit 1 and the differing rows when they are not equal.
    With --known-at, what was known then: recorded people, statuses, the funnel and duplicates; and
    compared, of a day, is every cell that the live tables and facts say was known by its end.
    """
    started = time.monotonic()
    if known_at is not None:
        settings = settings_of(context)
        asked = Moment.of(known_at, as_of, OfficeZone(settings.time_zone), region=region_code)
        if is_comparing and asked.day is None:
            raise Misconfigured(
                ["--compare wants --known-at a day: the live tables know days, not instants"]
            )
        known = asyncio.run(_known(settings, asked, is_comparing=is_comparing, is_quiet=as_json))
        seconds = round(time.monotonic() - started, 1)
        told = _known_json if as_json else _known_text
        click.echo(told(known, asked, seconds))
        if known.differences:
            raise ProblemFound(
                f"{len(known.differences)} cells of the live tables are not what the log gives for "
                f"{known_at}. Keep both, and look at the rows above."
            )
        return
    if as_of is not None or region_code is not None:
        raise Misconfigured(["--as-of and --region go with --known-at"])
    found = asyncio.run(_compare(settings_of(context), is_quiet=as_json))
    seconds = round(time.monotonic() - started, 1)
    click.echo(_as_json(found, seconds) if as_json else _as_text(found, seconds))
    if is_comparing and not found.is_equal:
        raise ProblemFound(
            f"{len(found.differences)} rows of the live tables are not what the log gives. Keep "
            "both, look at the rows above, and rebuild once the cause is known."
        )


async def _known(settings: Settings, asked: Moment, *, is_comparing: bool, is_quiet: bool) -> Known:
    rules, root, opener = folding_settings(settings)
    connection = await connect(postgres_dsn(settings))
    try:
        return await replay_known_at(
            connection,
            Log(kafka_bootstrap(settings), SEGMENTS.name, settings.kafka_security),
            moment=asked,
            is_comparing=is_comparing,
            rules=rules,
            root=root,
            opener=opener,
            report=progress_lines("replayed", is_quiet=is_quiet),
        )
    finally:
        await connection.close()


def _known_json(found: Known, asked: Moment, seconds: float) -> str:
    return msgspec.json.encode(
        {
            "known_at_ms": asked.ms,
            "as_of": asked.as_of,
            "records": found.records,
            "region": None if asked.region is None else asked.region.code,
            "recorded": found.figures.recorded,
            "date_unknown": found.figures.date_unknown,
            "statuses": found.figures.statuses,
            "funnel": found.figures.funnel,
            "duplicates": found.figures.duplicates,
            "positions": found.positions,
            "settings": found.settings,
            "digests": found.digests,
            "differences": found.differences[:DIFFERENCES_SHOWN_MAX],
            "difference_count": len(found.differences),
            "seconds": seconds,
        }
    ).decode()


def _known_text(found: Known, asked: Moment, seconds: float) -> str:
    figures = found.figures
    lines = [
        found.settings,
        f"{found.records:,} segments were known, {seconds} s",
        "everybody" if asked.region is None else f"recorded as living in {asked.region.code}",
        f"recorded as of {asked.as_of}: {figures.recorded:,}",
        f"date unknown: {figures.date_unknown:,}",
        "",
        "status, as known then:",
        *(f"  {status:<36}{people:>12,}" for status, people in figures.statuses.items()),
        f"funnel of {figures.funnel.recorded:,} recorded: reached, here",
        *(
            f"  {stage:<36}{one.reached:>12,}{one.here:>12,}"
            for stage, one in figures.funnel.stages.items()
        ),
        *(
            f"  stopped: {status:<27}{people:>12,}"
            for status, people in figures.funnel.residuals.items()
        ),
        *(
            f"duplicates, {kind}, {state}: {cases:,}"
            for kind, of in figures.duplicates.items()
            for state, cases in of.items()
        ),
        "",
        *(f"  {name:<14}{digest[:32]}" for name, digest in found.digests.items()),
        *(
            f"  {one.found}: {one.table} {one.key}"
            for one in found.differences[:DIFFERENCES_SHOWN_MAX]
        ),
    ]
    return "\n".join(lines)


async def _compare(settings: Settings, *, is_quiet: bool) -> Comparison:
    rules, root, opener = folding_settings(settings)
    connection = await connect(postgres_dsn(settings))
    try:
        return await compare(
            connection,
            kafka_bootstrap(settings),
            SEGMENTS.name,
            rules=rules,
            root=root,
            opener=opener,
            security=settings.kafka_security,
            report=progress_lines("replayed", is_quiet=is_quiet),
        )
    finally:
        await connection.close()


def progress_lines(verb: str, *, is_quiet: bool) -> Callable[[int, int], None]:
    """Return a report that prints a line to standard error every REPORT_SECONDS, and at the end."""
    last_report = time.monotonic()

    def report(done: int, records: int) -> None:
        nonlocal last_report
        if not is_quiet and (time.monotonic() - last_report > REPORT_SECONDS or done == records):
            last_report = time.monotonic()
            click.echo(f"{verb} {done:,} of {records:,} segments", file=sys.stderr)

    return report


def _as_json(found: Comparison, seconds: float) -> str:
    shown = found.differences[:DIFFERENCES_SHOWN_MAX]
    return msgspec.json.encode(
        {
            "equal": found.is_equal,
            "positions": found.positions,
            "settings": found.settings,
            "live": found.live,
            "replayed": found.replayed,
            "differences": shown,
            "difference_count": len(found.differences),
            "seconds": seconds,
        }
    ).decode()


def _as_text(found: Comparison, seconds: float) -> str:
    lines = [found.settings, f"{sum(found.positions.values()):,} segments, {seconds} s", ""]
    for projection, digest in found.replayed.items():
        verdict = "equal" if found.live[projection] == digest else "DIFFERS"
        lines.append(f"  {projection:<14}{digest[:32]}  {verdict}")
    lines += [
        f"  {difference.found}: {difference.table} {difference.key}"
        for difference in found.differences[:DIFFERENCES_SHOWN_MAX]
    ]
    if len(found.differences) > DIFFERENCES_SHOWN_MAX:
        lines.append(f"  … and {len(found.differences) - DIFFERENCES_SHOWN_MAX} more rows")
    return "\n".join(lines)
