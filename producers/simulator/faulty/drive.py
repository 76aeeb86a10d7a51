"""Let a fleet with faults live: real outboxes in a folder, real routes, real sticks and kills.

    homes ─► registrar enrols most of them ─► devices, AT_ONCE side by side (living.py)
          ─► the sticks are imported ─► registrar enrols the rest

All devices share one loop and one client a route. What became of each device is kept as digests
alone, for `check.py`.
"""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from producers.device.emitter import EmitterOptions, drain
from producers.device.home import ProducerHome
from producers.device.route import Route
from producers.office.desk import state
from producers.office.registrar import ensure_registrar
from producers.simulator.chance import chance
from producers.simulator.faulty.homes import Folders, fleet_folder, make_homes
from producers.simulator.faulty.living import (
    FUTILE_SENDS_MAX,
    DeviceLife,
    Driven,
    Stopped,
    World,
)
from producers.simulator.faulty.plan import ENROLLED_MS, Device, FaultyFleet
from producers.simulator.faulty.ways import Counted, Ways
from producers.simulator.progress import Standing
from producers.usb.disk import LocalDisk
from producers.usb.importing import import_bundle
from producers.usb.progress import Silent
from rekam.domain.errors import Overloaded, ProblemFound, Unavailable
from rekam.domain.events import EventData, ProducerEnrolled
from rekam.runtime.keyring import load_reader_public

AT_ONCE: Final = 32
"""Devices at work side by side: while some wait for the disk or a route, others compute."""

THREADS: Final = 8
ENROLMENTS_AT_ONCE: Final = 500

_NOT_IMPORTED: Final = frozenset({"refused", "quarantined"})


async def drive(
    fleet: FaultyFleet, ways: Ways, *, standing: Standing, stopping: asyncio.Event
) -> Driven:
    """Play the whole plan; return when a route has taken every segment, or a stick's import has.

    While a route is really away it is tried again. Raises Misconfigured when this fleet has lived
    here before, Unavailable when it was stopped before the end or a route takes nothing,
    ProblemFound when a process or a stick did not end as planned.
    """
    began = time.monotonic()
    settings = ways.settings
    root = fleet_folder(settings.home / "simulator", fleet)
    reader = load_reader_public(settings)
    async with AsyncExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(THREADS, thread_name_prefix="fleet"))
        registrar = stack.enter_context(ensure_registrar(settings))
        keys = await asyncio.to_thread(make_homes, root, fleet, reader=reader, threads=threads)
        # By one address too there are two clients: what is sent twice goes by both.
        numbers = range(max(2, len(ways)))
        routes = [Counted(ways.open(number)) for number in numbers]
        importing = [Counted(ways.open(number, carrier="usb")) for number in numbers]
        for route in [*routes, *importing]:
            stack.push_async_callback(route.stop)
        world = World(
            fleet=fleet,
            ways=ways,
            root=root,
            routes=routes,
            importing=importing,
            threads=threads,
            standing=standing,
            stopping=stopping,
            driven=Driven(keys),
        )
        await _Run(world, registrar).play()
    driven = world.driven
    driven.sent_segments += sum(route.segments for route in [*routes, *importing])
    driven.custody_segments = sum(route.custody for route in [*routes, *importing])
    driven.seconds = time.monotonic() - began
    return driven


@dataclass(frozen=True, slots=True)
class _Run:
    """One run; `play` is called once."""

    world: World
    registrar: ProducerHome

    async def play(self) -> None:
        """Play everything."""
        world, fleet = self.world, self.world.fleet
        world.standing.total = fleet.events
        world.standing.enter("append")
        await self._enrol(is_late=False)
        numbers = iter(chance(fleet.seed, "order").sample(range(fleet.devices), fleet.devices))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._let_live(numbers))
        world.standing.enter("send")
        await self._import_sticks()
        await self._enrol(is_late=True)
        if world.stopping.is_set():
            raise Unavailable(
                f"stopped: {len(world.driven.outcomes)} of {fleet.devices} devices have lived. "
                f"The homes stay in {world.root}, and `rekam device sync` sends what waits in one; "
                "a new run needs another --seed"
            )
        world.standing.sent = world.standing.total
        world.standing.enter("done")

    async def _let_live(self, numbers: Iterator[int]) -> None:
        """Let one device live after the other, until none is left or it is told to stop."""
        world = self.world
        for number in numbers:
            try:
                world.driven.outcomes[number] = await DeviceLife(
                    world, world.fleet.device(number)
                ).live()
            except Stopped:
                return

    async def _enrol(self, *, is_late: bool) -> None:
        """State the enrolments that come before everything else, or after it; see them sent."""
        world = self.world
        facts: list[EventData] = [
            ProducerEnrolled(
                producer=device.producer,
                kind="recorder",
                place=device.place,
                key=world.driven.keys[device.producer].to_text(),
                enrolled_ms=ENROLLED_MS,
            )
            for device in world.fleet
            if device.is_enrolled_late is is_late
        ]
        for start in range(0, len(facts), ENROLMENTS_AT_ONCE):
            some = facts[start : start + ENROLMENTS_AT_ONCE]
            await world.in_thread(state, self.registrar, some)
        options = EmitterOptions(heartbeat_seconds=None)
        # The routes count what the devices send.
        route = world.routes[0].inner
        while facts and not world.stopping.is_set():
            try:
                await drain(self.registrar, route, clock=world.clock, options=options)
            except (Unavailable, Overloaded) as error:
                await world.pause(error)
            else:
                return

    async def _import_sticks(self) -> None:
        """Import every stick at an office, some at two, in an order of their own."""
        world = self.world
        carried = [device for device in world.fleet if device.is_carried]
        imports = [*carried, *(device for device in carried if device.is_imported_twice)]
        chance(world.fleet.seed, "imports").shuffle(imports)
        for number, device in enumerate(imports):
            if world.stopping.is_set():
                return
            await self._import(device, world.importing[number % len(world.importing)])
            world.driven.imports += 1

    async def _import(self, device: Device, route: Route) -> None:
        stick = Folders(self.world.root, device.producer).stick
        for _ in range(FUTILE_SENDS_MAX):
            imported = await import_bundle(
                stick, route, disk=LocalDisk(), trusted={}, wait_seconds=0.0, report=Silent()
            )
            refused = [one for one in imported.results if one.verdict in _NOT_IMPORTED]
            if refused:
                codes = ", ".join(sorted({one.code or one.verdict for one in refused}))
                raise ProblemFound(
                    f"{stick}: {len(refused)} things on this stick were refused ({codes}), though "
                    "nobody touched it. Keep it, and report this as a bug"
                )
            is_whole = not any(one.verdict == "retry" for one in imported.results)
            if imported.interrupted is None and is_whole:
                return
            await self.world.pause(imported.interrupted)
            if self.world.stopping.is_set():
                return
        raise Unavailable(f"{stick}: no route takes what is on it; see what the route logs")
