"""The read API as a client sees it; every answer must be as the OpenAPI document describes it."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from openapi_schema_validator import OAS31Validator

from projections.api.app import create_app
from projections.api.database import Database
from projections.api.office import Office
from projections.api.openapi import describe
from projections.api.routes import ROUTES, Route
from projections.reading import Connection
from rekam.domain.errors import RekamError
from rekam.domain.events import AccessRecord, PersonAccessed, PersonTokenAccessed
from rekam.domain.keys import SigningKey
from rekam.domain.topics import SEGMENTS
from rekam.runtime.metrics import Metrics
from tests.support.rows import RULES, TODAY, noon_ms

TOKEN = "t" * 40
BEARER = {"Authorization": f"Bearer {TOKEN}"}
READING = {**BEARER, "Access-Reason": "a citizen asks at the desk"}
"""What calls about people want."""
SNAPSHOT_KEY = SigningKey.from_seed(bytes([9]) * 32)
DOCUMENT = describe()


class Recorded:
    """Takes records of access and shows them; or fails, as a full disk does."""

    def __init__(self, *, error: RekamError | None = None) -> None:
        self.accesses: list[AccessRecord] = []
        self._error = error

    async def record(self, accesses: Sequence[AccessRecord]) -> None:
        """Keep them in memory."""
        if self._error is not None:
            raise self._error
        self.accesses += accesses

    @property
    def by_nik(self) -> list[PersonAccessed]:
        """Return the records that name a NIK."""
        return [one for one in self.accesses if isinstance(one, PersonAccessed)]

    @property
    def by_token(self) -> list[PersonTokenAccessed]:
        """Return those that name a token, because no NIK is kept."""
        return [one for one in self.accesses if isinstance(one, PersonTokenAccessed)]


def office(
    *,
    accesses: Recorded | None = None,
    log: Mapping[int, int] | RekamError | None = None,
    now_ms: int = noon_ms(TODAY),
) -> Office:
    """Return an office whose today is TODAY, and whose log ends at these offsets by partition."""

    async def log_below(_moment_ms: int) -> Mapping[int, int]:
        if isinstance(log, RekamError):
            raise log
        return log or {}

    return Office(
        rules=RULES,
        callers={TOKEN: "office"},
        accesses=Recorded() if accesses is None else accesses,
        snapshot_key=SNAPSHOT_KEY,
        topic=SEGMENTS.name,
        log_below=log_below,
        now_ms=lambda: now_ms,
        metrics=Metrics(),
    )


class Watched(Database):
    """A database that notes what it is asked."""

    def __init__(self, database: Database, statements: list[str]) -> None:
        super().__init__(database._pool)
        self._statements = statements

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Give a connection, and note each statement."""
        async with super().snapshot() as connection:
            asked: Any = connection
            with asked.query_logger(lambda logged: self._statements.append(logged.query)):
                yield connection


@dataclass
class Client:
    """A client that checks each answer against the document before it gives it."""

    http: httpx.AsyncClient
    database: Database

    async def get(self, url: str, **options: Any) -> httpx.Response:
        """GET; the answer conforms."""
        return await self.send("GET", url, **options)

    async def post(self, url: str, **options: Any) -> httpx.Response:
        """POST; the answer conforms."""
        return await self.send("POST", url, **options)

    async def send(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send; the answer conforms."""
        response = await self.http.request(method, url, **options)
        conforms(response, method=method)
        return response

    async def figures(self, url: str, **options: Any) -> dict[str, Any]:
        """GET and return the body of a good answer."""
        response = await self.get(url, **options)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body


@asynccontextmanager
async def serving(
    dsn: str, *, served: Office | None = None, statements: list[str] | None = None
) -> AsyncIterator[Client]:
    """Give a client of the application in this process, on a real database.

    The statements that its calls send to PostgreSQL are added to `statements`.
    """
    app = create_app(served or office(), dsn=dsn)
    # An exception in the application would be a bug: here it is an answer, as in production.
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
    ):
        if statements is not None:
            app.state.database = Watched(app.state.database, statements)
        yield Client(http, app.state.database)


def conforms(response: httpx.Response, *, method: str) -> None:
    """Fail unless status, media type and body are as the document says for this call."""
    route = route_of(response.request.url.path, method)
    if route is None or method == "OPTIONS":
        return
    described = DOCUMENT["paths"][route.path][route.method.lower()]["responses"]
    status = str(response.status_code)
    assert status in described, f"{route.path} answers {status}, undocumented: {response.text}"
    given = response.headers["content-type"].split(";")[0]
    contents = described[status]["content"]
    [media_type] = [name for name in contents if name.split(";")[0] == given]
    content = contents[media_type]
    if "json" in media_type and response.content:
        schema = {**content["schema"], "components": DOCUMENT["components"]}
        OAS31Validator(schema).validate(json.loads(response.content))


def route_of(path: str, method: str) -> Route | None:
    """Return the route that takes a path; fixed paths before those with a parameter."""
    wanted = "GET" if method == "HEAD" else method
    of_path = [route for route in ROUTES if _matches(route.path, path)]
    of_path.sort(key=lambda route: "{" in route.path)
    return next((route for route in of_path if route.method == wanted), None)


def _matches(template: str, path: str) -> bool:
    parts, given = template.split("/"), path.split("/")
    return len(parts) == len(given) and all(
        part.startswith("{") or part == own for part, own in zip(parts, given, strict=True)
    )
