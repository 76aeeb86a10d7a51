"""Coverage by region: wajib KTP, recorded, unrecorded, percent, as of D as known at K.

Nothing is clamped and nothing is dropped: more recorded than wajib gives a negative `unrecorded`,
and a region that only recordings name is a row of its own, with its reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal

import msgspec

from projections.reading import Connection
from projections.reference.reads import Denominators, DenominatorVersion, denominators, names
from projections.regions import Level, Region
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.coverage", "queries_read.sql")

Reason = Literal["no_denominator", "not_in_denominator"]
"""Why there is no percent: nobody has published a denominator that is valid then; or the valid one
gives these regions nobody, so that everybody recorded there is beyond it."""


class CoverageTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one region, or of all rows together. recorded + unrecorded = wajib."""

    wajib: int | None
    recorded: int
    """People with a recording dated on `as_of` or before."""
    unrecorded: int | None
    """May be negative."""
    date_unknown: int
    """People recorded on a day that nobody can know; they are not in `recorded`."""
    percent: Decimal | None
    """Two decimals, half up, from whole numbers."""
    reason: Reason | None


class CoverageRow(CoverageTotals, frozen=True, kw_only=True):
    """Figures of one region."""

    region: str
    name: str | None
    """None: no tree that is valid then names it."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Rows by region code, and their sum."""

    denominators: tuple[DenominatorVersion, ...]
    """One a regency."""
    rows: tuple[CoverageRow, ...]
    totals: CoverageTotals


async def coverage(
    connection: Connection, *, region: Region, level: Level, as_of: date, known_at: date
) -> Coverage:
    """Return the coverage of a region's parts at `level`, which is regency or below.

    A row for every part that the tree, the denominator or a recording names. `as_of` is DAY_MAX
    or before. The answer is of one state only inside one snapshot.
    """
    bases = await denominators(
        connection, region=region, level=level, as_of=as_of, known_at=known_at
    )
    named = await names(connection, region=region, level=level, as_of=as_of, known_at=known_at)
    counts = {
        row["region"]: (row["recorded"], row["date_unknown"])
        for row in await connection.fetch(
            _QUERIES["sum_coverage"], *region.desa_range, known_at, as_of, level.code_length
        )
    }
    # What sums to nothing was taken back: it is not a trace of a person.
    recorded = {code for code, people in counts.items() if any(people)}
    rows = tuple(
        _row(code, name=named.get(code), bases=bases, counts=counts.get(code, (0, 0)))
        for code in sorted({*named, *bases.wajib, *recorded})
    )
    return Coverage(
        tuple(bases.versions[regency] for regency in sorted(bases.versions)),
        rows,
        totals(rows, is_based=bool(bases.versions)),
    )


def _row(
    code: str, *, name: str | None, bases: Denominators, counts: tuple[int, int]
) -> CoverageRow:
    is_based = code[: Level.REGENCY.code_length] in bases.versions
    wajib = bases.wajib.get(code, 0) if is_based else None
    recorded, date_unknown = counts
    percent, reason = percent_of(recorded, wajib)
    return CoverageRow(
        region=code,
        name=name,
        wajib=wajib,
        recorded=recorded,
        unrecorded=None if wajib is None else wajib - recorded,
        date_unknown=date_unknown,
        percent=percent,
        reason=reason,
    )


def totals(rows: Sequence[CoverageTotals], *, is_based: bool) -> CoverageTotals:
    """Return the sum of rows; without a wajib when one of them has none.

    `is_based`: whether anybody has published a denominator, which decides when there is no row.
    """
    known = [row.wajib for row in rows if row.wajib is not None]
    wajib = sum(known) if len(known) == len(rows) and (rows or is_based) else None
    recorded = sum(row.recorded for row in rows)
    percent, reason = percent_of(recorded, wajib)
    return CoverageTotals(
        wajib=wajib,
        recorded=recorded,
        unrecorded=None if wajib is None else wajib - recorded,
        date_unknown=sum(row.date_unknown for row in rows),
        percent=percent,
        reason=reason,
    )


def percent_of(recorded: int, wajib: int | None) -> tuple[Decimal | None, Reason | None]:
    """Return recorded/wajib in percent, exact to two decimals, half up; or why there is none."""
    if wajib is None:
        return None, "no_denominator"
    if wajib <= 0:
        return None, "not_in_denominator"
    hundredths = (2 * 10_000 * recorded + wajib) // (2 * wajib)
    return Decimal(hundredths).scaleb(-2), None
