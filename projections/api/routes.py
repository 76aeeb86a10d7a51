"""Every call, once: path, method, parameters, answer, problems. Serving and OpenAPI read it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from projections.api import (
    answers,
    calls,
    cohort_calls,
    duplicate_calls,
    excluded_calls,
    parameters,
    people_calls,
)
from projections.api.access import HEADERS
from projections.api.cohort_answers import CohortComparison, CohortEntries, Cohorts
from projections.api.csv_answers import changes_csv, coverage_csv, series_csv, verification_csv
from projections.api.office import Asked
from projections.api.parameters import Parameter
from projections.api.problems import Code
from projections.cohort.reads import Cohort
from projections.device_health.reads import Device, DeviceLedger
from projections.person.reads import Person
from rekam.runtime import metrics

JSON: Final = "application/json"

Handler = Callable[[Asked], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One call. Its name is the handler's, its summary the first line of the handler's story."""

    path: str
    handler: Handler
    answer: type[msgspec.Struct] | None
    """None: text, not JSON."""
    method: str = "GET"
    parameters: tuple[Parameter[Any], ...] = ()
    body: type[msgspec.Struct] | None = None
    problems: tuple[Code, ...] = ()
    """Those beyond what every call may answer."""
    is_stated: bool = False
    """The answer carries the state that its figures are of."""
    is_protected: bool = False
    """Wants the bearer token."""
    media_type: str = JSON
    csv: Callable[[Any], bytes] | None = None
    """Writes the handler's answer as CSV for who prefers it."""

    @property
    def name(self) -> str:
        """Return the call's name, unique in the table."""
        return getattr(self.handler, "__name__", self.path)

    @property
    def summary(self) -> str:
        """Return what the call answers, in a sentence."""
        story = self.handler.__doc__ or ""
        return story.splitlines()[0].rstrip(".")


_REGIONAL: Final = (parameters.REGION, parameters.LEVEL)
_OF_A_COHORT: Final[tuple[Code, ...]] = (
    "cohort_unknown",
    "version_unknown",
    "instant_is_a_replay",
)
_OF_A_PERSON: Final[tuple[Code, ...]] = (
    "missing_parameter",
    "person_unknown",
    "person_erased",
    "access_unrecorded",
    "settings_differ",
)
_PAGED: Final = (parameters.PLACE_CURSOR, parameters.LIMIT)
_OF_A_PLACE: Final[tuple[Code, ...]] = ("entry_unknown",)


async def get_index(_: Asked) -> answers.Index:
    """Answer where to go from here."""
    return answers.Index(
        name="rekam",
        openapi="/openapi.json",
        calls=[f"{route.method} {route.path}" for route in ROUTES],
    )


async def get_openapi(_: Asked) -> bytes:
    """Answer this description."""
    from projections.api.openapi import document  # it reads this table

    return document()


ROUTES: Final[tuple[Route, ...]] = (
    Route(path="/", handler=get_index, answer=answers.Index),
    Route(
        path="/v1/coverage",
        handler=calls.get_coverage,
        answer=answers.Coverage,
        parameters=(
            *_REGIONAL,
            parameters.AS_OF,
            parameters.KNOWN_AT,
            parameters.RULE,
            parameters.FORMAT,
        ),
        problems=("instant_is_a_replay",),
        is_stated=True,
        csv=coverage_csv,
    ),
    Route(
        path="/v1/coverage/series",
        handler=calls.get_coverage_series,
        answer=answers.CoverageSeries,
        parameters=(
            parameters.REGION,
            parameters.FROM,
            parameters.TO,
            parameters.STEP,
            parameters.KNOWN_AT,
            parameters.RULE,
            parameters.FORMAT,
        ),
        problems=("instant_is_a_replay",),
        is_stated=True,
        csv=series_csv,
    ),
    Route(
        path="/v1/coverage/changes",
        handler=calls.get_coverage_changes,
        answer=answers.CoverageChanges,
        parameters=(
            parameters.REGION,
            parameters.AS_OF,
            parameters.KNOWN_FROM,
            parameters.KNOWN_TO,
            parameters.RULE_FROM,
            parameters.RULE_TO,
            parameters.FORMAT,
        ),
        problems=("instant_is_a_replay",),
        is_stated=True,
        csv=changes_csv,
    ),
    Route(
        path="/v1/verification",
        handler=calls.get_verification,
        answer=answers.Verification,
        parameters=(*_REGIONAL, parameters.STATUSES_AS_OF, parameters.FORMAT),
        is_stated=True,
        csv=verification_csv,
    ),
    Route(
        path="/v1/devices",
        handler=calls.get_devices,
        answer=answers.Devices,
        parameters=(
            parameters.WITHIN,
            parameters.LABEL,
            parameters.KIND,
            parameters.DEVICE_CURSOR,
            parameters.LIMIT,
        ),
        is_stated=True,
    ),
    Route(
        path="/v1/devices/{id}",
        handler=calls.get_device,
        answer=Device,
        parameters=(parameters.DEVICE,),
        problems=("device_unknown",),
        is_stated=True,
    ),
    Route(
        path="/v1/devices/{id}/ledger",
        handler=calls.get_ledger,
        answer=DeviceLedger,
        parameters=(parameters.DEVICE,),
        problems=("device_unknown",),
        is_stated=True,
    ),
    Route(
        path="/v1/people/lookup",
        method="POST",
        handler=people_calls.look_up_person,
        answer=Person,
        parameters=HEADERS,
        body=people_calls.PeopleLookup,
        problems=_OF_A_PERSON,
        is_stated=True,
        is_protected=True,
    ),
    Route(
        path="/v1/people/{token}",
        handler=people_calls.get_person,
        answer=Person,
        parameters=(parameters.TOKEN, *HEADERS),
        problems=_OF_A_PERSON,
        is_stated=True,
        is_protected=True,
    ),
    Route(
        path="/v1/people/{token}/nik",
        method="POST",
        handler=people_calls.get_person_nik,
        answer=people_calls.PersonNik,
        parameters=(parameters.TOKEN, *HEADERS),
        body=people_calls.NikRequest,
        problems=_OF_A_PERSON,
        is_protected=True,
    ),
    Route(
        path="/v1/people/{token}/accesses",
        handler=people_calls.get_person_accesses,
        answer=people_calls.PersonAccesses,
        parameters=(
            parameters.TOKEN,
            people_calls.ACCESS_CURSOR,
            parameters.LIMIT,
            *HEADERS,
        ),
        problems=_OF_A_PERSON,
        is_stated=True,
        is_protected=True,
    ),
    Route(
        path="/v1/accesses",
        handler=people_calls.get_accesses,
        answer=people_calls.Accesses,
        parameters=(
            people_calls.FIRST,
            people_calls.LAST,
            people_calls.BY,
            people_calls.PEOPLE_CURSOR,
            parameters.LIMIT,
        ),
        is_stated=True,
        is_protected=True,
    ),
    Route(
        path="/v1/duplicates",
        handler=duplicate_calls.get_duplicates,
        answer=duplicate_calls.Duplicates,
        parameters=(
            parameters.REGION,
            duplicate_calls.CASE_STATE,
            duplicate_calls.CASE_KIND,
            duplicate_calls.BY_PRODUCER,
            duplicate_calls.CASE_CURSOR,
            parameters.LIMIT,
        ),
        is_stated=True,
    ),
    Route(
        path="/v1/duplicates/{case}",
        handler=duplicate_calls.get_duplicate,
        answer=Person,
        parameters=(duplicate_calls.CASE, *HEADERS),
        problems=(*_OF_A_PERSON, "case_unknown"),
        is_stated=True,
        is_protected=True,
    ),
    Route(
        path="/v1/cohorts",
        handler=cohort_calls.get_cohorts,
        answer=Cohorts,
        parameters=(*cohort_calls.MOMENT, cohort_calls.RULE),
        problems=("instant_is_a_replay",),
        is_stated=True,
    ),
    Route(
        path="/v1/cohorts/{id}",
        handler=cohort_calls.get_cohort,
        answer=Cohort,
        parameters=(
            parameters.COHORT,
            cohort_calls.VERSION,
            *cohort_calls.MOMENT,
            cohort_calls.RULE,
        ),
        problems=_OF_A_COHORT,
        is_stated=True,
    ),
    Route(
        path="/v1/cohorts/{id}/entries",
        handler=cohort_calls.get_cohort_entries,
        answer=CohortEntries,
        parameters=(
            parameters.COHORT,
            cohort_calls.VERSION,
            *cohort_calls.MOMENT,
            cohort_calls.ENTRY_CURSOR,
            parameters.LIMIT,
            *HEADERS,
        ),
        problems=(*_OF_A_COHORT, "access_unrecorded"),
        is_stated=True,
        is_protected=True,
    ),
    Route(
        path="/v1/cohorts/{id}/comparison",
        handler=cohort_calls.get_cohort_comparison,
        answer=CohortComparison,
        parameters=(
            parameters.COHORT,
            cohort_calls.VERSION_FROM,
            cohort_calls.VERSION_TO,
            *cohort_calls.MOMENT,
            *HEADERS,
        ),
        problems=(*_OF_A_COHORT, "access_unrecorded"),
        is_stated=True,
        is_protected=True,
    ),
    Route(
        path="/v1/cohorts/{id}/snapshot",
        handler=cohort_calls.get_cohort_snapshot,
        answer=None,
        parameters=(
            parameters.COHORT,
            cohort_calls.VERSION,
            parameters.AS_OF,
            cohort_calls.SNAPSHOT_KNOWN_AT,
            cohort_calls.RULE,
        ),
        problems=(*_OF_A_COHORT, "settings_differ", "day_not_folded", "log_unavailable"),
    ),
    Route(
        path="/v1/quarantine",
        handler=excluded_calls.get_quarantine,
        answer=answers.ExcludedEntries,
        parameters=excluded_calls.LISTED,
        is_stated=True,
    ),
    Route(
        path="/v1/quarantine/{place}",
        handler=excluded_calls.get_quarantined_at,
        answer=excluded_calls.ExcludedAt,
        parameters=(excluded_calls.PLACE,),
        problems=_OF_A_PLACE,
        is_stated=True,
    ),
    Route(
        path="/v1/held",
        handler=excluded_calls.get_held,
        answer=answers.ExcludedEntries,
        parameters=excluded_calls.LISTED,
        is_stated=True,
    ),
    Route(
        path="/v1/held/{place}",
        handler=excluded_calls.get_held_at,
        answer=excluded_calls.ExcludedAt,
        parameters=(excluded_calls.PLACE,),
        problems=_OF_A_PLACE,
        is_stated=True,
    ),
    Route(
        path="/v1/discards",
        handler=excluded_calls.get_discards,
        answer=excluded_calls.Discards,
        parameters=_PAGED,
        is_stated=True,
    ),
    Route(path="/healthz", handler=calls.get_alive, answer=answers.Alive),
    Route(
        path="/readyz",
        handler=calls.get_ready,
        answer=answers.Ready,
        problems=("nothing_folded", "settings_differ"),
    ),
    Route(
        path="/metrics",
        handler=calls.get_metrics,
        answer=None,
        media_type=metrics.CONTENT_TYPE,
    ),
    Route(path="/openapi.json", handler=get_openapi, answer=None),
)
