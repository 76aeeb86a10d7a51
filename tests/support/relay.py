"""Relays in this process, upstreams that lie, and a relay to be killed: `python -m …`."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from producers.device.gateway_route import GatewayRoute
from producers.device.known_time import KnownTime
from producers.device.outbox_file import Storage
from producers.device.route import Delivery, Route, SegmentVerdict
from producers.gateway.app import Tls
from producers.gateway.backend import Outcome
from producers.gateway.cursors import Known, ReceiptCache
from producers.gateway.intake import Judged
from producers.gateway.serving import Limits
from producers.relay.app import RelayOptions, run_relay, serve_store
from producers.relay.forwarder import ForwarderOptions
from producers.relay.store import STORE_BYTES_MAX, STORE_FILE, CustodyStore, StoreStatus
from rekam.domain.errors import Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.log import ArrivalRoute
from rekam.domain.segment import Header
from rekam.runtime.logging import configure_logging
from tests.support.gateway import TRUSTED, Gateway, client_of, serving

EAGER = ForwarderOptions(
    idle_seconds=0.05,
    back_off_seconds_first=0.05,
    back_off_seconds_max=0.2,
    retry_seconds=0.05,
    refused_seconds=0.2,
    receipt_seconds=0.05,
)
"""A relay that does everything at once, but sends again only what is unreceipted for an hour."""

BESIDE = Storage(bytes_max=STORE_BYTES_MAX, ballast_bytes=0)
LOGGED = SegmentVerdict("logged")
STEPS = ("before_store", "after_store", "before_send", "after_send", "before_release")
"""Where a relay may be told to die."""


def now_ms() -> int:
    """Return this machine's wall clock."""
    return time.time_ns() // 1_000_000


@dataclass
class Upstream:
    """A route that keeps what it was given, and says of it what its test wants."""

    label: str = "gateway"
    taken: list[bytes] = field(default_factory=list)
    receipts: dict[str, bytes] = field(default_factory=dict)
    verdict: SegmentVerdict = LOGGED
    is_away: bool = False
    forgets: bool = False
    """A lie: it says `logged` and drops everything."""
    verdicts_max: int = 10**9
    """More are left out of an answer."""
    sends: int = 0
    is_stopped: bool = False

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> Delivery:
        """Take them, unless it is away."""
        self.sends += 1
        if self.is_away:
            raise Unavailable("it is away")
        if not self.forgets:
            self.taken += segments
        count = min(len(segments), self.verdicts_max)
        return Delivery((self.verdict,) * count, self.receipts.get(producer))

    async def receipt(self, producer: ProducerId) -> bytes | None:
        """Return what was put there."""
        if self.is_away:
            raise Unavailable("it is away")
        return self.receipts.get(producer)

    async def stop(self) -> None:
        """Be stopped."""
        self.is_stopped = True


class LyingCustody:
    """The backend of a relay that promises custody and drops everything."""

    def __init__(self) -> None:
        self.receipts = ReceiptCache(TRUSTED)
        self.dropped: list[bytes] = []

    async def run(self, stopping: asyncio.Event) -> None:
        """Do nothing until it is over."""
        await stopping.wait()

    def receipt_of(self, producer: ProducerId) -> Known | None:
        """Know what it was taught."""
        return self.receipts.of(producer)

    async def take(self, judged: Sequence[Judged], *, route: ArrivalRoute) -> list[Outcome]:  # noqa: ARG002
        """Lie."""
        self.dropped += [one.raw for one in judged]
        return [Outcome("custody")] * len(judged)

    async def missing(self) -> str | None:
        """Be ready."""
        return None


@asynccontextmanager
async def lying_relay() -> AsyncIterator[tuple[Gateway, LyingCustody]]:
    """Give a running relay that lies, and what it has dropped so far."""
    backend = LyingCustody()
    async with serving(backend) as relay:
        yield relay, backend


@asynccontextmanager
async def relay_at(
    home: Path,
    *routes: Route,
    options: ForwarderOptions = EAGER,
    bytes_max: int = STORE_BYTES_MAX,
    limits: Limits | None = None,
    tls: Tls | None = None,
    ca: Path | None = None,
    known_time: KnownTime | None = None,
) -> AsyncIterator[Gateway]:
    """Give a running relay; its client trusts the authority `ca` alone, if that is given."""
    stopping = asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            run_relay(
                home,
                routes,
                trusted=TRUSTED,
                options=RelayOptions(
                    port=0,
                    tls=tls,
                    bytes_max=bytes_max,
                    forwarder=options,
                    limits=limits or Limits(),
                ),
                now_ms=now_ms,
                stopping=stopping,
                started=address.set_result,
                known_time=known_time,
            )
        )
        found = await address
        try:
            async with client_of(found, ca=ca) as http:
                yield Gateway(found, http)
        finally:
            stopping.set()


def held_at(home: Path) -> StoreStatus:
    """Return what the store of a relay holds, read beside the relay."""
    with CustodyStore.open(home / STORE_FILE, storage=BESIDE) as store:
        return store.status()


class _FatalRoute:
    """Passes segments on, and dies before or after it has."""

    label = "gateway"

    def __init__(self, route: Route, step: str) -> None:
        self._route, self._step = route, step

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> Delivery:
        if self._step == "before_send":
            die()
        delivery = await self._route.send(segments, producer=producer)
        if self._step == "after_send":
            die()
        return delivery

    async def receipt(self, producer: ProducerId) -> bytes | None:
        found = await self._route.receipt(producer)
        if self._step == "before_release" and found is not None:
            die()
        return found

    async def stop(self) -> None:
        await self._route.stop()


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


class _FatalStore(CustodyStore):
    """Dies before or after it has stored."""

    step = ""

    def take(self, segments: Sequence[tuple[Header, str, bytes]], *, now_ms: int) -> int:
        """Store, and die at the step."""
        if self.step == "before_store":
            die()
        count = super().take(segments, now_ms=now_ms)
        if self.step == "after_store":
            die()
        return count


async def _run(home: Path, step: str, upstream: str) -> None:
    """Serve a relay that dies at the step; tell its address."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)

    def tell(address: str) -> None:
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()

    with _FatalStore.open(home / STORE_FILE) as store:
        store.step = step
        await serve_store(
            store,
            [_FatalRoute(GatewayRoute(upstream), step)],
            trusted=TRUSTED,
            options=RelayOptions(port=0, forwarder=EAGER),
            now_ms=now_ms,
            stopping=stopping,
            started=tell,
        )


@asynccontextmanager
async def relay_process(
    home: Path, step: str, upstream: str
) -> AsyncIterator[tuple[Gateway, asyncio.subprocess.Process]]:
    """Give a relay in a process of its own; killed at the end if it has not died by then."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.relay", str(home), step, upstream),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().strip()
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as http:
            yield Gateway(address, http), process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


if __name__ == "__main__":
    configure_logging(json=True)
    asyncio.run(_run(Path(sys.argv[1]), *sys.argv[2:4]))
