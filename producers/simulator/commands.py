"""`rekam simulate`: the regency of Kutai Timur, or a fleet with faults, on the real routes."""

import asyncio
import signal
import sys
from typing import Final

import click
import msgspec

from producers.simulator.faulty import plan
from producers.simulator.faulty.check import check as check_log
from producers.simulator.faulty.drive import drive
from producers.simulator.faulty.log import LogPlace
from producers.simulator.faulty.plan import Fault, FaultyFleet
from producers.simulator.faulty.report import Report, report_of
from producers.simulator.faulty.ways import Ways
from producers.simulator.fleet import DEVICES_MAX, DEVICES_MIN, DEVICES_USUAL, Fleet
from producers.simulator.progress import Standing
from producers.simulator.regency import PEOPLE_MAX, PEOPLE_MIN, RECORDED, Regency
from producers.simulator.run import simulate as run_simulation
from rekam.domain.errors import Misconfigured, ProblemFound
from rekam.runtime.endpoints import kafka_bootstrap
from rekam.runtime.invocation import settings_of
from rekam.runtime.keyring import load_readers
from rekam.runtime.settings import Settings

SEED_USUAL: Final = 1
ALL_FAULTS: Final = "all"


def _faults(_context: click.Context, _option: click.Parameter, text: str) -> frozenset[Fault]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    try:
        return plan.faults_of(plan.FAULTS if names == [ALL_FAULTS] else names)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--once", is_flag=True, help="Regency: end when all of the plan is in the log.")
@click.option(
    "--people",
    type=click.IntRange(PEOPLE_MIN, PEOPLE_MAX),
    default=RECORDED,
    show_default=True,
    help="Regency: recorded people; wajib KTP follows in proportion.",
)
@click.option(
    "--devices",
    type=click.IntRange(plan.DEVICES_MIN, plan.DEVICES_MAX),
    default=DEVICES_USUAL,
    show_default=True,
    help=f"Recorders; the regency has {DEVICES_MIN} to {DEVICES_MAX}, kecamatan first.",
)
@click.option("--seed", type=int, default=SEED_USUAL, show_default=True)
@click.option(
    "--events",
    type=click.IntRange(1, plan.EVENTS_MAX),
    help="Drive a fleet with faults instead: so many events of all devices together.",
)
@click.option(
    "--faults",
    default="",
    callback=_faults,
    help=f"Fleet: what goes wrong, '{ALL_FAULTS}' or some of {','.join(plan.FAULTS)}.",
)
@click.option(
    "--route",
    "routes",
    multiple=True,
    help="Fleet: a way to the log, as for `rekam device run`; several share the devices.",
)
@click.option("--check", is_flag=True, help="Fleet: read the log back and compare. Exit 1 if not.")
@click.pass_context
def simulate(  # noqa: PLR0913 - the options of two modes
    context: click.Context,
    *,
    once: bool,
    people: int,
    devices: int,
    seed: int,
    events: int | None,
    faults: frozenset[Fault],
    routes: tuple[str, ...],
    check: bool,
) -> None:
    """Let a synthetic Kutai Timur record itself: outboxes, Kafka, late and doubled segments.

    Goes on with a few events a second until SIGTERM or Ctrl-C. Killed and started again it goes on
    where it was. Progress is a bar on a terminal and JSON lines elsewhere.

    With --events it drives a fleet of up to 20,000 devices with faults instead, once, and prints
    what happened as one JSON line at the end; the same seed gives the same events. See
    docs/simulator.md.
    """
    settings = settings_of(context)
    if events is None:
        _refuse(context, ("faults", "routes", "check"), "needs --events")
        _simulate_regency(settings, people=people, devices=devices, seed=seed, once=once)
        return
    _refuse(context, ("people", "once"), "belongs to the regency; leave --events out")
    try:
        fleet = FaultyFleet(devices, events, seed, faults)
    except ValueError as error:
        raise Misconfigured([f"--devices, --events, --seed: {error}"]) from error
    ways = Ways(settings=settings, addresses=routes)
    with Standing() as standing:
        report = asyncio.run(_drive(settings, fleet, ways, standing, is_checked=check))
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    if report.check is not None and not report.check.holds:
        raise ProblemFound(
            f"the log does not hold what was appended (see the JSON line; for example "
            f"{', '.join(report.check.examples) or 'no single event'}). Keep {settings.home}, and "
            "report this as a bug with the seed"
        )


def _refuse(context: click.Context, names: tuple[str, ...], why: str) -> None:
    """Refuse options of the other mode: what is given and does nothing misleads."""
    given = [
        f"--{'route' if name == 'routes' else name}"
        for name in names
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    ]
    if given:
        raise Misconfigured([f"{name} {why}" for name in given])


def _simulate_regency(
    settings: Settings, *, people: int, devices: int, seed: int, once: bool
) -> None:
    if not DEVICES_MIN <= devices <= DEVICES_MAX:
        raise Misconfigured(
            [f"--devices={devices}: wanted {DEVICES_MIN} to {DEVICES_MAX}, or --events for more"]
        )
    fleet = Fleet(Regency(people, seed), devices)
    with Standing() as standing:
        asyncio.run(_run(settings, fleet, standing, once=once))


async def _run(settings: Settings, fleet: Fleet, standing: Standing, *, once: bool) -> None:
    await run_simulation(settings, fleet, standing=standing, stopping=_stopping(), once=once)


async def _drive(
    settings: Settings, fleet: FaultyFleet, ways: Ways, standing: Standing, *, is_checked: bool
) -> Report:
    stopping = _stopping()
    if not is_checked:
        return report_of(fleet, await drive(fleet, ways, standing=standing, stopping=stopping))
    # Before anything is sent: without keys or Kafka there is nothing to compare with.
    readers = load_readers(settings)
    log = LogPlace(bootstrap=kafka_bootstrap(settings), security=settings.kafka_security)
    starts = await log.ends()
    driven = await drive(fleet, ways, standing=standing, stopping=stopping)
    findings = await check_log(fleet, driven, log=log, starts=starts, readers=readers)
    return report_of(fleet, driven, findings)


def _stopping() -> asyncio.Event:
    """Return an event that SIGTERM and Ctrl-C set."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping
