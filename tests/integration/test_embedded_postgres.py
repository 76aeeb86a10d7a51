"""The embedded PostgreSQL keeps its promises: one owner, no orphan, same port, same data."""

import os
from pathlib import Path

import pytest
from asyncpg import UniqueViolationError

from rekam.domain.errors import Misconfigured, Unavailable
from rekam.embedded.postgres import SETTINGS, EmbeddedPostgres
from rekam.runtime.postgres import connect, is_answering, open_pool
from tests.support.database import new_server, temporary_database
from tests.support.owner import Owner


async def test_committed_row_survives_a_kill_of_the_server(
    breakable_postgres: EmbeddedPostgres,
) -> None:
    dsn = breakable_postgres.dsn()
    connection = await connect(dsn)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await breakable_postgres.kill()
    assert not await is_answering(dsn)
    await breakable_postgres.start()
    assert breakable_postgres.dsn() == dsn
    again = await connect(dsn)
    assert await again.fetchval("SELECT answer FROM kept") == 42
    await again.close()
    connection.terminate()


async def test_a_server_as_shipped_is_durable_and_never_root(tmp_path: Path) -> None:
    async with EmbeddedPostgres(state_dir=tmp_path / "postgres") as server:
        connection = await connect(server.dsn())
        rows = await connection.fetch(
            "SELECT name, setting FROM pg_settings WHERE name = ANY($1)",
            ["fsync", "synchronous_commit", "full_page_writes", "data_checksums"],
        )
        await connection.close()
        assert {row["setting"] for row in rows} == {"on"}
        assert len(rows) == 4
        assert user_of(server) != 0
    assert SETTINGS["fsync"] == "on"


async def test_passwords_stay_in_a_file_that_only_the_owner_reads(
    postgres: EmbeddedPostgres,
) -> None:
    passfile = postgres.dsn().partition("passfile=")[2]
    password, mode = password_and_mode(passfile)
    assert mode & 0o077 == 0
    assert password not in postgres.dsn()
    assert password not in command_line_of(postgres)


async def test_values_of_a_failing_statement_stay_out_of_the_log(
    breakable_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    connection = await connect(breakable_postgres.dsn())
    await connection.execute("CREATE TABLE person (token text PRIMARY KEY)")
    for _ in range(2):
        try:
            await connection.execute("INSERT INTO person VALUES ($1)", "6408010101900001")
            await connection.execute("INSERT INTO person VALUES ('6408010101900001')")
        except UniqueViolationError:
            continue
    await connection.close()
    log = text_of(tmp_path / "postgres" / "server.log")
    assert "duplicate key" in log
    assert "6408010101900001" not in log


async def test_copy_of_a_template_has_its_tables(postgres: EmbeddedPostgres) -> None:
    async with temporary_database(postgres) as template:
        connection = await connect(template)
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        await connection.close()
        name = template.rpartition("/test_")[2].partition("?")[0]
        async with (
            temporary_database(postgres, f"test_{name}") as copy,
            await open_pool(copy) as pool,
        ):
            assert await pool.fetchval("SELECT answer FROM kept") == 42


async def test_unreachable_database_is_unavailable_without_its_password() -> None:
    with pytest.raises(Unavailable) as caught:
        await open_pool("postgresql://someone:secret@127.0.0.1:9/rekam")
    assert "secret" not in str(caught.value)


async def test_wrong_binaries_are_named(tmp_path: Path) -> None:
    server = EmbeddedPostgres(state_dir=tmp_path / "postgres", bin_dir=tmp_path)
    with pytest.raises(Misconfigured, match="holds no postgres and no initdb"):
        await server.start()


async def test_second_owner_of_a_running_servers_folder_is_refused(tmp_path: Path) -> None:
    async with new_server(tmp_path) as server:
        with pytest.raises(Unavailable, match=f"already belongs to process {os.getpid()}"):
            await new_server(tmp_path).start()
        assert await is_answering(server.dsn())


async def test_port_held_by_another_program_is_named(tmp_path: Path) -> None:
    async with new_server(tmp_path / "first") as other:
        mine = tmp_path / "second"
        mine.mkdir()
        (mine / "ports.json").write_text((tmp_path / "first" / "ports.json").read_text())
        with pytest.raises(Unavailable, match="is held by another program"):
            await new_server(mine).start()
        assert other.pid is not None


async def test_interrupted_initialisation_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("half")
    async with new_server(tmp_path) as server:
        assert await is_answering(server.dsn())


async def test_server_and_its_children_end_with_their_killed_owner(tmp_path: Path) -> None:
    state_dir = tmp_path / "postgres"
    async with Owner.of("postgres", state_dir) as owner:
        children = owner.server_children()
        assert children
        await owner.kill()
        await owner.wait_until_server_is_gone()
    async with new_server(state_dir) as server:
        assert await is_answering(server.dsn())
        assert not any(child.exists() for child in children)


async def test_orphan_that_the_kernel_did_not_reach_is_ended_by_the_next_start(
    tmp_path: Path,
) -> None:
    state_dir = tmp_path / "postgres"
    async with Owner.of("postgres", state_dir, orphaning=True) as owner:
        await owner.kill()
        assert owner.server_is_alive()
        async with new_server(state_dir) as server:
            await owner.wait_until_server_is_gone()
            assert await is_answering(server.dsn())


def text_of(path: Path) -> str:
    return path.read_text()


def user_of(server: EmbeddedPostgres) -> int:
    return Path(f"/proc/{server.pid}").stat().st_uid


def command_line_of(server: EmbeddedPostgres) -> str:
    return Path(f"/proc/{server.pid}/cmdline").read_text()


def password_and_mode(passfile: str) -> tuple[str, int]:
    path = Path(passfile)
    return path.read_text().strip().rpartition(":")[2], path.stat().st_mode
