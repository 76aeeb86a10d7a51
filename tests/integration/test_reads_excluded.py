"""What does not count is listed page by page, counted by reason, and nothing twice."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from projections.quarantine.reads import (
    START,
    Excluded,
    Place,
    Verdict,
    count_excluded,
    excluded,
)
from projections.reading import instant
from rekam.runtime.postgres import connect
from tests.support.rows import KNOWN_ON, Rows, noon_ms


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    """Give a connection to a database with records and events that do not count."""
    rows = Rows()
    rows.enrolled("recorder-1")
    hash_ = rows.segment("recorder-1", 1, 10)
    for offset in (4, 5, 6):
        rows.quarantined(offset)
    rows.held(7)
    for seq in (2, 3):
        rows.excluded("recorder-1", seq, hash_, verdict="quarantined")
    rows.excluded("recorder-1", 4, hash_, verdict="held")
    await rows.write(database)
    opened = await connect(database)
    yield opened
    await opened.close()


async def read_all(connection: Any, verdict: Verdict, *, page: int) -> list[Excluded]:
    """Return the entries of all pages."""
    found: list[Excluded] = []
    after: Place | None = START
    while after is not None:
        answer = await excluded(
            connection, verdict, now_ms=noon_ms(KNOWN_ON), after=after, entries_max=page
        )
        found += answer.entries
        after = answer.next
    return found


@pytest.mark.parametrize("page", [1, 2, 3, 4, 5, 500])
async def test_pages_of_any_size_hold_every_entry_once(connection: Any, page: int) -> None:
    found = await read_all(connection, "quarantined", page=page)
    assert [entry.offset for entry in found[:3]] == [4, 5, 6]
    assert [(entry.scope, entry.range) for entry in found[3:]] == [
        ("event", (2, 2)),
        ("event", (3, 3)),
    ]


async def test_an_event_has_place_and_time_of_the_segment_that_brought_it(
    connection: Any,
) -> None:
    *_, event = await read_all(connection, "quarantined", page=500)
    assert (event.partition, event.offset) == (0, 0)
    assert event.since == instant(noon_ms(KNOWN_ON))


async def test_a_record_whose_header_could_not_be_read_has_no_range(connection: Any) -> None:
    record, *_ = await read_all(connection, "quarantined", page=500)
    assert (record.scope, record.producer, record.range) == ("record", None, None)


async def test_what_waits_is_listed_apart_with_its_range(connection: Any) -> None:
    record, event = await read_all(connection, "held", page=1)
    assert (record.reason, record.producer, record.range) == (
        "unknown_producer",
        "recorder-9",
        (1, 3),
    )
    assert (event.scope, event.range) == ("event", (4, 4))


async def test_reasons_are_counted_over_records_and_events(connection: Any) -> None:
    assert await count_excluded(connection, "quarantined") == {
        "bad_signature": 3,
        "schema_invalid": 2,
    }
    assert await count_excluded(connection, "held") == {"schema_invalid": 1, "unknown_producer": 1}
