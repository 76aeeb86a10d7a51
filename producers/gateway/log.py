"""The way of judged segments into Kafka: one idempotent client, acknowledged by all replicas.

Stateless but for a short memory of what it appended itself. After any failure the client is thrown
away and another one connects in the background, because an idempotent aiokafka client never gives a
batch up by itself; until then every call is refused at once. What a lost client had in flight may
be in the log although nobody was told: it is sent again, stands there twice and counts once.
"""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from producers.gateway.backend import Outcome
from producers.gateway.cursors import Known, ReceiptCache, ReceiptFollower
from producers.gateway.intake import Judged
from producers.gateway.problems import ProblemError
from rekam.domain.errors import Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.log import ArrivalRoute, route_headers
from rekam.domain.topics import QUARANTINE, RECEIPTS, SEGMENTS
from rekam.runtime.kafka import OPEN_NETWORK, discard_producer, is_answering, producer_options
from rekam.runtime.settings import KafkaSecurity

APPEND_SECONDS_MAX: Final = 10.0
"""Time for everything of one call; a device waits longer than that for its answer."""

RETRY_SECONDS: Final = 5.0
"""What callers are told when the log is away."""

CONNECT_SECONDS_MAX: Final = 10.0
CONNECT_AGAIN_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)
"""Waits between attempts; the last one repeats."""

PROBE_SECONDS: Final = 2.0
"""How long an answer about Kafka's health is believed."""

RECENT_MAX: Final = 20_000
RECENT_SECONDS_MAX: Final = 120.0
"""How long a segment that was appended is known to be a copy when it comes again: an answer that
got lost is noticed within that. Not longer: what a device sends again much later, no receipt had
covered, and then one record more is better than one that is missing."""

_LOG_APPEND_TIME: Final = 1
_partition_of: Final = DefaultPartitioner()

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """A record to append. Without a key it goes to partition 0."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a record is. `append_ms` is None when the broker did not say it."""

    partition: int
    append_ms: int | None


class LogWriter:
    """Appends records; `run` keeps it connected and is the only one to open and close clients."""

    def __init__(
        self,
        bootstrap: str,
        security: KafkaSecurity = OPEN_NETWORK,
        *,
        append_seconds_max: float = APPEND_SECONDS_MAX,
    ) -> None:
        self._bootstrap, self._security = bootstrap, security
        self._append_seconds_max = append_seconds_max
        self._client: Any = None
        self._broken: list[Any] = []
        self._wake = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        """Return whether there is a client that has not failed."""
        return self._client is not None

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep a client connected until `stopping` is set, then close it.

        What is in flight then is failed: whoever calls `append` is to have ended before.
        """
        failures = 0
        try:
            while not stopping.is_set():
                await self._discard_broken()
                if self._client is None and not await self._connect():
                    wait = CONNECT_AGAIN_SECONDS[min(failures, len(CONNECT_AGAIN_SECONDS) - 1)]
                    failures += 1
                    await _first_of(stopping.wait(), seconds=wait)
                    continue
                failures = 0
                await _first_of(stopping.wait(), self._wake.wait())
                self._wake.clear()
        finally:
            if self._client is not None:
                self._broken.append(self._client)
                self._client = None
            await self._discard_broken()

    async def append(self, records: Sequence[Record]) -> list[Appended | None]:
        """Return where each record is, once all replicas have it; None where that is not known.

        Records of one partition stay in order. Raises Unavailable when it is known of none.
        """
        client = self._client
        if client is None:
            raise Unavailable(
                f"Kafka at {self._bootstrap} is not connected; see that it runs and can be reached"
            )
        found: list[Appended | None] = [None] * len(records)
        try:
            async with asyncio.timeout(self._append_seconds_max):
                by_partition = await _by_partition(client, records)
                errors = await asyncio.gather(
                    *(
                        _append(client, records, found, target=target, places=places)
                        for target, places in by_partition.items()
                    )
                )
            error = next((error for error in errors if error is not None), None)
        except (KafkaError, OSError, TimeoutError) as failure:
            error = failure
        if error is not None:
            self._give_up(client, error)
            if not any(found):
                raise Unavailable(
                    f"Kafka at {self._bootstrap} did not take the segments "
                    f"({type(error).__name__}); see that it runs, and has its topics: "
                    "rekam topics diff"
                ) from error
        return found

    def _give_up(self, client: Any, error: Exception) -> None:
        # Another call that shared the client may have done it already.
        if self._client is client:
            self._client = None
            self._broken.append(client)
            self._wake.set()
            log.warning("kafka_client_given_up", error=type(error).__name__)

    async def _connect(self) -> bool:
        client: Any = AIOKafkaProducer(**producer_options(self._bootstrap, self._security))
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                await client.start()
        except (KafkaError, OSError, TimeoutError) as error:
            self._broken.append(client)
            log.warning("kafka_not_connected", error=type(error).__name__)
            return False
        except BaseException:
            self._broken.append(client)
            raise
        self._client = client
        log.info("kafka_connected")
        return True

    async def _discard_broken(self) -> None:
        while self._broken:
            if not await discard_producer(self._broken.pop()):
                log.warning("kafka_client_not_closed")


async def _by_partition(client: Any, records: Sequence[Record]) -> dict[tuple[str, int], list[int]]:
    """Return the places of the records of each partition, as aiokafka itself would choose it."""
    partitions = {
        topic: sorted(await client.partitions_for(topic))
        for topic in {record.topic for record in records}
    }
    found: dict[tuple[str, int], list[int]] = defaultdict(list)
    chosen: dict[bytes, int] = {}
    for place, record in enumerate(records):
        known = partitions[record.topic]
        if record.key is None:
            partition = known[0]
        elif record.key in chosen:
            partition = chosen[record.key]
        else:
            # murmur2 in Python costs some µs; a request mostly has one producer.
            partition = chosen[record.key] = _partition_of(record.key, known, known)
        found[record.topic, partition].append(place)
    return found


async def _append(
    client: Any,
    records: Sequence[Record],
    found: list[Appended | None],
    *,
    target: tuple[str, int],
    places: list[int],
) -> Exception | None:
    """Append to one partition, in order; write into `found` what is known to be there.

    Returns what went wrong, if anything did: the other partitions go on.
    """
    topic, partition = target
    sent: list[tuple[asyncio.Future[Any], list[int]]] = []
    try:
        if len(places) == 1:
            # It may share a batch with those of other calls.
            record = records[places[0]]
            future = await client.send(
                topic,
                value=record.value,
                key=record.key,
                partition=partition,
                headers=list(record.headers),
            )
            sent.append((future, places))
        else:
            for batch, inside in _batches(client, records, places):
                future = await client.send_batch(batch, topic, partition=partition)
                sent.append((future, inside))
        for future, inside in sent:
            metadata = await future
            is_broker_time = metadata.timestamp_type == _LOG_APPEND_TIME
            for place in inside:
                found[place] = Appended(partition, metadata.timestamp if is_broker_time else None)
    except (KafkaError, OSError) as error:
        return error
    finally:
        for future, _ in sent:
            # Nobody else asks for them; an unread exception would be reported at exit.
            if not future.cancel() and not future.cancelled():
                future.exception()
    return None


def _batches(
    client: Any, records: Sequence[Record], places: Sequence[int]
) -> list[tuple[Any, list[int]]]:
    batches: list[tuple[Any, list[int]]] = []
    batch: Any = client.create_batch()
    inside: list[int] = []
    for place in places:
        record = records[place]
        arguments = {
            "timestamp": None,
            "key": record.key,
            "value": record.value,
            "headers": list(record.headers),
        }
        if batch.append(**arguments) is None:
            batches.append((batch, inside))
            batch, inside = client.create_batch(), []
            appended = batch.append(**arguments)
            assert appended is not None, len(record.value)  # noqa: S101 - intake's limits see to it
        inside.append(place)
    batches.append((batch, inside))
    for full, _ in batches:
        full.close()  # nobody else's records come into it, so it need not linger
    return batches


@dataclass(frozen=True, slots=True)
class LogTopics:
    """Names of the topics that a gateway works with."""

    segments: str = SEGMENTS.name
    quarantine: str = QUARANTINE.name
    receipts: str = RECEIPTS.name


class Recent:
    """Hashes of what this process has appended itself, for a short while and in bounded memory."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: OrderedDict[str, float] = OrderedDict()
        """When each was appended, oldest first."""

    def add(self, segment_hash: str) -> None:
        """Remember a segment of which the broker says that it has it."""
        now = self._clock()
        self._since.pop(segment_hash, None)
        self._since[segment_hash] = now
        while len(self._since) > RECENT_MAX or self._oldest() < now - RECENT_SECONDS_MAX:
            self._since.popitem(last=False)

    def __contains__(self, segment_hash: str) -> bool:
        since = self._since.get(segment_hash)
        return since is not None and since >= self._clock() - RECENT_SECONDS_MAX

    def _oldest(self) -> float:
        return next(iter(self._since.values()))


class LogBackend:
    """The gateway's backend: the log, and what the receipts topic says."""

    def __init__(
        self,
        bootstrap: str,
        security: KafkaSecurity = OPEN_NETWORK,
        *,
        receipts: ReceiptCache,
        topics: LogTopics = LogTopics(),
        append_seconds_max: float = APPEND_SECONDS_MAX,
    ) -> None:
        """Name the cluster; nothing is opened before `run`."""
        self.receipts = receipts
        self._bootstrap, self._security, self._topics = bootstrap, security, topics
        self._writer = LogWriter(bootstrap, security, append_seconds_max=append_seconds_max)
        self._follower = ReceiptFollower(receipts, bootstrap, security, topic=topics.receipts)
        self._recent = Recent()
        self._probing = asyncio.Lock()
        self._probed: tuple[float, bool] = (-PROBE_SECONDS, False)
        """When Kafka was last asked whether it answers, and whether it did."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Stay connected and follow the receipts until `stopping` is set."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._writer.run(stopping), name="log-writer")
            tasks.create_task(self._follower.run(stopping), name="receipts")

    def receipt_of(self, producer: ProducerId) -> Known | None:
        """Return a producer's newest receipt."""
        return self.receipts.of(producer)

    async def take(self, judged: Sequence[Judged], *, route: ArrivalRoute) -> list[Outcome]:
        """Append what is to be in the log, and what is quarantined to its own topic."""
        outcomes: list[Outcome | None] = [
            Outcome("duplicate") if self._is_known(one) else None for one in judged
        ]
        places = [place for place, outcome in enumerate(outcomes) if outcome is None]
        if places:
            try:
                appended = await self._writer.append(
                    [self._record(judged[place], route) for place in places]
                )
            except Unavailable as error:
                raise ProblemError(
                    "log_unavailable",
                    "Kafka takes nothing now. Nothing is said about these segments; keep them and "
                    "send them again",
                    retry_after_seconds=RETRY_SECONDS,
                ) from error
            for place, one in zip(places, appended, strict=True):
                outcomes[place] = self._outcome(judged[place], one)
        return [outcome for outcome in outcomes if outcome is not None]

    async def missing(self) -> str | None:
        """Return what is missing: Kafka, the connection to it, or the receipts."""
        if not await self._is_answering() or not self._writer.is_connected:
            return "Kafka does not answer"
        if not self._follower.is_complete:
            return "the receipts are not read to their end yet"
        return None

    async def _is_answering(self) -> bool:
        # A probe opens a client of its own; many who ask share one.
        async with self._probing:
            since, was_answering = self._probed
            if time.monotonic() - since < PROBE_SECONDS:
                return was_answering
            found = await is_answering(self._bootstrap, self._security)
            self._probed = (time.monotonic(), found)
            return found

    def _is_known(self, one: Judged) -> bool:
        """Tell whether the log holds exactly this verified segment for certain."""
        if one.outlook != "admissible" or one.header is None or one.hash is None:
            return False
        return one.hash in self._recent or self.receipts.is_in_the_log(one.header, one.hash)

    def _record(self, one: Judged, route: ArrivalRoute) -> Record:
        if one.outlook == "quarantined":
            assert one.reason is not None  # noqa: S101 - our own bug
            headers = (
                ("reason", one.reason.code.encode("ascii")),
                ("detail", one.reason.detail.encode()),
                ("source", b"gateway"),
            )
            return Record(self._topics.quarantine, None, one.raw, headers)
        assert one.producer is not None  # noqa: S101 - our own bug
        return Record(
            self._topics.segments,
            one.producer.encode("ascii"),
            one.raw,
            tuple(route_headers(route)),
        )

    def _outcome(self, one: Judged, appended: Appended | None) -> Outcome:
        code = None if one.reason is None else one.reason.code
        if appended is None:
            return Outcome("retry", "log_unavailable")
        match one.outlook:
            case "quarantined":
                return Outcome("quarantined", code)
            case "held":
                return Outcome("held", code, appended.append_ms)
            case "admissible":
                assert one.hash is not None  # noqa: S101 - our own bug
                self._recent.add(one.hash)
                return Outcome("accepted", None, appended.append_ms)
            case _:
                assert_never(one.outlook)


async def _first_of(*events: Coroutine[Any, Any, Any], seconds: float | None = None) -> None:
    """Return when the first of them has ended, or after so many seconds."""
    waiting = {asyncio.ensure_future(event) for event in events}
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
