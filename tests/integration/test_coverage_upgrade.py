"""An older database is folded anew from the log: what coverage is explained by is not in it."""

from pathlib import Path
from typing import Any

import pytest

from rekam.runtime.postgres import connect, migrate, open_pool
from tests.support.history import fold_all, random_history
from tests.support.live import chunks, compared, fold_partition, new_folder
from tests.support.older_migrations import migrate_before

EXPLAINED = "0003_pre_explain_coverage.sql"


async def test_an_older_database_is_emptied_and_the_log_makes_it_whole(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_before(empty_database, EXPLAINED, folder=tmp_path, monkeypatch=monkeypatch)
    connection: Any = await connect(empty_database)
    await connection.execute("INSERT INTO projection_position VALUES ('t', 0, 7)")
    await connection.execute("INSERT INTO person VALUES ('\\x01', '\\x02')")
    await connection.execute(
        "INSERT INTO coverage_cell VALUES ('64.08.04.2001', '2018-01-01', '2018-01-02', 3)"
    )
    await connection.close()

    assert EXPLAINED in await migrate(empty_database, "projections.migrations")
    records = random_history(3)
    pool = await open_pool(empty_database)
    try:
        assert await new_folder(pool).positions("t", [0]) == {}
        await fold_partition(new_folder(pool), chunks(records))
        assert await compared(pool, await fold_all(records)) == []
    finally:
        await pool.close()
