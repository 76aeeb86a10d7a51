"""The simulated regency on a real Kafka: what reaches the log is what was planned, once."""

import asyncio
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from producers.device.home import ProducerHome
from producers.simulator.fleet import Fleet
from producers.simulator.progress import Standing
from producers.simulator.regency import DENOMINATOR_2016_FROM, DENOMINATOR_FROM, Regency
from producers.simulator.run import simulate
from producers.simulator.truth import expected
from rekam.domain.errors import Misconfigured, Unavailable
from rekam.domain.events import ClockAnchored, ProducerEnrolled, RecordingCaptured, decode
from rekam.domain.segment import open_body, parse
from rekam.domain.topics import SEGMENTS, Topic
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import apply_topics
from rekam.runtime.keyring import load_readers, load_registrar_key
from rekam.runtime.settings import Settings
from tests.support.broker import Topics
from tests.support.device_log import in_the_log
from tests.support.office import new_office
from tests.support.simulated import (
    EventId,
    RunningSimulator,
    SimulatorLine,
    opened,
    projected,
)

PEOPLE, SEED, DEVICES = 2_000, 3, 40
ARGUMENTS = ("--people", str(PEOPLE), "--seed", str(SEED), "--devices", str(DEVICES))
TRY_AGAIN = 75


def new_fleet() -> Fleet:
    return Fleet(Regency(PEOPLE, SEED), DEVICES)


async def play(settings: Settings, topic: Topic, *, stopping: asyncio.Event | None = None) -> None:
    with Standing(stream=io.StringIO()) as standing:
        await simulate(
            settings,
            new_fleet(),
            standing=standing,
            stopping=stopping or asyncio.Event(),
            once=True,
            topic=topic.name,
        )


async def events_of(settings: Settings, bootstrap: str, topic: Topic) -> Mapping[EventId, bytes]:
    """Return all events of the log, after checking every signature and that there is no fork."""
    (reader,) = load_readers(settings)
    return opened(
        await in_the_log(bootstrap, topic),
        registrar=load_registrar_key(settings),
        reader=reader,
    )


def planned(fleet: Fleet | None = None) -> set[EventId]:
    """Return the ids of all events that a fleet plans."""
    plans = (fleet or new_fleet()).plans
    return {(plan.producer, 1, seq) for plan in plans for seq in range(1, plan.events + 1)}


def of_fleet(events: Mapping[EventId, bytes]) -> dict[EventId, bytes]:
    return {event_id: line for event_id, line in events.items() if event_id[0] != "registrar"}


@pytest.fixture
async def own_kafka(breakable_kafka: EmbeddedKafka) -> EmbeddedKafka:
    """Give a broker with the real topics, to be killed."""
    await apply_topics(breakable_kafka.bootstrap)
    return breakable_kafka


async def test_everything_planned_is_in_the_log_once_with_copies_of_some(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    topic = await topics.make()
    settings = new_office(tmp_path, kafka=kafka.bootstrap)
    await play(settings, topic)
    events = await events_of(settings, kafka.bootstrap, topic)
    truth = expected(PEOPLE, seed=SEED, devices=DEVICES)
    assert set(of_fleet(events)) == planned()
    assert len(of_fleet(events)) == truth.events_of_fleet
    by_registrar = [
        decode(line).data for (producer, _, _), line in events.items() if producer == "registrar"
    ]
    anchors = sum(isinstance(data, ClockAnchored) for data in by_registrar)
    assert anchors >= 1
    assert len(by_registrar) - anchors == truth.events_of_registrar
    copies = Counter(await in_the_log(kafka.bootstrap, topic))
    assert sum(copies.values()) - len(copies) == truth.segments_sent_twice > 0


async def test_projections_of_the_log_say_the_truth(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    topic = await topics.make()
    settings = new_office(tmp_path, kafka=kafka.bootstrap)
    await play(settings, topic)
    tables = await projected(settings, kafka.bootstrap, topic.name)
    truth = expected(PEOPLE, seed=SEED, devices=DEVICES)
    for silent in ("held_record", "quarantined_record", "excluded_event"):
        assert tables[silent] == []
    # Everything became known today, or on both sides of midnight.
    coverage: Counter[tuple[object, object]] = Counter()
    for desa, occurred_on, *_, count in tables["coverage_cell"]:
        coverage[desa, occurred_on] += count
    assert coverage == truth.recorded_on
    statuses: Counter[object] = Counter()
    for _, status, count in tables["verification_cell"]:
        statuses[status] += count
    assert statuses == truth.statuses
    unresolved = truth.cohort_entries - sum(truth.buckets.values())
    buckets: Counter[object] = Counter()
    for _, _, bucket, *_, count in tables["cohort_cell"]:
        buckets[bucket] += count
    assert buckets == Counter({**truth.buckets, "unresolved": unresolved})
    wajib: Counter[object] = Counter()
    for _, _, valid_from, _, desa, count in tables["denominator_cell"]:
        wajib[valid_from, desa] += count
    assert wajib == Counter(
        {
            (valid_from, desa): count
            for valid_from, version in (
                (DENOMINATOR_2016_FROM, truth.wajib_2016),
                (DENOMINATOR_FROM, truth.wajib),
            )
            for desa, count in version.items()
            if count
        }
    )


async def test_a_second_run_adds_nothing(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    topic = await topics.make()
    settings = new_office(tmp_path, kafka=kafka.bootstrap)
    await play(settings, topic)
    before = Counter(await in_the_log(kafka.bootstrap, topic))
    await play(settings, topic)
    assert Counter(await in_the_log(kafka.bootstrap, topic)) == before


async def test_some_enrolments_come_after_segments_that_wait_for_them(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    topic = await topics.make(partitions=1)
    settings = new_office(tmp_path, kafka=kafka.bootstrap)
    await play(settings, topic)
    late = {plan.producer for plan in new_fleet().plans if plan.is_enrolled_late}
    (reader,) = load_readers(settings)
    waiting: set[str] = set()
    enrolled_while_waiting: set[str] = set()
    for segment in map(parse, await in_the_log(kafka.bootstrap, topic)):
        if segment.header.producer != settings.registrar:
            waiting.add(segment.header.producer)
            continue
        for data in (decode(line).data for line in open_body(segment, reader)):
            if isinstance(data, ProducerEnrolled):
                enrolled_while_waiting |= {data.producer} & waiting
    assert 0 < len(enrolled_while_waiting) <= len(late)
    assert enrolled_while_waiting <= late


async def test_another_regency_in_the_same_folder_is_refused(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    topic = await topics.make()
    settings = new_office(tmp_path, kafka=kafka.bootstrap)
    await play(settings, topic)
    with Standing(stream=io.StringIO()) as standing, pytest.raises(Misconfigured, match="--seed"):
        await simulate(
            settings,
            Fleet(Regency(PEOPLE, SEED + 1), DEVICES),
            standing=standing,
            stopping=asyncio.Event(),
            once=True,
            topic=topic.name,
        )


async def test_a_run_that_is_told_to_stop_keeps_the_rest_for_later(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    topic = await topics.make()
    settings = new_office(tmp_path, kafka=kafka.bootstrap)
    stopping = asyncio.Event()
    stopping.set()
    with pytest.raises(Unavailable, match="run it again"):
        await play(settings, topic, stopping=stopping)
    await play(settings, topic)
    assert set(of_fleet(await events_of(settings, kafka.bootstrap, topic))) == planned()


async def test_killed_in_the_middle_and_started_again_it_forks_nothing(
    own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    settings = new_office(tmp_path, kafka=own_kafka.bootstrap)
    people, cut_off = 6_000, 0
    arguments = ("--once", "--people", str(people))
    for share in (0.0, 0.05, 0.3, 0.6):

        def has_come_so_far(line: SimulatorLine, share: float = share) -> bool:
            return line.sent > share * line.total

        async with RunningSimulator(tmp_path, own_kafka.bootstrap, *arguments) as run:
            await run.until(has_come_so_far)
            await run.kill()
            cut_off += run.lines[-1].sent < run.lines[-1].total
    assert cut_off >= 2
    async with RunningSimulator(tmp_path, own_kafka.bootstrap, *arguments) as run:
        assert await run.ended() == 0
        last = run.lines[-1]
        assert (last.phase, last.appended, last.sent) == ("done", last.total, last.total)
    events = await events_of(settings, own_kafka.bootstrap, SEGMENTS)
    assert set(of_fleet(events)) == planned(Fleet(Regency(people, seed=1)))
    assert recorded_people(events) == people


async def test_it_waits_for_a_kafka_that_comes_back(
    own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    settings = new_office(tmp_path, kafka=own_kafka.bootstrap)
    async with RunningSimulator(tmp_path, own_kafka.bootstrap, "--once", *ARGUMENTS) as run:
        await run.until(lambda line: line.sent > 0)
        await own_kafka.kill()
        await own_kafka.start()
        assert await run.ended() == 0
    events = await events_of(settings, own_kafka.bootstrap, SEGMENTS)
    assert set(of_fleet(events)) == planned()


async def test_after_the_plan_it_goes_on_until_it_is_told_to_stop(
    own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    settings = new_office(tmp_path, kafka=own_kafka.bootstrap)
    small = ("--people", "300", "--devices", "6")
    for _ in range(2):  # the second one begins behind the trickle of the first
        async with RunningSimulator(tmp_path, own_kafka.bootstrap, *small) as run:
            grown = await run.until(
                lambda line: line.phase == "trickle" and line.sent > line.total + 4
            )
            assert grown is not None
            run.terminate()
            assert await run.ended() == 0
    events = await events_of(settings, own_kafka.bootstrap, SEGMENTS)
    fleet = Fleet(Regency(300, 1), 6)
    ends = {plan.producer: plan.events for plan in fleet.plans}
    live = [
        decode(line)
        for (producer, _, seq), line in events.items()
        if seq > ends.get(producer, 2**53)  # type: ignore[call-overload]  # ids are texts
    ]
    assert live
    people = [event.data.nik for event in live if isinstance(event.data, RecordingCaptured)]
    assert len(set(people)) == len(people) > 0
    # Dated now: long after the published figures.
    assert min(event.wall_ms for event in live) > 1_600_000_000_000


def recorded_people(events: Mapping[EventId, bytes]) -> int:
    """Return how many people the log has at least one recording of."""
    return len(
        {
            data.nik
            for data in (decode(line).data for line in events.values())
            if isinstance(data, RecordingCaptured)
        }
    )


async def test_homes_stay_readable_by_other_commands(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    topic = await topics.make()
    settings = new_office(tmp_path, kafka=kafka.bootstrap)
    await play(settings, topic)
    plan = new_fleet().plans[0]
    with ProducerHome.open(settings.home / "simulator" / plan.producer) as home:
        status = home.outbox.status()
    assert (status.next_seq, status.unsent_events) == (plan.events + 1, 0)
