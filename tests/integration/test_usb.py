"""A stick between devices and a real log: by Kafka, by a gateway, and from the command line."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from producers.device.gateway_route import GatewayRoute
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from producers.usb.receipts import apply_receipt
from rekam.domain.events import ComponentSwapped, decode
from rekam.domain.ids import ProducerId
from rekam.domain.segment import parse
from rekam.domain.topics import RECEIPTS, SEGMENTS, Topic
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import apply_topics
from tests.support.broker import Topics
from tests.support.device import READER, beat, new_home
from tests.support.device_log import chained, in_the_log
from tests.support.gateway import RECEIPT_KEY as RELAYED_RECEIPT_KEY
from tests.support.gateway import Sealer, gateway_on, make_topics, receipt_of, records_of
from tests.support.relay import Upstream, relay_at
from tests.support.sticks import (
    CLOCK,
    RECEIPT_KEY,
    FaultyDisk,
    exported,
    imported,
    publish,
    signed_receipt,
)


@pytest.fixture
async def log(topics: Topics) -> Topic:
    """Give a log of one's own."""
    return await topics.make(SEGMENTS, partitions=1)


@pytest.fixture
async def receipts(topics: Topics) -> Topic:
    """Give a receipts topic of one's own."""
    return await topics.make(RECEIPTS)


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "stick"
    folder.mkdir()
    return folder


def ours(raws: list[bytes], producer: str) -> list[bytes]:
    return [raw for raw in raws if parse(raw).header.producer == producer]


async def test_two_devices_on_one_stick_reach_the_log_whole_and_their_receipts_commit_it(
    kafka: EmbeddedKafka, log: Topic, receipts: Topic, stick: Path, tmp_path: Path
) -> None:
    appended: dict[str, list[bytes]] = {}
    for name, count in (("dev-1", 1_700), ("dev-2", 3)):
        appended[name] = [beat(CLOCK, number) for number in range(count)]
        with new_home(tmp_path / name, producer=name) as home:
            home.trust_receipts([RECEIPT_KEY.public])
            home.outbox.append(appended[name])
            exported(home, stick)
    async with KafkaRoute(kafka.bootstrap, topic=log.name, receipts=receipts) as route:
        first = await imported(stick, route)
        assert {one.verdict for one in first.results} == {"held"}
        logged = await in_the_log(kafka.bootstrap, log)
        for name, lines in appended.items():
            with ProducerHome.open(tmp_path / name) as home:
                assert chained(ours(logged, name), home) == lines
                key = home.signing_key.public
            receipt = signed_receipt(ProducerId(name), ours(logged, name), keys=[key])
            await publish(kafka.bootstrap, receipts, receipt)
        second = await imported(stick, route)
    assert {one.verdict for one in second.results} == {"duplicate"}
    assert await in_the_log(kafka.bootstrap, log) == logged
    assert [one.is_written for one in second.carried] == [True, True]
    for name, lines in appended.items():
        with ProducerHome.open(tmp_path / name) as home:
            applied = apply_receipt(home, stick, disk=FaultyDisk(), now=CLOCK.read())
            assert applied.receipted_events == len(lines)
            assert home.outbox.unreceipted(limit_bytes=10**8) == []


async def test_a_stick_and_a_network_may_bring_the_same_segments(
    kafka: EmbeddedKafka, log: Topic, receipts: Topic, stick: Path, tmp_path: Path
) -> None:
    lines = [beat(CLOCK, number) for number in range(600)]
    with new_home(tmp_path / "home") as home:
        home.outbox.append(lines)
        exported(home, stick)
        raws = [one.raw for one in home.outbox.unsent(limit_bytes=10**8)]
        async with KafkaRoute(kafka.bootstrap, topic=log.name, receipts=receipts) as route:
            await route.send(raws, producer=home.producer)
            await imported(stick, route)
        logged = await in_the_log(kafka.bootstrap, log)
        assert logged == raws * 2
        assert chained(logged, home) == lines


async def test_a_gateway_takes_a_stick_and_says_what_it_refuses(
    kafka: EmbeddedKafka, topics: Topics, stick: Path, tmp_path: Path
) -> None:
    log_topics = await make_topics(topics)
    with new_home(tmp_path / "home") as home:
        home.outbox.append([beat(CLOCK, number) for number in range(1_200)])
        exported(home, stick)
    (stick / "rekam-bundle/dev-1/1/1-500.seg").write_bytes(b"RKM1")
    async with (
        gateway_on(kafka.bootstrap, log_topics) as gateway,
        GatewayRoute(gateway.address) as route,
    ):
        await gateway.until_ready()
        found = await imported(stick, route, trusted={})
    told = {one.first: (one.verdict, one.code) for one in found.results}
    assert told == {
        1: ("refused", "file_differs"),
        501: ("held", "unknown_producer"),
        1001: ("held", "unknown_producer"),
    }


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


def phases_told(output: bytes) -> list[str]:
    """Return the phases that lines of progress tell of, in their order."""
    told = re.findall(r"^(.+): \d+\.\d(?:/\d+\.\d)? MiB$", output.decode(), re.MULTILINE)
    return list(dict.fromkeys(told))


@pytest.mark.parametrize("form", [(), ("--json",)])
async def test_an_export_tells_how_far_it_is_on_standard_error_alone(
    stick: Path, tmp_path: Path, form: tuple[str, ...]
) -> None:
    folder = tmp_path / "home"
    with new_home(folder) as home:
        home.outbox.append([beat(CLOCK, number) for number in range(600)])
    words = ("device", "export", "--home", str(folder), "--to", str(stick))
    put = await rekam(tmp_path / "office", *words, *form)
    assert put.returncode == 0, put.stderr
    assert phases_told(put.stderr) == ["memeriksa / checking", "menulis / writing"]
    assert phases_told(put.stdout) == []


async def test_what_a_relay_keeps_is_not_in_the_log_until_a_receipt_says_so(
    stick: Path, tmp_path: Path
) -> None:
    office, upstream = tmp_path / "office", Upstream(is_away=True)
    with new_home(tmp_path / "home") as home:
        home.outbox.append([beat(CLOCK, number) for number in range(600)])
        exported(home, stick)
        raws = [one.raw for one in home.outbox.unsent(limit_bytes=10**8)]
        sealer = Sealer(home.producer, home.signing_key)
    (office / "keys").mkdir(parents=True)
    (office / "keys/receipt.pub").write_text(f"{RELAYED_RECEIPT_KEY.public.to_text()}\n")
    async with relay_at(tmp_path / "relay", upstream) as relay:
        words = ("usb", "import", str(stick), "--route", f"relay+{relay.address}", "--wait")
        kept = await rekam(office, *words, "0", "--json")
        assert kept.returncode == 75, kept.stderr
        told = json.loads(kept.stdout)
        assert {name for name, count in told["verdicts"].items() if count} == {"custody"}
        assert b"2 segments are with a relay" in kept.stderr
        assert b"Keep the stick" in kept.stderr
        upstream.receipts["dev-1"] = receipt_of(sealer, raws)
        upstream.is_away = False
        there = await rekam(office, *words, "60", "--json")
        assert there.returncode == 0, there.stderr
        assert all(one["is_receipted"] for one in json.loads(there.stdout)["results"])


async def routes_told(bootstrap: str, producer: str) -> set[bytes]:
    records = await records_of(bootstrap, SEGMENTS.name, SEGMENTS.partitions)
    return {one.headers["rekam-route"] for one in records if one.key == producer.encode()}


async def test_the_commands_carry_events_to_the_log_and_receipts_back(
    kafka: EmbeddedKafka, stick: Path, tmp_path: Path
) -> None:
    await apply_topics(kafka.bootstrap, [SEGMENTS, RECEIPTS])
    office = tmp_path / "office"
    (office / "keys").mkdir(parents=True)
    (office / "keys/receipt.pub").write_text(RECEIPT_KEY.public.to_text())
    (office / "keys/reader.pub").write_text(READER.public.to_text())
    folder = tmp_path / "home"
    device = ("--home", str(folder))
    route = ("--route", f"kafka://{kafka.bootstrap}")
    new = ("--producer", "usb-9", "--in-container-layer")
    made = await rekam(office, "device", "init", *new, *device)
    assert made.returncode == 0, made.stderr
    lines = b'{"type":"device.component_swapped.v1","data":{"slot":"iris"}}\n' * 700
    assert (await rekam(office, "device", "append", *device, told=lines)).returncode == 0

    absent = await rekam(office, "device", "export", *device, "--to", str(tmp_path / "no"))
    assert (absent.returncode, absent.stderr.count(b"stick_unusable")) == (2, 1)
    put = await rekam(office, "device", "export", *device, "--to", str(stick))
    assert put.returncode == 0, put.stderr
    assert b"selesai" in put.stdout
    again = await rekam(office, "device", "export", *device, "--to", str(stick), "--json")
    (life,) = json.loads(again.stdout)["lives"]
    assert (life["epoch"], life["first"], life["written_segments"]) == (1, 1, 0)
    assert life["events"] == life["last"] >= 700

    nothing = await rekam(office, "device", "import-receipts", *device, "--from", str(stick))
    assert (nothing.returncode, b"rekam usb receipts" in nothing.stderr) == (2, True)
    away = await rekam(office, "usb", "import", str(stick), "--route", "kafka://127.0.0.1:1")
    assert away.returncode == 75, away.stderr
    assert b"run it again" in away.stderr
    carried = await rekam(office, "usb", "import", str(stick), *route, "--wait", "0", "--json")
    assert carried.returncode == 0, carried.stderr
    answer = json.loads(carried.stdout)
    assert {one["verdict"] for one in answer["results"]} == {"held"}
    assert answer["verdicts"]["held"] == life["segments"]

    logged = ours(await in_the_log(kafka.bootstrap, SEGMENTS), "usb-9")
    assert await routes_told(kafka.bootstrap, "usb-9") == {b"usb"}
    with ProducerHome.open(folder) as home:
        found = [decode(line).data for line in chained(logged, home)]
        key = home.signing_key.public
    assert found[:700] == [ComponentSwapped(slot="iris")] * 700
    receipt = signed_receipt(ProducerId("usb-9"), logged, keys=[key])
    await publish(kafka.bootstrap, RECEIPTS, receipt)

    written = await rekam(office, "usb", "receipts", str(stick), *route)
    assert (written.returncode, b"1 written" in written.stdout) == (0, True), written.stderr
    applied = await rekam(
        office, "device", "import-receipts", *device, "--from", str(stick), "--json"
    )
    assert applied.returncode == 0, applied.stderr
    assert json.loads(applied.stdout)["receipted_through"] == life["last"]

    (stick / "rekam-bundle/usb-9/1/holiday.jpg").write_bytes(b"x")
    twice = await rekam(office, "usb", "import", str(stick), *route)
    assert twice.returncode == 1, twice.stderr
    assert b"not_in_layout" in twice.stdout
    assert len(ours(await in_the_log(kafka.bootstrap, SEGMENTS), "usb-9")) == len(logged)
