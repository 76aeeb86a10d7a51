"""A device at 1970, or years ahead, sends to real servers over TLS, and its clock is mended."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from producers.device.home import ProducerHome
from producers.gateway.app import Tls
from producers.gateway.log import LogTopics
from rekam.domain.events import ClockAnchored, FaultReported, decode
from rekam.domain.topics import SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import apply_topics
from tests.support.device import new_home
from tests.support.device_log import chained, in_the_log
from tests.support.gateway import gateway_on
from tests.support.http_answers import answer, saying
from tests.support.secured_broker import PASSWORD, USER, SecuredKafka
from tests.support.tls import ServerCertificate, make_certificate
from tests.support.waiting import until
from tests.support.wrong_clock import WrongClock

FAULT = b'{"type":"device.fault_reported.v1","data":{"component":"camera","fault":"dark"}}'
WRONG = pytest.mark.parametrize(
    "years", [pytest.param(-56, id="at-1970"), pytest.param(3, id="three-years-ahead")]
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    """Give a certificate that is valid now."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
async def secured(
    tmp_path_factory: pytest.TempPathFactory, certificate: ServerCertificate
) -> AsyncIterator[SecuredKafka]:
    """Give a broker that lets one user in, over TLS."""
    folder = tmp_path_factory.mktemp("secured")
    async with SecuredKafka(state_dir=folder, certificate=certificate) as running:
        await running.add_user()
        await apply_topics(running.bootstrap)
        yield running


async def records_and_is_anchored(
    bootstrap: str,
    clock: WrongClock,
    folder: Path,
    *sending: str,
    environ: dict[str, str],
) -> None:
    """Record by the wrong clock and sync; check what is in the log of the home's producer."""
    home = ("--home", str(folder))
    appended = await clock.rekam(folder.parent, "device", "append", *home, told=FAULT)
    assert appended.returncode == 0, appended.stderr
    synced = await clock.rekam(folder.parent, "device", "sync", *home, *sending, environ=environ)
    assert synced.returncode == 0, synced.stderr
    with ProducerHome.open(folder) as opened:
        raws = await in_the_log(bootstrap, SEGMENTS)
        ours = [raw for raw in raws if opened.producer.encode() in raw]
        events = [decode(line) for line in chained(ours, opened)]
    recorded, told = events[0], events[-1]
    assert isinstance(recorded.data, FaultReported)
    assert isinstance(told.data, ClockAnchored)
    assert told.data.anchored_boot == recorded.boot
    assert abs(told.data.offset_ms - clock.offset_ms) < 60_000
    shown = await clock.rekam(folder.parent, "device", "status", *home, "--json")
    assert "Jam alat ini salah" in json.loads(shown.stdout)["yang_harus_dilakukan"]


@WRONG
async def test_by_a_gateway_over_tls_events_arrive_and_the_clock_is_anchored(
    kafka: EmbeddedKafka, certificate: ServerCertificate, tmp_path: Path, years: int
) -> None:
    await apply_topics(kafka.bootstrap)
    clock = WrongClock(tmp_path, days=years * 365)
    new_home(tmp_path / "home", producer=f"wrong-clock-{years}").close()
    async with gateway_on(
        kafka.bootstrap, LogTopics(), tls=Tls(certificate.certificate, certificate.key)
    ) as gateway:
        route = ("--route", f"https://localhost:{gateway.port}", "--ca", str(certificate.ca))
        await records_and_is_anchored(kafka.bootstrap, clock, tmp_path / "home", *route, environ={})


@WRONG
async def test_by_kafka_over_tls_events_arrive_and_the_clock_is_anchored(
    secured: SecuredKafka, certificate: ServerCertificate, tmp_path: Path, years: int
) -> None:
    clock = WrongClock(tmp_path, days=years * 365)
    new_home(tmp_path / "home", producer=f"wrong-clock-{years}").close()
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    environ = {
        "REKAM_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "REKAM_KAFKA_SECURITY_CA": str(certificate.ca),
        "REKAM_KAFKA_SECURITY_USER": USER,
        "REKAM_KAFKA_SECURITY_PASSWORD_FILE": str(password),
    }
    route = ("--route", f"kafka://{secured.secured_bootstrap}")
    await records_and_is_anchored(
        secured.bootstrap, clock, tmp_path / "home", *route, environ=environ
    )


async def test_a_clock_that_may_be_right_and_is_not_is_named_to_the_operator(
    kafka: EmbeddedKafka, certificate: ServerCertificate, tmp_path: Path
) -> None:
    """Some weeks ahead: nobody but the certificate could tell, so its dates count."""
    await apply_topics(kafka.bootstrap)
    clock = WrongClock(tmp_path, days=40)
    folder = tmp_path / "home"
    new_home(folder, producer="weeks-ahead").close()
    home = ("--home", str(folder))
    await clock.rekam(tmp_path, "device", "append", *home, told=FAULT)
    async with gateway_on(
        kafka.bootstrap, LogTopics(), tls=Tls(certificate.certificate, certificate.key)
    ) as gateway:
        route = ("--route", f"https://localhost:{gateway.port}", "--ca", str(certificate.ca))
        refused = await clock.rekam(tmp_path, "device", "sync", *home, *route)
    assert refused.returncode == 75
    assert b"this device's clock or the server's certificate is wrong" in refused.stderr
    assert b"1 events wait" in refused.stderr


async def test_the_operator_is_told_of_wrong_dates_while_the_device_runs(
    certificate: ServerCertificate, tmp_path: Path
) -> None:
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(certificate.certificate, certificate.key)
    clock = WrongClock(tmp_path, days=40)
    folder = tmp_path / "home"
    new_home(folder, producer="weeks-ahead").close()
    home = ("--home", str(folder))
    await clock.rekam(tmp_path, "device", "append", *home, told=FAULT)
    async with saying(lambda _: answer(b""), tls=shown) as server:
        route = ("--route", server.url, "--ca", str(certificate.ca))
        async with clock.running(tmp_path, "device", "run", *home, *route):

            async def is_told() -> bool:
                status = await clock.rekam(tmp_path, "device", "status", *home)
                return (
                    b"gateway away (this device's clock or the server's certificate is wrong)"
                    in status.stdout
                    and b"Jam alat ini atau sertifikat server salah" in status.stdout
                )

            await until(is_told)
