"""`rekam api`: answers over HTTP."""

import asyncio
import signal
import time

import click
import uvloop

from projections.api.app import HOST, serve
from projections.api.office import Office
from projections.rules import Rules
from rekam.domain.clocks import OfficeZone
from rekam.domain.topics import SEGMENTS
from rekam.runtime.endpoints import postgres_dsn
from rekam.runtime.invocation import settings_of
from rekam.runtime.keyring import load_api_token, load_person_key, load_snapshot_key
from rekam.runtime.metrics import Metrics
from rekam.runtime.settings import Settings


@click.group()
def api() -> None:
    """Answer over HTTP: coverage, devices, people."""


@api.command()
@click.pass_context
def run(context: click.Context) -> None:
    """Answer on 127.0.0.1, port REKAM_PORT, until SIGTERM or SIGINT."""
    settings = settings_of(context)
    office = office_of(settings)
    dsn = postgres_dsn(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(office, dsn=dsn, port=settings.port))


def office_of(settings: Settings) -> Office:
    """Return what all calls share. Raises Misconfigured when a key file cannot serve."""
    return Office(
        rules=Rules(
            zone=OfficeZone(settings.time_zone),
            registrar=settings.registrar,
            person_key=load_person_key(settings),
        ),
        token=load_api_token(settings),
        snapshot_key=load_snapshot_key(settings),
        topic=SEGMENTS.name,
        now_ms=lambda: time.time_ns() // 1_000_000,
        metrics=Metrics(),
    )


async def _run(office: Office, *, dsn: str, port: int) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await serve(
        office,
        dsn=dsn,
        port=port,
        stopping=stopping,
        started=lambda found: click.echo(f"http://{HOST}:{found}/"),
    )
