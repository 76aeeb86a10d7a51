"""Cases of duplicates: where, by whose recordings, and whether somebody has settled them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

import msgspec

from projections.coverage.sums import counted_regions
from projections.duplicate.state import Kind
from projections.person.state import UNPLACED
from projections.reading import DAY_MAX, Connection, Row
from projections.reference.reads import publications
from projections.reference.recoding import Recoding
from projections.regions import Region
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.duplicate", "queries_read.sql")

State = Literal["open", "resolved"]
PAIRS_SHOWN_MAX: Final = 50
RULE: Final = "counted-once/v1"
"""A person counts once: on the day of the earliest standing recording, in the desa of the one that
occurred last (of equal ones, the one with the larger event id)."""


class CaseDevice(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the standing recordings a producer made."""

    producer: str
    recordings: int


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One case; whom it is about is not told here."""

    case: str
    kind: Kind
    state: State
    outcome: str | None
    """Of the resolution that settles it."""
    region: str
    """Desa in which the person counts, under its present code; `-`: no recording stands."""
    since: date
    """Day on which the log had the recording that made it one, also when its device was enrolled
    later; of the centre's, since when the centre says so."""
    devices: list[CaseDevice]


class DevicePair(msgspec.Struct, frozen=True, kw_only=True):
    """Two producers and how many people both recorded."""

    producers: tuple[str, str]
    cases: int


@dataclass(frozen=True, slots=True)
class CasePage:
    """Some cases by id, and what all of the region come to."""

    cases: list[Case]
    next: str | None
    counts: Mapping[Kind, Mapping[State, int]]
    pairs: list[DevicePair]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which cases are asked for."""

    region: Region
    state: State | None = None
    kind: Kind | None = None
    producer: str | None = None


async def list_cases(
    connection: Connection, wanted: Wanted, *, after: str, cases_max: int, today: date
) -> CasePage:
    """Return a page of cases, and the counts of the region whatever else is wanted.

    People without a standing recording are in every region: nobody can tell that they are not.
    """
    recoding = (
        await publications(connection, region=wanted.region, until=today, known_at=DAY_MAX)
    ).recoding
    ranges = [
        (UNPLACED, UNPLACED),
        *(one.desa_range for one in counted_regions(wanted.region, recoding)),
    ]
    bounds = [low for low, _ in ranges], [high for _, high in ranges]
    counts: defaultdict[Kind, Counter[State]] = defaultdict(Counter)
    desa: set[str] = set()
    for row in await connection.fetch(_QUERIES["count_cases"], *bounds):
        # What has become another region's lies in these ranges, too.
        if row["desa"] == UNPLACED or wanted.region.holds(recoding.current(row["desa"])):
            counts[row["kind"]][row["state"]] += row["cases"]
            desa.add(row["desa"])
    rows = await connection.fetch(
        _QUERIES["list_cases"],
        list(desa),
        wanted.state,
        wanted.kind,
        wanted.producer,
        after,
        cases_max + 1,
    )
    pairs = await connection.fetch(_QUERIES["count_pairs"], list(desa), PAIRS_SHOWN_MAX)
    return CasePage(
        await _cases(connection, rows[:cases_max], recoding),
        rows[cases_max - 1]["case_id"] if len(rows) > cases_max else None,
        counts,
        [
            DevicePair(producers=(row["producer"], row["other"]), cases=row["cases"])
            for row in pairs
        ],
    )


async def find_case_token(connection: Connection, case: str) -> bytes | None:
    """Return the token of the person of a case, or None when there is no such case."""
    row = await connection.fetchrow(_QUERIES["find_case"], case)
    return None if row is None else row["token"]


async def _cases(connection: Connection, rows: Iterable[Row], recoding: Recoding) -> list[Case]:
    found = list(rows)
    devices: defaultdict[str, list[CaseDevice]] = defaultdict(list)
    for row in await connection.fetch(
        _QUERIES["list_case_devices"], [row["case_id"] for row in found]
    ):
        device = CaseDevice(producer=row["producer"], recordings=row["recordings"])
        devices[row["case_id"]].append(device)
    return [
        Case(
            case=row["case_id"],
            kind=row["kind"],
            state="resolved" if row["outcome"] else "open",
            outcome=row["outcome"] or None,
            region=recoding.current(row["desa"]),
            since=row["since_on"],
            devices=devices[row["case_id"]],
        )
        for row in found
    ]
