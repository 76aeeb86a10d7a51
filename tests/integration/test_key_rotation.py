"""Other keys that hide people's numbers: another file and a rebuild, and no figure moves."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from projections.memory_store import MemoryStore
from projections.person.niks import ERASED, open_nik
from projections.rules import Rules
from projections.tables import CELL_TABLES
from rekam.domain.errors import Misconfigured
from rekam.domain.log import LogRecord
from rekam.runtime.postgres import open_pool
from stream_processors.folder import PostgresFolder
from stream_processors.intake import Opener
from stream_processors.replay.rebuild import fold_in_memory
from tests.support.history import READER, REGISTRAR_KEY, RULES, nik, random_history
from tests.support.live import TOPIC, chunks, fold

ROTATED = replace(RULES, person_key=bytes([7]) * 32, nik_key=bytes([8]) * 32)
ROOT = REGISTRAR_KEY.public
HIDDEN = {"case_id", "token"}
"""Columns of cases of duplicates that are made with the key of tokens."""


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Any]:
    """Give a pool on a migrated database."""
    pool = await open_pool(database)
    yield pool
    await pool.close()


def opener(rules: Rules) -> Opener:
    return Opener(rules=rules, registrar_key=ROOT, readers=[READER])


def folder(pool: Any, rules: Rules) -> PostgresFolder:
    return PostgresFolder(pool, TOPIC, rules, ROOT, opener(rules))


async def rebuilt(records: list[LogRecord], rules: Rules) -> MemoryStore:
    store, opens = MemoryStore(), opener(rules)
    intakes = [opens.open_record(record) for record in records]
    await fold_in_memory(store, intakes, rules=rules, root=ROOT, opener=opens)
    return store


def rows(store: MemoryStore, table: str) -> list[Any]:
    return list(store.tables()[table])


def figures(store: MemoryStore, table: str) -> Counter[Any]:
    """Return the rows of a table of sums without what leads to a person."""
    kept = [place for place, name in enumerate(CELL_TABLES[table].key) if name not in HIDDEN]
    counted: Counter[Any] = Counter()
    for *cell, count in rows(store, table):
        counted[tuple(cell[place] for place in kept)] += count
    return counted


async def test_a_rebuild_under_other_keys_gives_the_same_figures_and_other_tokens() -> None:
    records = random_history(3, segments=80)
    before, after = await rebuilt(records, RULES), await rebuilt(records, ROTATED)
    for table in CELL_TABLES:
        assert figures(before, table) == figures(after, table), table
    for table in ("person", "person_access"):
        tokens = {key for key, *_ in rows(before, table)}
        assert len(tokens) == len(rows(after, table)) > 0
        assert tokens.isdisjoint(key for key, *_ in rows(after, table))
    found = {
        open_nik(sealed, token, ROTATED)
        for token, _, sealed in rows(after, "person")
        if sealed != ERASED
    }
    assert found <= {nik(number) for number in range(4)}
    assert found
    sealed = {sealed for *_, sealed in rows(before, "person")} - {ERASED}
    assert sealed.isdisjoint(sealed for *_, sealed in rows(after, "person"))


async def test_a_processor_with_other_keys_refuses_tables_that_were_folded_before(
    pool: Any,
) -> None:
    await folder(pool, ROTATED).require_settings()  # nothing is folded: nothing is decided
    first = folder(pool, RULES)
    await first.require_settings()
    for chunk in chunks(random_history(3)):
        await fold(first, chunk)
    await folder(pool, RULES).require_settings()
    with pytest.raises(Misconfigured, match="rekam projection rebuild") as caught:
        await folder(pool, ROTATED).require_settings()
    assert RULES.id in str(caught.value)
    assert ROTATED.person_key.hex() not in str(caught.value)
    await folder(pool, RULES).require_settings()
