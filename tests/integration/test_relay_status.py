"""What a relay shows of itself, and all its ways over TLS."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from producers.device.gateway_route import GatewayRoute
from producers.gateway.app import EVERYWHERE, Tls
from producers.relay.commands import relay
from rekam.domain.errors import Misconfigured, Unavailable
from rekam.domain.ids import ProducerId
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.http_server import LOOPBACK
from tests.support.broker import Topics
from tests.support.gateway import gateway_on, life, make_topics, receipt_of, records_of, sealed
from tests.support.relay import Upstream, held_at, relay_at
from tests.support.tls import make_certificate
from tests.support.waiting import until


def status_of(home: Path) -> dict[str, object]:
    done = CliRunner().invoke(
        relay, ["status", "--home", str(home), "--json"], catch_exceptions=False
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def told_of(home: Path) -> str:
    return CliRunner().invoke(relay, ["status", "--home", str(home)], catch_exceptions=False).stdout


async def test_it_shows_beside_the_running_relay_what_is_held_and_what_it_waits_for(
    tmp_path: Path,
) -> None:
    upstream = Upstream(is_away=True)
    one, other = life(), life("recorder-2", seed=2)
    raws = sealed(one, 3)
    async with relay_at(tmp_path, upstream) as running:
        await running.send(*raws)
        await running.send(*sealed(other, 1))
        found = status_of(tmp_path)
        assert (found["segments"], found["waiting_segments"]) == (4, 4)
        assert found["process"] is not None
        assert "can be reached from here" in told_of(tmp_path)
        upstream.receipts["recorder-1"] = receipt_of(one, raws[:2], as_of_ms=1_600_000_000_000)
        upstream.is_away = False

        async def is_forwarded() -> bool:
            held = held_at(tmp_path)
            return (held.segments, held.waiting) == (2, 0)

        await until(is_forwarded)
        found = status_of(tmp_path)
        assert isinstance(found["producers"], list)
        assert [
            (of["producer"], of["segments"], of["receipt_as_of_ms"]) for of in found["producers"]
        ] == [("recorder-1", 1, 1_600_000_000_000), ("recorder-2", 1, None)]
        told = told_of(tmp_path)
        assert "2020-09-13 12:26 UTC" in told
        assert "stays until a receipt" in told
    assert status_of(tmp_path)["process"] is None
    assert "start `rekam relay run`" in told_of(tmp_path)


def test_a_folder_without_a_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="holds no relay's store"):
        status_of(tmp_path)
    (tmp_path / "relay.db").write_bytes(b"no database at all" * 1_000)
    with pytest.raises(Unavailable, match="cannot be read now"):
        status_of(tmp_path)


async def test_over_tls_a_segment_goes_from_the_device_by_the_relay_to_the_log(
    kafka: EmbeddedKafka, topics: Topics, tmp_path: Path
) -> None:
    log_topics = await make_topics(topics)
    office, kecamatan = make_certificate(tmp_path / "office"), make_certificate(tmp_path / "kec")
    raws = sealed(life(), 5)
    async with gateway_on(
        kafka.bootstrap, log_topics, tls=Tls(office.certificate, office.key), ca=office.ca
    ) as gateway:
        await gateway.until_ready()
        upstream = GatewayRoute(gateway.address.replace(EVERYWHERE, LOOPBACK), ca=office.ca)
        async with relay_at(
            tmp_path / "relay",
            upstream,
            tls=Tls(kecamatan.certificate, kecamatan.key),
            ca=kecamatan.ca,
        ) as running:
            address = running.address.replace(EVERYWHERE, LOOPBACK)
            assert address.startswith("https://")
            async with GatewayRoute(address, ca=office.ca, label="relay") as stranger:
                with pytest.raises(Unavailable, match="name the office's CA by --ca"):
                    await stranger.send(raws, producer=ProducerId("recorder-1"))
            async with GatewayRoute(address, ca=kecamatan.ca, label="relay") as route:
                delivery = await route.send(raws, producer=ProducerId("recorder-1"))
            assert {one.verdict for one in delivery.verdicts} == {"custody"}

            async def are_logged() -> bool:
                found = await records_of(kafka.bootstrap, log_topics.segments)
                return [record.value for record in found] == raws

            await until(are_logged)
