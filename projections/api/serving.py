"""From an HTTP request to a call and back: methods, token, body, problems, counting."""

import asyncio
import hmac
import time
from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from projections.api.answers import Stated
from projections.api.csv_answers import MEDIA_TYPE as CSV
from projections.api.office import Asked, Office
from projections.api.parameters import FORMAT, PARAMETERS_MAX, Arguments, read_arguments
from projections.api.problems import ProblemError
from projections.api.routes import JSON, Route
from rekam.runtime.problems import SECURITY_HEADERS, log_bug

BODY_BYTES_MAX: Final = 4096
BODY_SECONDS_MAX: Final = 10.0

_encode = msgspec.json.Encoder(decimal_format="number").encode


class Endpoint:
    """All methods of one path, as an ASGI application."""

    def __init__(self, routes: Mapping[str, Route], office: Office) -> None:
        self._routes, self._office = routes, office
        self._methods = (*routes, *(["HEAD"] if "GET" in routes else []), "OPTIONS")
        self._allow = ", ".join(self._methods)
        [self._path] = {route.path for route in routes.values()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. An exception that is not ours is logged without its values."""
        started = time.perf_counter()
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return  # Nobody is there to answer.
        except ProblemError as problem:
            if problem.code_of_problem == "database_unavailable":
                self._office.metrics.count("rekam_api_database_failures_total")
            response = problem.response
        except Exception as error:  # noqa: BLE001 - a request's top: it is logged and answered
            response = ProblemError("bug", log_bug(error, self._path)).response
        metrics = self._office.metrics
        metrics.count(
            "rekam_api_answers_total",
            route=self._path,
            method=request.method if request.method in self._methods else "other",
            status=str(response.status_code),
        )
        metrics.observe("rekam_api_answer_seconds", time.perf_counter() - started, route=self._path)
        if request.method == "HEAD":
            response.body = b""  # The headers tell of the body that GET would bring.
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": self._allow, **SECURITY_HEADERS})
        route = self._routes.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            raise ProblemError(
                "method_not_allowed",
                f"{self._path} answers {self._allow}",
                headers={"Allow": self._allow},
            )
        caller = _caller(request, self._office.callers) if route.is_protected else ""
        arguments = _arguments(route, request)
        body = None if route.body is None else await _body(request, route.body)
        answer = await route.handler(
            Asked(
                office=self._office,
                database=request.app.state.database,
                arguments=arguments,
                body=body,
                caller=caller,
            )
        )
        if route.csv is not None and _prefers_csv(request, arguments):
            return Response(route.csv(answer), media_type=CSV, headers=SECURITY_HEADERS)
        return Response(_encoded(answer), media_type=route.media_type, headers=SECURITY_HEADERS)


async def answer_unknown_path(_: Request, error: Exception) -> Response:
    """Answer what no route takes."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    return ProblemError("path_unknown", "no call has this path; `/` lists them all").response


def _encoded(answer: object) -> bytes:
    match answer:
        case bytes():
            return answer
        case Stated(state=state, figures=figures):
            # Two JSON objects become one; neither is empty.
            return b"%b,%b" % (_encode(state)[:-1], _encode(figures)[1:])
        case _:
            return _encode(answer)


def _arguments(route: Route, request: Request) -> Arguments:
    query = request.query_params.multi_items()
    if len(query) > PARAMETERS_MAX:
        raise ProblemError(
            "invalid_parameter", f"{len(query)} parameters; wanted {PARAMETERS_MAX} at most"
        )
    return read_arguments(
        route.parameters, query=query, path=request.path_params, headers=request.headers
    )


def _prefers_csv(request: Request, arguments: Arguments) -> bool:
    if (wanted := arguments.get(FORMAT)) is not None:
        return wanted == "csv"
    # Of the types that we write, the first one that is named.
    named = [
        entry.partition(";")[0].strip().lower()
        for entry in request.headers.get("accept", "").split(",")
    ]
    return next((entry for entry in named if entry in {JSON, CSV}), JSON) == CSV


def _caller(request: Request, callers: Mapping[str, str]) -> str:
    """Return whose token the request carries. Raises ProblemError when it is nobody's."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    caller: str | None = None
    # Each compared, and in constant time, also when the scheme is another one.
    for token, name in callers.items():
        if hmac.compare_digest(given.strip().encode(), token.encode()):
            caller = name
    if scheme.lower() != "bearer" or caller is None:
        raise ProblemError(
            "unauthorised",
            "send `Authorization: Bearer …` with the office's token; its file is REKAM_API_TOKEN",
            headers={"WWW-Authenticate": 'Bearer realm="rekam"'},
        )
    return caller


async def _body(request: Request, struct: type[msgspec.Struct]) -> msgspec.Struct:
    media_type = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if media_type != JSON:
        raise ProblemError("media_type_unknown", f"wanted {JSON}")
    raw = await _raw_body(request)
    fields = ", ".join(struct.__struct_fields__)
    try:
        return msgspec.json.decode(raw or b"{}", type=struct)  # nothing said is nothing given
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # Neither the library's message nor the body is shown: both may hold a NIK.
        raise ProblemError(
            "invalid_body", f"wanted one JSON object with: {fields}; all of them texts"
        ) from error


async def _raw_body(request: Request) -> bytes:
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for part in request.stream():
                raw += part
                if len(raw) > BODY_BYTES_MAX:
                    raise ProblemError(
                        "body_too_large",
                        f"wanted {BODY_BYTES_MAX} bytes at most",
                        headers={"Connection": "close"},
                    )
    except TimeoutError as error:
        raise ProblemError(
            "body_too_slow",
            f"it was not whole after {BODY_SECONDS_MAX:g} s; send it at once",
            headers={"Connection": "close"},
        ) from error
    return bytes(raw)
