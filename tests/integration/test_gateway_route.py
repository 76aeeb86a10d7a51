"""The route over HTTPS against servers that say anything at all, and against a real gateway."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from producers.device.gateway_route import (
    ANSWER_BYTES_MAX,
    CONTENT_TYPE,
    REQUEST_BYTES_MAX,
    REQUEST_SEGMENTS_MAX,
    GatewayRoute,
)
from producers.device.route import SegmentVerdict
from rekam.domain.errors import Misconfigured, Overloaded, Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.receipt import Receipt, sign_receipt
from tests.support.http_answers import Request, answer, results, saying
from tests.support.routes import sealed_beats
from tests.support.tls import make_certificate

PRODUCER = ProducerId("dev-1")
SEGMENTS_GOLDEN = Path(__file__).parents[1] / "golden" / "segments"
RECEIPT = sign_receipt(
    Receipt(1, "dev-1", 1_600_000_000_000), SigningKey.from_seed(bytes([42]) * 32)
)


def logged(_: bytes) -> dict[str, Any]:
    return {"verdict": "accepted", "code": None, "append_ms": 5}


def accepting(request: Request) -> bytes:
    return answer({"results": results(request, logged), "receipt": None, "server_ms": 7})


async def test_segments_go_framed_and_each_verdict_comes_back_in_order() -> None:
    raws = sealed_beats(7)
    told: list[dict[str, Any]] = [
        {"verdict": "accepted", "code": None, "append_ms": 1_600_000_000_000},
        {"verdict": "duplicate", "code": None, "append_ms": 1_500_000_000_000},
        {"verdict": "held", "code": "unknown_producer", "append_ms": 1_600_000_000_001},
        {"verdict": "custody", "code": None, "append_ms": None},
        {"verdict": "quarantined", "code": "signature_invalid"},
        {"verdict": "retry", "code": "log_slow"},
        {"verdict": "eaten", "code": None, "append_ms": 3},
    ]
    verdicts = dict(zip(raws, told, strict=True))

    def say(request: Request) -> bytes:
        return answer({"results": results(request, verdicts.__getitem__), "server_ms": 7})

    async with saying(say) as server, GatewayRoute(server.url) as route:
        delivery = await route.send(raws, producer=PRODUCER)
    assert delivery.verdicts == (
        SegmentVerdict("logged", append_ms=1_600_000_000_000),
        SegmentVerdict("logged"),
        SegmentVerdict("logged", append_ms=1_600_000_000_001, code="unknown_producer"),
        SegmentVerdict("custody"),
        SegmentVerdict("refused", code="signature_invalid"),
        SegmentVerdict("retry", code="log_slow"),
        SegmentVerdict("retry", code="unknown_verdict"),
    )
    (request,) = server.requests
    assert request.line == "POST /v1/segments HTTP/1.1"
    assert request.headers["content-type"] == CONTENT_TYPE
    assert request.headers["content-length"] == str(len(request.body))
    assert request.segments == raws


async def test_a_request_stays_within_its_limits() -> None:
    raws = sealed_beats(REQUEST_SEGMENTS_MAX * 2 + 1)
    async with saying(accepting) as server, GatewayRoute(server.url) as route:
        delivery = await route.send(raws, producer=PRODUCER)
    assert len(delivery.verdicts) == len(raws)
    assert [len(request.segments) for request in server.requests] == [
        REQUEST_SEGMENTS_MAX,
        REQUEST_SEGMENTS_MAX,
        1,
    ]
    assert all(len(request.body) <= REQUEST_BYTES_MAX for request in server.requests)


async def test_a_receipt_comes_along_or_is_asked_for() -> None:
    envelope = RECEIPT.decode()

    def say(request: Request) -> bytes:
        if request.line.startswith("GET /v1/producers/dev-1/cursor "):
            return answer(
                f'{{"producer":"dev-1","ranges":[],"gaps":[],"receipt":{envelope}}}'.encode()
            )
        body = answer({"results": results(request, logged)})
        head, _, raw = body.partition(b"\r\n\r\n")
        del head
        return answer(
            raw[:-1]
            + b',"receipts":[{"producer":"dev-2","receipt":{}},'
            + f'{{"producer":"dev-1","receipt":{envelope}}}],"receipt":{{}}}}'.encode()
        )

    async with saying(say) as server, GatewayRoute(server.url) as route:
        assert (await route.send(sealed_beats(1), producer=PRODUCER)).receipt == RECEIPT
        assert await route.receipt(PRODUCER) == RECEIPT


async def test_a_segment_of_a_newer_version_does_not_end_the_sending() -> None:
    """A stick may carry one: this software cannot read its header, and passes it on."""
    newer = (SEGMENTS_GOLDEN / "bad" / "version-2.seg").read_bytes()
    nameless = {"producer": "", "epoch": 0, "first": 0, "last": 0}

    def say(_: Request) -> bytes:
        verdict = {"verdict": "retry", "code": "unknown_version", "append_ms": None}
        return answer({"results": [nameless | verdict], "server_ms": 7})

    async with saying(say) as server, GatewayRoute(server.url) as route:
        delivery = await route.send([newer], producer=PRODUCER)
    assert delivery.verdicts == (SegmentVerdict("retry", code="unknown_version"),)


async def test_without_a_receipt_there_is_none() -> None:
    def say(request: Request) -> bytes:
        if request.line.startswith("GET"):
            return answer({"producer": "dev-1", "receipt": None})
        return accepting(request)

    async with saying(say) as server, GatewayRoute(server.url) as route:
        assert (await route.send(sealed_beats(1), producer=PRODUCER)).receipt is None
        assert await route.receipt(PRODUCER) is None


def _other(request: Request) -> bytes:
    wrong = [result | {"first": 999, "last": 999} for result in results(request, logged)]
    return answer({"results": wrong})


WRONG_ANSWERS: dict[str, Callable[[Request], bytes]] = {
    "an empty answer": lambda _: b"",
    "no HTTP": lambda _: b"\x00\xff\x17garbage\r\n\r\n",
    "a page": lambda _: answer(b"<html>welcome to the hotel</html>"),
    "an empty body": lambda _: answer(b""),
    "half an answer": lambda request: accepting(request)[:-20],
    "less than its length": lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{}",
    "another form": lambda _: answer({"results": "all fine"}),
    "too few verdicts": lambda _: answer({"results": []}),
    "a verdict on another segment": _other,
    "a deep one": lambda _: answer(b"[" * 100_000),
    "a long one": lambda _: answer(b" " * (ANSWER_BYTES_MAX + 1)),
    "one that says it is long": lambda _: (
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n" + b" " * (ANSWER_BYTES_MAX + 1)
    ),
    "a compressed one": lambda _: answer(b"\x1f\x8b", content_encoding="gzip"),
    "a redirect": lambda _: answer(b"", status="302 Found", location="http://127.0.0.1:1/"),
    "500": lambda _: answer(b"stack trace", status="500 Internal Server Error"),
    "502": lambda _: answer(b"<html>", status="502 Bad Gateway"),
    "401": lambda _: answer(b"", status="401 Unauthorized"),
    "404": lambda _: answer(b"", status="404 Not Found"),
    "415": lambda _: answer({"code": "media_type"}, status="415 Unsupported Media Type"),
    "time beyond time": lambda request: answer(
        {"results": [one | {"append_ms": 2**60} for one in results(request, logged)]}
    ),
}


@pytest.mark.parametrize("say", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS.keys())
async def test_a_wrong_answer_counts_for_nothing_and_is_named(
    say: Callable[[Request], bytes],
) -> None:
    async with saying(say) as server, GatewayRoute(server.url) as route:
        with pytest.raises(Unavailable, match=f"{server.url} ") as caught:
            await route.send(sealed_beats(2), producer=PRODUCER)
        with pytest.raises(Unavailable):
            await route.receipt(PRODUCER)
    told = str(caught.value)
    assert "stay in the outbox" in told
    assert len(told) < 500
    assert "hotel" not in told
    assert "stack trace" not in told


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "120"}, 120.0),
        ({"retry_after": "99999999999999999999"}, 3600.0),
        ({"retry_after": "soon"}, None),
        ({}, None),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        (
            {
                "date": "Wed, 21 Oct 2015 07:28:00 GMT",
                "retry_after": "Wed, 21 Oct 2015 07:29:30 GMT",
            },
            90.0,
        ),
    ],
)
async def test_what_a_busy_server_asks_for_is_told(
    headers: dict[str, str], seconds: float | None
) -> None:
    def say(request: Request) -> bytes:
        status = "429 Too Many Requests" if len(request.segments) > 1 else "503 Unavailable"
        return answer({"code": "x"}, status=status, **headers)

    async with saying(say) as server, GatewayRoute(server.url) as route:
        with pytest.raises(Overloaded) as slow:
            await route.send(sealed_beats(2), producer=PRODUCER)
        with pytest.raises(Unavailable) as away:
            await route.send(sealed_beats(1), producer=PRODUCER)
    assert (slow.value.retry_after_seconds, away.value.retry_after_seconds) == (seconds, seconds)


@pytest.mark.parametrize("status", ["400 Bad Request", "413 Content Too Large"])
async def test_one_segment_that_is_called_wrong_does_not_hold_the_others_up(status: str) -> None:
    raws = sealed_beats(9)

    def say(request: Request) -> bytes:
        if raws[5] in request.segments:
            return answer({"code": "segments_malformed"}, status=status)
        return accepting(request)

    async with saying(say) as server, GatewayRoute(server.url) as route:
        delivery = await route.send(raws, producer=PRODUCER)
    assert [one.verdict for one in delivery.verdicts] == ["logged"] * 5 + ["retry"] + ["logged"] * 3
    assert delivery.verdicts[5].code == "segments_malformed"


async def test_what_was_answered_before_a_failure_is_not_forgotten() -> None:
    raws = sealed_beats(REQUEST_SEGMENTS_MAX + 3)

    def say(request: Request) -> bytes:
        return accepting(request) if len(request.segments) > 3 else answer(b"", status="500 No")

    async with saying(say) as server, GatewayRoute(server.url) as route:
        delivery = await route.send(raws, producer=PRODUCER)
    assert [one.verdict for one in delivery.verdicts] == ["logged"] * REQUEST_SEGMENTS_MAX + [
        "retry"
    ] * 3


async def test_only_a_server_of_a_trusted_authority_gets_anything(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "ours")
    stranger = make_certificate(tmp_path / "theirs")
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(certificate.certificate, certificate.key)
    raws = sealed_beats(1)
    async with saying(accepting, tls=shown) as server:
        for ca in (None, stranger.ca):
            async with GatewayRoute(server.url, ca=ca) as route:
                with pytest.raises(Unavailable, match="name the office's CA by --ca"):
                    await route.send(raws, producer=PRODUCER)
        assert server.requests == []
        async with GatewayRoute(server.url, ca=certificate.ca) as route:
            (verdict,) = (await route.send(raws, producer=PRODUCER)).verdicts
    assert verdict.verdict == "logged"


def test_a_file_without_a_certificate_is_refused_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    for wrong in (None, "no certificate"):
        if wrong is not None:
            file.write_text(wrong)
        with pytest.raises(Misconfigured, match="--ca"):
            GatewayRoute("https://gateway", ca=file)
