"""What the folds make of given facts is pinned beside `FOLDS`: neither changes without the other.

Nothing but `FOLDS` keeps processors of two versions from adding to the same cells, and tells an
operator that tables are to be made anew (projections/rules.py).
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import product
from typing import Final

import pytest

from projections.cohort.state import NOT_FOUND
from projections.digest import digests_of
from projections.memory_store import MemoryStore
from projections.rules import FOLDS
from projections.tables import CELL_TABLES
from projections.verification.vocabulary import STANDS_AT, STOPPED_AT
from rekam.domain import events
from rekam.domain.clocks import RELAY_SOURCES
from rekam.domain.log import LogRecord
from tests.support.history import DAY_MS, anchored, captured, fold_all, nik
from tests.support.scenario import Office, noon_ms
from tests.support.whole_history import seeded

GOLDEN: Final = {
    # The version of the folds, and the digest of all cells that it makes of each log.
    5: {
        "a whole history": "aed689f5c18e91200fcc274beda38a07baee0bc3b6937e44d03c345673ccde17",
        "each two words": "275b7e34141b00aa48a2f5238d060a82af935013043cf96e36fd688fce198db4",
    },
}
ADVICE: Final = (
    "The folds make other cells of the same facts than those pinned here. Either that was not "
    "meant: undo what changed a figure. Or it was: raise FOLDS in projections/rules.py, put the "
    "digests found here under the new version, and tell operators in CHANGELOG.md to run `rekam "
    "projection rebuild --switch`. Only when the logs below were told otherwise, and nothing else "
    "changed, put the digests found here and leave FOLDS."
)
TODAY: Final = date(2018, 3, 2)
SEED: Final = 217


def a_whole_history() -> Sequence[LogRecord]:
    """Return one without chance: encryption gives other bytes and hashes each time.

    So none of its bytes is flipped, and no two records come in one millisecond, in which the hash
    would tell which side of a fork counts.
    """
    history = seeded(SEED, turns=40)
    assert "one bit flipped" not in str(history)
    return [
        replace(record, append_ms=record.append_ms + number)
        for number, record in enumerate(history.records)
    ]


def each_two_words() -> Sequence[LogRecord]:
    """Return a log in which each word of a vocabulary, and one that is in none, follows each other.

    Statuses of a person, buckets of an entry by one source or by two, and anchors of a session.
    """
    office = Office()
    device, centre = office.enrol("dev"), office.enrol("centre", "centre")
    kpu = office.enrol("kpu", "kpu")
    statuses = sorted({*STANDS_AT, *STOPPED_AT, "X_9"})
    for person, pair in enumerate(product(statuses, repeat=2)):
        office.says(device, captured(person, f"r-{person}"), on=TODAY)
        for day, status in enumerate(pair, start=1):
            shown_on = TODAY + timedelta(days=day)
            shown = events.StatusObserved(
                nik=nik(person), status=status, observed_ms=noon_ms(shown_on), source="siak"
            )
            office.says(centre, shown, on=shown_on)
    buckets = sorted({*NOT_FOUND, "terverifikasi", "tercetak"})
    for entry, (other, *said) in enumerate(product(("KPU", "koran"), buckets, buckets)):
        listed = events.CohortEntryListed(cohort="c", entry=entry, version="1")
        words = [
            events.CohortEntryResolved(cohort="c", entry=entry, bucket=bucket, source=source)
            for source, bucket in zip(("KPU", other), said, strict=True)
        ]
        office.says(kpu, listed, *words, on=TODAY)
    sources = sorted({*RELAY_SOURCES, "broker", "carried"})
    for session, pair in enumerate(product(sources, repeat=2)):
        device.boot = f"flat-{session}"
        office.says(device, captured(1_000 + session, f"a-{session}"), on=TODAY)
        device.boot = "boot-1"
        for days, source in enumerate(pair, start=1):
            office.says(
                device, anchored(f"flat-{session}", -days * DAY_MS, source=source), on=TODAY
            )
    return office.log.records


LOGS: Final[Mapping[str, Callable[[], Sequence[LogRecord]]]] = {
    "a whole history": a_whole_history,
    "each two words": each_two_words,
}


def cells_of(records: Sequence[LogRecord]) -> dict[str, list[tuple[object, ...]]]:
    """Fold records, and return the cells by table."""
    store: MemoryStore = asyncio.run(fold_all([*records]))
    tables = store.tables()
    return {table: [*tables[table]] for table in CELL_TABLES}


def digest_of(records: Sequence[LogRecord]) -> str:
    told = "".join(
        f"{table} {digest.sum:064x}\n"
        for table, digest in sorted(digests_of(cells_of(records)).items())
    )
    return hashlib.sha256(told.encode()).hexdigest()


def test_other_cells_of_the_same_facts_are_another_version_of_the_folds() -> None:
    found = {FOLDS: {name: digest_of(tell()) for name, tell in LOGS.items()}}
    assert found == GOLDEN, ADVICE


def test_the_history_whose_cells_are_pinned_adds_to_every_table() -> None:
    assert [table for table, cells in cells_of(a_whole_history()).items() if not cells] == []


@pytest.mark.parametrize("tell", LOGS.values(), ids=LOGS.keys())
def test_a_log_that_is_told_and_encrypted_again_gives_the_same_cells(
    tell: Callable[[], Sequence[LogRecord]],
) -> None:
    assert digest_of(tell()) == digest_of(tell())
