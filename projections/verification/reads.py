"""Verification: how many people stand where, by region and by the centre's own words."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date
from typing import Final

import msgspec

from projections.person.state import UNPLACED
from projections.reading import Connection
from projections.reference.reads import names
from projections.regions import Level, Region
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.verification", "queries_read.sql")


class VerificationTotals(msgspec.Struct, frozen=True, kw_only=True):
    """People by status; the statuses sum to `people`."""

    people: int
    statuses: dict[str, int]
    """By raw status; BIO_CAPTURED also when the centre has said nothing of a recording."""


class VerificationRow(VerificationTotals, frozen=True, kw_only=True):
    """People of one region; region `-`: the centre knows them, no recording places them."""

    region: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Verification:
    """Rows by region code, and their sum."""

    rows: tuple[VerificationRow, ...]
    totals: VerificationTotals


async def verification(
    connection: Connection, *, region: Region, level: Level, today: date
) -> Verification:
    """Return the counts of a region's parts at `level`, and of the unplaced, as they are now.

    `today` chooses the tree that names the regions. The unplaced are in `totals`, whatever the
    region is: nobody can tell that they do not belong to it.
    """
    named = await names(connection, region=region, level=level, as_of=today, known_at=today)
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in await connection.fetch(
        _QUERIES["sum_verification"], *region.desa_range, level.code_length, UNPLACED
    ):
        found[row["region"]][row["status"]] = row["people"]
    sums: Counter[str] = Counter()
    for statuses in found.values():
        sums.update(statuses)
    rows = tuple(
        VerificationRow(
            region=code,
            name=named.get(code),
            people=sum(found[code].values()),
            statuses=found[code],
        )
        for code in sorted({*named, *found}, key=lambda code: (code == UNPLACED, code))
    )
    return Verification(
        rows, VerificationTotals(people=sums.total(), statuses=dict(sorted(sums.items())))
    )
