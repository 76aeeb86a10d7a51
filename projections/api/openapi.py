"""The OpenAPI 3.1 document, generated from the table of routes and the structs of answers."""

from functools import cache
from importlib.metadata import version
from typing import Any, Final

import msgspec
from msgspec import structs

from projections.api import answers
from projections.api.csv_answers import MEDIA_TYPE as CSV
from projections.api.problems import CATALOGUE, Code
from projections.api.routes import JSON, ROUTES, Route
from rekam.runtime.problems import MEDIA_TYPE, Problem

_REFERENCE: Final = "#/components/schemas/{name}"
_ALWAYS: Final[tuple[Code, ...]] = (
    "unknown_parameter",
    "missing_parameter",
    "invalid_parameter",
    "method_not_allowed",
    "bug",
    "database_unavailable",
    "database_not_migrated",
)
_WITH_BODY: Final[tuple[Code, ...]] = (
    "invalid_body",
    "body_too_slow",
    "body_too_large",
    "media_type_unknown",
)


@cache
def document() -> bytes:
    """Return the document as JSON."""
    return msgspec.json.encode(describe(), order="deterministic")


def describe() -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rekam read API",
            "version": version("rekam"),
            "summary": "Coverage, devices, verification and people, each with the state it is of",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "responses": {
            "200": {"description": route.summary, "content": _content(route)},
            **_problems(route),
        },
        "security": [{"token": []}] if route.is_protected else [],
    }
    if route.parameters:
        operation["parameters"] = [
            {
                "name": parameter.name,
                "in": parameter.where,
                "required": parameter.is_required,
                "description": parameter.meaning,
                "schema": parameter.schema,
            }
            for parameter in route.parameters
        ]
    if route.body is not None:
        operation["requestBody"] = {
            "required": any(field.required for field in structs.fields(route.body)),
            "content": {JSON: {"schema": _reference(route.body)}},
        }
    return operation


def _content(route: Route) -> dict[str, Any]:
    if route.answer is None:
        is_json = route.media_type == JSON
        return {route.media_type: {"schema": {"type": "object" if is_json else "string"}}}
    schema = _reference(route.answer)
    if route.is_stated:
        schema = {"allOf": [_reference(answers.State), schema]}
    content: dict[str, Any] = {route.media_type: {"schema": schema}}
    if route.csv is not None:
        content[CSV] = {"schema": {"type": "string"}}
    return content


def _problems(route: Route) -> dict[str, Any]:
    """Return the answers that are problems, by HTTP status, each naming its codes."""
    codes: list[Code] = [*_ALWAYS, *route.problems]
    if route.body is not None:
        codes += _WITH_BODY
    if route.is_protected:
        codes.append("unauthorised")
    if route.is_stated and "settings_differ" not in codes:
        codes.append("settings_differ")  # the state names what the tables are folded under
    by_status: dict[int, list[Code]] = {}
    for code in codes:
        by_status.setdefault(CATALOGUE[code][0], []).append(code)
    return {
        str(status): {
            "description": "; ".join(f"`{code}`: {CATALOGUE[code][1]}" for code in of_status),
            "content": {MEDIA_TYPE: {"schema": _problem(of_status)}},
        }
        for status, of_status in sorted(by_status.items())
    }


def _problem(codes: list[Code]) -> dict[str, Any]:
    return {"allOf": [_reference(Problem), {"properties": {"code": {"enum": codes}}}]}


def _schemas() -> dict[str, Any]:
    structs = {
        struct for route in ROUTES for struct in (route.answer, route.body) if struct is not None
    }
    _, components = msgspec.json.schema_components(
        sorted({*structs, answers.State, Problem}, key=lambda struct: struct.__name__),
        ref_template=_REFERENCE,
    )
    return {name: _decimals_as_numbers(schema) for name, schema in components.items()}


def _decimals_as_numbers(schema: Any) -> Any:
    """Describe decimals as they are written: msgspec's schema knows only its default, a text."""
    match schema:
        case {"type": "string", "format": "decimal"}:
            return {**schema, "type": "number"}
        case dict():
            return {key: _decimals_as_numbers(value) for key, value in schema.items()}
        case list():
            return [_decimals_as_numbers(value) for value in schema]
        case _:
            return schema


def _reference(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(name=struct.__name__)}
