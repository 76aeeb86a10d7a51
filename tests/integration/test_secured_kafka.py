"""The direct route over SASL_SSL, on a real broker with TLS and SCRAM."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from producers.device.kafka_route import KafkaRoute
from rekam.domain.errors import Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.topics import SEGMENTS
from rekam.runtime.kafka import apply_topics, is_answering
from tests.support.secured_broker import PASSWORD, SecuredKafka, security
from tests.support.tls import ServerCertificate, make_certificate

PRODUCER = ProducerId("recorder-1")
SEND_SECONDS_MAX = 5.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    """Give the broker's certificate and its authority."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
async def broker(
    tmp_path_factory: pytest.TempPathFactory, certificate: ServerCertificate
) -> AsyncIterator[SecuredKafka]:
    """Give a broker that lets one user in, over TLS."""
    folder = tmp_path_factory.mktemp("secured")
    async with SecuredKafka(state_dir=folder, certificate=certificate) as running:
        await running.add_user()
        await apply_topics(running.bootstrap)
        yield running


def password(folder: Path, text: str) -> Path:
    path = folder / "password"
    path.touch(mode=0o600)
    path.write_text(f"{text}\n")
    return path


async def test_a_device_that_shows_its_password_over_tls_reaches_the_log(
    broker: SecuredKafka, certificate: ServerCertificate, tmp_path: Path
) -> None:
    allowed = security(certificate, password(tmp_path, PASSWORD))
    assert await is_answering(broker.secured_bootstrap, allowed)
    async with KafkaRoute(broker.secured_bootstrap, allowed) as route:
        await route.send([b"one", b"two"], producer=PRODUCER)
        await route.send([b"three"], producer=PRODUCER)


@pytest.mark.parametrize("fault", ["wrong password", "no tls", "another authority"])
async def test_a_broker_that_does_not_let_us_in_is_named_and_nothing_is_taken(
    broker: SecuredKafka, certificate: ServerCertificate, tmp_path: Path, fault: str
) -> None:
    wrong = "wrong" if fault == "wrong password" else PASSWORD
    refused = security(certificate, password(tmp_path, wrong))
    if fault == "no tls":
        refused = replace(refused, protocol="SASL_PLAINTEXT")
    if fault == "another authority":
        refused = replace(refused, ca=make_certificate(tmp_path / "other").ca)
    route = KafkaRoute(
        broker.secured_bootstrap, refused, topic=SEGMENTS.name, send_seconds_max=SEND_SECONDS_MAX
    )
    async with route:
        with pytest.raises(Unavailable, match=broker.secured_bootstrap):
            await route.send([b"never"], producer=PRODUCER)
