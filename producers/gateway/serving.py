"""From an HTTP request to a backend and back: bodies, limits, answers, problems, counting."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from producers.gateway.backend import Backend, Outcome, Verdict
from producers.gateway.connections import HEAD_SECONDS_MAX
from producers.gateway.intake import (
    BODY_BYTES_MAX,
    MEDIA_TYPE,
    SEGMENTS_MAX,
    Judged,
    judge,
    split,
)
from producers.gateway.limits import Hold, InFlight, Rate, TokenBuckets
from producers.gateway.problems import ProblemError
from rekam.domain.errors import Overloaded
from rekam.domain.log import ROUTE_HEADER, ArrivalRoute
from rekam.domain.receipt import RECEIPT_BYTES_MAX, EpochReceipt, Run
from rekam.domain.segment import producer_id
from rekam.runtime.metrics import CONTENT_TYPE, Metrics
from rekam.runtime.problems import SECURITY_HEADERS, log_bug

JSON: Final = "application/json"

BODY_SECONDS_MAX: Final = 120.0
STALL_SECONDS_MAX: Final = 20.0
"""How long a body may pause."""

REFUSED_BODY_SECONDS_MAX: Final = 2.0
"""How long the body of a refused request is read and thrown away, so that its sender, who may
still be writing, gets to read the answer."""

RECEIPTS_BYTES_MAX: Final = RECEIPT_BYTES_MAX
"""Receipts of one answer, but for the first; who sends for many asks for the others' cursors."""

JUDGED_AT_ONCE_MAX: Final = 4
"""Segments that are judged in the event loop: 0.3 ms, less than handing them over is worth."""

BUSY_RETRY_SECONDS: Final = 2.0
IN_FLIGHT_BYTES_MAX: Final = 64 * 1024 * 1024

CLIENT_REQUESTS: Final = Rate(per_second=200, burst=400)
"""By address: a runaway program. All devices behind one proxy or one carrier share it."""

CLIENT_UNVERIFIED_SEGMENTS: Final = Rate(per_second=50, burst=SEGMENTS_MAX)
"""By address: segments that nobody vouches for, or that are damaged. They are kept for ever."""

PRODUCER_SEGMENTS: Final = Rate(per_second=200, burst=2_000)
"""By producer, verified ones only, so that nobody can use up another's share. Full segments come
to 100 thousand events a second."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is taken, and from whom. A burst of segments is at least one whole request."""

    client_requests: Rate = CLIENT_REQUESTS
    client_unverified_segments: Rate = CLIENT_UNVERIFIED_SEGMENTS
    producer_segments: Rate = PRODUCER_SEGMENTS
    in_flight_bytes_max: int = IN_FLIGHT_BYTES_MAX
    head_seconds_max: float = HEAD_SECONDS_MAX
    body_seconds_max: float = BODY_SECONDS_MAX
    stall_seconds_max: float = STALL_SECONDS_MAX

    def __post_init__(self) -> None:
        for rate in (self.client_unverified_segments, self.producer_segments):
            assert rate.burst >= SEGMENTS_MAX, rate  # noqa: S101 - our own bug


class Result(msgspec.Struct, frozen=True):
    """What became of one segment. Empty and 0 where its header could not be read."""

    producer: str
    epoch: int
    first: int
    last: int
    verdict: Verdict
    code: str | None
    append_ms: int | None


class ReceiptOf(msgspec.Struct, frozen=True):
    """A receipt, byte for byte as it was signed."""

    producer: str
    receipt: msgspec.Raw


class Taken(msgspec.Struct, frozen=True):
    """The answer to a request with segments."""

    results: list[Result]
    receipts: list[ReceiptOf]
    receipt: msgspec.Raw | None
    server_ms: int


class Held(msgspec.Struct, frozen=True):
    """Ranges of one epoch that the log holds."""

    epoch: int
    runs: tuple[Run, ...]


class Wanted(msgspec.Struct, frozen=True):
    """Ranges of one epoch that are missing below its highest."""

    epoch: int
    gaps: tuple[tuple[int, int], ...]


class Cursor(msgspec.Struct, frozen=True):
    """What is known of a producer; all empty when there is no receipt yet."""

    producer: str
    ranges: list[Held]
    gaps: list[Wanted]
    server_ms: int
    receipt: msgspec.Raw | None


_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Desk:
    """What all calls of one server share."""

    backend: Backend
    metrics: Metrics
    now_ms: Callable[[], int]
    limits: Limits = field(default_factory=Limits)
    judging: ThreadPoolExecutor = field(init=False)
    """Where many signatures are verified: one thread, so that the loop turns meanwhile. libsodium
    lets go of the interpreter: in three noisy rounds requests of 64 took 8 to 46 % less time for 5
    to 11 % more of the processor; a second thread mostly cost."""
    in_flight: InFlight = field(init=False)
    client_requests: TokenBuckets = field(init=False)
    client_unverified: TokenBuckets = field(init=False)
    producer_segments: TokenBuckets = field(init=False)

    def __post_init__(self) -> None:
        self.judging = ThreadPoolExecutor(1, thread_name_prefix="judge")
        self.in_flight = InFlight(bytes_max=self.limits.in_flight_bytes_max)
        self.client_requests = TokenBuckets(self.limits.client_requests)
        self.client_unverified = TokenBuckets(self.limits.client_unverified_segments)
        self.producer_segments = TokenBuckets(self.limits.producer_segments)

    def close(self) -> None:
        """End the thread; no call is under way any more."""
        self.judging.shutdown()


Call = Callable[[Desk, Request], Awaitable[Response]]


class Endpoint:
    """One path with its one method, as an ASGI application."""

    def __init__(self, desk: Desk, path: str, method: str, call: Call) -> None:
        self._desk, self._path, self._method, self._call = desk, path, method, call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. An exception that is not ours is logged without its values."""
        started = time.perf_counter()
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            self._count("gone", started)
            return  # Nobody is there to answer, and nothing was taken.
        except ProblemError as problem:
            response = problem.response
        except Exception as error:  # noqa: BLE001 - a request's top: it is logged and answered
            response = ProblemError("bug", log_bug(error, self._path)).response
        self._count(str(response.status_code), started)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method != self._method:
            raise ProblemError(
                "method_not_allowed",
                f"{self._path} answers {self._method}",
                headers={"Allow": self._method},
            )
        return await self._call(self._desk, request)

    def _count(self, status: str, started: float) -> None:
        metrics = self._desk.metrics
        metrics.count("rekam_gateway_answers_total", route=self._path, status=status)
        metrics.observe(
            "rekam_gateway_answer_seconds", time.perf_counter() - started, route=self._path
        )


async def take_segments(desk: Desk, request: Request) -> Response:
    """Take the segments of a body: a verdict for each one, given once it is durable."""
    client = _client_of(request)
    with desk.in_flight.hold() as hold:
        try:
            _limit(desk.client_requests.take(client), "requests of this address")
            _require_media_type(request)
            body = await _body(desk, request, hold)
        except ProblemError as problem:
            if problem.code_of_problem != "body_too_slow":
                await _throw_away(request)
            raise
        segments = split(body)
        # The parts are copies: from here on the body is held twice.
        del body
        judged = await _judge(desk, segments)
        _limit_segments(desk, client, judged)
        outcomes = await desk.backend.take(judged, route=_route_of(request))
    for one, outcome in zip(judged, outcomes, strict=True):
        desk.metrics.count("rekam_gateway_segments_total", verdict=outcome.verdict)
        if outcome.verdict == "quarantined":
            log.warning("segment_quarantined", code=outcome.code, segment_bytes=len(one.raw))
    return _json(_taken(desk, judged, outcomes))


async def give_cursor(desk: Desk, request: Request) -> Response:
    """Tell what the log holds of a producer and what is missing, as its newest receipt says."""
    _limit(desk.client_requests.take(_client_of(request)), "requests of this address")
    try:
        producer = producer_id(request.path_params["producer"])
    except msgspec.ValidationError as error:
        # Not shown: somebody may have put a NIK there.
        raise ProblemError(
            "producer_invalid", "wanted 1 to 64 of a-z 0-9 . - that begin with a letter or digit"
        ) from error
    known = desk.backend.receipt_of(producer)
    epochs: tuple[EpochReceipt, ...] = () if known is None else known.receipt.epochs
    return _json(
        Cursor(
            producer=producer,
            ranges=[Held(one.epoch, one.runs) for one in epochs if one.runs],
            gaps=[Wanted(one.epoch, one.gaps) for one in epochs if one.gaps],
            server_ms=desk.now_ms(),
            receipt=None if known is None else msgspec.Raw(known.raw),
        )
    )


async def tell_alive(_desk: Desk, _request: Request) -> Response:
    """Answer: the loop turns."""
    return _json({"status": "alive"})


async def tell_ready(desk: Desk, _request: Request) -> Response:
    """Say whether segments can be taken now."""
    missing = await desk.backend.missing()
    if missing is None:
        return _json({"status": "ready"})
    return _json({"status": "not ready", "missing": missing}, status_code=503)


async def give_metrics(desk: Desk, _request: Request) -> Response:
    """Give what was counted, in Prometheus's text format."""
    desk.metrics.show("rekam_gateway_in_flight_bytes", {"": desk.in_flight.bytes})
    desk.metrics.show("rekam_gateway_receipts", {"": len(desk.backend.receipts)})
    return Response(desk.metrics.text(), headers={**SECURITY_HEADERS, "Content-Type": CONTENT_TYPE})


CALLS: Final[tuple[tuple[str, str, Call], ...]] = (
    ("POST", "/v1/segments", take_segments),
    ("GET", "/v1/producers/{producer}/cursor", give_cursor),
    ("GET", "/healthz", tell_alive),
    ("GET", "/readyz", tell_ready),
    ("GET", "/metrics", give_metrics),
)


async def answer_unknown_path(_: Request, error: Exception) -> Response:
    """Answer what no call takes."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    return ProblemError(
        "path_unknown", "wanted POST /v1/segments or GET /v1/producers/{id}/cursor"
    ).response


def _json(answer: object, *, status_code: int = 200) -> Response:
    return Response(
        _encode(answer), status_code=status_code, media_type=JSON, headers=SECURITY_HEADERS
    )


def _client_of(request: Request) -> str:
    return "" if request.client is None else request.client.host


def _route_of(request: Request) -> ArrivalRoute:
    """Return how the segments came here: a carrier says that it is one, devices say nothing."""
    match request.headers.get(ROUTE_HEADER):
        case "relay":
            return "relay"
        case "usb":
            return "usb"
        case _:  # Nobody signs it and no figure rests on it: nothing to refuse.
            return "gateway"


def _limit(wait_seconds: float, what: str) -> None:
    if wait_seconds:
        raise ProblemError(
            "too_many_requests",
            f"too many {what}. Nothing was taken; wait and send all of it again",
            retry_after_seconds=wait_seconds,
        )


def _limit_segments(desk: Desk, client: str, judged: Sequence[Judged]) -> None:
    """Take tokens for the segments. Raises ProblemError when there are too few for all of them."""
    verified = Counter(one.producer for one in judged if one.outlook == "admissible")
    unverified = len(judged) - verified.total()
    if unverified:
        wait = desk.client_unverified.take(client, unverified)
        _limit(wait, "segments from this address that nobody vouches for yet")
    for producer, count in verified.items():
        assert producer is not None  # noqa: S101 - who is verified has a name
        _limit(desk.producer_segments.take(producer, count), "segments of one producer")


def _require_media_type(request: Request) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != MEDIA_TYPE:
        raise ProblemError("media_type_unknown", f"wanted content-type {MEDIA_TYPE}")


async def _body(desk: Desk, request: Request, hold: Hold) -> bytes:
    too_large = ProblemError(
        "body_too_large", f"wanted {BODY_BYTES_MAX} bytes at most; send the rest in another request"
    )
    promised = request.headers.get("content-length", "0")
    if not promised.isdecimal() or int(promised[:20]) > BODY_BYTES_MAX:
        raise too_large
    raw = bytearray()
    stream = request.stream()
    try:
        async with asyncio.timeout(desk.limits.body_seconds_max):
            while True:
                async with asyncio.timeout(desk.limits.stall_seconds_max):
                    part = await anext(stream, None)
                if part is None:
                    return bytes(raw)
                if len(raw) + len(part) > BODY_BYTES_MAX:
                    raise too_large
                hold.grow(len(part))
                raw += part
    except TimeoutError as error:
        raise ProblemError(
            "body_too_slow",
            f"{len(raw)} bytes had come after {desk.limits.stall_seconds_max:g} s of silence or "
            f"{desk.limits.body_seconds_max:g} s in all. Nothing was taken; send less at a time",
            headers={"Connection": "close"},
        ) from error
    except Overloaded as error:
        raise ProblemError("busy", str(error), retry_after_seconds=BUSY_RETRY_SECONDS) from error


async def _throw_away(request: Request) -> None:
    """Read what a refused caller still writes, for a moment, so that it hears the answer."""
    left = BODY_BYTES_MAX
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(REFUSED_BODY_SECONDS_MAX):
            async for part in request.stream():
                left -= len(part)
                if left < 0:
                    return


async def _judge(desk: Desk, segments: list[bytes]) -> list[Judged]:
    keys_of = desk.backend.receipts.keys_of

    def work() -> list[Judged]:
        return [judge(raw, keys_of) for raw in segments]

    if len(segments) <= JUDGED_AT_ONCE_MAX:
        return work()
    return await asyncio.get_running_loop().run_in_executor(desk.judging, work)


def _taken(desk: Desk, judged: Sequence[Judged], outcomes: Sequence[Outcome]) -> Taken:
    receipts: list[ReceiptOf] = []
    room = RECEIPTS_BYTES_MAX
    for producer in dict.fromkeys(one.producer for one in judged):
        known = None if producer is None else desk.backend.receipts.of(producer)
        if producer is None or known is None:
            continue
        room -= len(known.raw)
        if receipts and room < 0:
            break
        receipts.append(ReceiptOf(producer, msgspec.Raw(known.raw)))
    first = next((one.receipt for one in receipts if one.producer == judged[0].producer), None)
    return Taken(
        results=[_result(*pair) for pair in zip(judged, outcomes, strict=True)],
        receipts=receipts,
        receipt=first,
        server_ms=desk.now_ms(),
    )


def _result(one: Judged, outcome: Outcome) -> Result:
    header = one.header
    return Result(
        producer=one.producer or "",
        epoch=0 if header is None else header.epoch,
        first=0 if header is None else header.first,
        last=0 if header is None else header.last,
        verdict=outcome.verdict,
        code=outcome.code,
        append_ms=outcome.append_ms,
    )
