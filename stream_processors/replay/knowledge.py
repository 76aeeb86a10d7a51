"""What was known at a moment: the fold of the records that the log had taken by then.

Of a whole day the live tables say the same by themselves, where their cells carry the day on which
they became known: that is compared, cell by cell.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from projections.coverage.contributions import TABLE as COVERAGE
from projections.digest import (
    QUERIES,
    Difference,
    TableDigest,
    differences,
    digests_of,
    projection_digests,
)
from projections.reading import end_of_day_ms
from projections.rules import Rules
from projections.store import QUERIES as STORE_QUERIES
from projections.tables import CELL_TABLES, Row
from rekam.domain.clocks import OfficeZone
from rekam.domain.errors import Misconfigured
from rekam.domain.keys import VerifyKey
from stream_processors.intake import Opener
from stream_processors.replay.rebuild import rebuild
from stream_processors.replay.shadow import Log
from stream_processors.replay.source import known_at, read_log

KNOWN_ON: Final = "known_on"
DATED: Final = {
    table: cells.key.index(KNOWN_ON)
    for table, cells in CELL_TABLES.items()
    if KNOWN_ON in cells.key
}
"""Tables whose cells carry the day on which they became known, and where in the row it stands."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of knowledge, and the day of the figures."""

    ms: int
    day: date | None
    """The day whose end the moment is; None: it is an instant."""
    as_of: date

    @classmethod
    def of(cls, known_at: str, as_of: str | None, zone: OfficeZone) -> "Moment":
        """Read the options. Raises Misconfigured."""
        day: date | None = None
        try:
            day = date.fromisoformat(known_at)
        except ValueError:
            try:
                moment = datetime.fromisoformat(known_at)
            except ValueError:
                moment = None
            if moment is None or moment.tzinfo is None:
                raise Misconfigured(
                    ["--known-at: wanted a day, such as 2018-03-31, or an instant with its zone"]
                ) from None
            moment_ms = int(moment.timestamp() * 1000)
        else:
            moment_ms = end_of_day_ms(day, zone) - 1
        try:
            shown = zone.day(moment_ms) if as_of is None else date.fromisoformat(as_of)
        except ValueError as error:
            raise Misconfigured(["--as-of: wanted a day, such as 2018-03-31"]) from error
        return cls(moment_ms, day, shown)


@dataclass(frozen=True, slots=True)
class Known:
    """What a replay up to a moment gave."""

    positions: Mapping[int, int]
    """Up to which the log was looked at."""
    settings: str
    records: int
    """Of them, those that the log had taken by then."""
    digests: Mapping[str, str]
    """By projection."""
    recorded: int
    """People recorded on the day asked for or before."""
    date_unknown: int
    differences: tuple[Difference, ...]
    """Cells in which the live tables say another thing of that day; none when not compared."""


async def replay_known_at(
    connection: Any,
    source: Log,
    *,
    moment: Moment,
    is_comparing: bool,
    rules: Rules,
    root: VerifyKey,
    opener: Opener,
    report: Callable[[int, int], None] = lambda _done, _all: None,
) -> Known:
    """Fold what was known at a moment into memory; if it is the end of a day, perhaps compare.

    `connection` is to the live tables; what they hold is one snapshot.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        positions = dict(await connection.fetch(STORE_QUERIES["list_positions"], source.topic))
        live = {}
        if is_comparing and moment.day is not None:
            live = await _live_until(connection, moment.day)
    folded = 0

    def count(done: int) -> None:
        nonlocal folded
        folded = done
        report(done, sum(positions.values()))

    store = await rebuild(
        known_at(
            read_log(source.bootstrap, source.topic, positions, security=source.security),
            moment.ms,
        ),
        rules=rules,
        root=root,
        opener=opener,
        report=count,
    )
    tables = {table: list(rows) for table, rows in store.tables().items()}
    recorded, undated = _people(tables[COVERAGE], moment.as_of)
    replayed = {table: _digest(table, tables[table]) for table in live}
    return Known(
        positions=positions,
        settings=opener.settings_id,
        records=folded,
        digests=projection_digests(digests_of(tables)),
        recorded=recorded,
        date_unknown=undated,
        differences=tuple(differences(live, replayed)) if live else (),
    )


async def _live_until(connection: Any, day: date) -> dict[str, TableDigest]:
    """Return of each dated table what became known up to the end of a day, cells of nothing not."""
    found: dict[str, TableDigest] = {}
    for table, column in DATED.items():
        rows = [tuple(row) for row in await connection.fetch(QUERIES[f"read_{table}"])]
        found[table] = _digest(table, [row for row in rows if row[column] <= day])
    return found


def _digest(table: str, rows: list[Row]) -> TableDigest:
    digest = TableDigest()
    digest.add(table, rows)
    return digest


def _people(cells: list[Row], as_of: date) -> tuple[int, int]:
    sums: Counter[bool] = Counter()
    for _, occurred_on, *_, people in cells:
        assert isinstance(occurred_on, date)  # noqa: S101 - the column's type
        assert isinstance(people, int)  # noqa: S101 - the column's type
        if occurred_on == date.max:
            sums[False] += people
        elif occurred_on <= as_of:
            sums[True] += people
    return sums[True], sums[False]
