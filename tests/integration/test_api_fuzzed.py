"""Whatever a program asks of the read API, the answer is one that the OpenAPI document describes.

Requests are made up from that document by schemathesis: such as it allows, and such as it does not.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import pytest
import schemathesis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from tests.support.api import DOCUMENT, READING, Client, serving
from tests.support.rows import DESA, NIK, OTHER_DESA, OTHER_NIK, Rows, people, regency

SCHEMA: Final = schemathesis.openapi.from_dict(DOCUMENT)
EXAMPLES: Final = 25
"""For each call and mode: some 1,300 requests in all."""

Send = Callable[[str, str, dict[str, Any]], httpx.Response]


@pytest.fixture(scope="module")
def small_regency() -> Rows:
    """Return a regency in which most calls find something."""
    rows = regency({DESA: 30, OTHER_DESA: 10})
    for nik in (*people(7), NIK):
        rows.recorded(nik)
    rows.recorded(OTHER_NIK, desa=OTHER_DESA)
    rows.observed(OTHER_NIK, "PRINT_READY_RECORD")
    rows.cohort("bontang", {"verified": 18, "printed": 12}, unresolved=3)
    rows.enrolled("recorder-1")
    rows.segment("recorder-1", 1, 10)
    rows.quarantined(4)
    rows.held(5)
    rows.position = {0: 17, 3: 5}
    return rows


@pytest.fixture
async def filled(database: str, small_regency: Rows) -> str:
    """Return the DSN of a database that holds the regency."""
    await small_regency.write(database)
    return database


@pytest.fixture
def send(filled: str) -> Iterator[Send]:
    """Give a call of the application, which runs in a thread of its own."""

    def told(portal: BlockingPortal, client: Client) -> Send:
        def call(method: str, path: str, options: dict[str, Any]) -> httpx.Response:
            async def asked() -> httpx.Response:
                return await client.send(method, path, **options)

            return portal.call(asked)

        return call

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(filled)) as client,
    ):
        yield told(portal, client)


NAMES: Final = {
    "/v1/devices/{id}": "recorder-1",
    "/v1/devices/{id}/ledger": "recorder-1",
    "/v1/cohorts/{id}": "bontang",
    "/v1/cohorts/{id}/entries": "bontang",
    "/v1/cohorts/{id}/comparison": "bontang",
    "/v1/cohorts/{id}/snapshot": "bontang",
}
"""What is there, in place of made-up names, which nobody has."""


CALLS: Final = [
    (method.upper(), path, mode)
    for path, methods in DOCUMENT["paths"].items()
    for method, told in methods.items()
    for mode in GenerationMode
    # What takes nothing, or any text, cannot be asked for wrongly.
    if mode is GenerationMode.POSITIVE
    or "requestBody" in told
    or any(one["schema"] != {"type": "string"} for one in told.get("parameters", ()))
]


@pytest.mark.parametrize(("method", "path", "mode"), CALLS)
def test_no_request_is_answered_with_what_is_not_described(
    method: str, path: str, mode: GenerationMode, send: Send
) -> None:
    cases = SCHEMA[path][method].as_strategy(generation_mode=mode)

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
    @given(case=cases, is_there=st.booleans())
    def ask(case: Any, *, is_there: bool) -> None:
        if is_there and path in NAMES:
            case.path_parameters = {**(case.path_parameters or {}), "id": NAMES[path]}
        asked = case.as_transport_kwargs(base_url="http://127.0.0.1")
        options = {key: asked[key] for key in ("params", "json") if key in asked}
        if isinstance(asked.get("data"), bytes | str):
            options["content"] = asked["data"]
        # As a server reads them: bytes, of which each is a character.
        headers = {
            key.encode("latin-1"): str(value).encode("latin-1", "replace")
            for key, value in {**READING, **(asked.get("headers") or {})}.items()
        }
        answer = send(method, asked["url"], {**options, "headers": headers})
        assert answer.status_code < 500 or answer.status_code == 503, answer.text

    ask()
