"""The route over HTTPS: to a gateway, or to a relay, which speaks the same.

    POST /v1/segments             (u32 big-endian length, segment)*  →  a verdict for each segment
    GET  /v1/producers/{id}/cursor                                   →  the latest receipt

Nothing that a server says is believed further than needed: an answer is read up to a named limit,
must speak of the very segments that were sent, and deletes nothing whatever it says. A request that
the server calls wrong is split until the segment is alone that it will not have; that one is tried
again later, the others have gone.
"""

import asyncio
import ssl
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

import msgspec

from producers.device.http_client import Answer, AnswerTooLarge, HttpClient, NoAnswer
from producers.device.known_time import CertificateTime, by_clock
from producers.device.route import Delivery, SegmentVerdict, allowed_seconds
from producers.device.server_check import ServerCheck, dates_refused
from rekam.domain import segment as segments_v1
from rekam.domain.errors import Held, Misconfigured, Overloaded, SegmentRejected, Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.log import ROUTE_HEADER
from rekam.domain.receipt import RECEIPT_BYTES_MAX

CONTENT_TYPE: Final = "application/vnd.rekam.segments"

REQUEST_BYTES_MAX: Final = 4 * 1024 * 1024
REQUEST_SEGMENTS_MAX: Final = 64

ANSWER_BYTES_MAX: Final = 2 * RECEIPT_BYTES_MAX + REQUEST_SEGMENTS_MAX * 512
"""Most of an answer that is read: its receipts and a verdict for each segment."""

CONNECT_SECONDS_MAX: Final = 10.0
ANSWER_SECONDS_MAX: Final = 20.0
"""How long a request may take beside the time that its bytes are given."""

RETRY_AFTER_SECONDS_MAX: Final = 3600.0
"""More is not believed."""

TIME_MS_MAX: Final = 2**53

_SPLITTABLE: Final = frozenset({400, 413, 422})
"""Answers that may mean one segment of several, or their number."""


Carrier = Literal["relay", "usb"]
"""Who may hand on what others sealed."""


class _Result(msgspec.Struct, frozen=True):
    producer: str
    epoch: int
    first: int
    last: int
    verdict: str
    code: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,64}\Z")] | None = None
    append_ms: Annotated[int, msgspec.Meta(ge=0, le=TIME_MS_MAX)] | None = None


class _ProducerReceipt(msgspec.Struct, frozen=True):
    producer: str
    receipt: msgspec.Raw = msgspec.Raw(b"null")


class _Answer(msgspec.Struct, frozen=True):
    results: list[_Result]
    receipts: list[_ProducerReceipt] = []
    receipt: msgspec.Raw = msgspec.Raw(b"null")
    server_ms: Annotated[int, msgspec.Meta(ge=0, le=TIME_MS_MAX)] | None = None


class _Cursor(msgspec.Struct, frozen=True):
    producer: str
    receipt: msgspec.Raw = msgspec.Raw(b"null")


class _Problem(msgspec.Struct, frozen=True):
    code: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,64}\Z")] = "unknown"


_decode_answer: Final = msgspec.json.Decoder(_Answer).decode
_decode_cursor: Final = msgspec.json.Decoder(_Cursor).decode
_decode_problem: Final = msgspec.json.Decoder(_Problem).decode


class _Wrong(Exception):  # noqa: N818 - a message between two methods, no error of Rekam's
    """The server calls the request itself wrong."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(status, code)
        self.status, self.code = status, code


class GatewayRoute:
    """Sends segments over HTTPS; an async context manager that connects at the first send."""

    def __init__(
        self,
        url: str,
        *,
        ca: Path | None = None,
        label: Literal["gateway", "relay"] = "gateway",
        certificate_time: CertificateTime = by_clock,
        carrier: Carrier | None = None,
        connect_seconds_max: float = CONNECT_SECONDS_MAX,
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
    ) -> None:
        """Name the server, `scheme://host[:port]`; nothing is opened yet.

        Its certificate must be signed by a CA of this system, or one of `ca`, and be valid at
        `certificate_time`. Raises Misconfigured when that file holds none.
        `carrier` is who sends what others sealed: the server is told.
        """
        self.label = label
        self._told = [] if carrier is None else [(ROUTE_HEADER, carrier)]
        self._url = url.rstrip("/")
        self._answer_seconds_max = answer_seconds_max
        self._client = HttpClient(
            self._url,
            tls=_tls(ca, certificate_time) if urlsplit(url).scheme == "https" else None,
            connect_seconds_max=connect_seconds_max,
            write_seconds_max=answer_seconds_max,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the connections; safe to call twice."""
        await self._client.close()

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> Delivery:
        """Return the server's verdict for each segment.

        In requests of at most REQUEST_BYTES_MAX and REQUEST_SEGMENTS_MAX, one after the other. When
        one fails, the segments of it and of those after it are `retry`; raises Unavailable or
        Overloaded when it was the first.
        """
        verdicts: list[SegmentVerdict] = []
        receipt: bytes | None = None
        relay_ms: int | None = None
        for request in _requests(segments):
            try:
                answered = await self._ask_or_split(request, producer)
            except (Unavailable, Overloaded) as error:
                if not verdicts:
                    raise
                left = len(segments) - len(verdicts)
                verdicts += [SegmentVerdict("retry", code=error.code)] * left
                break
            verdicts += answered.verdicts
            receipt = answered.receipt or receipt
            relay_ms = answered.relay_ms or relay_ms
        return Delivery(tuple(verdicts), receipt, relay_ms)

    async def receipt(self, producer: ProducerId) -> bytes | None:
        """Return the receipt that the server has for the producer. Raises Unavailable."""
        try:
            raw = await self._request("GET", f"/v1/producers/{producer}/cursor", b"")
        except _Wrong as wrong:
            raise self._refused(wrong) from wrong
        try:
            cursor = _decode_cursor(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._garbage("no cursor") from error
        if cursor.producer != producer:
            raise self._garbage("the cursor of another producer")
        return _envelope(cursor.receipt)

    async def _ask_or_split(self, segments: Sequence[bytes], producer: ProducerId) -> Delivery:
        """Send one request; if the server calls it wrong, its halves, down to single segments."""
        try:
            return await self._ask(segments, producer)
        except _Wrong as wrong:
            if wrong.status not in _SPLITTABLE:
                raise self._refused(wrong) from wrong
            if len(segments) == 1:
                return Delivery((SegmentVerdict("retry", code=wrong.code),))
        middle = len(segments) // 2
        halves = [
            await self._ask_or_split(half, producer)
            for half in (segments[:middle], segments[middle:])
        ]
        return Delivery(
            tuple(verdict for half in halves for verdict in half.verdicts),
            halves[1].receipt or halves[0].receipt,
            halves[1].relay_ms or halves[0].relay_ms,
        )

    async def _ask(self, segments: Sequence[bytes], producer: ProducerId) -> Delivery:
        body = b"".join(part for raw in segments for part in (len(raw).to_bytes(4), raw))
        raw_answer = await self._request("POST", "/v1/segments", body)
        try:
            answer = _decode_answer(raw_answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._garbage("no verdicts") from error
        if len(answer.results) != len(segments):
            raise self._garbage(f"{len(answer.results)} verdicts for {len(segments)} segments")
        for result, raw in zip(answer.results, segments, strict=True):
            if not _is_about(result, raw):
                raise self._garbage("a verdict about a segment that was not sent")
        receipt = next(
            (one.receipt for one in answer.receipts if one.producer == producer), answer.receipt
        )
        verdicts = tuple(map(_verdict, answer.results))
        is_kept = any(one.verdict == "custody" for one in verdicts)
        return Delivery(verdicts, _envelope(receipt), answer.server_ms if is_kept else None)

    async def _request(self, method: str, path: str, body: bytes) -> bytes:
        """Return the body of an answer 200. Raises Unavailable, Overloaded, or _Wrong for a 4xx."""
        seconds = allowed_seconds(self._answer_seconds_max, len(body))
        try:
            async with asyncio.timeout(seconds):
                answer = await self._client.request(
                    method, path, body=body, media_type=CONTENT_TYPE, headers=self._told
                )
        except AnswerTooLarge as error:
            raise self._garbage(f"more than {ANSWER_BYTES_MAX} bytes") from error
        except (NoAnswer, OSError, TimeoutError) as error:
            raise self._away(error) from error
        self._check(answer)
        return answer.body

    def _check(self, answer: Answer) -> None:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise self._garbage("a compressed answer")
        status = answer.status
        if status == HTTPStatus.OK:
            return
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise Overloaded(
                f"{self._url} asks to slow down (HTTP 429). It is tried again later",
                retry_after_seconds=_retry_after(answer),
            )
        if 400 <= status < 500:  # noqa: PLR2004 - HTTP's class of errors of the client
            raise _Wrong(status, _problem_code(answer.body))
        raise Unavailable(
            f"{self._url} cannot take segments now (HTTP {status}). They stay in the outbox; if it "
            "stays so, look at the server",
            retry_after_seconds=_retry_after(answer),
        )

    def _refused(self, wrong: _Wrong) -> Unavailable:
        return Unavailable(
            f"{self._url} calls the request wrong (HTTP {wrong.status}, {wrong.code}). The "
            "segments stay in the outbox; check that --route names a gateway of this version"
        )

    def _garbage(self, found: str) -> Unavailable:
        return Unavailable(
            f"{self._url} answered {found}, so its answer counts for nothing. The segments stay in "
            "the outbox; check that --route names a gateway or relay, and what stands between"
        )

    def _away(self, error: Exception) -> Unavailable:
        if isinstance(error, ssl.SSLCertVerificationError):
            return dates_refused(self._url, error.verify_code) or Unavailable(
                f"{self._url} shows a certificate that is not trusted here, so nothing was sent. "
                "Check the address; name the office's CA by --ca"
            )
        return Unavailable(
            f"{self._url} did not answer ({type(error).__name__}). The segments stay in the "
            "outbox; see that the server runs and can be reached"
        )


def _tls(ca: Path | None, certificate_time: CertificateTime) -> ssl.SSLContext:
    try:
        return ServerCheck.by(ca, certificate_time)
    except OSError as error:
        raise Misconfigured([f"--ca {ca}: holds no certificate (PEM) that can be read"]) from error


def _requests(segments: Sequence[bytes]) -> list[list[bytes]]:
    """Split into requests; a segment is always smaller than a request may be."""
    requests: list[list[bytes]] = []
    room = 0
    for raw in segments:
        size = 4 + len(raw)
        if not requests or size > room or len(requests[-1]) == REQUEST_SEGMENTS_MAX:
            requests.append([])
            room = REQUEST_BYTES_MAX
        requests[-1].append(raw)
        room -= size
    return requests


def _is_about(result: _Result, raw: bytes) -> bool:
    try:
        header = segments_v1.parse(raw).header
    except (SegmentRejected, Held):
        # Damaged, or of a newer version, as a stick may carry it: nobody here can tell its name.
        return True
    return (result.producer, result.epoch, result.first, result.last) == (
        header.producer,
        header.epoch,
        header.first,
        header.last,
    )


def _verdict(result: _Result) -> SegmentVerdict:
    match result.verdict:
        case "accepted" | "held":
            return SegmentVerdict("logged", append_ms=result.append_ms, code=result.code)
        case "duplicate":
            # Its append time may be that of another day: it says nothing about now.
            return SegmentVerdict("logged", code=result.code)
        case "custody":
            return SegmentVerdict("custody", code=result.code)
        case "quarantined":
            return SegmentVerdict("refused", code=result.code or "quarantined")
        case "retry":
            return SegmentVerdict("retry", code=result.code)
        case _:
            return SegmentVerdict("retry", code="unknown_verdict")


def _envelope(raw: msgspec.Raw) -> bytes | None:
    found = bytes(raw)
    return None if found == b"null" else found


def _problem_code(raw: bytes) -> str:
    try:
        return _decode_problem(raw).code
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "unknown"


def _retry_after(answer: Answer) -> float | None:
    """Return the seconds of `Retry-After`; a date counts from the server's own `Date`."""
    text = answer.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            then = parsedate_to_datetime(text)
            seconds = (then - parsedate_to_datetime(answer.headers["date"])).total_seconds()
        except (KeyError, ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)
