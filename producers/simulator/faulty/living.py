"""One device of a fleet with faults: its homes, its visits, and what goes wrong at each.

visit ─► append ─► seal ─► send ─► take          (away, cut, killed, carried: by the plan)
copy of the home ─► clone goes on ─► original goes on ─► original in a new epoch
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, ParamSpec, Protocol, TypeVar, assert_never

import structlog

from producers.device.clock import DeviceClock
from producers.device.home import ProducerHome
from producers.device.outbox import START, Place, StoredSegment
from producers.device.route import Delivery, Route
from producers.simulator.faulty.homes import Folders, copy_home, renew_home
from producers.simulator.faulty.lines import lines_of
from producers.simulator.faulty.plan import Device, FaultyFleet, Life, Visit
from producers.simulator.faulty.victim import Task, run_and_kill
from producers.simulator.faulty.ways import Counted, Fickle, Ways, Weather
from producers.simulator.progress import Standing
from producers.simulator.run import wait_for
from producers.usb.disk import LocalDisk
from producers.usb.export import export
from producers.usb.progress import Silent
from rekam.domain.errors import Overloaded, Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.keys import VerifyKey
from rekam.domain.segment import Sealed

SEND_BYTES_MAX: Final = 512 * 1024
READ_BYTES_MAX: Final = 4 * 1024 * 1024
RETRY_SECONDS: Final = 0.5
RETRY_SECONDS_MAX: Final = 30.0
FUTILE_SENDS_MAX: Final = 20
"""How often in a row a route may take nothing before the run gives up."""

P = ParamSpec("P")
T = TypeVar("T")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a device's outboxes hold in the end, as digests of whole segments."""

    sealed: frozenset[bytes]
    """Of every segment of every life."""
    waiting: frozenset[bytes]
    """Of those, the ones that no route has taken."""
    lost_events: int
    """Told to be durable before a kill, and not in the outbox after it."""


@dataclass(slots=True)
class Driven:
    """All that happened. Written by `drive` and the devices' lives."""

    keys: dict[ProducerId, VerifyKey]
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """By number of the device."""
    sent_segments: int = 0
    """All that routes took, copies included."""
    custody_segments: int = 0
    failed_sends: int = 0
    """Sends that found no route, or lost their answer."""
    processes_killed: int = 0
    exported_segments: int = 0
    imports: int = 0
    seconds: float = 0.0

    @property
    def segments(self) -> int:
        """Return how many different segments there are."""
        return sum(len(outcome.sealed) for outcome in self.outcomes.values())


class Stopped(Exception):  # noqa: N818 - a message from a device to its worker, no error
    """The run was told to stop."""


@dataclass(kw_only=True, slots=True)
class World:
    """What all devices of a run share."""

    fleet: FaultyFleet
    ways: Ways
    root: Path
    """The folder of their homes."""
    routes: list[Counted]
    importing: list[Counted]
    """By which sticks are imported: the log tells that they were."""
    """At least two: what is sent twice goes by two of them."""
    threads: ThreadPoolExecutor
    standing: Standing
    stopping: asyncio.Event
    driven: Driven
    clock: DeviceClock = field(default_factory=DeviceClock)

    async def deliver(
        self, route: Route, segments: Sequence[StoredSegment], producer: ProducerId
    ) -> Delivery:
        """Send until a route answers. Raises Stopped when it was told to stop before."""
        while not self.stopping.is_set():
            try:
                return await route.send([one.raw for one in segments], producer=producer)
            except (Unavailable, Overloaded) as error:
                await self.pause(error)
        raise Stopped

    async def pause(self, error: Exception | None) -> None:
        """Wait before the next try, as long as the other side asked for, or until told to stop."""
        seconds = getattr(error, "retry_after_seconds", None) or RETRY_SECONDS
        log.warning("route_failed", error=str(error), retry_seconds=seconds)
        await wait_for(self.stopping, min(seconds, RETRY_SECONDS_MAX))

    async def in_thread(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what waits for the disk beside the loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, lambda: function(*args, **kwargs))


class DeviceLife:
    """One device, from its first event to its last; `live` is called once."""

    def __init__(self, world: World, device: Device) -> None:
        self._world = world
        self._device = device
        self._folders = Folders(world.root, device.producer)
        routes = world.routes
        self._route = Fickle(routes[device.number % len(routes)])
        self._second = (
            routes[(device.number + 1) % len(routes)]
            if "duplicate-route" in device.faults
            else None
        )
        self._home: ProducerHome | None = None
        self._is_stick_due = False
        """Something was recorded for a stick that is not on it yet."""
        self._lost_events = 0

    async def live(self) -> Outcome:
        """Play every visit of every life; return what the outboxes hold then."""
        try:
            return await self._live()
        finally:
            self._world.driven.failed_sends += self._route.failures
            await self._close()

    async def _live(self) -> Outcome:
        device = self._device
        await self._play(device.original, device.original.visits[: device.copied_after])
        if device.clone is None:
            await self._export_if_due()
            return await self._in_thread(self._outcome)
        await self._close()
        await self._in_thread(copy_home, self._folders)
        if device.is_clone_first:
            await self._play(device.clone, device.clone.visits)
        await self._play(device.original, device.original.visits[device.copied_after :])
        await self._export_if_due()
        if not device.is_clone_first:
            await self._play(device.clone, device.clone.visits)
        if device.successor is not None:
            await self._close()
            self._home = await self._in_thread(renew_home, self._folders, device)
            self._world.standing.appended += 1  # the outbox's own first event
            await self._play(device.successor, device.successor.visits)
        return await self._in_thread(self._outcome)

    async def _play(self, life: Life, visits: Sequence[Visit]) -> None:
        folder = self._folders.clone if life.name == "clone" else self._folders.home
        for visit in visits:
            if self._world.stopping.is_set():
                raise Stopped
            if visit.contact != "carried":
                # Where there is a network again, the stick has left.
                await self._export_if_due()
            await self._visit(folder, visit, lines_of(self._world.fleet, self._device, life, visit))
            self._world.standing.show()

    async def _visit(self, folder: Path, visit: Visit, lines: list[bytes]) -> None:
        """Append what the outbox lacks of a visit, seal, and let the contact go as planned."""
        if visit.killed_at is not None:
            await self._be_killed(folder, visit, lines)
        home = await self._open(folder)
        await self._in_thread(_append_and_seal, home, visit, lines)
        self._world.standing.appended += len(lines)
        match visit.contact:
            case "online":
                await self._send_all(home)
            case "away":
                await self._fail_once(home, "away")
            case "cut":
                await self._fail_once(home, "cut")
                await self._send_all(home)
            case "carried":
                self._is_stick_due = True
            case _:
                assert_never(visit.contact)

    async def _be_killed(self, folder: Path, visit: Visit, lines: Sequence[bytes]) -> None:
        """Let another process do it until it is killed; hold that against the outbox."""
        assert visit.killed_at is not None  # noqa: S101 - asked by `_visit`
        await self._close()
        told = await run_and_kill(
            Task(
                folder=folder,
                lines=tuple(lines),
                segment_events_max=visit.segment_events_max,
                killed_at=visit.killed_at,
                ways=self._world.ways,
                way=self._device.number,
            )
        )
        home = await self._open(folder)
        self._lost_events += max(0, told.durable_through - (home.outbox.next_seq - 1))
        self._world.driven.processes_killed += 1
        self._world.driven.sent_segments += told.sent_segments

    async def _send_all(self, home: ProducerHome) -> None:
        """Send all that waits, oldest first; what went is sent once more where that is planned."""
        futile = 0
        while segments := await self._in_thread(home.outbox.unsent, limit_bytes=SEND_BYTES_MAX):
            delivery = await self._world.deliver(self._route, segments, home.producer)
            taken = await self._in_thread(self._note, home, segments, delivery)
            self._world.standing.sent += sum(one.last - one.first + 1 for one in taken)
            if self._second is not None and taken:
                await self._world.deliver(self._second, taken, home.producer)
            futile = 0 if len(taken) else futile + 1
            if futile == FUTILE_SENDS_MAX:
                raise Unavailable(
                    f"{home.producer}: a route answers and takes nothing, {futile} times in a row. "
                    "The events stay in the outbox; see what the route logs"
                )
            if futile:
                await wait_for(self._world.stopping, RETRY_SECONDS)

    def _note(
        self, home: ProducerHome, segments: Sequence[StoredSegment], delivery: Delivery
    ) -> list[StoredSegment]:
        """Write down what became of segments; return those that were taken."""
        taken: list[StoredSegment] = []
        for one, verdict in zip(segments, delivery.verdicts, strict=True):
            match verdict.verdict:
                case "logged" | "custody":
                    taken.append(one)
                case "refused":
                    code = verdict.code or "refused"
                    home.outbox.refuse(
                        one, route=self._route.label, code=code, now=self._world.clock.read()
                    )
                case "retry":
                    pass
                case _:
                    assert_never(verdict.verdict)
        home.outbox.take(taken, route=self._route.label, now=self._world.clock.read())
        return taken

    async def _fail_once(self, home: ProducerHome, weather: Weather) -> None:
        """Try to send in bad weather: afterwards the outbox knows of nothing that was taken."""
        segments = await self._in_thread(home.outbox.unsent, limit_bytes=SEND_BYTES_MAX)
        self._route.weather = weather
        try:
            await self._route.send([one.raw for one in segments], producer=home.producer)
        except (Unavailable, Overloaded) as error:
            log.debug("simulated_failure", producer=home.producer, error=str(error))
        finally:
            self._route.weather = "fair"

    async def _export_if_due(self) -> None:
        if not self._is_stick_due:
            return
        home = await self._open(self._folders.home)
        self._world.driven.exported_segments += await self._in_thread(self._export, home)
        self._is_stick_due = False

    def _export(self, home: ProducerHome) -> int:
        """Put everything onto the stick, in as many exports as it takes."""
        self._folders.stick.mkdir(exist_ok=True)
        after, segments = START, 0
        while True:
            exported = export(
                home,
                self._folders.stick,
                disk=LocalDisk(),
                now=self._world.clock.read(),
                report=Silent(),
                after=after,
            )
            segments += exported.segments
            if exported.remaining_after is None:
                return segments
            after = Place(exported.remaining_after)

    def _outcome(self) -> Outcome:
        sealed: set[bytes] = set()
        waiting: set[bytes] = set()
        folders = [self._folders.home]
        if self._device.clone is not None:
            folders.append(self._folders.clone)
        for folder in folders:
            home = self._home
            if home is None or home.path != folder:
                if home is not None:
                    home.close()
                home = self._home = ProducerHome.open(folder)
            sealed |= _digests(home.outbox.unreceipted)
            waiting |= _digests(home.outbox.unsent)
        return Outcome(frozenset(sealed), frozenset(waiting), self._lost_events)

    # -- the home ------------------------------------------------------------------------------

    async def _open(self, folder: Path) -> ProducerHome:
        """Return the open home of a folder; one is open at a time."""
        if self._home is not None and self._home.path == folder:
            return self._home
        await self._close()
        self._home = await self._in_thread(ProducerHome.open, folder)
        return self._home

    async def _close(self) -> None:
        if self._home is not None:
            await self._in_thread(self._home.close)
            self._home = None

    async def _in_thread(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._world.in_thread(function, *args, **kwargs)


class _Reads(Protocol):
    def __call__(self, *, limit_bytes: int, after: Place) -> list[StoredSegment]: ...


def _digests(read: _Reads) -> set[bytes]:
    """Return the digests of all segments that a query of the outbox gives."""
    digests: set[bytes] = set()
    after = START
    while found := read(limit_bytes=READ_BYTES_MAX, after=after):
        digests.update(digest(one.raw) for one in found)
        after = found[-1].place
    return digests


def digest(raw: bytes) -> bytes:
    """Return what stands for the bytes of a segment."""
    return hashlib.sha256(raw).digest()


def _append_and_seal(home: ProducerHome, visit: Visit, lines: list[bytes]) -> None:
    held = home.outbox.next_seq - visit.first
    assert 0 <= held <= visit.count, (visit.first, held)  # noqa: S101 - the plan is broken
    if held < visit.count:
        home.outbox.append(
            lines[held:], anchored={anchor.boot: anchor.offset_ms for anchor in visit.anchors}
        )
    last = visit.count - 1
    home.outbox.seal_pending(
        signing_key=home.signing_key,
        reader=home.reader,
        sealed=Sealed(
            visit.at_ms(last) - visit.offset_of(last),
            visit.at_ms(last) - visit.boot_ms,
            visit.boot,
        ),
        events_max=visit.segment_events_max,
    )
