"""What a whole `rekam device run` needs in memory while a million waiting events leave it.

`python -m tests.benchmarks.running` prints the numbers. The process is the one that operators run,
command line, clocks, sealing, route and receipts included; it is asked for its peak once the log
has every segment. With a local endpoint it also records by that and shows its page meanwhile.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Final, Literal, get_args

import httpx
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from producers.device.home import ProducerHome
from rekam.domain.keys import SigningKey
from rekam.domain.receipt import Receipt, sign_receipt
from rekam.domain.segment import parse
from rekam.domain.topics import ALL, RECEIPTS, SEGMENTS
from rekam.runtime.kafka import apply_topics, consumer_options, producer_options
from rekam.runtime.logging import configure_logging
from tests.benchmarks.gateway import RECEIPT_KEY
from tests.benchmarks.machine import PROCESS_SECONDS_MAX, Machine, ProcessFailed
from tests.benchmarks.waiting import EVENTS, RSS_BYTES_MAX, fill, peak_bytes
from tests.support.local import captured
from tests.support.machine import free_port

RouteName = Literal["kafka", "gateway"]
ROUTES: Final[tuple[RouteName, ...]] = get_args(RouteName)
RUNS: Final = tuple((route, listens) for route in ROUTES for listens in (False, True))
"""By each route, without and with a local endpoint."""

STARTED_AFTER_TRIES_MAX: Final = 9
"""With httpx's back-off: about two minutes."""

JSON_TYPE: Final = {"Content-Type": "application/json"}


class Running(msgspec.Struct, frozen=True):
    """One run that sent all that waited."""

    route: RouteName
    listens: bool
    """Whether programs appended by its local endpoint, and somebody looked at its page."""
    events: int
    rss_bytes: int
    """Most that the process had in memory, with Python and its libraries."""


async def measure_running(
    machine: Machine, route: RouteName, *, listens: bool, events: int
) -> Running:
    """Let so many unsealed events wait in a new home, run the device, and wait for the log."""
    producer = f"recorder-{route}-{'served' if listens else 'alone'}"
    home = machine.folder / producer
    port = free_port() if listens else None
    await asyncio.to_thread(fill, home, "unsealed", events=events, producer=producer)
    await apply_topics(machine.broker.bootstrap, ALL)
    with ProducerHome.open(home) as opened:
        await _make_known(machine, producer, opened.signing_key)
    async with (
        _address(machine, route) as address,
        _device(machine, home, address, port=port) as device,
        _recording(port),
    ):
        await _wait_for_events(machine, producer, events, device)
        peak = peak_bytes(device.pid)
    return Running(route, listens, events, peak)


@asynccontextmanager
async def _recording(port: int | None) -> AsyncIterator[None]:
    """Record by the endpoint at this port and look at its page, in turn, while the block runs.

    Without a port nothing is done.
    """
    if port is None:
        yield
        return
    done = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        recording = tasks.create_task(_record(port, done))
        await done.wait()
        yield
        recording.cancel()


async def _record(port: int, done: asyncio.Event) -> None:
    transport = httpx.AsyncHTTPTransport(retries=STARTED_AFTER_TRIES_MAX)
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, transport=transport) as client:
        for number in count():
            answer = await client.post("/v1/events", content=captured(number), headers=JSON_TYPE)
            answer.raise_for_status()
            (await client.get("/")).raise_for_status()
            done.set()


async def _make_known(machine: Machine, producer: str, key: SigningKey) -> None:
    """Publish a receipt that names the key, as the processor does: gateways admit by it."""
    receipt = Receipt(1, producer, 1, (key.public.to_text(),))
    async with AIOKafkaProducer(**producer_options(machine.broker.bootstrap)) as kafka:
        await kafka.send_and_wait(
            RECEIPTS.name, sign_receipt(receipt, RECEIPT_KEY), key=producer.encode()
        )


@asynccontextmanager
async def _address(machine: Machine, route: RouteName) -> AsyncIterator[str]:
    bootstrap = machine.broker.bootstrap
    if route == "kafka":
        yield f"kafka://{bootstrap}"
        return
    arguments = ("gateway", bootstrap, SEGMENTS.name, RECEIPTS.name)
    async with machine.process("gateway", *arguments) as gateway:
        yield (await gateway.first_line()).decode().strip()


@asynccontextmanager
async def _device(
    machine: Machine, home: Path, address: str, *, port: int | None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Give the running device; killed afterwards, for it has nothing left that could be lost."""
    log_path = machine.folder / "device.log"
    listen = () if port is None else ("--listen", f"127.0.0.1:{port}")
    with log_path.open("wb") as log_file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "rekam", "device", "run", "--home", str(home), "--route", address),
            *listen,
            stdout=log_file,
            stderr=log_file,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _wait_for_events(
    machine: Machine, producer: str, events: int, device: asyncio.subprocess.Process
) -> None:
    """Return when the log has all recordings of the producer. Raises ProcessFailed."""
    options = consumer_options(machine.broker.bootstrap)
    partitions = [TopicPartition(SEGMENTS.name, number) for number in range(SEGMENTS.partitions)]
    async with AIOKafkaConsumer(group_id=None, **options) as consumer:
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        received = 0
        async with asyncio.timeout(PROCESS_SECONDS_MAX):
            while received < events:
                if device.returncode is not None:
                    tail = (machine.folder / "device.log").read_text("utf-8", "replace")[-2_000:]
                    raise ProcessFailed(f"the device ended with {device.returncode}:\n{tail}")
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        header = parse(record.value).header
                        if header.producer == producer:
                            received = max(received, header.last)


async def _main() -> None:
    configure_logging(json=True)
    with tempfile.TemporaryDirectory(prefix="rekam-bench-") as folder:
        async with Machine.started(Path(folder)) as machine:
            for route, listens in RUNS:
                found = await measure_running(machine, route, listens=listens, events=EVENTS)
                served = "--listen" if listens else ""
                sys.stdout.write(
                    f"{found.route:<9}{served:<10}{found.events:>10,} events  "
                    f"memory {found.rss_bytes / 1e6:5.1f} MB (max {RSS_BYTES_MAX / 1e6:.0f})\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main())
