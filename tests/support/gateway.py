"""Gateways in this process on a real broker, and what devices send to them."""

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from producers.gateway.app import EVERYWHERE, RunningBackend, Tls, serve
from producers.gateway.cursors import ReceiptCache
from producers.gateway.intake import MEDIA_TYPE
from producers.gateway.log import APPEND_SECONDS_MAX, LogBackend, LogTopics
from producers.gateway.serving import Desk, Limits
from rekam.domain.events import Event, Heartbeat, encode
from rekam.domain.ids import Epoch, KeyId, ProducerId, Seq
from rekam.domain.keys import ReaderPrivateKey, SigningKey, VerifyKey
from rekam.domain.receipt import EpochReceipt, Receipt, Run, open_receipt, sign_receipt
from rekam.domain.segment import Sealed, opening_hash, parse, seal
from rekam.domain.topics import QUARANTINE, RECEIPTS, SEGMENTS
from rekam.runtime.http_server import LOOPBACK
from rekam.runtime.kafka import consumer_options, producer_options
from rekam.runtime.metrics import Metrics
from tests.support.broker import Topics
from tests.support.waiting import until

RECEIPT_KEY = SigningKey.from_seed(bytes([11]) * 32)
TRUSTED: Mapping[KeyId, VerifyKey] = {RECEIPT_KEY.id: RECEIPT_KEY.public}
READER = ReaderPrivateKey.from_seed(bytes([7]) * 32)
PARTITIONS = 3
IN_FLIGHT = "rekam_gateway_in_flight_bytes "
START_MS = 1_500_000_000_000
FIRST_EPOCH = Epoch(1)


@dataclass
class Sealer:
    """A producer whose segments are one chain from its epoch's opening on."""

    producer: ProducerId
    key: SigningKey
    epoch: Epoch = FIRST_EPOCH
    next_seq: int = 1
    prev: str = ""

    def seal(self, lines: Sequence[bytes]) -> bytes:
        """Seal the next segment."""
        raw = seal(
            lines,
            producer=self.producer,
            epoch=self.epoch,
            first=Seq(self.next_seq),
            prev=self.prev or opening_hash(self.producer, self.epoch),
            sealed=Sealed(START_MS, 1, "boot-1"),
            signing_key=self.key,
            reader=READER.public,
        )
        self.next_seq += len(lines)
        self.prev = parse(raw).hash
        return raw


def life(name: str = "recorder-1", *, seed: int = 1) -> Sealer:
    """Return a producer at its beginning; the same name and seed, the same producer."""
    return Sealer(ProducerId(name), SigningKey.from_seed(bytes([seed]) * 32))


def sealed(one: Sealer, count: int = 1, *, events: int = 3) -> list[bytes]:
    """Seal the next segments of a producer."""
    return [
        one.seal(
            [
                encode(Event(START_MS, 1, "boot-1", Heartbeat(queue_events=one.next_seq + n)))
                for n in range(events)
            ]
        )
        for _ in range(count)
    ]


def receipt_of(one: Sealer, raws: Sequence[bytes] = (), *, as_of_ms: int = START_MS) -> bytes:
    """Sign a receipt for a producer whose segments, one whole chain, have all arrived."""
    epochs: tuple[EpochReceipt, ...] = ()
    if raws:
        first, last = parse(raws[0]), parse(raws[-1])
        run = Run(first.header.first, last.header.last, last.hash)
        epochs = (EpochReceipt(one.epoch, (run,)),)
    receipt = Receipt(1, one.producer, as_of_ms, (one.key.public.to_text(),), epochs)
    return sign_receipt(receipt, RECEIPT_KEY)


def framed(raws: Sequence[bytes]) -> bytes:
    """Frame segments as a request's body."""
    return b"".join(struct.pack(">I", len(raw)) + raw for raw in raws)


@dataclass(frozen=True)
class Gateway:
    """A running gateway or relay as its caller sees it."""

    address: str
    http: httpx.AsyncClient

    @property
    def port(self) -> int:
        """Return its port."""
        return int(self.address.rpartition(":")[2])

    async def post(self, body: bytes, **headers: str) -> httpx.Response:
        """POST a body."""
        given = {"content-type": MEDIA_TYPE} | headers
        return await self.http.post("/v1/segments", content=body, headers=given)

    async def send(self, *raws: bytes) -> dict[str, Any]:
        """Send segments and return the answer, which must be 200."""
        response = await self.post(framed(raws))
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def verdicts(self, *raws: bytes) -> list[str]:
        """Send segments and return what was said of each."""
        return [result["verdict"] for result in (await self.send(*raws))["results"]]

    async def until_ready(self) -> None:
        """Return when it says that it can take segments."""

        async def is_ready() -> bool:
            return (await self.http.get("/readyz")).status_code == 200

        await until(is_ready)

    async def in_flight_bytes(self) -> int:
        """Return how many bytes of requests it holds, as its metrics say."""
        shown = (await self.http.get("/metrics")).text
        (line,) = [one for one in shown.splitlines() if one.startswith(IN_FLIGHT)]
        return int(float(line.split()[1]))


async def make_topics(topics: Topics) -> LogTopics:
    """Make the three topics of a gateway under names of their own."""
    return LogTopics(
        segments=(await topics.make(SEGMENTS, partitions=PARTITIONS)).name,
        quarantine=(await topics.make(QUARANTINE)).name,
        receipts=(await topics.make(RECEIPTS)).name,
    )


def client_of(address: str, *, ca: Path | None = None) -> httpx.AsyncClient:
    """Return a client of a server of this process; it trusts `ca` alone, if that is given."""
    return httpx.AsyncClient(
        base_url=address.replace(EVERYWHERE, LOOPBACK),
        trust_env=False,
        timeout=60,
        verify=True if ca is None else ssl.create_default_context(cafile=str(ca)),
    )


@asynccontextmanager
async def serving(
    backend: RunningBackend,
    *,
    limits: Limits | None = None,
    tls: Tls | None = None,
    ca: Path | None = None,
) -> AsyncIterator[Gateway]:
    """Give a server of a backend in this process, on a port of its own.

    Its client trusts the authority `ca` alone, if that is given.
    """
    stopping = asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    desk = Desk(
        backend,
        Metrics(),
        now_ms=lambda: time.time_ns() // 1_000_000,
        limits=limits or Limits(),
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            serve(desk, backend, port=0, tls=tls, stopping=stopping, started=address.set_result)
        )
        found = await address  # a start that fails cancels this
        try:
            async with client_of(found, ca=ca) as http:
                yield Gateway(found, http)
        finally:
            stopping.set()


@asynccontextmanager
async def gateway_on(
    bootstrap: str,
    topics: LogTopics,
    *,
    limits: Limits | None = None,
    tls: Tls | None = None,
    ca: Path | None = None,
    append_seconds_max: float = APPEND_SECONDS_MAX,
) -> AsyncIterator[Gateway]:
    """Give a gateway on a broker."""
    backend = LogBackend(
        bootstrap,
        receipts=ReceiptCache(TRUSTED),
        topics=topics,
        append_seconds_max=append_seconds_max,
    )
    async with serving(backend, limits=limits, tls=tls, ca=ca) as gateway:
        yield gateway


async def publish_receipts(bootstrap: str, topics: LogTopics, *raws: bytes) -> None:
    """Put receipts onto their topic, as the processor does."""
    async with AIOKafkaProducer(**producer_options(bootstrap)) as producer:
        for raw in raws:
            key = _producer_in(raw).encode("ascii")
            await producer.send_and_wait(topics.receipts, raw, key=key)


def _producer_in(raw: bytes) -> str:
    return open_receipt(raw, TRUSTED).producer


@dataclass(frozen=True)
class Stored:
    """A record of a topic."""

    partition: int
    key: bytes | None
    value: bytes
    headers: dict[str, bytes]


async def records_of(bootstrap: str, topic: str, partitions: int = PARTITIONS) -> list[Stored]:
    """Return all records of a topic, each partition in its order."""
    consumer = AIOKafkaConsumer(**consumer_options(bootstrap))
    await consumer.start()
    found: list[Stored] = []
    try:
        all_of_it = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(all_of_it)
        await consumer.seek_to_beginning(*all_of_it)
        ends = await consumer.end_offsets(all_of_it)
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                found += [
                    Stored(tp.partition, record.key, record.value, dict(record.headers))
                    for record in records
                ]
    finally:
        await consumer.stop()
    return found


async def raw_exchange(port: int, *parts: bytes, half_close: bool = False) -> bytes:
    """Write bytes to a port of loopback and return all that comes back until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


def abort(writer: asyncio.StreamWriter) -> None:
    """Drop a connection as a pulled cable does once the kernel notices: by a reset."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
