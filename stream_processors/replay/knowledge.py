"""What was known at a moment: the fold of the records that the log had taken by then.

Of a whole day the live tables say the same by themselves, and that is compared, cell by cell: where
cells carry the day on which they became known, of those; statuses and duplicates, which stand as
they are now, from the facts of each person that were known by then, as they were judged then.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from projections.digest import (
    QUERIES,
    Difference,
    TableDigest,
    differences,
    digests_of,
    projection_digests,
)
from projections.duplicate import contributions as duplicate
from projections.facts import Fact, known_by
from projections.reading import end_of_day_ms
from projections.regions import Region
from projections.rules import Rules
from projections.store import QUERIES as STORE_QUERIES
from projections.tables import CELL_TABLES, ENTITY_KINDS, PERSON, Row
from projections.verification import contributions as verification
from rekam.domain.clocks import OfficeZone
from rekam.domain.errors import Misconfigured
from rekam.domain.keys import VerifyKey
from stream_processors.intake import Opener
from stream_processors.replay.known_figures import Figures, figures_of
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

UNDATED: Final = (
    verification.TABLE,
    verification.AGE_TABLE,
    verification.SUKET_TABLE,
    verification.TURN_TABLE,
    duplicate.TABLE,
    duplicate.DEVICE_TABLE,
)
"""Tables of what people add up to whose cells say only what stands now."""
PEOPLE_A_FETCH: Final = 1_000


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of knowledge, and the day and the place of the figures."""

    ms: int
    day: date | None
    """The day whose end the moment is; None: it is an instant."""
    as_of: date
    region: Region | None = None
    """None: everybody."""

    @classmethod
    def of(
        cls, known_at: str, as_of: str | None, zone: OfficeZone, *, region: str | None = None
    ) -> "Moment":
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
        place = None if region is None else Region.parse(region)
        if region is not None and place is None:
            raise Misconfigured([f"--region {region}: wanted a code with dots, such as 64.08.04"])
        return cls(moment_ms, day, shown, place)


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
    figures: Figures
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

    Figures are of the moment's region; what is compared is everything.

    `connection` is to the live tables; what they hold is one snapshot.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        positions = dict(await connection.fetch(STORE_QUERIES["list_positions"], source.topic))
        live = {}
        if is_comparing and moment.day is not None:
            live = await _live_until(connection, moment.day)
            live |= await _live_people_until(connection, moment.day, rules)
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
    replayed = {table: _digest(table, tables[table]) for table in live}
    return Known(
        positions=positions,
        settings=opener.settings_id,
        records=folded,
        digests=projection_digests(digests_of(tables)),
        figures=figures_of(tables, region=moment.region, as_of=moment.as_of),
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


async def _live_people_until(connection: Any, day: date, rules: Rules) -> dict[str, TableDigest]:
    """Return of each undated table what people's facts, known by the end of a day, add up to."""
    sums: defaultdict[str, Counter[Row]] = defaultdict(Counter)
    async for row in connection.cursor(QUERIES["read_person"], prefetch=PEOPLE_A_FETCH):
        if row["facts"]:
            facts = ENTITY_KINDS[PERSON].decode(row["facts"])
            for table, cells in cells_known_by(row["key"], facts, day, rules).items():
                sums[table].update(cells)
    return {
        table: _digest(table, [(*cell, count) for cell, count in sums[table].items() if count])
        for table in UNDATED
    }


def cells_known_by(
    token: bytes, facts: Sequence[Fact[object]], day: date, rules: Rules
) -> dict[str, Mapping[Row, int]]:
    """Return what one person added to each undated table at the end of a day. Pure.

    What a later order of erasure has taken from the facts adds nothing to any table.
    """
    known = known_by(facts, day, rules.zone)
    if not known:
        return {}
    found = ENTITY_KINDS[PERSON].contributions(token, known, rules)
    return {table: found[table] for table in UNDATED if table in found}
