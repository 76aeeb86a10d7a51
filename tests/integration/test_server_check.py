"""Which servers are believed, by a gateway's route and Kafka's, at which time."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from producers.device.gateway_route import GatewayRoute
from producers.device.kafka_route import KafkaRoute
from producers.device.known_time import CertificateMoment
from rekam.domain.errors import ServerDatesWrong, Unavailable
from rekam.domain.ids import ProducerId
from rekam.runtime.settings import KafkaSecurity
from tests.support import tls
from tests.support.http_answers import Request, answer, results, saying
from tests.support.routes import sealed_beats

PRODUCER = ProducerId("dev-1")
DAY_MS = 86_400_000
SEND_SECONDS_MAX = 5.0


def accepting(request: Request) -> bytes:
    def logged(_: bytes) -> dict[str, Any]:
        return {"verdict": "accepted", "code": None, "append_ms": 5}

    return answer({"results": results(request, logged), "receipt": None, "server_ms": 7})


async def taken_from(
    shown: tls.ServerCertificate, moment: CertificateMoment, *, ca: Path | None = None
) -> list[str]:
    """Send to a server that shows the certificate; return its verdicts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    async with (
        saying(accepting, tls=context) as server,
        GatewayRoute(server.url, ca=ca or shown.ca, certificate_time=lambda: moment) as route,
    ):
        try:
            delivery = await route.send(sealed_beats(1), producer=PRODUCER)
        except Unavailable:
            assert server.requests == []
            raise
    return [one.verdict for one in delivery.verdicts]


@pytest.mark.parametrize(
    ("valid", "words"),
    [
        pytest.param(tls.NOT_YET_VALID, "is not valid yet", id="not-yet-valid"),
        pytest.param(tls.EXPIRED, "has expired", id="expired"),
    ],
)
async def test_wrong_dates_are_told_from_all_else_and_skipped_when_nobody_knows_the_time(
    tmp_path: Path, valid: tls.Validity, words: str
) -> None:
    shown = tls.make_certificate(tmp_path, valid=valid)
    with pytest.raises(ServerDatesWrong, match=f"{words}.* this device's clock or the server's"):
        await taken_from(shown, "clock")
    assert await taken_from(shown, "unknown") == ["logged"]


async def test_neither_chain_nor_name_is_skipped_when_nobody_knows_the_time(
    tmp_path: Path,
) -> None:
    shown = tls.make_certificate(tmp_path / "ours", valid=tls.EXPIRED)
    stranger = tls.make_certificate(tmp_path / "theirs", valid=tls.EXPIRED)
    elsewhere = tls.make_certificate(tmp_path / "elsewhere", valid=tls.EXPIRED, host="x.example")
    for found, ca in ((shown, stranger.ca), (elsewhere, elsewhere.ca)):
        with pytest.raises(Unavailable, match="name the office's CA by --ca"):
            await taken_from(found, "unknown", ca=ca)


async def test_dates_count_by_the_time_that_a_contact_told(tmp_path: Path) -> None:
    """They are those of now; the told time is another one, and so the clock's is not asked."""
    shown = tls.make_certificate(tmp_path)
    now_ms = 1000 * ssl.cert_time_to_seconds(_not_before(shown)) + DAY_MS
    assert await taken_from(shown, now_ms) == ["logged"]
    for moment, words in ((now_ms - 2 * DAY_MS, "not valid yet"), (now_ms + 3 * DAY_MS, "expired")):
        with pytest.raises(ServerDatesWrong, match=words):
            await taken_from(shown, moment)


async def test_each_handshake_asks_what_time_it_is(tmp_path: Path) -> None:
    shown = tls.make_certificate(tmp_path, valid=tls.EXPIRED)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    moments: list[CertificateMoment] = ["unknown", "clock", "unknown"]
    async with saying(accepting, tls=context) as server:
        route = GatewayRoute(server.url, ca=shown.ca, certificate_time=lambda: moments.pop(0))
        async with route:
            await route.send(sealed_beats(1), producer=PRODUCER)
            await route.stop()  # its connection is gone
            with pytest.raises(ServerDatesWrong):
                await route.send(sealed_beats(1), producer=PRODUCER)
            await route.send(sealed_beats(1), producer=PRODUCER)
    assert moments == []


async def test_kafka_too_says_that_dates_are_wrong_and_only_as_long_as_they_are(
    tmp_path: Path,
) -> None:
    shown = tls.make_certificate(tmp_path, valid=tls.EXPIRED)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    async with saying(accepting, tls=context) as server:
        route = KafkaRoute(
            f"127.0.0.1:{server.port}",
            KafkaSecurity(protocol="SSL", ca=shown.ca),
            send_seconds_max=SEND_SECONDS_MAX,
        )
        with pytest.raises(ServerDatesWrong, match="has expired"):
            await route.send(sealed_beats(1), producer=PRODUCER)
        with pytest.raises(ServerDatesWrong, match="has expired"):
            await route.receipt(PRODUCER)
    for ask in (
        lambda: route.send(sealed_beats(1), producer=PRODUCER),
        lambda: route.receipt(PRODUCER),
    ):
        with pytest.raises(Unavailable) as caught:  # nobody listens there any more
            await ask()
        assert not isinstance(caught.value, ServerDatesWrong)
    await route.stop()


def _not_before(shown: tls.ServerCertificate) -> str:
    return str(ssl._ssl._test_decode_cert(str(shown.certificate))["notBefore"])  # type: ignore[attr-defined]
