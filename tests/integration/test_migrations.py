"""Migrations go forward only, once, in order, also with two starters."""

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from rekam.domain.errors import Corrupt
from rekam.runtime.postgres import connect, load_migrations, migrate, migration_status

FIRST = {"0001_pre_make_village.sql": "CREATE TABLE village (code text)"}
SECOND = {"0002_post_fill_village.sql": "INSERT INTO village VALUES ('64.08')"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a writer of migration packages with the given files."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(files: dict[str, str]) -> str:
        name = f"migrations_{secrets.token_hex(4)}"
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").touch()
        for file_name, sql in files.items():
            (folder / file_name).write_text(sql)
        return name

    return write


async def test_pending_migrations_are_applied_once(
    empty_database: str, package: Callable[..., str]
) -> None:
    name = package(FIRST | SECOND)
    before = await migration_status(empty_database, name)
    assert (before.applied, len(before.pending)) == ((), 2)
    assert await migrate(empty_database, name) == sorted(FIRST | SECOND)
    assert await migrate(empty_database, name) == []
    after = await migration_status(empty_database, name)
    assert (len(after.applied), after.pending) == (2, ())


async def test_two_starters_apply_each_migration_once(
    empty_database: str, package: Callable[..., str]
) -> None:
    name = package(FIRST | SECOND)
    applied = await asyncio.gather(*(migrate(empty_database, name) for _ in range(4)))
    assert sorted(map(len, applied)) == [0, 0, 0, 2]
    connection = await connect(empty_database)
    assert await connection.fetchval("SELECT count(*) FROM village") == 1
    await connection.close()


async def test_failing_migration_leaves_the_earlier_ones_and_nothing_of_itself(
    empty_database: str, package: Callable[..., str]
) -> None:
    broken = {"0002_pre_break.sql": "INSERT INTO village VALUES ('x'); SELECT 1 / 0"}
    name = package(FIRST | broken)
    with pytest.raises(Corrupt, match=r"0002_pre_break.sql .* division by zero"):
        await migrate(empty_database, name)
    status = await migration_status(empty_database, name)
    assert (status.applied, status.pending) == (tuple(FIRST), tuple(broken))
    connection = await connect(empty_database)
    assert await connection.fetchval("SELECT count(*) FROM village") == 0
    await connection.close()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"0001_pre_make_village.sql": "CREATE TABLE village (code int)"}, "was changed after"),
        ({"0002_pre_other.sql": "SELECT 1"}, "not in this program"),
        (FIRST | {"0000_pre_late.sql": "SELECT 1"}, "comes before"),
    ],
)
async def test_history_that_does_not_fit_is_refused(
    empty_database: str, package: Callable[..., str], files: dict[str, str], message: str
) -> None:
    await migrate(empty_database, package(FIRST))
    with pytest.raises(Corrupt, match=message):
        await migrate(empty_database, package(files))


@pytest.mark.parametrize(
    "files",
    [{"1_make.sql": ""}, {"0001_pre_a.sql": "", "0001_post_b.sql": ""}],
    ids=["name", "number twice"],
)
def test_files_that_cannot_be_ordered_are_refused(
    package: Callable[..., str], files: dict[str, str]
) -> None:
    with pytest.raises(Corrupt, match=r"Name it|Renumber"):
        load_migrations(package(files))
