"""`rekam audit replay`: rebuild everything from the log and compare with what is published."""

import asyncio
import sys
import time

import click
import msgspec
import structlog

from rekam.domain.errors import ProblemFound
from rekam.domain.topics import SEGMENTS
from rekam.runtime.endpoints import kafka_bootstrap, postgres_dsn
from rekam.runtime.invocation import settings_of
from rekam.runtime.postgres import connect
from rekam.runtime.settings import Settings
from stream_processors.configured import folding_settings
from stream_processors.replay.audit import Comparison, compare

DIFFERENCES_SHOWN_MAX = 50
REPORT_SECONDS = 2.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@click.group()
def audit() -> None:
    """Prove the published figures from the log."""


@audit.command()
@click.option("--compare", "is_comparing", is_flag=True, help="Compare with the live tables.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def replay(context: click.Context, *, is_comparing: bool, as_json: bool) -> None:
    """Fold the log from its beginning up to where the live tables are; print the digests.

    With --compare every row is compared: exit 1 and the differing rows when they are not equal.
    """
    started = time.monotonic()
    found = asyncio.run(_compare(settings_of(context), is_quiet=as_json))
    seconds = round(time.monotonic() - started, 1)
    click.echo(_as_json(found, seconds) if as_json else _as_text(found, seconds))
    if is_comparing and not found.is_equal:
        raise ProblemFound(
            f"{len(found.differences)} rows of the live tables are not what the log gives. Keep "
            "both, look at the rows above, and rebuild once the cause is known."
        )


async def _compare(settings: Settings, *, is_quiet: bool) -> Comparison:
    rules, root, opener = folding_settings(settings)
    connection = await connect(postgres_dsn(settings))
    last_report = time.monotonic()

    def report(done: int, records: int) -> None:
        nonlocal last_report
        if not is_quiet and (time.monotonic() - last_report > REPORT_SECONDS or done == records):
            last_report = time.monotonic()
            click.echo(f"replayed {done:,} of {records:,} segments", file=sys.stderr)

    try:
        return await compare(
            connection,
            kafka_bootstrap(settings),
            SEGMENTS.name,
            rules=rules,
            root=root,
            opener=opener,
            security=settings.kafka_security,
            report=report,
        )
    finally:
        await connection.close()


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
