"""Reads of what offices publish: denominators, names of regions, heads of cohort lists."""

from dataclasses import dataclass
from datetime import date
from typing import Final

import msgspec

from projections.facts import counted
from projections.reading import Connection
from projections.reference.facts import CohortHead, decode_facts, reference_key
from projections.regions import Level, Region
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.reference", "queries_read.sql")


class DenominatorVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Which published denominator a regency's figures rest on."""

    regency: str
    version: str
    basis: str
    valid_from: date


@dataclass(frozen=True, slots=True)
class Denominators:
    """Wajib KTP of the regions asked for, and whence it comes."""

    versions: dict[str, DenominatorVersion]
    """By regency; one that has published nothing valid by then is absent."""
    wajib: dict[str, int]
    """By region; one that its regency's version does not name is absent."""


async def denominators(
    connection: Connection, *, region: Region, level: Level, as_of: date, known_at: date
) -> Denominators:
    """Return each regency's latest version valid at `as_of`, as known at `known_at`, by region."""
    publishers = region.publishers
    rows = await connection.fetch(
        _QUERIES["sum_denominators"],
        known_at,
        as_of,
        *publishers.desa_range,
        *region.desa_range,
        level.code_length,
    )
    return Denominators(
        versions={
            row["regency"]: DenominatorVersion(
                regency=row["regency"],
                version=row["version"],
                basis=row["basis"],
                valid_from=row["valid_from"],
            )
            for row in rows
        },
        wajib={row["region"]: row["wajib"] for row in rows if row["region"] is not None},
    )


async def names(
    connection: Connection, *, region: Region, level: Level, as_of: date, known_at: date
) -> dict[str, str]:
    """Return the names of the region's parts at a level (regency or below), by code.

    Names come from each regency's latest tree valid at `as_of`, as known at `known_at`.
    """
    low, high = (code[: Level.REGENCY.code_length] for code in region.publishers.desa_range)
    rows = await connection.fetch(
        _QUERIES["list_names"], known_at, as_of, low, high, level.code_length
    )
    return {row["code"]: row["name"] for row in rows if region.holds(row["code"])}


async def cohort_heads(connection: Connection) -> dict[str, CohortHead]:
    """Return what was last said of every list that was handed over, by cohort."""
    low = reference_key("cohort", "")
    rows = await connection.fetch(_QUERIES["list_references"], low, low[:-1] + b"0")
    facts = [fact for row in rows if row["facts"] for fact in decode_facts(row["facts"])]
    return {
        fact.data.cohort: fact.data for fact in counted(facts) if isinstance(fact.data, CohortHead)
    }
