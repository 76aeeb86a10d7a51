"""How many events a second one gateway takes, beside bare handlers that only decode.

Both run in a process of their own and count their own processor time, so that what the sender and
the broker need on the same machine is told apart: `python -m tests.benchmarks.gateway MODE …` is
the measured process, `measure_gateway` the measuring one.
"""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx
import uvicorn
import uvloop
from aiokafka import AIOKafkaProducer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from producers.gateway.app import serve
from producers.gateway.cursors import ReceiptCache
from producers.gateway.intake import LENGTH_BYTES, MEDIA_TYPE
from producers.gateway.limits import Rate
from producers.gateway.log import LogBackend, LogTopics
from producers.gateway.serving import Desk, Limits
from rekam.domain.events import decode
from rekam.domain.keys import SigningKey
from rekam.domain.receipt import Receipt, sign_receipt
from rekam.domain.segment import open_body, parse
from rekam.domain.topics import QUARANTINE, RECEIPTS, SEGMENTS
from rekam.runtime.kafka import apply_topics, producer_options
from rekam.runtime.logging import configure_logging
from rekam.runtime.metrics import Metrics
from tests.benchmarks.machine import Machine, Measured, ProcessFailed
from tests.benchmarks.workload import Sealed, Workload, producer_keys
from tests.support.broker import Topics
from tests.support.history import READER

EVENTS_PER_SEGMENT: Final = 500
SEGMENTS_PER_REQUEST: Final = (1, 8, 64)
SENDERS: Final = 8
RECEIPT_KEY: Final = SigningKey.from_seed(bytes([13]) * 32)
NOT_ACCEPTED: Final = (b"held", b"quarantined", b"retry")
PROCESS_CPU_CLOCK: Final = 2
"""Linux's CPUCLOCK_SCHED: nanoseconds that the scheduler gave."""
UNLIMITED: Final = Rate(per_second=1e9, burst=10**9)


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds by the clock, and of the measured process's own processor time."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRate:
    """The same bytes to a gateway, which answers after acks=all, and to two bare handlers."""

    segments_per_request: int
    events: int
    gateway: Spent
    frames: Spent
    """A handler that cuts the body at its lengths."""
    decoded: Spent
    """A handler that opens each segment and decodes its events; it verifies and keeps nothing."""

    @property
    def per_second(self) -> float:
        """Return events a second, sender and broker on the same machine."""
        return self.events / self.gateway.seconds

    @property
    def per_core_second(self) -> float:
        """Return events a second of the gateway's own processor time."""
        return self.events / self.gateway.cpu_seconds

    @property
    def share_of_decoding(self) -> float:
        """Return the gateway's rate by processor time, in shares of the handler that decodes."""
        return self.decoded.cpu_seconds / self.gateway.cpu_seconds

    @property
    def share_of_framing(self) -> float:
        """Return the same for the handler that cuts the body and does nothing else."""
        return self.frames.cpu_seconds / self.gateway.cpu_seconds


async def measure_gateway(machine: Machine, workload: Workload) -> list[GatewayRate]:
    """Send all full segments of 500 events, by so many a request, to both."""
    segments = [
        one for one in workload.segments(EVENTS_PER_SEGMENT) if one.events == EVENTS_PER_SEGMENT
    ]
    await apply_topics(machine.broker.bootstrap, [QUARANTINE])
    rates = []
    for count in SEGMENTS_PER_REQUEST:
        bodies = _bodies(segments, count)
        bare = {}
        for mode in ("frames", "decoded"):
            async with machine.process("gateway", mode) as process:
                bare[mode] = await _send(process, bodies)
        async with _topics(machine) as topics:
            arguments = (machine.broker.bootstrap, topics.segments, topics.receipts)
            async with machine.process("gateway", "gateway", *arguments) as process:
                gateway = await _send(process, bodies)
        rates.append(
            GatewayRate(
                segments_per_request=count,
                events=sum(one.events for one in segments),
                gateway=gateway,
                frames=bare["frames"],
                decoded=bare["decoded"],
            )
        )
    return rates


@asynccontextmanager
async def _topics(machine: Machine) -> AsyncIterator[LogTopics]:
    """Give topics of one measurement, with every producer's receipt."""
    made = Topics(machine.broker.bootstrap)
    try:
        segments, receipts = await made.make(SEGMENTS), await made.make(RECEIPTS)
        async with AIOKafkaProducer(**producer_options(machine.broker.bootstrap)) as producer:
            for name, key in producer_keys().items():
                receipt = Receipt(1, name, 1, (key.to_text(),))
                await producer.send_and_wait(
                    receipts.name, sign_receipt(receipt, RECEIPT_KEY), key=name.encode()
                )
        yield LogTopics(segments=segments.name, receipts=receipts.name)
    finally:
        await made.remove()


def _bodies(segments: Sequence[Sealed], count: int) -> list[bytes]:
    """Frame the segments of each producer, so many a request, in the order of their sealing."""
    by_producer: dict[bytes, list[bytes]] = {}
    for one in segments:
        by_producer.setdefault(one.key, []).append(one.value)
    bodies = []
    for raws in by_producer.values():
        for start in range(0, len(raws), count):
            part = raws[start : start + count]
            bodies.append(b"".join(len(raw).to_bytes(LENGTH_BYTES) + raw for raw in part))
    return bodies


async def _send(process: Measured, bodies: Sequence[bytes]) -> Spent:
    """POST all bodies by some senders at once, once the server is ready."""
    address = (await process.first_line()).decode().strip()
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as http:
        while (await http.get("/readyz")).status_code != httpx.codes.OK:
            process.require_running()
    left = iter(bodies)
    port = int(address.rpartition(":")[2])
    cpu, started = _cpu_seconds(process), time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(SENDERS):
            tasks.create_task(_sender(port, left))
    return Spent(time.perf_counter() - started, _cpu_seconds(process) - cpu)


async def _sender(port: int, bodies: Iterator[bytes]) -> None:
    """Send one body after another over one connection; a library would cost more than a server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    for body in bodies:
        head = (
            f"POST /v1/segments HTTP/1.1\r\nhost: x\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        writer.writelines((head.encode(), body))
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        said = await reader.readexactly(length)
        if not answer.startswith(b"HTTP/1.1 200 ") or any(word in said for word in NOT_ACCEPTED):
            raise ProcessFailed(f"not accepted: {said[:500].decode()}")
    writer.close()


def _cpu_seconds(process: Measured) -> float:
    """Return the processor time of a running process, all its threads together.

    By its CPU clock, as clock_getcpuclockid(3) names it: /proc counts whole ticks of 10 ms, and a
    quick run needs less than one.
    """
    return time.clock_gettime((~process.process.pid << 3) | PROCESS_CPU_CLOCK)


# The measured processes


def _cut(body: bytes) -> list[bytes]:
    found: list[bytes] = []
    start = 0
    while start < len(body):
        end = start + LENGTH_BYTES + int.from_bytes(body[start : start + LENGTH_BYTES])
        found.append(body[start + LENGTH_BYTES : end])
        start = end
    return found


async def _frames(request: Request) -> Response:
    count = len(_cut(await request.body()))
    return Response(b'{"segments":%d}' % count, media_type="application/json")


async def _decoded(request: Request) -> Response:
    raws = _cut(await request.body())
    count = sum(len([decode(line) for line in open_body(parse(raw), READER)]) for raw in raws)
    return Response(b'{"events":%d}' % count, media_type="application/json")


async def _ready(_: Request) -> Response:
    return Response(b"{}")


async def _serve_bare(
    stopping: asyncio.Event, call: Callable[[Request], Awaitable[Response]]
) -> None:
    app = Starlette(
        routes=[
            Route("/v1/segments", call, methods=["POST"]),
            Route("/readyz", _ready, methods=["GET"]),
        ]
    )
    config = uvicorn.Config(
        app,
        port=0,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    _tell(f"http://127.0.0.1:{port}")
    await stopping.wait()
    await server.shutdown()


async def _serve_gateway(
    stopping: asyncio.Event, bootstrap: str, segments: str, receipts: str
) -> None:
    backend = LogBackend(
        bootstrap,
        receipts=ReceiptCache({RECEIPT_KEY.id: RECEIPT_KEY.public}),
        topics=LogTopics(segments=segments, receipts=receipts),
    )
    desk = Desk(
        backend,
        Metrics(),
        now_ms=lambda: time.time_ns() // 1_000_000,
        limits=Limits(
            client_requests=UNLIMITED,
            client_unverified_segments=UNLIMITED,
            producer_segments=UNLIMITED,
        ),
    )
    await serve(desk, backend, port=0, tls=None, stopping=stopping, started=_tell)


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def _main(mode: str, *arguments: str) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    if mode != "gateway":
        await _serve_bare(stopping, {"frames": _frames, "decoded": _decoded}[mode])
    else:
        bootstrap, segments, receipts = arguments
        await _serve_gateway(stopping, bootstrap, segments, receipts)


if __name__ == "__main__":
    configure_logging(json=True)
    uvloop.run(_main(*sys.argv[1:]))
