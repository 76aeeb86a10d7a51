"""Reads of what offices publish: trees, re-codings, denominators, heads of cohort lists."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from typing import Final, TypeVar

import msgspec

from projections.facts import counted
from projections.reading import Connection
from projections.reference.contributions import DENOMINATOR, TREE
from projections.reference.facts import CohortHead, decode_facts, reference_key
from projections.reference.recoding import Recode, Recoding
from projections.regions import Level, Region
from rekam.runtime.queries import load_queries

_QUERIES: Final = load_queries("projections.reference", "queries_read.sql")


class DenominatorVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Which published denominator a regency's figures rest on."""

    regency: str
    version: str
    basis: str
    valid_from: date


class TreeVersion(msgspec.Struct, frozen=True, kw_only=True):
    """By which published tree a regency's places are told apart and named."""

    regency: str
    version: str
    valid_from: date


@dataclass(frozen=True, slots=True)
class Publications:
    """What is known of a region's trees and denominators, each regency's oldest first."""

    known_at: date
    regencies: frozenset[str] = frozenset()
    """Of which they are."""
    trees: Mapping[str, Sequence[TreeVersion]] = field(default_factory=dict)
    """By regency."""
    denominators: Mapping[str, Sequence[DenominatorVersion]] = field(default_factory=dict)
    """By regency."""
    recoding: Recoding = field(default_factory=Recoding)

    def trees_at(self, as_of: date) -> dict[str, TreeVersion]:
        """Return each regency's latest tree valid at a day; one without any is absent."""
        return {
            regency: latest
            for regency, versions in self.trees.items()
            if (latest := _latest(versions, as_of)) is not None
        }

    def trees_of(self, region: Region, as_of: date) -> list[TreeVersion]:
        """Return the trees valid at a day of those regencies that publish for a region."""
        valid = self.trees_at(as_of)
        return [valid[regency] for regency in sorted(valid) if region.publishers.holds(regency)]

    def denominators_at(self, as_of: date) -> dict[str, DenominatorVersion]:
        """Return each regency's latest denominator valid at a day; one without any is absent."""
        return {
            regency: latest
            for regency, versions in self.denominators.items()
            if (latest := _latest(versions, as_of)) is not None
        }


VersionT = TypeVar("VersionT", TreeVersion, DenominatorVersion)


def _latest(versions: Sequence[VersionT], as_of: date) -> VersionT | None:
    return next((one for one in reversed(versions) if one.valid_from <= as_of), None)


async def publications(
    connection: Connection,
    *,
    region: Region,
    until: date,
    known_at: date,
    besides: Iterable[str] = (),
) -> Publications:
    """Return what bears on a region on any day up to `until`, as known at `known_at`.

    Of the regencies that publish for the region, of those whose people have come to it, and of
    those named `besides`.
    """
    # Of the whole regency: whether wajib of it is known bears on each of its places.
    whole = region.publishers
    recoding = (await _recodings(connection, region=whole, until=until, known_at=known_at)).about(
        whole
    )
    publishers = {one.publishers for one in (whole, *recoding.sources(whole))}
    regencies = {
        *besides,
        *(
            new[: Level.REGENCY.code_length]
            for step in recoding.steps
            for new in step.codes.values()
        ),
    }
    for publisher in publishers:
        if publisher.level is Level.REGENCY:
            regencies.add(publisher.code)
        else:
            low, high = (code[: Level.REGENCY.code_length] for code in publisher.desa_range)
            rows = await connection.fetch(_QUERIES["list_regencies"], low, high)
            regencies |= {row["regency"] for row in rows}
    trees: dict[str, list[TreeVersion]] = {}
    bases: dict[str, list[DenominatorVersion]] = {}
    for row in await connection.fetch(
        _QUERIES["list_publications"], until, known_at, sorted(regencies)
    ):
        regency, version, valid_from = row["regency"], row["version"], row["valid_from"]
        if row["kind"] == TREE:
            trees.setdefault(regency, []).append(
                TreeVersion(regency=regency, version=version, valid_from=valid_from)
            )
        elif row["kind"] == DENOMINATOR:
            bases.setdefault(regency, []).append(
                DenominatorVersion(
                    regency=regency, version=version, basis=row["basis"], valid_from=valid_from
                )
            )

    def is_replaced(step: Recode, new: str) -> bool:
        # Of the trees of one regency with the same first day, the last version stands.
        of_place = trees.get(new[: Level.REGENCY.code_length], [])
        return any(
            tree.valid_from == step.valid_from and tree.version > step.version for tree in of_place
        )

    return Publications(known_at, frozenset(regencies), trees, bases, recoding.without(is_replaced))


async def _recodings(
    connection: Connection, *, region: Region, until: date, known_at: date
) -> Recoding:
    """Return at least those that can move somebody of the region; few of a nation's others."""
    rows = await connection.fetch(_QUERIES["list_recodes"], until, known_at, region.code)
    return Recoding(
        tuple(
            Recode(*tree, {row["old_code"]: row["new_code"] for row in of_tree})
            for tree, of_tree in groupby(rows, key=lambda row: (row["valid_from"], row["version"]))
        )
    )


async def wajib_by_desa(
    connection: Connection, versions: Iterable[DenominatorVersion], *, known_at: date
) -> dict[str, int]:
    """Return wajib KTP by desa, under the codes that the versions use; nobody is no entry."""
    chosen = list(versions)
    rows = await connection.fetch(
        _QUERIES["sum_denominators"],
        known_at,
        [one.regency for one in chosen],
        [one.version for one in chosen],
        [one.basis for one in chosen],
        [one.valid_from for one in chosen],
    )
    return {row["desa"]: row["wajib"] for row in rows}


async def codes_of(
    connection: Connection, versions: Iterable[TreeVersion], *, known_at: date
) -> dict[str, str]:
    """Return the name of every region of these trees, of all levels, by code."""
    chosen = list(versions)
    rows = await connection.fetch(
        _QUERIES["list_codes"],
        known_at,
        [one.regency for one in chosen],
        [one.version for one in chosen],
        [one.valid_from for one in chosen],
    )
    return {row["code"]: row["name"] for row in rows}


async def names(
    connection: Connection, *, region: Region, level: Level, as_of: date, known_at: date
) -> dict[str, str]:
    """Return the names of the region's parts at a level (regency or below), by code.

    Names come from each regency's latest tree valid at `as_of`, as known at `known_at`.
    """
    published = await publications(connection, region=region, until=as_of, known_at=known_at)
    named = await codes_of(connection, published.trees_at(as_of).values(), known_at=known_at)
    return {
        code: name
        for code, name in named.items()
        if len(code) == level.code_length and region.holds(code)
    }


async def cohort_heads(connection: Connection) -> dict[str, CohortHead]:
    """Return what was last said of every list that was handed over, by cohort."""
    low = reference_key("cohort", "")
    rows = await connection.fetch(_QUERIES["list_references"], low, low[:-1] + b"0")
    facts = [fact for row in rows if row["facts"] for fact in decode_facts(row["facts"])]
    return {
        fact.data.cohort: fact.data for fact in counted(facts) if isinstance(fact.data, CohortHead)
    }
