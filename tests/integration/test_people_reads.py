"""Whatever call reads a row of a person records who reads, and why, or tells nothing of anybody.

What a call reads is seen in the statements that reach PostgreSQL, not in the names of its fields.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import pytest

from projections.api.parameters import CALLER, REASON
from projections.api.routes import ROUTES, Route
from projections.cohort.facts import Listed, Resolved
from projections.digest import QUERIES as DIGESTED
from projections.digest import TABLES
from projections.duplicate.contributions import case_id
from rekam.domain.errors import Unavailable
from rekam.runtime.postgres import connect
from tests.support.api import BEARER, READING, Recorded, office, serving
from tests.support.people import OF_PEOPLE
from tests.support.rows import DESA, NIK, OTHER_DESA, OTHER_NIK, RULES, regency

TELLS_NOBODY: Final = {
    "/v1/accesses": "who read of whom, for those who audit the readers: a token, and nothing of it",
    "/v1/duplicates": "cases by ids of their own, with places and devices",
    "/v1/cohorts/{id}/snapshot": "sums, and one hash over numbers, codes and buckets",
}
LIST: Final = "lapas"
FEBRUARY, MARCH = date(2018, 2, 10), date(2018, 3, 5)
TOKEN: Final = RULES.token(NIK).hex()
CASE: Final = case_id(RULES.token(NIK), "two_recordings", RULES)


@dataclass(frozen=True)
class Example:
    """A good call of a route, and whom it reads of."""

    url: str
    body: Any = None
    of: Sequence[str] = ()


EXAMPLES: Final = {
    "/": Example("/"),
    "/v1/coverage": Example("/v1/coverage?region=64.08"),
    "/v1/coverage/series": Example("/v1/coverage/series?region=64.08"),
    "/v1/coverage/changes": Example(
        "/v1/coverage/changes?region=64.08&known_from=2018-03-01&known_to=2018-04-01"
    ),
    "/v1/verification": Example("/v1/verification?region=64.08"),
    "/v1/devices": Example("/v1/devices"),
    "/v1/devices/{id}": Example("/v1/devices/recorder-1"),
    "/v1/devices/{id}/ledger": Example("/v1/devices/recorder-1/ledger"),
    "/v1/people/lookup": Example("/v1/people/lookup", {"nik": NIK}, [NIK]),
    "/v1/people/{token}": Example(f"/v1/people/{TOKEN}", of=[NIK]),
    "/v1/people/{token}/nik": Example(f"/v1/people/{TOKEN}/nik", {}, [NIK]),
    "/v1/people/{token}/accesses": Example(f"/v1/people/{TOKEN}/accesses", of=[NIK]),
    "/v1/accesses": Example("/v1/accesses?from=2018-01-01"),
    "/v1/duplicates": Example("/v1/duplicates?region=64.08"),
    "/v1/duplicates/{case}": Example(f"/v1/duplicates/{CASE}", of=[NIK]),
    "/v1/cohorts": Example("/v1/cohorts"),
    "/v1/cohorts/{id}": Example(f"/v1/cohorts/{LIST}"),
    "/v1/cohorts/{id}/entries": Example(f"/v1/cohorts/{LIST}/entries?version=1", of=[NIK]),
    "/v1/cohorts/{id}/comparison": Example(
        f"/v1/cohorts/{LIST}/comparison?version_from=1", of=[NIK, OTHER_NIK]
    ),
    "/v1/cohorts/{id}/snapshot": Example(f"/v1/cohorts/{LIST}/snapshot"),
    "/v1/quarantine": Example("/v1/quarantine"),
    "/v1/quarantine/{place}": Example("/v1/quarantine/1:7"),
    "/v1/held": Example("/v1/held"),
    "/v1/held/{place}": Example("/v1/held/1:8"),
    "/v1/discards": Example("/v1/discards"),
    "/healthz": Example("/healthz"),
    "/readyz": Example("/readyz"),
    "/metrics": Example("/metrics"),
    "/openapi.json": Example("/openapi.json"),
}


@pytest.fixture
async def office_database(database: str) -> str:
    """Give a database in which every table of people has a row of two of them."""
    rows = regency({DESA: 30, OTHER_DESA: 10})
    rows.enrolled("recorder-1")
    rows.segment("recorder-1", 1, 9)
    rows.recorded(NIK)
    rows.recorded(NIK, desa=OTHER_DESA, recording="r-2", producer="recorder-2")
    rows.recorded(OTHER_NIK)
    rows.accessed(NIK)
    rows.handed_over(LIST, "1", entries=2, known=FEBRUARY)
    rows.handed_over(LIST, "2", entries=2, known=MARCH)
    for number, nik in ((1, NIK), (2, None)):
        person = None if nik is None else RULES.token(nik)
        rows.entry(Listed(LIST, number, person, None, "1"), known=FEBRUARY)
    rows.entry(Listed(LIST, 1, RULES.token(NIK), "U", "2"), known=MARCH)
    rows.entry(Listed(LIST, 3, RULES.token(OTHER_NIK), None, "2"), known=MARCH)
    rows.entry(Resolved(LIST, 1, "tercetak", "KPU", "2"), known=MARCH)
    rows.quarantined(7)
    rows.held(8)
    await rows.write(database)
    return database


@dataclass
class Answered:
    """What one call came to."""

    status: int
    text: str
    tables: set[str]
    """Those of people that it read."""
    statements: Sequence[str]


async def ask(database: str, route: Route, recorded: Recorded, **headers: str) -> Answered:
    example, seen = EXAMPLES[route.path], list[str]()
    options = {} if example.body is None else {"json": example.body}
    given = {**headers} if route.is_protected else {}
    async with serving(database, served=office(accesses=recorded), statements=seen) as client:
        response = await client.send(route.method, example.url, headers=given, **options)
    sql = [re.sub("--.*", "", statement) for statement in seen]
    tables = {table for table in OF_PEOPLE if any(re.search(rf"\b{table}\b", one) for one in sql)}
    return Answered(response.status_code, response.text, tables, sql)


@pytest.fixture(params=ROUTES, ids=lambda route: f"{route.method} {route.path}")
def route(request: pytest.FixtureRequest) -> Route:
    """Give each call; one without an example fails."""
    found: Route = request.param
    assert found.path in EXAMPLES, "say in EXAMPLES how it is called, and whom it reads of"
    return found


async def test_a_call_that_reads_rows_of_people_records_of_whom_or_tells_of_nobody(
    route: Route, office_database: str
) -> None:
    recorded = Recorded()
    answered = await ask(office_database, route, recorded, **READING)
    assert answered.status == 200, answered.text
    assert {one.nik for one in recorded.by_nik} == set(EXAMPLES[route.path].of)
    assert all(one.call == route.name for one in recorded.by_nik)
    if answered.tables and route.path not in TELLS_NOBODY:
        assert recorded.by_nik
    if route.path != "/v1/accesses" and not recorded.by_nik:
        for nik in (NIK, OTHER_NIK):
            assert nik not in answered.text
            assert RULES.token(nik).hex() not in answered.text
    # Whom a segment touches stands in its row, too: no call has a reason to look there.
    assert not [one for one in answered.statements if re.search(r"\bcontents\b", one)]


async def test_a_call_that_reads_of_people_says_so_and_answers_nothing_unrecorded(
    route: Route, office_database: str
) -> None:
    if not EXAMPLES[route.path].of:
        assert "access_unrecorded" not in route.problems
        return
    assert route.is_protected
    assert REASON in route.parameters
    assert CALLER in route.parameters
    assert "access_unrecorded" in route.problems
    full = Recorded(error=Unavailable("the disk is full"))
    answered = await ask(office_database, route, full, **READING)
    assert (answered.status, json.loads(answered.text)["code"]) == (503, "access_unrecorded")
    without = await ask(office_database, route, Recorded(), **BEARER)
    assert (without.status, json.loads(without.text)["code"]) == (400, "missing_parameter")


async def test_no_other_table_holds_a_person(office_database: str) -> None:
    """A new table of people fails here until it is named in OF_PEOPLE."""
    people = {nik: RULES.token(nik) for nik in (NIK, OTHER_NIK)}
    connection = await connect(office_database)
    holding: set[str] = set()
    try:
        for table in TABLES:
            for row in await connection.fetch(DIGESTED[f"read_{table}"]):
                told = [value for value in row.values() if isinstance(value, bytes | str)]
                raw = b" ".join(v if isinstance(v, bytes) else v.encode() for v in told)
                if any(nik.encode() in raw or token in raw for nik, token in people.items()):
                    holding.add(table)
    finally:
        await connection.close()
    assert holding == OF_PEOPLE


def test_every_example_is_of_a_call() -> None:
    assert EXAMPLES.keys() == {route.path for route in ROUTES}
    assert TELLS_NOBODY.keys() <= EXAMPLES.keys()
