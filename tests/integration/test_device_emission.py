"""A device on a real broker: online, while it is away, and from the command line."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from producers.device.clock import DeviceClock
from producers.device.emitter import drain, run
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from rekam.domain.events import ClockAnchored, FaultReported, decode
from rekam.domain.keys import SigningKey
from rekam.domain.segment import parse
from rekam.domain.topics import SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import apply_topics
from tests.support.broker import Topics
from tests.support.device import READER, beat, new_home
from tests.support.device_log import chained, in_the_log
from tests.support.gateway import gateway_on, make_topics
from tests.support.http_answers import Request, answer, results, saying
from tests.support.waiting import until

CLOCK = DeviceClock()


async def test_everything_appended_is_in_the_log_once_with_an_anchor_of_its_boot(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    topic = await topics.make(partitions=1)
    route = KafkaRoute(kafka.bootstrap, topic=topic.name)
    with new_home(tmp_path) as home:
        appended = [beat(CLOCK, number) for number in range(1_200)]
        home.outbox.append(appended)
        await drain(home, route, clock=CLOCK)
        await route.stop()
        found = chained(await in_the_log(kafka.bootstrap, topic), home)
        assert home.outbox.status().unsent_events == 0
    assert found[:1_200] == appended
    (anchor,) = [decode(line).data for line in found[1_200:]]
    assert isinstance(anchor, ClockAnchored)
    assert anchor.anchored_boot == CLOCK.read().boot
    assert abs(anchor.offset_ms) < 60_000


async def test_recording_goes_on_while_the_broker_is_away_and_replays_by_itself(
    breakable_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    topic = await Topics(breakable_kafka.bootstrap).make(partitions=1)
    route = KafkaRoute(breakable_kafka.bootstrap, topic=topic.name)
    stopping = asyncio.Event()
    folder = tmp_path / "home"
    with new_home(folder) as home, ProducerHome.open(folder) as recording:
        emitting = asyncio.create_task(run(home, route, clock=CLOCK, stopping=stopping))

        async def is_drained() -> bool:
            return recording.outbox.status().unsent_events == 0

        appended: list[bytes] = []

        def record(count: int) -> None:
            lines = [beat(CLOCK, len(appended) + number) for number in range(count)]
            recording.outbox.append(lines)
            appended.extend(lines)

        record(700)
        await until(is_drained)
        await breakable_kafka.kill()
        for _ in range(30):
            record(100)
        assert recording.outbox.status().unsent_events >= 3_000
        await breakable_kafka.start()
        record(10)
        await until(is_drained)
        stopping.set()
        await emitting
        await route.stop()
        found = chained(await in_the_log(breakable_kafka.bootstrap, topic), home)
    known = set(appended)
    assert [line for line in found if line in known] == appended


async def rekam(
    home: Path, *arguments: str, told: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line with a state folder of its own."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "rekam", *arguments],
        input=told,
        capture_output=True,
        check=False,
        env={**os.environ, "REKAM_HOME": str(home)},
    )


async def test_the_commands_record_send_and_say_what_is_wrong(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    await apply_topics(kafka.bootstrap, [SEGMENTS])
    reader = tmp_path / "reader.pub"
    reader.write_text(READER.public.to_text())
    folder = tmp_path / "home"
    device = ("--home", str(folder))
    new = ("--producer", "dev-9", "--reader", str(reader), "--in-container-layer")
    made = await rekam(tmp_path, "device", "init", *new, *device)
    assert made.returncode == 0, made.stderr
    request = json.loads(made.stdout)
    assert request["producer"] == "dev-9"
    assert SigningKey.load(folder / "signing.pem").public.to_text() == request["key"]

    nik = "6408040101900001"
    lines = [
        b'{"type":"device.fault_reported.v1","data":{"component":"camera","fault":"dark"}}',
        b"rubbish",
        b'{"type":"recording.captured.v1","data":{"nik":"%s"}}' % nik.encode(),
        b'{"type":"device.heartbeat.v1","data":{"queue_events":-1}}',
        b'{"type":"device.fault_reported.v1","data":{"component":"c","fault":"f"},"wall_ms":5}',
    ]
    appended = await rekam(tmp_path, "device", "append", *device, told=b"\n".join(lines))
    answers = [json.loads(line) for line in appended.stdout.splitlines()]
    assert appended.returncode == 1
    assert [answer.get("seq") for answer in answers] == [1, None, None, None, 2]
    assert [answer["error"]["code"] for answer in answers if "error" in answer] == [
        "not_an_event",
        "schema_invalid",
        "schema_invalid",
    ]
    assert nik.encode() not in appended.stdout + appended.stderr

    away = await rekam(tmp_path, "device", "sync", *device, "--route", "kafka://127.0.0.1:1")
    assert away.returncode == 75
    assert b"2 events wait" in away.stderr
    for wrong in ("ftp://gateway", "kafka://nowhere"):
        refused = await rekam(tmp_path, "device", "sync", *device, "--route", wrong)
        assert (refused.returncode, b"wanted kafka://host:port" in refused.stderr) == (2, True)
    route = ("--route", f"kafka://{kafka.bootstrap}")
    sent = await rekam(tmp_path, "device", "sync", *device, *route)
    assert sent.returncode == 0, sent.stderr
    status = await rekam(tmp_path, "device", "status", *device, "--json")
    assert json.loads(status.stdout)["queue_events"] == 0
    with ProducerHome.open(folder) as home:
        raws = await in_the_log(kafka.bootstrap, SEGMENTS)
        ours = [raw for raw in raws if parse(raw).header.producer == "dev-9"]
        events = [decode(line) for line in chained(ours, home)]
    assert [event.data for event in events][:2] == [
        FaultReported(component="camera", fault="dark"),
        FaultReported(component="c", fault="f"),
    ]
    assert events[1].wall_ms == 5


async def test_a_sync_goes_by_the_route_that_works_and_says_what_only_a_relay_has(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    names = await make_topics(topics)
    folder = tmp_path / "home"
    sync = ("device", "sync", "--home", str(folder))
    with new_home(folder) as home:
        home.outbox.append([beat(CLOCK, 1)])
    async with gateway_on(kafka.bootstrap, names) as gateway:
        await gateway.until_ready()
        routes = ("--route", "https://127.0.0.1:1", "--route", gateway.address)
        sent = await rekam(tmp_path, *sync, *routes)
        assert sent.returncode == 0, sent.stderr
        assert b"all committed: 3 events" in sent.stdout, "with the anchor and the change of routes"

        with ProducerHome.open(folder) as home:
            home.outbox.append([beat(CLOCK, 2)])
        async with saying(_keeping) as relay:
            kept = await rekam(tmp_path, *sync, "--route", f"relay+{relay.url}")
            assert kept.returncode == 75
            assert b"1 events are with a relay" in kept.stderr

            with ProducerHome.open(folder) as home:
                home.outbox.append([beat(CLOCK, 3)])
            both = ("--both", "--bytes-per-second", "100000")
            routes = ("--route", gateway.address, "--route", f"relay+{relay.url}")
            again = await rekam(tmp_path, *sync, *routes, *both)
            assert again.returncode == 75, "the second event is still with the relay alone"
            assert b"1 events are with a relay" in again.stderr
        assert len(relay.requests) == 2
    alone = await rekam(tmp_path, *sync, "--route", "https://127.0.0.1:1", "--both")
    assert (alone.returncode, b"give --route twice" in alone.stderr) == (2, True)
    with ProducerHome.open(folder) as home:
        assert home.outbox.status().unsent_events == 0


def _keeping(request: Request) -> bytes:
    kept = {"verdict": "custody", "code": None, "append_ms": None}
    return answer({"results": results(request, lambda _: kept), "receipt": None})
