"""Tables made anew from a real log: equal beside a live processor, switched whole or not at all."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from projections.api.database import BEGIN
from projections.digest import digests_of, live_digests, projection_digests
from projections.facts import REVOKED
from projections.person.facts import Captured
from projections.regions import Region
from projections.rows import Changes
from projections.rules import Rules
from projections.store import PostgresStore
from projections.tables import ENTITY_KINDS, PERSON, encode_facts, roll_up
from rekam.domain.clocks import OfficeZone
from rekam.domain.errors import Corrupt, Misconfigured
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.postgres import migration_status
from stream_processors.folder import PostgresFolder
from stream_processors.intake import Opener
from stream_processors.refold import (
    places_of,
    places_of_producer,
    places_of_region,
    refold,
    refold_all,
)
from stream_processors.replay.knowledge import Moment, replay_known_at
from stream_processors.replay.rebuild import rebuild
from stream_processors.replay.shadow import (
    MIGRATIONS,
    REPLACED,
    SHADOW,
    Log,
    Rebuilt,
    rebuild_tables,
)
from stream_processors.replay.source import read_log
from tests.support.broker import Topics
from tests.support.folded import append_history, folded_history
from tests.support.history import (
    READER,
    REGISTRAR_KEY,
    RULES,
    new_opener,
)
from tests.support.processor import Projections
from tests.support.releasing import fold_log, folder_of
from tests.support.waiting import until

ROOT = REGISTRAR_KEY.public
ROTATED = replace(RULES, person_key=bytes([7]) * 32)


@pytest.fixture
async def projections(
    database: str, kafka: EmbeddedKafka, topics: Topics
) -> AsyncIterator[Projections]:
    """Give projections of a history that is in the log, and folded."""
    async with folded_history(database, kafka.bootstrap, topics) as found:
        yield found


async def rebuilt(
    projections: Projections, *, rules: Rules = RULES, is_switching: bool = False
) -> Rebuilt:
    return await rebuild_tables(
        projections.dsn,
        log_of(projections),
        rules=rules,
        root=ROOT,
        opener=Opener(rules=rules, registrar_key=ROOT, readers=[READER]),
        is_switching=is_switching,
    )


def log_of(projections: Projections) -> Log:
    return Log(projections.bootstrap, projections.topic.name)


async def digests(projections: Projections) -> dict[str, str]:
    async with projections.pool.acquire() as connection, connection.transaction():
        return projection_digests(await live_digests(connection))


async def schemas(projections: Projections) -> set[str]:
    rows = await projections.pool.fetch("SELECT nspname FROM pg_namespace")
    return {row["nspname"] for row in rows}


async def test_a_rebuild_gives_the_rows_of_the_live_tables_and_leaves_them(
    projections: Projections,
) -> None:
    before = await digests(projections)
    found = await rebuilt(projections)
    assert (found.differences, found.rebuilt, found.is_switched) == ((), before, False)
    assert await digests(projections) == before
    assert not {SHADOW, REPLACED} & await schemas(projections)


async def test_a_row_that_the_log_does_not_give_is_named_and_gone_after_a_switch(
    projections: Projections,
) -> None:
    wanted = await digests(projections)
    await projections.pool.execute("INSERT INTO coverage_duplicate VALUES ('x', now(), now(), 1)")
    found = await rebuilt(projections, is_switching=True)
    assert [(one.table, one.found) for one in found.differences] == [
        ("coverage_duplicate", "only live")
    ]
    assert await digests(projections) == wanted
    # Migrations and processors find what they know.
    assert (await migration_status(projections.dsn, MIGRATIONS)).pending == ()
    names = await projections.pool.fetch(
        "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND tablename = 'person'"
    )
    assert {row["indexname"] for row in names} == {"person_pkey"}
    assert not {SHADOW, REPLACED} & await schemas(projections)


async def test_a_processor_goes_on_beside_a_rebuild_and_after_its_switch(
    projections: Projections, tmp_path: Path
) -> None:
    async with projections.processor(tmp_path):
        appending = asyncio.create_task(append_history(projections, seed=6))
        found = await rebuilt(projections, is_switching=True)
        await appending
        await append_history(projections, seed=7)
        await projections.until_folded(await projections.appended())
    assert found.is_switched
    assert (await projections.audit()).differences == ()


READER_ROLE = "rekam_test_reader"
HAND_GRANTS = """
GRANT SELECT ON ALL TABLES IN SCHEMA public TO rekam_test_reader;
REVOKE SELECT ON person FROM rekam_test_reader;
GRANT SELECT (key) ON person TO rekam_test_reader;
GRANT SELECT ON coverage_year TO PUBLIC;
GRANT UPDATE ON coverage_month TO rekam_test_reader WITH GRANT OPTION;
ALTER TABLE verification_suket OWNER TO rekam_test_reader;
COMMENT ON TABLE coverage_month IS 'the office''s own words';
COMMENT ON COLUMN coverage_month.people IS 'of a month';
"""
SET_BY_HAND = """
SELECT relname::text, pg_get_userbyid(relowner)::text AS owner,
    array(SELECT unnest(relacl)::text ORDER BY 1) AS grants,
    obj_description(pg_class.oid, 'pg_class') AS words,
    array_agg(
        row(attname, attacl::text, col_description(pg_class.oid, attnum))::text ORDER BY attnum
    ) AS columns
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
GROUP BY pg_class.oid ORDER BY relname
"""


@pytest.fixture
async def reader_role(projections: Projections) -> AsyncIterator[str]:
    """Give a role that may read all tables, of people their tokens alone; dropped afterwards."""
    await projections.pool.execute(f"CREATE ROLE {READER_ROLE}; {HAND_GRANTS}")
    yield READER_ROLE
    await projections.pool.execute(f"DROP OWNED BY {READER_ROLE}; DROP ROLE {READER_ROLE}")


async def test_a_switch_keeps_owners_grants_and_comments(
    projections: Projections, reader_role: str
) -> None:
    before = await projections.pool.fetch(SET_BY_HAND)
    # What new tables allow by default is not what these are to allow.
    await projections.pool.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    assert (await rebuilt(projections, is_switching=True)).is_switched
    assert await projections.pool.fetch(SET_BY_HAND) == before
    async with projections.pool.acquire() as connection:
        await connection.execute(f"SET ROLE {reader_role}")
        assert await connection.fetchval("SELECT sum(people) FROM coverage_cell") > 0
        assert await connection.fetchval("SELECT count(key) FROM person") > 0
        await connection.execute(f"{BEGIN}; COMMIT")  # the read API begins each call so
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT nik FROM person")
        await connection.execute("RESET ROLE")


async def test_a_role_that_may_not_replace_the_tables_is_told_so_and_nothing_is_switched(
    projections: Projections, reader_role: str
) -> None:
    before = await digests(projections)
    name = urlsplit(projections.dsn).path.removeprefix("/")
    await projections.pool.execute(
        f"ALTER ROLE {reader_role} LOGIN PASSWORD 'test'; "
        f"GRANT CREATE ON DATABASE {name} TO {reader_role}; "
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {reader_role}"
    )
    theirs = urlsplit(projections.dsn)
    place = theirs.netloc.rpartition("@")[2]
    dsn = theirs._replace(netloc=f"{reader_role}:test@{place}").geturl()
    with pytest.raises(Misconfigured, match="must be owner of table"):
        await rebuilt(replace(projections, dsn=dsn), is_switching=True)
    assert await digests(projections) == before
    assert not {SHADOW, REPLACED} & await schemas(projections)


async def test_a_view_on_the_tables_is_named_and_nothing_is_switched(
    projections: Projections,
) -> None:
    before = await digests(projections)
    await projections.pool.execute("CREATE VIEW by_desa AS SELECT desa, people FROM coverage_cell")
    with pytest.raises(Misconfigured, match="view by_desa reads coverage_cell"):
        await rebuilt(projections, is_switching=True)
    assert (await rebuilt(projections)).rebuilt == before
    assert await projections.pool.fetchval("SELECT count(*) FROM by_desa") > 0


async def test_another_key_comes_into_force_by_a_rebuild_and_by_nothing_else(
    projections: Projections,
) -> None:
    rotated = PostgresFolder(
        projections.pool,
        projections.topic.name,
        ROTATED,
        ROOT,
        Opener(rules=ROTATED, registrar_key=ROOT, readers=[READER]),
    )
    with pytest.raises(Misconfigured, match="rekam projection rebuild"):
        await rotated.require_settings()
    tokens = {row["key"] for row in await projections.pool.fetch("SELECT key FROM person")}
    await rebuilt(projections, rules=ROTATED, is_switching=True)
    await rotated.require_settings()
    with pytest.raises(Misconfigured):
        await folder_of(projections).require_settings()
    # Nor does a processor that ran through the switch add to the new tables by the old rules.
    await append_history(projections, seed=9)
    with pytest.raises(Misconfigured):
        await fold_log(projections)
    now = {row["key"] for row in await projections.pool.fetch("SELECT key FROM person")}
    assert len(now) == len(tokens)
    assert not now & tokens


async def test_another_time_zone_is_another_rule_and_gives_what_a_replay_by_it_gives(
    projections: Projections,
) -> None:
    elsewhere = replace(RULES, zone=OfficeZone("Pacific/Pago_Pago"))
    found = await rebuilt(projections, rules=elsewhere)
    assert "zone=Pacific/Pago_Pago" in found.settings
    store = await rebuild(
        read_log(projections.bootstrap, projections.topic.name, found.positions),
        rules=elsewhere,
        root=ROOT,
        opener=Opener(rules=elsewhere, registrar_key=ROOT, readers=[READER]),
    )
    assert found.rebuilt == projection_digests(digests_of(store.tables()))
    assert found.live["ledger"] == found.rebuilt["ledger"]


async def test_a_rebuild_that_is_ended_before_the_switch_leaves_the_live_tables(
    projections: Projections,
) -> None:
    before = await digests(projections)

    async def is_waiting() -> bool:
        return bool(
            await projections.pool.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass",
                "public.verification_turn",
            )
        )

    # Somebody reads a late table for long: the switch waits for it, and is ended while it does.
    async with projections.pool.acquire() as reader, reader.transaction():
        await reader.fetch("SELECT FROM verification_turn")
        rebuilding = asyncio.create_task(rebuilt(projections, is_switching=True))
        await until(is_waiting)
        rebuilding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rebuilding
    assert await digests(projections) == before
    assert (await rebuilt(projections, is_switching=True)).differences == ()
    assert await digests(projections) == before


async def test_two_rebuilds_at_once_are_refused_and_so_is_one_of_nothing(
    projections: Projections,
) -> None:
    both = await asyncio.gather(rebuilt(projections), rebuilt(projections), return_exceptions=True)
    assert sorted(type(one).__name__ for one in both) == ["Misconfigured", "Rebuilt"]
    await projections.pool.execute("TRUNCATE projection_position")
    with pytest.raises(Misconfigured, match="nothing is folded yet"):
        await rebuilt(projections)


async def test_refolding_mends_what_was_judged_wrongly_and_changes_nothing_else(
    projections: Projections,
) -> None:
    wanted = await digests(projections)
    folder = folder_of(projections)
    assert await refold_all(folder) > 0
    assert await digests(projections) == wanted

    # Software with a mistake has let nothing of one producer count.
    for key, facts in await projections.pool.fetch("SELECT key, facts FROM person"):
        await forget_verdicts(projections, key, facts)
    assert await digests(projections) != wanted
    people = await projections.pool.fetch("SELECT key FROM person WHERE facts <> ''")
    places = await places_of(folder, {(PERSON, row["key"]) for row in people})
    assert all(places.values())
    assert await refold(folder, set().union(*places.values())) > 0
    assert await digests(projections) == wanted


async def test_refolding_a_producer_or_a_region_mends_its_people_and_no_others(
    projections: Projections,
) -> None:
    wanted = await digests(projections)
    folder = folder_of(projections)
    rows = await projections.pool.fetch("SELECT key, facts FROM person WHERE facts <> ''")
    desas = {row["key"]: desas_of(row["facts"]) for row in rows}
    # One in which somebody counts: else there is nothing to forget.
    desa = min(
        min(desas[row["key"]])
        for row in rows
        if len(desas[row["key"]]) == 1
        and any(fact.counts for fact in ENTITY_KINDS[PERSON].decode(row["facts"]))
    )
    for row in rows:
        if desas[row["key"]] == {desa}:
            await forget_verdicts(projections, row["key"], row["facts"])
    assert await digests(projections) != wanted
    broken = await digests(projections)
    others = await places_of_region(folder, Region("99"))
    assert (await refold(folder, others), await digests(projections)) == (0, broken)
    assert await refold(folder, await places_of_region(folder, Region(desa))) > 0
    assert await digests(projections) == wanted

    for row in rows:
        await forget_verdicts(projections, row["key"], row["facts"])
    producers = {
        fact.producer for row in rows for fact in ENTITY_KINDS[PERSON].decode(row["facts"])
    }
    assert await refold(folder, await places_of_producer(folder, "unheard-of")) == 0
    assert await digests(projections) != wanted
    for producer in producers:
        await refold(folder, await places_of_producer(folder, producer))
    assert await digests(projections) == wanted


def desas_of(facts: bytes) -> set[str]:
    return {
        fact.data.domicile
        for fact in ENTITY_KINDS[PERSON].decode(facts)
        if isinstance(fact.data, Captured)
    }


@pytest.mark.parametrize("loss", ["DELETE FROM person", "UPDATE person SET facts = ''"])
async def test_refolding_refuses_to_judge_what_the_tables_have_lost(
    projections: Projections, loss: str
) -> None:
    """Facts lie in the log alone then, and a person without any would be a false row for ever."""
    wanted = await digests(projections)
    key = await projections.pool.fetchval(
        "SELECT key FROM person WHERE length(facts) > 1 ORDER BY key DESC LIMIT 1"
    )
    await projections.pool.execute(f"{loss} WHERE key = $1", key)
    broken = await digests(projections)
    folder = folder_of(projections)
    places = (await places_of(folder, {(PERSON, key)}))[PERSON, key]
    assert places
    for refolding in (refold(folder, places), refold_all(folder)):
        with pytest.raises(Corrupt, match="rekam projection rebuild --switch"):
            await refolding
    assert await digests(projections) == broken
    await rebuilt(projections, is_switching=True)
    assert await refold(folder, places) == len(places)
    assert await digests(projections) == wanted


async def test_nobody_is_said_anything_of_under_a_token_that_no_event_gives(
    projections: Projections,
) -> None:
    assert await places_of(folder_of(projections), {(PERSON, b"nobody")}) == {
        (PERSON, b"nobody"): set()
    }


async def forget_verdicts(projections: Projections, key: bytes, facts: bytes) -> None:
    """Write a person as if none of its facts counted, cells included."""
    if not facts:
        return
    kind = ENTITY_KINDS[PERSON]
    before = kind.decode(facts)
    now = [
        msgspec.structs.replace(fact, verdict=REVOKED, occurred_on=None, history=())
        for fact in before
    ]
    changes = Changes()
    changes.entities[PERSON][key] = encode_facts(now)
    for table, cells in kind.change(key, before, now, RULES).items():
        changes.cells[table].update(cells)
    roll_up(changes.cells)
    async with projections.pool.acquire() as connection, connection.transaction():
        await PostgresStore(connection, topic=projections.topic.name).write(changes)


async def test_what_was_known_on_a_day_is_what_the_live_tables_say_of_it(
    projections: Projections,
) -> None:
    async with projections.pool.acquire() as connection:
        today = await connection.fetchval("SELECT max(known_on) FROM coverage_cell")
        for known in (today, today - timedelta(days=1)):
            found = await replay_known_at(
                connection,
                log_of(projections),
                moment=Moment.of(known.isoformat(), None, RULES.zone),
                is_comparing=True,
                rules=RULES,
                root=ROOT,
                opener=new_opener(),
            )
            assert found.differences == ()
            live = await connection.fetchval(
                "SELECT coalesce(sum(people), 0) FROM coverage_cell "
                "WHERE known_on <= $1 AND occurred_on <= $1",
                known,
            )
            assert found.figures.recorded == live
            statuses = await connection.fetch(
                "SELECT status, sum(people)::bigint FROM verification_cell GROUP BY 1"
            )
            # Nothing was known yesterday; today stands what stands now.
            assert found.figures.statuses == (dict(statuses) if known == today else {})
            assert found.figures.funnel.recorded == (
                await connection.fetchval(
                    "SELECT sum(people) FROM verification_cell WHERE desa <> '-'"
                )
                if known == today
                else 0
            )
            assert (found.records > 0) == (known == today)


async def test_a_status_that_the_log_did_not_give_by_then_is_told(
    projections: Projections,
) -> None:
    """The facts of people are changed behind the back of the log; cells are not."""
    async with projections.pool.acquire() as connection:
        for key, facts in await connection.fetch(
            "SELECT key, facts FROM person WHERE length(facts) > 1"
        ):
            other = [
                msgspec.structs.replace(fact, verdict=REVOKED, history=())
                for fact in ENTITY_KINDS[PERSON].decode(facts)
            ]
            await connection.execute(
                "UPDATE person SET facts = $2 WHERE key = $1", key, encode_facts(other)
            )
        today = await connection.fetchval("SELECT max(known_on) FROM coverage_cell")
        found = await replay_known_at(
            connection,
            log_of(projections),
            moment=Moment.of(today.isoformat(), None, RULES.zone),
            is_comparing=True,
            rules=RULES,
            root=ROOT,
            opener=new_opener(),
        )
    assert "verification_cell" in {one.table for one in found.differences}
    assert "coverage_cell" not in {one.table for one in found.differences}


async def test_an_instant_takes_what_the_log_had_by_then(projections: Projections) -> None:
    between = datetime.now(UTC) + timedelta(milliseconds=1)
    before = await projections.folded()
    await append_history(projections, seed=8)
    await fold_log(projections)
    async with projections.pool.acquire() as connection:
        found = await replay_known_at(
            connection,
            log_of(projections),
            moment=Moment.of(between.isoformat(), "2018-04-11", RULES.zone),
            is_comparing=False,
            rules=RULES,
            root=ROOT,
            opener=new_opener(),
        )
    assert found.records == before < await projections.folded()


@pytest.mark.parametrize(
    ("known_at", "as_of", "told"),
    [
        ("yesterday", None, "--known-at"),
        ("2018-03-31T12:00", None, "--known-at"),  # whose noon?
        ("2018-03-31", "soon", "--as-of"),
    ],
)
def test_a_moment_that_cannot_be_is_refused(known_at: str, as_of: str | None, told: str) -> None:
    with pytest.raises(Misconfigured, match=told):
        Moment.of(known_at, as_of, RULES.zone)


def test_a_day_ends_where_the_offices_day_does() -> None:
    moment = Moment.of("2018-03-31", None, RULES.zone)
    assert RULES.zone.day(moment.ms) == moment.as_of == date(2018, 3, 31)
    assert RULES.zone.day(moment.ms + 1) == date(2018, 4, 1)
