"""Whatever call tells something of a person takes a reason, and so records who reads."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from projections.api.openapi import describe
from projections.api.parameters import CALLER, REASON
from projections.api.routes import ROUTES, Route

DOCUMENT: Final = describe()
NAMING: Final = {"person", "people", "token", "nik"}
"""Names of the fields that name somebody."""
OF_READERS: Final = {"/v1/accesses"}
"""Tells who was read of, and nothing of them: for those who audit the readers."""
COUNTS: Final = {"integer", "number"}


def naming_fields(schema: Any, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the fields anywhere in a schema by which somebody is named."""
    match schema:
        case {"$ref": str(reference)}:
            name = reference.rsplit("/", 1)[1]
            if name not in seen:
                yield from naming_fields(DOCUMENT["components"]["schemas"][name], seen | {name})
        case dict():
            for name, field in schema.get("properties", {}).items():
                if name in NAMING and field.get("type") not in COUNTS:
                    yield name
            for value in schema.values():
                yield from naming_fields(value, seen)
        case list():
            for value in schema:
                yield from naming_fields(value, seen)
        case _:
            pass


def named_in(route: Route) -> set[str]:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    return set(naming_fields(operation["responses"]["200"]["content"]))


def test_the_search_sees_what_it_should() -> None:
    found = {route.path for route in ROUTES if named_in(route)}
    assert {"/v1/people/lookup", "/v1/cohorts/{id}/entries", "/v1/accesses"} <= found
    assert "/v1/coverage" not in found


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_call_that_names_people_wants_the_token_and_a_reason(route: Route) -> None:
    if named_in(route):
        assert route.is_protected
        if route.path not in OF_READERS:
            assert REASON in route.parameters
            assert CALLER in route.parameters
            assert "access_unrecorded" in route.problems
