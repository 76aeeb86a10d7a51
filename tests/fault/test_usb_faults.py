"""Exports and imports that are killed at every step, and sticks that end in the middle.

The oracle: a file with its final name is whole, the outbox keeps everything, the log counts each
segment once, and running it again completes it.
"""

import asyncio
import random
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from producers.usb.receipts import apply_receipt
from rekam.domain.errors import StickFailed, Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.keys import VerifyKey
from rekam.domain.segment import Sealed, parse
from rekam.domain.topics import RECEIPTS, SEGMENTS, Topic
from rekam.embedded.kafka import EmbeddedKafka
from tests.support.broker import Topics
from tests.support.device import beat, new_home
from tests.support.device_log import chained, in_the_log
from tests.support.sticks import (
    CLOCK,
    RECEIPT_KEY,
    FaultyDisk,
    Mortal,
    everything_with_a_final_name_is_whole,
    exported,
    imported,
    publish,
    segment_files,
    signed_receipt,
)

KILLS = 200
SEGMENTS_PER_HOME = 70
"""More than one group of files."""


def of(producer: str, raws: list[bytes]) -> list[bytes]:
    return [raw for raw in raws if parse(raw).header.producer == producer]


def many_segments(folder: Path, lines: list[bytes], *, producer: str = "dev-1") -> None:
    """Make a home with a segment for each line."""
    with new_home(folder, producer=producer) as home:
        home.trust_receipts([RECEIPT_KEY.public])
        for line in lines:
            home.outbox.append([line])
            seal(home)


def seal(home: ProducerHome) -> None:
    """Seal what waits, as an export does."""
    now = CLOCK.read()
    home.outbox.seal_pending(
        signing_key=home.signing_key,
        reader=home.reader,
        sealed=Sealed(wall_ms=now.wall_ms, mono_ms=now.mono_ms, boot=now.boot),
    )


def held_by(folder: Path) -> Mapping[int, bytes]:
    with ProducerHome.open(folder) as home:
        return {one.first: one.raw for one in home.outbox.unreceipted(limit_bytes=10**8)}


async def test_an_export_killed_at_any_step_leaves_whole_files_and_goes_on(tmp_path: Path) -> None:
    """Killed at every step of one export in turn, each time on an empty stick."""
    home, stick = tmp_path / "home", tmp_path / "stick"
    many_segments(home, [beat(CLOCK, number) for number in range(6)])
    held = held_by(home)
    stick.mkdir()
    step = 1
    async with Mortal("export", str(home), str(stick)) as mortal:
        while await mortal.dies_at(step):
            assert everything_with_a_final_name_is_whole(stick, held)
            assert held_by(home) == held
            with ProducerHome.open(home) as opened:
                assert exported(opened, stick).segments == len(held)
            assert everything_with_a_final_name_is_whole(stick, held)
            assert len(segment_files(stick)) == len(held)
            assert not list(stick.rglob("*.part"))
            shutil.rmtree(stick)
            stick.mkdir()
            step += 1
    assert everything_with_a_final_name_is_whole(stick, held)
    assert step > 3 * len(held)


async def test_exports_killed_hundreds_of_times_arrive_all_the_same(tmp_path: Path) -> None:
    """At random steps, one after the other on one stick until it is complete; then a new stick."""
    home, stick = tmp_path / "home", tmp_path / "stick"
    stick.mkdir()
    many_segments(home, [beat(CLOCK, number) for number in range(SEGMENTS_PER_HOME)])
    held = held_by(home)
    choose = random.Random(1)
    kills = 0
    async with Mortal("export", str(home), str(stick)) as mortal:
        while kills < KILLS:
            while await mortal.dies_at(choose.randrange(1, 5 * SEGMENTS_PER_HOME)):
                assert everything_with_a_final_name_is_whole(stick, held)
                kills += 1
            assert len(segment_files(stick)) == SEGMENTS_PER_HOME
            assert everything_with_a_final_name_is_whole(stick, held)
            shutil.rmtree(stick)
            stick.mkdir()
    assert held_by(home) == held


@pytest.fixture
async def log(topics: Topics) -> Topic:
    """Give a log of one's own."""
    return await topics.make(SEGMENTS, partitions=1)


@pytest.fixture
async def receipts(topics: Topics) -> Topic:
    """Give a receipts topic of one's own."""
    return await topics.make(RECEIPTS)


async def test_an_import_killed_at_any_step_is_run_again_and_the_log_counts_once(
    kafka: EmbeddedKafka, log: Topic, receipts: Topic, tmp_path: Path
) -> None:
    """Killed at every step in turn; receipts of what is there come between some of them."""
    stick = tmp_path / "stick"
    stick.mkdir()
    lines = [beat(CLOCK, number) for number in range(4)]
    keys: dict[str, VerifyKey] = {}
    for name in ("dev-1", "dev-2"):
        many_segments(tmp_path / name, lines, producer=name)
        with ProducerHome.open(tmp_path / name) as home:
            exported(home, stick)
            keys[name] = home.signing_key.public
    step, kills_after = 1, 0
    names = (kafka.bootstrap, log.name, receipts.name)
    async with Mortal("import", str(stick), *names) as mortal:
        while await mortal.dies_at(step):
            step += 1
            logged = await in_the_log(kafka.bootstrap, log)
            kills_after += bool(logged)
            if kills_after == 3:
                await publish(
                    kafka.bootstrap,
                    receipts,
                    *(
                        signed_receipt(ProducerId(name), of(name, logged), keys=[key])
                        for name, key in keys.items()
                    ),
                )
    assert kills_after > 3
    logged = await in_the_log(kafka.bootstrap, log)
    for name, key in keys.items():
        receipt = signed_receipt(ProducerId(name), of(name, logged), keys=[key])
        await publish(kafka.bootstrap, receipts, receipt)
    async with KafkaRoute(kafka.bootstrap, topic=log.name, receipts=receipts) as route:
        found = await imported(stick, route)
    assert {one.verdict for one in found.results} == {"duplicate"}
    for name in keys:
        with ProducerHome.open(tmp_path / name) as home:
            assert chained(of(name, logged), home) == lines
            applied = apply_receipt(home, stick, disk=FaultyDisk(), now=CLOCK.read())
            assert applied.receipted_through == len(lines)


async def test_a_broker_that_goes_in_the_middle_ends_the_import_and_the_next_run_completes(
    breakable_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    topics = Topics(breakable_kafka.bootstrap)
    log, receipts = await topics.make(SEGMENTS, partitions=1), await topics.make(RECEIPTS)
    lines = [beat(CLOCK, number) for number in range(4)]
    stick = tmp_path / "stick"
    stick.mkdir()
    many_segments(tmp_path / "home", lines)
    route = KafkaRoute(
        breakable_kafka.bootstrap,
        topic=log.name,
        receipts=receipts,
        send_seconds_max=3,
        receipt_seconds_max=3,
    )
    with ProducerHome.open(tmp_path / "home") as home:
        exported(home, stick)
        await breakable_kafka.kill()
        found = await imported(stick, route, wait_seconds=60)
        assert isinstance(found.interrupted, Unavailable)
        assert found.retry_segments == len(lines)
        await breakable_kafka.start()
        assert (await imported(stick, route)).interrupted is None
        await route.stop()
        assert chained(await in_the_log(breakable_kafka.bootstrap, log), home) == lines


async def test_a_stick_pulled_out_in_the_middle_of_an_import_is_told_and_plugged_in_goes_on(
    kafka: EmbeddedKafka, log: Topic, receipts: Topic, tmp_path: Path
) -> None:
    lines = [beat(CLOCK, number) for number in range(600)]
    stick, away = tmp_path / "stick", tmp_path / "away"
    stick.mkdir()

    def pull() -> None:
        (stick / "rekam-bundle").rename(away)

    with new_home(tmp_path / "home") as home:
        home.outbox.append(lines)
        exported(home, stick)
        async with KafkaRoute(kafka.bootstrap, topic=log.name, receipts=receipts) as route:
            for step in range(4, 9):
                found = await imported(stick, route, disk=FaultyDisk(step, pull))
                assert isinstance(found.interrupted, StickFailed)
                assert found.interrupted.exit_code == 75
                away.rename(stick / "rekam-bundle")
            assert (await imported(stick, route)).interrupted is None
        assert chained(await in_the_log(kafka.bootstrap, log), home) == lines


LIMITED = """
import resource, sys
from pathlib import Path
from producers.device.home import ProducerHome
from rekam.domain.errors import StickFull
from tests.support.sticks import exported
home = ProducerHome.open(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    exported(home, Path(sys.argv[2]))
except StickFull:
    raise SystemExit(2)
"""


async def test_a_real_limit_of_the_system_in_the_middle_leaves_whole_files(tmp_path: Path) -> None:
    """The kernel cuts the write of a large segment in its midst (RLIMIT_FSIZE, EFBIG)."""
    stick = tmp_path / "stick"
    stick.mkdir()
    folder = tmp_path / "home"
    with new_home(folder) as home:
        home.outbox.append([beat(CLOCK, 1)])
        seal(home)
        home.outbox.append([beat(CLOCK, number) for number in range(500)])
        seal(home)
    held = held_by(folder)
    limit = (len(held[1]) + len(held[2])) // 2
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LIMITED, str(folder), str(stick), str(limit)
    )
    assert await process.wait() == 2
    assert everything_with_a_final_name_is_whole(stick, held)
    assert held_by(folder) == held
    with ProducerHome.open(folder) as home:
        exported(home, stick)
    assert len(segment_files(stick)) == len(held)
    assert everything_with_a_final_name_is_whole(stick, held)
