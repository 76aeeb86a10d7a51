"""Lists of people in PostgreSQL: any day, as known on any day, by version, signed and again."""

import json
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
from msgspec import UNSET, structs

from projections.api.database import SESSION
from projections.api.settled import CLOCKS_APART_MS_MAX
from projections.cohort.facts import Listed, Resolved, entry_keys
from projections.facts import COUNTS, DISCARDED, Fact, Judgement
from projections.reading import end_of_day_ms
from projections.reference.facts import reference_key
from rekam.domain.cohort_snapshot import CohortSnapshot, entries_hash, open_snapshot
from rekam.domain.errors import OutboxFull, Unavailable
from rekam.runtime.postgres import connect
from rekam.runtime.queries import load_queries
from tests.support.api import BEARER, READING, SNAPSHOT_KEY, Client, Recorded, office, serving
from tests.support.rows import NIK, OTHER_NIK, RULES, TODAY, DataT, Rows, noon_ms

LIST = "kpu-lapas-bontang-2018"
FEBRUARY, MARCH, APRIL = date(2018, 2, 10), date(2018, 3, 5), date(2018, 4, 9)
PUBLISHED = {"terverifikasi": 184, "tercetak": 127, "belum_rekam": 83}
TRUSTED = {SNAPSHOT_KEY.id: SNAPSHOT_KEY.public}
QUERIES = load_queries("projections.cohort", "queries_read.sql")
REFERENCES = load_queries("projections.reference", "queries_read.sql")


def bontang() -> Rows:
    """Return the 427: what KPU said in February, and what a paper said of them in March."""
    rows = Rows()
    rows.handed_over(LIST, "1", entries=427, known=FEBRUARY)
    fates: list[str | None] = [name for name, count in PUBLISHED.items() for _ in range(count)]
    for number, bucket in enumerate(fates + [None] * 33, start=1):
        code = "11" if bucket == "belum_rekam" else None
        person = RULES.token(NIK) if number == 1 else None
        rows.entry(Listed(LIST, number, person, code, "1"), known=FEBRUARY)
        if bucket is not None:
            rows.entry(Resolved(LIST, number, bucket, "KPU", "1"), known=FEBRUARY)
        if number <= 186:
            paper = Resolved(LIST, number, "tidak_ditemukan", "koran", "1")
            rows.entry(paper, known=MARCH)
    return rows


def second_version(rows: Rows) -> None:
    """Hand over a shorter list in April, numbered anew."""
    rows.handed_over(LIST, "2", entries=2, known=APRIL)
    rows.entry(Listed(LIST, 1, RULES.token(OTHER_NIK), "U", "2"), known=APRIL)
    rows.entry(Listed(LIST, 2, RULES.token(NIK), None, "2"), known=APRIL)
    rows.entry(Resolved(LIST, 2, "tercetak", "KPU", "2"), known=APRIL)


@pytest.fixture
async def client(database: str) -> AsyncIterator[Client]:
    rows = bontang()
    second_version(rows)
    await rows.write(database)
    async with serving(database) as opened:
        yield opened


async def figures(client: Client, path: str = "", **query: str) -> dict[str, Any]:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return await client.figures(f"/v1/cohorts/{LIST}{path}?{asked}", headers=READING)


async def test_the_427_are_184_127_83_and_a_residual_of_33(client: Client) -> None:
    answer = await figures(client, version="1")
    assert answer["buckets"] == {**PUBLISHED, "unresolved": 33}
    assert (answer["total"], answer["announced"], answer["residual"]) == (427, 427, 33)
    assert sum(answer["buckets"].values()) == answer["total"]
    assert answer["rule"] == "exclusive/v1"
    assert answer["codes"] == {"11": 83}


async def test_a_source_that_contradicts_stands_beside_and_is_counted(client: Client) -> None:
    answer = await figures(client, version="1")
    assert answer["sources"] == [
        {"source": "KPU", "buckets": PUBLISHED},
        {"source": "koran", "buckets": {"tidak_ditemukan": 186}},
    ]
    assert answer["disputed"] == {
        "rule": "evidence-first/v1",
        "entries": 186,
        "buckets": {"terverifikasi": 184, "tercetak": 2},
    }


async def test_the_other_reading_is_named_and_sums_to_the_list_too(client: Client) -> None:
    answer = await figures(client, version="1", rule="printed-within-verified/v1")
    assert answer["rule"] == "printed-within-verified/v1"
    assert answer["buckets"] == {"belum_rekam": 83, "terverifikasi": 311, "unresolved": 33}
    assert answer["parts"] == {"terverifikasi": {"tercetak": 127}}
    assert answer["total"] == 427


async def test_a_list_is_as_it_was_on_a_day_and_as_it_was_known(client: Client) -> None:
    for query in ({"as_of": "2018-03-01"}, {"known_at": "2018-03-01"}):
        answer = await figures(client, **query)
        assert (answer["version"], answer["versions"]) == ("1", ["1"])
        assert [word["source"] for word in answer["sources"]] == ["KPU"]
        assert answer["disputed"]["entries"] == 0
    for query in ({"as_of": "2018-02-09"}, {"known_at": "2018-02-09"}):
        [name] = query
        refused = await client.get(f"/v1/cohorts/{LIST}?{name}={query[name]}")
        assert refused.json()["code"] == "cohort_unknown"
        assert (await client.figures(f"/v1/cohorts?{name}={query[name]}"))["cohorts"] == []


async def test_without_a_version_the_latest_is_answered(client: Client) -> None:
    answer = await figures(client)
    assert (answer["version"], answer["versions"]) == ("2", ["1", "2"])
    assert answer["buckets"] == {"tercetak": 1, "unresolved": 1}
    [listed] = (await client.figures("/v1/cohorts"))["cohorts"]
    assert (listed["version"], listed["total"]) == ("2", 2)


async def test_what_is_said_of_a_number_that_the_list_lacks_stands_beside_it(
    database: str,
) -> None:
    """The buckets sum to the list, and two versions differ by what they have."""
    rows = bontang()
    second_version(rows)
    for number in (428, 999):
        rows.entry(Resolved(LIST, number, "tercetak", "KPU", "2"), known=APRIL)
    await rows.write(database)
    async with serving(database) as client:
        answer = await figures(client)
        page = await figures(client, "/entries")
        compared = await figures(client, "/comparison", version_from="1")
        told = opened(await snapshot(client, known_at="2018-04-10"))
        former = opened(await snapshot(client, known_at="2018-04-10", version="1"))
    assert (answer["buckets"], answer["total"]) == ({"tercetak": 1, "unresolved": 1}, 2)
    assert answer["unlisted"] == 2
    assert [one["entry"] for one in page["entries"]] == [1, 2, 428, 999]
    assert page["entries"][-1]["bucket"] == "unlisted"
    assert (compared["added"], compared["removed"], compared["total_to"]) == (1, 426, 2)
    assert (told.buckets, told.total, told.unlisted) == (answer["buckets"], 2, 2)
    assert told.entries_sha256 == entries_hash(
        (one["entry"], one["code"], one["bucket"]) for one in page["entries"]
    )
    assert (former.total, former.unlisted) == (427, UNSET)


async def test_a_version_that_is_none_is_404_with_its_own_code(client: Client) -> None:
    response = await client.get(f"/v1/cohorts/{LIST}?version=3")
    assert (response.status_code, response.json()["code"]) == (404, "version_unknown")
    early = await client.get(f"/v1/cohorts/{LIST}?version=2&known_at=2018-03-01")
    assert early.json()["code"] == "version_unknown"


async def test_entries_come_by_number_without_a_nik_and_with_every_source(client: Client) -> None:
    first = await figures(client, "/entries", version="1", limit="2")
    assert first["entries"][0] == {
        "entry": 1,
        "token": RULES.token(NIK).hex(),
        "code": None,
        "code_means": None,
        "bucket": "terverifikasi",
        "is_disputed": True,
        "sources": [
            {"source": "KPU", "bucket": "terverifikasi", "stated_on": "2018-02-10"},
            {"source": "koran", "bucket": "tidak_ditemukan", "stated_on": "2018-03-05"},
        ],
    }
    numbers: list[int] = []
    cursor = "0"
    while cursor is not None:
        page = await figures(client, "/entries", version="1", limit="100", cursor=cursor)
        numbers += [entry["entry"] for entry in page["entries"]]
        cursor = page["next_cursor"]
    assert numbers == list(range(1, 428))
    last = page["entries"][-1]
    assert (last["bucket"], last["sources"], last["code"]) == ("unresolved", [], None)
    assert NIK not in json.dumps(first)


async def test_entries_name_the_rules_by_which_their_buckets_are_read_and_were_chosen(
    client: Client,
) -> None:
    whole = await figures(client, version="1")
    for cursor in ("0", "427"):  # on a page without an entry, too
        page = await figures(client, "/entries", version="1", cursor=cursor)
        assert (page["rule"], page["conflict_rule"]) == ("exclusive/v1", "evidence-first/v1")
        assert (page["rule"], page["conflict_rule"]) == (whole["rule"], whole["disputed"]["rule"])


async def test_entries_want_the_token(client: Client) -> None:
    for path in ("entries", "comparison?version_from=1"):
        response = await client.get(f"/v1/cohorts/{LIST}/{path}")
        assert response.json()["code"] == "unauthorised"


async def test_a_page_of_entries_is_recorded_as_a_reading_of_those_whom_it_names_alone(
    database: str,
) -> None:
    rows = bontang()
    second_version(rows)
    await rows.write(database)
    recorded = Recorded()
    async with serving(database, served=office(accesses=recorded)) as client:
        for cursor, nik in (("0", OTHER_NIK), ("1", NIK)):
            page = await figures(client, "/entries", version="2", limit="1", cursor=cursor)
            [entry] = page["entries"]
            assert entry["token"] == RULES.token(nik).hex()
            assert [one.nik for one in recorded.by_nik] == [nik]
            recorded.accesses.clear()


async def test_nothing_of_an_entry_leaves_when_its_reading_cannot_be_recorded(
    database: str,
) -> None:
    """What the page is made of is read by then."""
    await bontang().write(database)
    full = Recorded(error=OutboxFull("the disk is full; free some of it"))
    seen: list[str] = []
    async with serving(database, served=office(accesses=full), statements=seen) as client:
        url = f"/v1/cohorts/{LIST}/entries?version=1"
        refused = await client.get(url, headers=READING)
        assert any("cohort_entry" in statement for statement in seen)
        assert (refused.status_code, refused.json()["code"]) == (503, "access_unrecorded")
        for told in (RULES.token(NIK).hex(), NIK, "terverifikasi"):
            assert told not in refused.text
        # Of a page that names nobody nothing is to be recorded.
        page = await client.figures(f"{url}&cursor=1", headers=BEARER)
        assert page["entries"][0]["entry"] == 2


async def test_a_code_that_is_known_has_its_meaning(client: Client) -> None:
    page = await figures(client, "/entries")
    assert [(one["code"], one["code_means"]) for one in page["entries"]] == [
        ("U", "changed"),
        (None, None),
    ]


async def test_two_versions_are_compared_person_by_person(client: Client) -> None:
    answer = await figures(client, "/comparison", version_from="1")
    assert (answer["version_to"], answer["total_from"], answer["total_to"]) == ("2", 427, 2)
    assert (answer["added"], answer["removed"], answer["changed"]) == (1, 426, 1)
    assert answer["total_from"] + answer["added"] - answer["removed"] == answer["total_to"]
    assert answer["moves"] == [
        {"bucket_from": "terverifikasi", "bucket_to": "tercetak", "entries": 1}
    ]
    assert answer["renumbered"] == 1


async def test_a_comparison_names_the_rules_by_which_both_versions_have_their_buckets(
    client: Client,
) -> None:
    """The bucket that the mover came from is one of two that sources name."""
    answer = await figures(client, "/comparison", version_from="1")
    assert (answer["rule"], answer["conflict_rule"]) == ("exclusive/v1", "evidence-first/v1")
    for version in ("1", "2"):
        whole = await figures(client, version=version)
        assert (answer["rule"], answer["conflict_rule"]) == (
            whole["rule"],
            whole["disputed"]["rule"],
        )


async def test_the_latest_version_is_the_one_that_was_handed_over_first_last(
    database: str,
) -> None:
    """Neither a version that is corrected later nor the name of one makes it the latest."""
    rows = Rows()
    for version in ("9", "10"):
        rows.handed_over("list", version, entries=1, known=MARCH)
        rows.entry(Listed("list", 1, None, "11", version), known=MARCH)
    for facts in rows.references.values():  # one segment brought both
        facts[:] = [structs.replace(fact, known_ms=noon_ms(MARCH)) for fact in facts]
    rows.handed_over("list", "9", entries=3, known=APRIL)
    rows.entry(Listed("list", 1, None, "12", "9"), known=APRIL)
    await rows.write(database)
    async with serving(database) as client:
        found = await client.figures("/v1/cohorts/list")
        corrected = await client.figures("/v1/cohorts/list?version=9")
    assert (found["version"], found["versions"]) == ("10", ["9", "10"])
    assert (corrected["announced"], corrected["codes"]) == (3, {"12": 1})


async def test_of_a_list_that_was_discarded_nothing_is_left(database: str) -> None:
    rows = Rows()
    rows.handed_over("wrong", "1", entries=1, known=MARCH)
    rows.entry(Listed("wrong", 1, None, None, "1"), known=MARCH)
    for version in ("1", "2"):
        rows.entry(Listed("right", 1, None, None, version), known=MARCH)
    rows.references = {key: [*map(discarded, facts)] for key, facts in rows.references.items()}
    rows.entries = {
        key: [
            fact if (fact.data.cohort, fact.data.version) == ("right", "1") else discarded(fact)
            for fact in facts
        ]
        for key, facts in rows.entries.items()
    }
    await rows.write(database)
    async with serving(database) as client:
        known = [
            [(one["cohort"], one["versions"]) for one in answer["cohorts"]]
            for answer in (
                await client.figures(f"/v1/cohorts?as_of={MARCH}&known_at={MARCH}"),
                await client.figures("/v1/cohorts"),
            )
        ]
        answer = await client.get("/v1/cohorts/wrong")
    assert known == [[("right", ["1", "2"]), ("wrong", ["1"])], [("right", ["1"])]]
    assert (answer.status_code, answer.json()["code"]) == (404, "cohort_unknown")


def discarded(fact: Fact[DataT]) -> Fact[DataT]:
    """Return a fact that the registrar decided against in April."""
    history = (
        Judgement(RULES.zone.day(fact.known_ms), COUNTS, None),
        Judgement(APRIL, DISCARDED, None),
    )
    return structs.replace(fact, verdict=DISCARDED, history=history)


async def test_lists_with_slashes_in_their_ids_do_not_mix(database: str) -> None:
    rows = Rows()
    for cohort, version, entries in (("a", "1/2", 2), ("a/1", "2", 1)):
        rows.handed_over(cohort, version, entries=entries, known=MARCH)
        for number in range(entries):
            rows.entry(Listed(cohort, number, None, None, version), known=MARCH)
    await rows.write(database)
    async with serving(database) as client:
        found = (await client.figures("/v1/cohorts"))["cohorts"]
        page = await client.figures("/v1/cohorts/a/entries", headers=READING)
    assert [(one["cohort"], one["versions"], one["total"], one["announced"]) for one in found] == [
        ("a", ["1/2"], 2, 2),
        ("a/1", ["2"], 1, 1),
    ]
    assert [entry["entry"] for entry in page["entries"]] == [0, 1]


# Snapshots ---------------------------------------------------------------------------------------


async def snapshot(client: Client, **query: str) -> bytes:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    response = await client.get(f"/v1/cohorts/{LIST}/snapshot?{asked}")
    assert response.status_code == 200, response.text
    return response.content


async def empty(database: str) -> None:
    connection = await connect(database)
    try:
        await connection.execute(
            "TRUNCATE cohort_entry, cohort_cell, cohort_claim, reference, projection_position"
        )
    finally:
        await connection.close()


def opened(raw: bytes) -> CohortSnapshot:
    return open_snapshot(raw, TRUSTED)


async def test_a_snapshot_is_signed_and_vouches_for_figures_and_entries(client: Client) -> None:
    told = opened(await snapshot(client, version="1", known_at="2018-03-31"))
    assert told.buckets == {**PUBLISHED, "unresolved": 33}
    assert (told.total, told.residual) == (427, 33)
    assert (told.as_of, told.known_at) == (date(2018, 3, 31), date(2018, 3, 31))
    assert told.sources["koran"] == {"tidak_ditemukan": 186}
    shown = await figures(client, version="1", as_of="2018-03-31", known_at="2018-03-31")
    same = ("cohort", "version", "title", "source", "announced", "rule", "codes", "parts")
    assert {name: getattr(told, name) for name in same} == {name: shown[name] for name in same}
    assert told.codes == {"11": PUBLISHED["belum_rekam"]}
    assert told.sources == {one["source"]: one["buckets"] for one in shown["sources"]}
    disputed = shown["disputed"]
    assert (told.conflict_rule, told.disputed) == (disputed["rule"], disputed["buckets"])
    entries: list[dict[str, Any]] = []
    for cursor in ("0", "400"):
        page = await figures(client, "/entries", version="1", limit="400", cursor=cursor)
        entries += page["entries"]
    assert told.entries_sha256 == entries_hash(
        (one["entry"], one["code"], one["bucket"]) for one in entries
    )


async def test_a_snapshot_is_made_again_byte_for_byte_when_more_is_known(
    database: str, client: Client
) -> None:
    query = {"version": "1", "as_of": "2018-03-20", "known_at": "2018-03-31"}
    before = await snapshot(client, **query)
    more = bontang()
    second_version(more)
    more.entry(Resolved(LIST, 427, "tercetak", "dinas", "1"), known=APRIL, on=MARCH)
    await empty(database)
    await more.write(database)
    assert opened(await snapshot(client, **(query | {"known_at": "2018-04-10"}))).residual == 32
    assert await snapshot(client, **query) == before


async def test_no_snapshot_is_made_of_a_day_that_is_not_over(client: Client) -> None:
    response = await client.get(f"/v1/cohorts/{LIST}/snapshot?known_at=2018-04-11")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")
    assert opened(await snapshot(client)).known_at == date(2018, 4, 10)


async def test_what_was_known_by_then_and_is_folded_later_never_makes_another_snapshot(
    database: str,
) -> None:
    """The log took a word on the tenth; the processor folds it after the snapshot is asked for."""
    rows = bontang()
    rows.position = {0: 1}
    await rows.write(database)
    asked = f"/v1/cohorts/{LIST}/snapshot?version=1&known_at={APRIL}"
    async with serving(database, served=office(log={0: 2, 1: 0})) as client:
        early = await client.get(asked)
        assert (early.status_code, early.json()["code"]) == (503, "day_not_folded")
        assert "partition 0 up to 1 of 2" in early.json()["detail"]
        assert "Retry-After" in early.headers
        unsigned = await client.figures(f"/v1/cohorts/{LIST}?version=1&known_at={APRIL}")

        await empty(database)
        more = bontang()
        more.entry(Resolved(LIST, 427, "tercetak", "dinas", "1"), known=APRIL)
        more.position = {0: 2}
        await more.write(database)
        first = await snapshot(client, version="1", known_at=str(APRIL))
        assert (unsigned["residual"], opened(first).residual) == (33, 32)

        await empty(database)
        more = bontang()
        more.entry(Resolved(LIST, 427, "tercetak", "dinas", "1"), known=APRIL)
        more.entry(Resolved(LIST, 426, "tercetak", "dinas", "1"), known=TODAY, on=MARCH)
        more.position = {0: 3}
        await more.write(database)
        assert await snapshot(client, version="1", known_at=str(APRIL)) == first


async def test_no_snapshot_is_made_while_a_brokers_clock_may_be_in_that_day(database: str) -> None:
    await bontang().write(database)
    midnight_ms = end_of_day_ms(APRIL, RULES.zone)
    for late_ms, status in ((0, 503), (CLOCKS_APART_MS_MAX - 1, 503), (CLOCKS_APART_MS_MAX, 200)):
        async with serving(database, served=office(now_ms=midnight_ms + late_ms)) as client:
            response = await client.get(f"/v1/cohorts/{LIST}/snapshot?known_at={APRIL}")
        assert response.status_code == status
        if status != 200:
            assert response.json()["code"] == "day_not_folded"
            assert "from 2018-04-09T16:15Z on" in response.json()["detail"]


async def test_no_snapshot_is_signed_under_other_rules_or_when_the_log_is_away(
    database: str,
) -> None:
    await bontang().write(database)
    asked = f"/v1/cohorts/{LIST}/snapshot"
    away = office(log=Unavailable("Kafka does not answer"))
    async with serving(database, served=away) as client:
        assert (await client.get(asked)).json()["code"] == "log_unavailable"
    connection = await connect(database)
    await connection.execute("INSERT INTO projection_settings (rules) VALUES ('of another zone')")
    await connection.close()
    async with serving(database) as client:
        assert (await client.get(asked)).json()["code"] == "settings_differ"


# Plans -------------------------------------------------------------------------------------------


async def fill(connection: Any) -> None:
    """Write 400 lists of 500 entries, about which sources have spoken on 40 days each."""
    for query in (
        """
        INSERT INTO cohort_cell
        SELECT 'list-' || list, version, bucket, '', 0, date '2018-01-01' + day,
            date '2018-01-02' + day, 3
        FROM generate_series(1, 400) AS list, unnest(ARRAY['', '1', '2']) AS version,
            unnest(ARRAY['terverifikasi', 'tercetak']) AS bucket, generate_series(1, 40) AS day
        """,
        """
        INSERT INTO cohort_claim
        SELECT cohort, version, 'KPU', bucket, stated_on, known_on, entries FROM cohort_cell
        """,
        """
        INSERT INTO cohort_entry
        SELECT convert_to(format('list-%s/%s', list, number), 'UTF8'), decode('90', 'hex')
        FROM generate_series(1, 400) AS list, generate_series(1, 500) AS number
        """,
        """
        INSERT INTO reference
        SELECT convert_to(kind || '/list-' || list || '/1', 'UTF8'), decode('90', 'hex')
        FROM unnest(ARRAY['cohort', 'denominator', 'tree']) AS kind,
            generate_series(1, 5000) AS list
        """,
        "ANALYZE",
    ):
        await connection.execute(query)


async def test_a_list_among_many_is_read_by_indexes_alone(database: str) -> None:
    """With the settings of the API's sessions, and what PostgreSQL knows of tables of this size."""
    low, high = entry_keys("list-7")
    head = reference_key("cohort", "list-7/")
    connection: Any = await connect(database)
    try:
        await fill(connection)
        for name, value in SESSION.items():
            await connection.execute("SELECT set_config($1, $2, false)", name, value)
        for query, *arguments in (
            (QUERIES["sum_buckets"], APRIL, APRIL, "list-7", "1"),
            (QUERIES["sum_claims"], APRIL, APRIL, "list-7", "1"),
            (QUERIES["list_versions"], APRIL, APRIL, "list-7"),
            (QUERIES["list_entries"], low, high, low, 500),
            (REFERENCES["list_references"], head, head[:-1] + b"0"),
        ):
            found = await connection.fetch(f"EXPLAIN {query}", *arguments)
            plan = "\n".join(row[0] for row in found)
            assert "Seq Scan" not in plan, plan
            assert "Index Cond: (" in plan, plan
    finally:
        await connection.close()
