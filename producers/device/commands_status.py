"""`rekam device status`: what waits, what is proven to be in the log, and what to do now."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from producers.device.clock import DeviceClock
from producers.device.home import ProducerHome
from producers.device.local.advice import Severity, advices, status_json
from producers.device.local.standing import RouteStanding, Standing, standing_of
from producers.device.local.watch import noted_routes
from producers.device.options import home_option
from producers.device.salvage import Salvage
from rekam.domain.errors import ServerDatesWrong

MARKS: Final[dict[Severity, str]] = {"good": "ok", "watch": "attention", "act": "ACT NOW"}
ROUTE_WORDS: Final = {True: "works", False: "away", None: "not tried yet"}


@click.command()
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(*, folder: Path, as_json: bool) -> None:
    """Show what waits, what is committed, and what to do. Works beside `device run`."""
    with ProducerHome.open(folder) as home:
        standing = standing_of(
            home,
            now=DeviceClock().read(),
            routes=noted_routes(home.path, home.emitter_pid()),
        )
    if as_json:
        click.echo(status_json(standing), nl=False)
        return
    for name, value in _rows(standing):
        click.echo(f"{name:<18}{value}")
    for one in advices(standing):
        click.echo(f"{MARKS[one.severity]:<18}{one.english}")
        click.echo(f"{'':<18}{one.indonesian}")


def _rows(standing: Standing) -> list[tuple[str, str]]:
    committed = ", ".join(f"{first}..{last}" for first, last in standing.committed)
    free_mb = standing.disk_free_bytes // 1_000_000
    return [
        ("producer", f"{standing.producer} ({standing.kind}), epoch {standing.epoch}"),
        (
            "queue",
            (
                f"{standing.queue_events} events wait; of {standing.recorded_events} recorded in "
                f"all epochs {standing.committed_events} are committed"
            ),
        ),
        ("oldest unsent", _moment(standing.oldest_unsent_ms)),
        ("sent", f"through {standing.taken_through}; {standing.taken_events} without a receipt"),
        ("committed", committed or "nothing yet"),
        ("last receipt", _moment(standing.last_receipt_ms)),
        ("refused", _refused(standing.refused_segments)),
        (
            "damaged",
            f"{standing.damaged_events} events, {standing.damaged_segments} segments set aside",
        ),
        *(("mended", _salvage(one)) for one in standing.salvages),
        ("route", _routes(standing.routes, standing.emitter_pid)),
        ("disk", f"{standing.disk_percent} % of the outbox's budget; {free_mb} MB free"),
        ("clock", f"{_moment(standing.wall_ms)}, {_offset(standing.clock_offset_ms)}"),
    ]


def _refused(segments: int) -> str:
    if not segments:
        return "0 segments"
    return f"{segments} segments; offered again by themselves, at once by `device retry-refused`"


def _salvage(one: Salvage) -> str:
    return (
        f"{_moment(one.wall_ms)}: {one.segment_events} events in {one.segments} segments and "
        f"{one.lines} unsealed ones were taken over, {one.broken_rows} rows were not readable"
    )


def _routes(routes: tuple[RouteStanding, ...], emitter_pid: int | None) -> str:
    if emitter_pid is None:
        return "nothing is sending"
    told = ", ".join(f"{route.label} {_word(route)}" for route in routes)
    return f"{told or 'not known'} (process {emitter_pid})"


def _word(route: RouteStanding) -> str:
    if route.problem == ServerDatesWrong.code:
        return "away (this device's clock or the server's certificate is wrong)"
    return ROUTE_WORDS[route.is_working]


def _offset(offset_ms: int | None) -> str:
    if offset_ms is None:
        return "not compared since it was started"
    return f"{abs(offset_ms) / 1000:.1f} s {'slow' if offset_ms > 0 else 'fast'}"


def _moment(ms: int | None) -> str:
    if ms is None:
        return "-"
    try:
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    except OverflowError:
        return f"{ms} ms, beyond the calendar"
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"
