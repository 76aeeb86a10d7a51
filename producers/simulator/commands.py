"""`rekam simulate`: the regency of Kutai Timur on the real routes."""

import asyncio
import signal
from typing import Final

import click

from producers.simulator.fleet import DEVICES_MAX, DEVICES_MIN, DEVICES_USUAL, Fleet
from producers.simulator.progress import Standing
from producers.simulator.regency import PEOPLE_MAX, PEOPLE_MIN, RECORDED, Regency
from producers.simulator.run import simulate as run_simulation
from rekam.runtime.invocation import settings_of
from rekam.runtime.settings import Settings

SEED_USUAL: Final = 1


@click.command()
@click.option("--once", is_flag=True, help="End when all of the plan is in the log.")
@click.option(
    "--people",
    type=click.IntRange(PEOPLE_MIN, PEOPLE_MAX),
    default=RECORDED,
    show_default=True,
    help="Recorded people; wajib KTP follows in proportion.",
)
@click.option(
    "--devices",
    type=click.IntRange(DEVICES_MIN, DEVICES_MAX),
    default=DEVICES_USUAL,
    show_default=True,
    help="Recorders: kecamatan first, then villages.",
)
@click.option("--seed", type=int, default=SEED_USUAL, show_default=True)
@click.pass_context
def simulate(context: click.Context, *, once: bool, people: int, devices: int, seed: int) -> None:
    """Let a synthetic Kutai Timur record itself: outboxes, Kafka, late and doubled segments.

    Goes on with a few events a second until SIGTERM or Ctrl-C. Killed and started again it goes on
    where it was. Progress is a bar on a terminal and JSON lines elsewhere.
    """
    fleet = Fleet(Regency(people, seed), devices)
    with Standing() as standing:
        asyncio.run(_run(settings_of(context), fleet, standing, once=once))


async def _run(settings: Settings, fleet: Fleet, standing: Standing, *, once: bool) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await run_simulation(settings, fleet, standing=standing, stopping=stopping, once=once)
