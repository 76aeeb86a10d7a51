"""`rekam api`: answers over HTTP, and the account of who reads of people.

The composition root of both: what answers may not know what sends.
"""

import asyncio
import signal

import click
import uvloop

from producers.office.access_desk import AccessDesk
from projections.api.app import HOST, serve
from projections.api.configured import office_of
from rekam.runtime.collection import leave_loaded_alone
from rekam.runtime.endpoints import postgres_dsn
from rekam.runtime.invocation import settings_of
from rekam.runtime.settings import Settings


@click.group()
def api() -> None:
    """Answer over HTTP: coverage, devices, people."""


@api.command()
@click.pass_context
def run(context: click.Context) -> None:
    """Answer on 127.0.0.1, port REKAM_PORT, until SIGTERM or SIGINT."""
    settings = settings_of(context)
    dsn = postgres_dsn(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, dsn=dsn))


async def _run(settings: Settings, *, dsn: str) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    with AccessDesk(settings) as desk:
        office = office_of(settings, accesses=desk)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(desk.keep_sending(stopping), name="send-accesses")
            await serve(office, dsn=dsn, port=settings.port, stopping=stopping, started=_started)


def _started(port: int) -> None:
    leave_loaded_alone()
    click.echo(f"http://{HOST}:{port}/")
