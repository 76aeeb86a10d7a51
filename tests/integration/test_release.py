"""What is held applies by itself, and what is released counts once, on a real log and database."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import pytest

from rekam.domain import events
from rekam.domain.errors import Corrupt
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.topics import Topic
from rekam.embedded.kafka import EmbeddedKafka
from stream_processors.release import release
from tests.support.broker import Topics
from tests.support.deciding import discarding, older_opener, with_discards
from tests.support.history import (
    PARTITIONS,
    REGISTRAR,
    REGISTRAR_KEY,
    Life,
    captured,
    nik,
    random_history,
)
from tests.support.processor import Projections, produce
from tests.support.releasing import fold_log, folder_of, lift_all, liftable, reader_of

BOTH_ORDERS = pytest.mark.parametrize("is_reversed", [False, True])


@pytest.fixture
async def topic(topics: Topics) -> Topic:
    """Give a topic of its own."""
    return await topics.make(partitions=PARTITIONS)


@pytest.fixture
async def projections(
    database: str, kafka: EmbeddedKafka, topic: Topic
) -> AsyncIterator[Projections]:
    """Give projections that nothing is folded into yet."""
    async with Projections.of(database, kafka.bootstrap, topic) as found:
        yield found


@pytest.fixture
def registrar() -> Life:
    return Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")


def life(name: str, kind: str, number: int) -> Life:
    return Life(ProducerId(name), SigningKey.from_seed(bytes([number]) * 32), kind=kind)


async def fold_in_turn(
    projections: Projections, records: Sequence[tuple[int, bytes]], *, is_reversed: bool
) -> None:
    """Append and fold one record after the other."""
    for record in reversed(records) if is_reversed else records:
        await produce(projections.bootstrap, projections.topic, [record])
        await fold_log(projections)


async def assert_all_counts(projections: Projections) -> None:
    """Nothing is held or refused, and the rows are those of a replay."""
    for table in ("held_record", "quarantined_record", "excluded_event"):
        assert await projections.pool.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - of the list above
    assert (await projections.audit()).differences == ()


@BOTH_ORDERS
async def test_a_recording_counts_with_its_producer_whichever_came_first(
    projections: Projections, registrar: Life, *, is_reversed: bool
) -> None:
    device = life("dev", "recorder", 21)
    enrolment = registrar.seal(registrar.event(device.enrolment()))
    recording = device.seal(device.event(captured(1, "r")))
    await fold_in_turn(projections, [(0, enrolment), (1, recording)], is_reversed=is_reversed)
    assert await projections.pool.fetchval("SELECT sum(people) FROM coverage_cell") == 1
    await assert_all_counts(projections)


@BOTH_ORDERS
async def test_a_status_finds_its_recording_whichever_came_first(
    projections: Projections, registrar: Life, *, is_reversed: bool
) -> None:
    device, centre = life("dev", "recorder", 21), life("centre", "centre", 22)
    enrolments = registrar.seal(
        registrar.event(device.enrolment()), registrar.event(centre.enrolment())
    )
    observed = events.StatusObserved(nik=nik(1), status="CARD_ISSUED", observed_ms=1, source="t")
    await fold_in_turn(projections, [(0, enrolments)], is_reversed=False)
    await fold_in_turn(
        projections,
        [
            (1, device.seal(device.event(captured(1, "r")))),
            (2, centre.seal(centre.event(observed))),
        ],
        is_reversed=is_reversed,
    )
    found = await projections.pool.fetch("SELECT desa, status, people FROM verification_cell")
    assert [tuple(row) for row in found if row["desa"] != "-"] == [
        (captured(1, "r").domicile, "CARD_ISSUED", 1)
    ]
    await assert_all_counts(projections)


@BOTH_ORDERS
async def test_an_entry_finds_its_list_whichever_came_first(
    projections: Projections, registrar: Life, *, is_reversed: bool
) -> None:
    kpu = life("kpu", "kpu", 23)
    published = events.CohortPublished(cohort="c", version="1", title="t", source="s", entries=1)
    listed = events.CohortEntryListed(cohort="c", entry=1, version="1")
    resolved = events.CohortEntryResolved(cohort="c", entry=1, bucket="verified", source="s")
    records = [
        (1, kpu.seal(kpu.event(published))),
        (1, kpu.seal(kpu.event(listed))),
        (1, kpu.seal(kpu.event(resolved))),
        (0, registrar.seal(registrar.event(kpu.enrolment()))),
    ]
    await fold_in_turn(projections, records, is_reversed=is_reversed)
    buckets = await projections.pool.fetch(
        "SELECT bucket, sum(entries)::bigint AS entries FROM cohort_cell "
        "GROUP BY bucket HAVING sum(entries) <> 0"
    )
    assert [tuple(row) for row in buckets] == [("verified", 1)]
    await assert_all_counts(projections)


async def test_what_was_held_is_told_by_the_route_by_which_it_came(
    projections: Projections, registrar: Life
) -> None:
    """Held for its enrolment, and held for newer software; both are released from their rows."""
    device, newer = life("dev", "recorder", 21), life("new", "recorder", 22)
    records = [  # by kafka, gateway and relay
        (1, device.seal(device.event(captured(1, "r1")))),
        (2, newer.seal(newer.event(captured(2, "r2")))),
        (0, registrar.seal(*(registrar.event(one.enrolment()) for one in (device, newer)))),
    ]
    await produce(projections.bootstrap, projections.topic, records)
    await fold_log(projections, older_opener(has_reader=False, young=frozenset()))
    assert await liftable(projections) > 0
    assert await lift_all(projections) > 0
    found = await projections.pool.fetch("SELECT producer, route, people FROM coverage_cell")
    assert {tuple(row) for row in found} == {("dev", "kafka", 1), ("new", "gateway", 1)}
    await assert_all_counts(projections)


@pytest.mark.parametrize("has_reader", [True, False])
async def test_after_an_upgrade_live_is_what_a_replay_by_the_new_software_gives(
    projections: Projections, *, has_reader: bool
) -> None:
    records = with_discards(random_history(11, segments=120), random.Random(11))
    await produce(
        projections.bootstrap,
        projections.topic,
        [(record.partition, record.value) for record in records],
    )
    await fold_log(projections, older_opener(has_reader=has_reader))
    assert (await projections.audit()).differences != ()
    before = await liftable(projections)
    assert await lift_all(projections) > 0
    assert await liftable(projections) < before
    assert (await projections.audit()).differences == ()
    assert await lift_all(projections) == 0


async def test_two_releases_at_once_beside_a_processor_count_everything_once(
    projections: Projections,
) -> None:
    records = random_history(12, segments=120)
    half = len(records) // 2
    values = [(record.partition, record.value) for record in records]
    await produce(projections.bootstrap, projections.topic, values[:half])
    await fold_log(projections, older_opener())
    await produce(projections.bootstrap, projections.topic, values[half:])
    await asyncio.gather(
        lift_all(projections), lift_all(projections), fold_log(projections), lift_all(projections)
    )
    assert (await projections.audit()).differences == ()


async def test_what_is_still_refused_is_told_and_stays(projections: Projections) -> None:
    await produce(projections.bootstrap, projections.topic, [(0, b"garbage"), (0, b"RKM1")])
    await fold_log(projections)
    async with reader_of(projections) as reader:
        still = await release(folder_of(projections), reader, [(0, 1), (0, 0)])
    assert [(one.place, one.reason) for one in still] == [
        ((0, 0), "not_a_segment"),
        ((0, 1), "truncated"),
    ]
    assert await projections.pool.fetchval("SELECT count(*) FROM quarantined_record") == 2
    assert (await projections.audit()).differences == ()


async def test_events_that_other_records_judge_are_told_too_and_stay(
    projections: Projections, registrar: Life
) -> None:
    device = life("rec-1", "recorder", 9)
    revoked = events.ProducerRevoked(producer="rec-1", effective_ms=0, reason="hilang")
    said = registrar.seal(registrar.event(device.enrolment()), registrar.event(revoked))
    recorded = device.seal(device.event(captured(1, "r1")), lines=[b"no event"])
    await produce(projections.bootstrap, projections.topic, [(0, recorded), (1, said)])
    await fold_log(projections)
    for _again in range(2):
        async with reader_of(projections) as reader:
            still = await release(folder_of(projections), reader, [(0, 0)])
        assert [(one.place, one.seq, one.reason) for one in still] == [
            ((0, 0), 1, "revoked"),
            ((0, 0), 2, "not_json"),
        ]
    assert await projections.pool.fetchval("SELECT count(*) FROM excluded_event") == 2
    assert (await projections.audit()).differences == ()


async def test_a_place_that_the_log_does_not_hold_is_told(projections: Projections) -> None:
    async with reader_of(projections) as reader:
        for place in ((0, 5), (77, 0)):
            with pytest.raises(Corrupt, match="has no record at offset"):
                await reader.read([place])


async def test_records_are_read_by_place_wherever_they_lie(projections: Projections) -> None:
    values = [(partition, f"{partition}/{n}".encode()) for partition in (0, 2) for n in range(30)]
    await produce(projections.bootstrap, projections.topic, values)
    places = [(2, 29), (0, 3), (0, 4), (0, 20), (2, 0), (0, 3)]
    async with reader_of(projections) as reader:
        found = await reader.read(places)
    assert [(one.partition, one.offset, one.value) for one in found] == [
        (partition, offset, f"{partition}/{offset}".encode())
        for partition, offset in sorted(set(places))
    ]


@BOTH_ORDERS
async def test_a_discard_takes_effect_before_and_after_what_it_names_is_admitted(
    projections: Projections, registrar: Life, *, is_reversed: bool
) -> None:
    device = life("dev", "recorder", 21)
    kept = device.seal(device.event(captured(1, "r")), device.event(captured(2, "s")))
    await produce(projections.bootstrap, projections.topic, [(1, kept)])
    await fold_log(projections)  # held: nobody knows the device
    async with reader_of(projections) as reader:
        [record] = await reader.read([(1, 0)])
    enrolment = registrar.seal(registrar.event(device.enrolment()))
    discard = registrar.seal(discarding(record, first=1, last=1))
    await fold_in_turn(projections, [(0, enrolment), (2, discard)], is_reversed=is_reversed)
    assert await projections.pool.fetchval("SELECT sum(people) FROM coverage_cell") == 1
    [excluded] = await projections.pool.fetch("SELECT seq, reason FROM excluded_event")
    assert tuple(excluded) == (1, "discarded")
    assert (await projections.audit()).differences == ()
