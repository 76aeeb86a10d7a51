"""The OpenAPI document is valid 3.1 and tells of every call."""

import json
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from projections.api import (
    calls,
    cohort_calls,
    duplicate_calls,
    excluded_calls,
    people_calls,
    routes,
)
from projections.api.answers import State
from projections.api.openapi import describe, document
from projections.api.problems import CATALOGUE
from projections.api.routes import ROUTES, Route

DOCUMENT = describe()
MODULES = (calls, cohort_calls, duplicate_calls, excluded_calls, people_calls, routes)
PROMISED = {
    ("GET", "/v1/coverage"),
    ("GET", "/v1/coverage/series"),
    ("GET", "/v1/coverage/changes"),
    ("GET", "/v1/devices"),
    ("GET", "/v1/devices/{id}"),
    ("GET", "/v1/devices/{id}/ledger"),
    ("POST", "/v1/people/lookup"),
    ("GET", "/v1/people/{token}"),
    ("POST", "/v1/people/{token}/nik"),
    ("GET", "/v1/people/{token}/accesses"),
    ("GET", "/v1/accesses"),
    ("GET", "/v1/verification"),
    ("GET", "/v1/duplicates"),
    ("GET", "/v1/duplicates/{case}"),
    ("GET", "/v1/cohorts"),
    ("GET", "/v1/cohorts/{id}"),
    ("GET", "/v1/cohorts/{id}/entries"),
    ("GET", "/v1/cohorts/{id}/comparison"),
    ("GET", "/v1/cohorts/{id}/snapshot"),
    ("GET", "/v1/quarantine"),
    ("GET", "/v1/held"),
    ("GET", "/v1/quarantine/{place}"),
    ("GET", "/v1/held/{place}"),
    ("GET", "/v1/discards"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
}
STAYING_FIELDS = {
    "Coverage": {"denominator", "rule", "rows", "totals"},
    "CoverageRow": {
        *("region", "name", "wajib", "recorded", "unrecorded", "date_unknown", "percent"),
    },
    "CoveragePoint": {"date", "recorded", "wajib", "percent"},
    "CoverageSeries": {"points", "rule", "denominators", "trees"},
    "DenominatorStretch": {
        *("regency", "version", "basis", "valid_from", "first_point", "last_point"),
    },
    "TreeStretch": {"regency", "version", "valid_from", "first_point", "last_point"},
    "CoverageChanges": {
        *("delta", "causes", "denominators_from", "denominators_to", "trees_from", "trees_to"),
    },
    "CoverageChange": {"cause", "count", "producers"},
    "Device": {
        *("id", "kind", "place", "label", "contact", "condition", "progress", "last_contact_at"),
        *("oldest_unsent_at", "queue_events", "gap_events", "route", "components", "tickets"),
    },
    "EpochLedger": {"epoch", "received", "gaps", "declared_lost", "forks", "head"},
    "Person": {
        *("person", "domicile", "recorded", "status", "status_since", "recordings", "history"),
        *("duplicates", "flags"),
    },
    "Cohort": {"total", "buckets", "residual", "rule"},
    "CohortEntries": {"entries", "next_cursor", "rule", "conflict_rule"},
    "CohortComparison": {"added", "removed", "changed", "moves", "rule", "conflict_rule"},
    "State": {"as_of", "known_at", "position", "complete_through"},
    "Excluded": {"reason", "producer", "range", "since"},
}


def test_the_document_is_valid_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(json.loads(document())).validate()


def test_every_promised_call_is_in_the_table() -> None:
    assert {(route.method, route.path) for route in ROUTES} >= PROMISED


def test_every_route_is_described_with_its_parameters() -> None:
    for route in ROUTES:
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        described = [entry["name"] for entry in operation.get("parameters", [])]
        assert described == [parameter.name for parameter in route.parameters]
        assert operation["summary"]


def test_every_call_has_a_name_of_its_own() -> None:
    names = [route.name for route in ROUTES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("struct", "fields"), STAYING_FIELDS.items())
def test_fields_that_stay_are_there(struct: str, fields: set[str]) -> None:
    assert fields <= set(DOCUMENT["components"]["schemas"][struct]["required"])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_state_and_figures_share_no_field(route: Route) -> None:
    """They are written as one object."""
    if route.is_stated:
        assert route.answer is not None
        own = {field.name for field in msgspec.structs.fields(route.answer)}
        assert own.isdisjoint(field.name for field in msgspec.structs.fields(State))


def test_a_percent_is_a_number() -> None:
    percent: dict[str, Any] = DOCUMENT["components"]["schemas"]["CoverageRow"]["properties"]
    assert percent["percent"]["anyOf"][0]["type"] == "number"


def test_only_calls_about_people_want_the_token() -> None:
    protected = {route.path for route in ROUTES if route.is_protected}
    assert protected == {
        "/v1/people/lookup",
        "/v1/people/{token}",
        "/v1/people/{token}/nik",
        "/v1/people/{token}/accesses",
        "/v1/accesses",
        "/v1/duplicates/{case}",
        "/v1/cohorts/{id}/entries",
        "/v1/cohorts/{id}/comparison",
    }


def test_every_problem_has_a_status_for_its_caller() -> None:
    assert all(400 <= status < 600 and title for status, title in CATALOGUE.values())


def test_every_handler_is_in_the_table() -> None:
    handlers = {
        value
        for module in MODULES
        for name, value in vars(module).items()
        if name.startswith(("get_", "look_up_")) and callable(value)
    }
    assert handlers == {route.handler for route in ROUTES}
