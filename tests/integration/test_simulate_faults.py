"""A fleet with every fault on the real parts: the log, and what is folded from it, hold."""

import asyncio
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from producers.simulator.faulty.lines import recordings_of, unknown_dates
from producers.simulator.faulty.plan import FAULTS, Fault, FaultyFleet
from producers.simulator.faulty.report import Report
from rekam.domain.errors import Misconfigured, Unavailable
from rekam.domain.topics import RECEIPTS, SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import apply_topics
from tests.support.broker import Topics
from tests.support.faulty_fleet import Run, audit, let_live, running
from tests.support.machine import command, free_port
from tests.support.office import new_office
from tests.support.processor import Projections
from tests.support.waiting import until

SEED = 5
FAR_FUTURE_MS = 1_900_000_000_000
"""Later than any test runs, and earlier than what a wrong clock could be mended to."""


def fleet_of(
    *faults: Fault, devices: int = 20, events: int = 1_600, seed: int = SEED
) -> FaultyFleet:
    return FaultyFleet(devices, events, seed, frozenset(faults))


def recordings(fleet: FaultyFleet) -> int:
    return sum(
        len(recordings_of(visit))
        for device in fleet
        for life in device.lives
        for visit in life.visits
    )


@pytest.fixture
async def own_kafka(breakable_kafka: EmbeddedKafka) -> EmbeddedKafka:
    """Give a broker with the real topics."""
    await apply_topics(breakable_kafka.bootstrap)
    return breakable_kafka


def assert_every_line_of_the_oracle_holds(run: Run) -> None:
    """Assert each line, so that a failure names the one that does not hold."""
    found = run.findings
    assert (found.missing, found.waiting, found.lost_after_kill) == (0, 0, 0)
    assert (found.unexpected, found.unreadable, found.foreign_segments) == (0, 0, 0)
    assert found.events == run.fleet.events
    assert found.forked == found.forked_planned
    assert found.date_unknown == found.date_unknown_planned
    assert found.records - found.copies == run.driven.segments
    assert found.copies == run.driven.sent_segments - run.driven.segments
    assert found.holds


async def test_projections_of_a_fleet_with_every_fault_equal_a_rebuild(
    own_kafka: EmbeddedKafka, database: str, tmp_path: Path
) -> None:
    settings = new_office(tmp_path / "office", kafka=own_kafka.bootstrap)
    port = free_port()
    environ = {
        "REKAM_KAFKA": own_kafka.bootstrap,
        "REKAM_POSTGRES": database,
        "REKAM_GATEWAY_PORT": str(port),
    }
    fleet = fleet_of(*FAULTS, devices=60, events=4_800)
    async with running("gateway", "run", home=settings.home, **environ):
        run = await let_live(
            fleet,
            settings,
            addresses=(f"kafka://{own_kafka.bootstrap}", f"http://127.0.0.1:{port}"),
        )
    assert_every_line_of_the_oracle_holds(run)
    assert run.findings.copies > 0
    assert run.findings.forked > 0
    assert run.driven.processes_killed > 0
    assert run.driven.exported_segments > 0
    assert run.driven.imports > sum(device.is_carried for device in fleet)

    async with (
        running("processor", "run", home=settings.home, **environ),
        Projections.of(database, own_kafka.bootstrap, SEGMENTS) as projections,
    ):
        await projections.until_folded(await projections.appended())
        comparison = await audit(projections.pool, settings)
        assert comparison.is_equal, comparison.differences
        fetchval = projections.pool.fetchval
        assert await fetchval("SELECT count(*) FROM held_record") == 0
        assert await fetchval("SELECT count(*) FROM quarantined_record") == 0
        # Nobody is recorded twice, so every recording that counts is a person of the figures.
        rows = await projections.pool.fetch(
            "SELECT reason, count(*) FROM excluded_event GROUP BY reason"
        )
        excluded = Counter({row["reason"]: row["count"] for row in rows})
        people = await fetchval("SELECT sum(people) FROM coverage_cell")
        assert set(excluded) == {"fork_lost"}
        assert people + excluded.total() == recordings(fleet)
        # Of each forked seq one event counts, so no more than one of two can be excluded.
        assert 0 < excluded.total() <= run.findings.forked
        forked = {device.producer for device in fleet if device.clone is not None}
        losers = {
            producer
            for (producer,) in await projections.pool.fetch(
                "SELECT DISTINCT producer FROM ledger_segment WHERE lost <> '{}'"
            )
        }
        assert losers == forked


async def test_dates_that_no_clock_can_tell_are_unknown_in_the_figures_too(
    own_kafka: EmbeddedKafka, database: str, tmp_path: Path
) -> None:
    settings = new_office(tmp_path / "office", kafka=own_kafka.bootstrap)
    fleet = fleet_of("offline", "clock", "duplicate-route", "usb", devices=40, events=2_000)
    run = await let_live(fleet, settings)
    assert_every_line_of_the_oracle_holds(run)
    unknown = sum(unknown_dates(device, known_ms=FAR_FUTURE_MS) for device in fleet)
    assert run.findings.date_unknown == unknown > 0
    environ = {"REKAM_KAFKA": own_kafka.bootstrap, "REKAM_POSTGRES": database}
    async with (
        running("processor", "run", home=settings.home, **environ),
        Projections.of(database, own_kafka.bootstrap, SEGMENTS) as projections,
    ):
        await projections.until_folded(await projections.appended())
        fetchval = projections.pool.fetchval
        assert await fetchval("SELECT sum(people) FROM coverage_cell") == recordings(fleet)
        assert (
            await fetchval("SELECT sum(people) FROM coverage_cell WHERE occurred_on = 'infinity'")
            == unknown
        )


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_alone_leaves_the_log_whole(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path, fault: Fault
) -> None:
    topic = await topics.make()
    settings = new_office(tmp_path, kafka=kafka.bootstrap)
    fleet = fleet_of(fault, devices=6, events=300)
    receipts = await topics.make(RECEIPTS)
    run = await let_live(fleet, settings, topic=topic, receipts=receipts)
    assert_every_line_of_the_oracle_holds(run)


async def test_a_fleet_that_has_lived_is_not_let_live_again(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    topic = await topics.make()
    settings = new_office(tmp_path, kafka=kafka.bootstrap)
    fleet = fleet_of(devices=2, events=100)
    await let_live(fleet, settings, topic=topic)
    with pytest.raises(Misconfigured, match="another --seed"):
        await let_live(fleet, settings, topic=topic)
    await let_live(fleet_of(devices=2, events=100, seed=6), settings, topic=topic)


async def test_a_fleet_that_is_told_to_stop_says_where_its_homes_are(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    topic = await topics.make()
    settings = new_office(tmp_path, kafka=kafka.bootstrap)
    stopping = asyncio.Event()
    stopping.set()
    with pytest.raises(Unavailable, match="0 of 20 devices"):
        await let_live(fleet_of(), settings, topic=topic, stopping=stopping)


async def test_it_waits_for_a_kafka_that_comes_back(
    own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    settings = new_office(tmp_path / "office", kafka=own_kafka.bootstrap)
    fleet = fleet_of("offline", "duplicate-route", devices=60, events=6_000)
    living = asyncio.create_task(let_live(fleet, settings))
    homes = settings.home / "simulator"

    async def has_begun() -> bool:
        return any(homes.glob("*/*/outbox.db-wal"))

    await until(has_begun)
    await own_kafka.kill()
    await own_kafka.start()
    run = await living
    found = run.findings
    assert (found.missing, found.waiting, found.unexpected, found.foreign_segments) == (0, 0, 0, 0)
    assert found.holds


async def test_the_command_prints_one_line_of_what_happened(
    own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    settings = new_office(tmp_path / "office", kafka=own_kafka.bootstrap)
    arguments = ["--devices", "8", "--events", "400", "--seed", "2", "--check"]
    process = await asyncio.create_subprocess_exec(
        *command("simulate", *arguments, "--faults", "clone,kill"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"REKAM_HOME": str(settings.home), "REKAM_KAFKA": own_kafka.bootstrap},
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    *progress, last = output.splitlines()
    assert msgspec.json.decode(progress[-1])["phase"] == "done"
    report = msgspec.json.decode(last, type=Report)
    assert (report.devices, report.events, report.seed) == (8, 400, 2)
    assert report.faults == {"clone": 2, "kill": 2}
    assert report.forks == report.processes_killed == 2
    assert report.holds is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--faults usb", "--faults needs --events"),
        ("--check", "--check needs --events"),
        ("--events 100 --devices 2 --once", "--once belongs to the regency"),
        ("--events 100 --devices 20", "wanted 480"),
        ("--devices 160", "wanted 2 to 159"),
        ("--events 100 --devices 2 --faults rain", "rain; wanted some of"),
    ],
)
async def test_options_that_do_not_fit_are_refused(
    arguments: str, said: str, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *command("simulate", *arguments.split()),
        stderr=asyncio.subprocess.PIPE,
        env={"REKAM_HOME": str(tmp_path)},
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert said in " ".join(errors.decode().split())
