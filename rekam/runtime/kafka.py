"""Kafka clients: their options, and the cluster's topics. The one module that meets aiokafka's Any.

aiokafka ships no types, so options leave here as keyword dictionaries for its constructors.
"""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from rekam.domain.errors import Corrupt, Unavailable
from rekam.domain.log import ROUTE_UNTOLD, LogRecord, route_told
from rekam.domain.topics import ALL, RECORD_BYTES_MAX, Topic
from rekam.runtime.settings import KafkaSecurity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REQUEST_TIMEOUT_MS = 10_000
PROBE_SECONDS_MAX = 2.0
OFFSETS_SECONDS_MAX = 10.0
DISCARD_SECONDS_MAX = 2.0
"""For each of the two steps in which a client is given up."""
APPLY_SECONDS_MAX = 30.0
REPLICAS_WANTED = 3
OPEN_NETWORK = KafkaSecurity()
"""No encryption and no user: right for the embedded broker on the loopback alone."""


def log_record(partition: int, record: Any) -> LogRecord:
    """Return what aiokafka consumed as the folds see it; without a value it has an empty one."""
    headers = record.headers
    return LogRecord(
        partition,
        record.offset,
        record.timestamp,
        record.value or b"",
        route_told(headers) if headers else ROUTE_UNTOLD,
    )


def client_options(
    bootstrap: str, security: KafkaSecurity = OPEN_NETWORK, *, tls: ssl.SSLContext | None = None
) -> dict[str, Any]:
    """Return what every aiokafka client needs: address, deadlines, and proof of who asks.

    Reads the password file at each call, so a changed password counts from the next client on.
    `tls` checks the brokers' certificates in place of the usual check, where there is TLS.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": bootstrap,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "retry_backoff_ms": 200,
        # A moved leader is found by the error it causes; this bounds what no error tells.
        "metadata_max_age_ms": 60_000,
        "connections_max_idle_ms": 540_000,
        "security_protocol": security.protocol,
    }
    if security.protocol.endswith("SSL"):
        options["ssl_context"] = tls or ssl.create_default_context(
            cafile=None if security.ca is None else str(security.ca)
        )
    if security.protocol.startswith("SASL"):
        assert security.password_file is not None  # noqa: S101 - Settings.load wants it
        options |= {
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": security.user,
            "sasl_plain_password": security.password_file.read_text().rstrip("\n"),
        }
    return options


def producer_options(
    bootstrap: str, security: KafkaSecurity = OPEN_NETWORK, *, tls: ssl.SSLContext | None = None
) -> dict[str, Any]:
    """Return options of an `AIOKafkaProducer` whose acknowledgement means: all replicas have it.

    Idempotent and not transactional, so that offsets stay dense. Bodies are compressed already.
    """
    return client_options(bootstrap, security, tls=tls) | {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": None,
        "linger_ms": 5,
        "max_batch_size": RECORD_BYTES_MAX,
        "max_request_size": RECORD_BYTES_MAX,
    }


def consumer_options(
    bootstrap: str, security: KafkaSecurity = OPEN_NETWORK, *, tls: ssl.SSLContext | None = None
) -> dict[str, Any]:
    """Return options of an `AIOKafkaConsumer` that never commits and never jumps by itself.

    Positions live with the projections. Out of range is an error: a jump would be a silent loss.
    """
    return client_options(bootstrap, security, tls=tls) | {
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_uncommitted",
        "check_crcs": True,
        "fetch_max_wait_ms": 100,
        "fetch_min_bytes": 1,
        "fetch_max_bytes": 16 * 1024 * 1024,
        "max_partition_fetch_bytes": 4 * 1024 * 1024,
        "session_timeout_ms": 10_000,
        "heartbeat_interval_ms": 3_000,
        "max_poll_interval_ms": 300_000,
    }


async def discard_producer(client: Any) -> bool:
    """Close an `AIOKafkaProducer` within a bounded time, whether its broker answers or not.

    What it had not delivered is failed with KafkaError. Returns whether its sockets are known to
    be closed; if not, they go with the client. aiokafka 0.14 has no such call:
    `AIOKafkaProducer.stop` waits until everything is delivered. So its sender is ended first and
    what it held is failed; then `stop` has nothing to wait for.
    """
    sender = client._sender.sender_task  # noqa: SLF001 - see above
    if sender is not None:
        for _ in range(2):
            # The first cancellation waits for requests in flight, the second one does not.
            sender.cancel()
            await asyncio.wait({sender}, timeout=DISCARD_SECONDS_MAX / 2)
            if sender.done():
                break
        held = client._message_accumulator  # noqa: SLF001 - see above
        # A batch that waits to be retried left this set; its own callback wants to remove it there.
        held._pending_batches.update(*held._batches.values())  # noqa: SLF001 - see above
        batches = list(held._pending_batches)  # noqa: SLF001 - see above
        held.fail_all(KafkaError("given up"))
        for batch in batches:
            # Who waits for it may be gone; an exception that nobody asks for is reported later.
            messages = (future for future, _ in batch._msg_futures)  # noqa: SLF001 - see above
            for waiter in (batch.future, batch._drain_waiter, *messages):  # noqa: SLF001 - see above
                if waiter.done() and not waiter.cancelled():
                    waiter.exception()
    try:
        async with asyncio.timeout(DISCARD_SECONDS_MAX):
            await client.stop()
    except (KafkaError, OSError, TimeoutError):
        return False
    return True


async def is_answering(bootstrap: str, security: KafkaSecurity = OPEN_NETWORK) -> bool:
    """Return whether the cluster gives a client its brokers and a controller now."""
    host, _, port = bootstrap.partition(",")[0].strip().rpartition(":")
    try:
        async with asyncio.timeout(PROBE_SECONDS_MAX):
            # A refused connection is the usual answer while a broker starts; aiokafka would log
            # an error for each.
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            await writer.wait_closed()
            async with _admin(bootstrap, security) as admin:
                cluster = await admin.describe_cluster()
    except (OSError, KafkaError, TimeoutError, Unavailable):
        return False
    return bool(cluster["brokers"]) and cluster["controller_id"] >= 0


async def offsets_before(
    bootstrap: str, topic: str, moment_ms: int, *, security: KafkaSecurity = OPEN_NETWORK
) -> dict[int, int]:
    """Return by partition the offset below which every record lies that was appended before.

    Before `moment_ms` (Unix time in ms), which is over by the brokers' clocks: it is the offset of
    the first record of that moment or a later one, or the end. Raises Unavailable.
    """
    async with _admin(bootstrap, security) as admin:
        numbers = range((await _partitions(admin)).get(topic, 0))
    if not numbers:
        raise Unavailable(f"Kafka at {bootstrap} has no topic {topic}; run `rekam topics apply`.")
    partitions = [TopicPartition(topic, number) for number in numbers]
    consumer = AIOKafkaConsumer(**consumer_options(bootstrap, security))
    try:
        async with asyncio.timeout(OFFSETS_SECONDS_MAX):
            await consumer.start()
            # Brokers know no time before 1970, and refuse to be asked for one.
            found = await consumer.offsets_for_times(dict.fromkeys(partitions, max(moment_ms, 0)))
            ends = await consumer.end_offsets(partitions)
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(
            f"Kafka at {bootstrap} does not answer ({type(error).__name__}). "
            "Start it, or correct REKAM_KAFKA."
        ) from error
    finally:
        await consumer.stop()
    return {
        place.partition: ends[place] if found[place] is None else found[place].offset
        for place in partitions
    }


async def diff_topics(
    bootstrap: str, topics: Sequence[Topic] = ALL, *, security: KafkaSecurity = OPEN_NETWORK
) -> list[str]:
    """Return one line per difference between the cluster and `topics`; none when they are equal.

    Looks at the settings that a topic names, not at a broker's defaults for the others.
    """
    async with _admin(bootstrap, security) as admin:
        partitions = await _partitions(admin)
        configs = await _configs(
            admin, [topic.name for topic in topics if topic.name in partitions]
        )
    differences = []
    for topic in topics:
        if topic.name not in partitions:
            differences.append(f"{topic.name}: missing; wanted {topic.partitions} partitions")
            continue
        if partitions[topic.name] != topic.partitions:
            differences.append(
                f"{topic.name}: {partitions[topic.name]} partitions; wanted {topic.partitions}"
            )
        for name, wanted in sorted(topic.config.items()):
            found = configs[topic.name].get(name)
            if found != wanted:
                differences.append(f"{topic.name}: {name}={found}; wanted {wanted}")
    return differences


async def apply_topics(
    bootstrap: str, topics: Sequence[Topic] = ALL, *, security: KafkaSecurity = OPEN_NETWORK
) -> list[str]:
    """Make the cluster equal to `topics` and return the differences that there were.

    Returns when every topic has its leaders, so a client may use them at once. Safe to repeat and
    to run concurrently. A topic's number of partitions is never changed (it would send a producer's
    later records to another partition): raises Corrupt when one differs.
    """
    differences = await diff_topics(bootstrap, topics, security=security)
    if not differences:
        return []
    async with _admin(bootstrap, security) as admin:
        existing = await _partitions(admin)
        for topic in topics:
            if existing.get(topic.name, topic.partitions) != topic.partitions:
                raise Corrupt(
                    f"topic {topic.name} has {existing[topic.name]} partitions and must have "
                    f"{topic.partitions}. Check that REKAM_KAFKA names the right cluster; a new "
                    "number of partitions is a new topic version."
                )
        cluster = await admin.describe_cluster()
        replicas = min(REPLICAS_WANTED, len(cluster["brokers"]))
        await _create(admin, [topic for topic in topics if topic.name not in existing], replicas)
        present = [topic for topic in topics if topic.name in existing]
        if present:
            await _alter(admin, present)
        await _wait_for_leaders(admin, topics)
    return differences


async def _create(admin: Any, topics: list[Topic], replicas: int) -> None:
    if not topics:
        return
    response = await admin.create_topics(
        [
            NewTopic(topic.name, topic.partitions, replicas, topic_configs=dict(topic.config))
            for topic in topics
        ],
        timeout_ms=REQUEST_TIMEOUT_MS,
    )
    for name, code, *message in response.topic_errors:
        # Another starter was quicker; it created the same thing.
        if code not in (0, TopicAlreadyExistsError.errno):
            raise Unavailable(
                f"topic {name} could not be created: {for_code(code).__name__} {message}"
            )


async def _alter(admin: Any, topics: list[Topic]) -> None:
    responses = await admin.alter_configs(
        [
            ConfigResource(ConfigResourceType.TOPIC, topic.name, dict(topic.config))
            for topic in topics
        ]
    )
    for response in responses:
        for code, message, _kind, name in response.resources:
            if code:
                raise Unavailable(f"topic {name} could not be changed: {message}")


async def _wait_for_leaders(admin: Any, topics: Sequence[Topic]) -> None:
    wanted = {topic.name: topic.partitions for topic in topics}
    try:
        async with asyncio.timeout(APPLY_SECONDS_MAX):
            while True:
                ready = {
                    topic["topic"]: sum(part["leader"] >= 0 for part in topic["partitions"])
                    for topic in await admin.describe_topics()
                }
                if all(ready.get(name, 0) == count for name, count in wanted.items()):
                    return
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise Unavailable(
            f"not every topic has its leaders after {APPLY_SECONDS_MAX:.0f} s. Look at the brokers."
        ) from error


async def _partitions(admin: Any) -> dict[str, int]:
    return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}


async def _configs(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    responses = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    )
    found: dict[str, dict[str, str]] = {}
    for response in responses:
        for code, message, _kind, name, entries in response.resources:
            if code:
                raise Unavailable(f"topic {name} could not be described: {message}")
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


@asynccontextmanager
async def _admin(bootstrap: str, security: KafkaSecurity) -> "AsyncIterator[Any]":
    admin = AIOKafkaAdminClient(**client_options(bootstrap, security))
    try:
        await admin.start()
        yield admin
    except (KafkaError, TimeoutError) as error:
        raise Unavailable(
            f"Kafka at {bootstrap} does not answer ({type(error).__name__}). "
            "Start it, or correct REKAM_KAFKA."
        ) from error
    finally:
        await admin.close()
