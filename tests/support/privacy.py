"""A whole office on a real log and database, and a search for people's numbers in all of it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from producers.device.clock import DeviceClock
from producers.device.emitter import drain
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from producers.office.desk import state
from rekam.domain.events import EventData
from rekam.domain.ids import ProducerId
from rekam.domain.topics import ALL, SEGMENTS
from rekam.runtime.kafka import consumer_options
from rekam.runtime.keyring import load_reader_public
from rekam.runtime.postgres import connect, open_pool
from rekam.runtime.settings import Settings
from stream_processors.configured import folding_settings
from stream_processors.folder import PostgresFolder
from stream_processors.replay.audit import Comparison, compare
from stream_processors.replay.source import read_log
from tests.support.device_log import log_ends
from tests.support.live import fold


async def fold_log(settings: Settings, dsn: str) -> None:
    """Fold everything that the log holds by now."""
    assert settings.kafka is not None
    rules, root, opener = folding_settings(settings)
    pool = await open_pool(dsn)
    try:
        folder = PostgresFolder(pool, SEGMENTS.name, rules, root, opener)
        ends = await log_ends(settings.kafka, SEGMENTS)
        async for chunk in read_log(settings.kafka, SEGMENTS.name, ends):
            await fold(folder, chunk)
    finally:
        await pool.close()


async def replayed(settings: Settings, dsn: str) -> Comparison:
    """Replay the log into memory and compare it with the tables."""
    assert settings.kafka is not None
    rules, root, opener = folding_settings(settings)
    connection = await connect(dsn)
    try:
        return await compare(
            connection, settings.kafka, SEGMENTS.name, rules=rules, root=root, opener=opener
        )
    finally:
        await connection.close()


def new_recorder(settings: Settings, name: str = "kit-1") -> ProducerHome:
    """Return the home of a recording device."""
    return ProducerHome.create(
        settings.home / name,
        producer=ProducerId(name),
        kind="recorder",
        reader=load_reader_public(settings),
    )


async def send(settings: Settings, home: ProducerHome, facts: Sequence[EventData]) -> None:
    """State facts, and send them to the log."""
    assert settings.kafka is not None
    state(home, facts)
    async with KafkaRoute(settings.kafka) as route:
        await drain(home, route, clock=DeviceClock())


async def tables(dsn: str) -> dict[str, list[str]]:
    """Return every row of every table, as PostgreSQL shows it: bytes are in hexadecimal."""
    connection = await connect(dsn)
    try:
        names = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        )
        return {
            # The catalogue's own names: nothing of them comes from outside.
            name: [row[0] for row in await connection.fetch(f'SELECT t::text FROM "{name}" t')]  # noqa: S608
            for (name,) in names
        }
    finally:
        await connection.close()


async def records(bootstrap: str) -> list[bytes]:
    """Return key, headers and value of every record of every topic of ours, each as bytes."""
    found: list[bytes] = []
    for topic in ALL:
        ends = await log_ends(bootstrap, topic)
        wanted = {TopicPartition(topic.name, part): end for part, end in ends.items() if end}
        if not wanted:
            continue
        consumer = AIOKafkaConsumer(**consumer_options(bootstrap))
        await consumer.start()
        try:
            consumer.assign(list(wanted))
            await consumer.seek_to_beginning(*wanted)
            while any([await consumer.position(part) < end for part, end in wanted.items()]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += [piece for record in batch for piece in _pieces(record)]
        finally:
            await consumer.stop()
    return found


def _pieces(record: Any) -> Iterator[bytes]:
    yield record.key or b""
    yield record.value or b""
    for name, value in record.headers:
        yield name.encode()
        yield value


def holds(pieces: Iterable[str | bytes], nik: str) -> bool:
    """Tell whether a NIK stands anywhere: as text, as bytes, or as bytes in hexadecimal."""
    raw = nik.encode()
    for piece in pieces:
        data = piece.encode() if isinstance(piece, str) else piece
        if raw in data or raw.hex().encode() in data:
            return True
    return False
