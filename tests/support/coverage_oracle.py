"""Coverage by its definition, slowly: from facts that count, without a cell, a query or a read.

What is known at K is the fold of the log up to K (a law of its own); everything behind that is done
here once more, place by place and person by person, with nothing of the product's arithmetic.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import groupby

from msgspec import structs

from projections.facts import Fact, known_order
from projections.memory_store import MemoryStore
from projections.person.facts import (
    Captured,
    Observed,
    PersonFact,
    Withdrawn,
    WithdrawnOf,
)
from projections.person.facts import decode_facts as decode_people
from projections.person.state import DATE_UNKNOWN
from projections.reference.facts import Denominators, Tree
from projections.reference.facts import decode_facts as decode_references
from rekam.domain.clocks import AHEAD_MS_MAX, OfficeZone

REGENCY, DESA = 5, 13
LENGTHS = (DESA, 8, REGENCY, 2)
"""Of codes, from the desa to the province."""


def placement(known: Iterable[PersonFact], as_of: date) -> str | None:
    """Return the desa of who is recorded by a day; for *date unknown*, of who has no day at all."""
    facts = [*known]
    withdrawn = {fact.data.recording for fact in facts if isinstance(fact.data, Withdrawn)}
    withdrawn_of = [
        (fact.data.recording, fact.data.producer)
        for fact in facts
        if isinstance(fact.data, WithdrawnOf)
    ]
    standing = [
        (fact.occurred_on, fact.id, fact.data.domicile)
        for fact in facts
        if isinstance(fact.data, Captured)
        and fact.data.recording not in withdrawn
        and (fact.data.recording, fact.producer) not in withdrawn_of
    ]
    if not standing:
        return None
    days = [day for day, *_ in standing if day is not None]
    earliest = min(days, default=DATE_UNKNOWN)
    if (earliest == DATE_UNKNOWN) != (as_of == DATE_UNKNOWN) or earliest > as_of:
        return None
    return max(standing, key=lambda one: (one[0] or date.min, one[1]))[2]


def status(known: Iterable[PersonFact], as_of: date, zone: OfficeZone) -> str | None:
    """Return the latest status observed by a day."""
    observed = [
        (fact.data.observed_ms, fact.known_ms, fact.id, fact.data.status)
        for fact in known
        if isinstance(fact.data, Observed)
        and zone.day(fact.data.observed_ms) <= as_of
        and fact.data.observed_ms <= fact.known_ms + AHEAD_MS_MAX
    ]
    return max(observed)[3] if observed else None


@dataclass(frozen=True)
class Row:
    """Figures of a place."""

    wajib: int | None
    recorded: int
    date_unknown: int


@dataclass(frozen=True)
class Expected:
    """Coverage of a region: rows of desa, and all of it."""

    rows: Mapping[str, Row]
    names: Mapping[str, str]
    totals: Row
    trees: list[str]
    """Versions, by regency."""


@dataclass(frozen=True)
class Oracle:
    """What was published and who was recorded, by a store that knows no more than was known."""

    store: MemoryStore
    as_of: date
    zone: OfficeZone
    without_duplicates: bool = False

    def coverage(self, region: str) -> Expected:
        """Return the coverage of a region by desa."""
        people = self._people(region)
        wajib = self._wajib(region)
        trees = {
            regency: tree
            for regency, tree in self._trees.items()
            if lies_in(regency, region[:REGENCY])
        }
        names = {
            one.code: one.name
            for regency, tree in sorted(trees.items())
            for one in sorted(tree.regions, key=lambda one: one.name, reverse=True)
            if lies_in(one.code, region) and lies_in(one.code, regency)
        }
        desa = {code for code in names if len(code) == DESA} | people.keys() | wajib.keys()
        rows = {
            code: Row(wajib.get(code, 0) if self._is_based(code) else None, *people[code])
            for code in desa
        }
        parts = {region}
        if len(region) < REGENCY:
            codes = {*self._bases, *self._trees, *self._targets, *people}
            parts = {code[:REGENCY] for code in codes if lies_in(code, region) and code != region}
        is_whole = bool(parts) and all(map(self._is_based, parts))
        totals = Row(
            sum(wajib.values()) if is_whole else None,
            sum(row.recorded for row in rows.values()),
            sum(row.date_unknown for row in rows.values()),
        )
        return Expected(rows, names, totals, [tree.version for _, tree in sorted(trees.items())])

    # -- people ------------------------------------------------------------------------------------

    def _people(self, region: str) -> defaultdict[str, tuple[int, int]]:
        """Return recorded people and those of unknown date by desa, also where all are left out."""
        found: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for _, raw, *_ in self.store.tables()["person"]:
            assert isinstance(raw, bytes)
            known = [fact for fact in decode_people(raw) if fact.counts] if raw else []
            for number, day in enumerate((self.as_of, DATE_UNKNOWN)):
                desa = placement(known, day)
                current = self._current(desa) if desa is not None else ""
                if not lies_in(current, region):
                    continue
                shown = status(known, day, self.zone)
                counts = not (self.without_duplicates and shown == "DUPLICATE_RECORD")
                recorded, undated = found[current]
                found[current] = (
                    recorded + counts * (number == 0),
                    undated + counts * (number == 1),
                )
        return found

    # -- publications ------------------------------------------------------------------------------

    @cached_property
    def _published(self) -> list[Tree | Denominators]:
        """Return what is valid by the day, oldest first: of each version and regency the last."""
        found: list[Tree | Denominators] = []
        for _, raw, *_ in self.store.tables()["reference"]:
            assert isinstance(raw, bytes)
            told: list[Fact[Tree | Denominators]] = [
                fact  # type: ignore[misc]  # heads of lists are no publications
                for fact in (decode_references(raw) if raw else [])
                if fact.counts and isinstance(fact.data, Tree | Denominators)
            ]
            last: dict[str, Tree | Denominators] = {}
            for fact in sorted(told, key=known_order):
                regencies = {code[:REGENCY] for code in _codes_stated(fact.data)}
                last |= {regency: _of_regency(fact.data, regency) for regency in regencies}
            found += [one for one in last.values() if one.valid_from <= self.as_of]
        return sorted(found, key=lambda one: (one.valid_from, one.version))

    @cached_property
    def _trees(self) -> dict[str, Tree]:
        return {
            one.code[:REGENCY]: tree
            for tree in self._published
            if isinstance(tree, Tree)
            for one in tree.regions
            if len(one.code) >= REGENCY
        }

    @cached_property
    def _bases(self) -> dict[str, Denominators]:
        return {
            row.desa[:REGENCY]: base
            for base in self._published
            if isinstance(base, Denominators)
            for row in base.rows
        }

    @cached_property
    def _steps(self) -> list[tuple[date, dict[str, str]]]:
        """Return the re-codings that stand, the oldest first."""
        trees = [one for one in self._published if isinstance(one, Tree)]
        steps: dict[tuple[date, str], dict[str, str]] = {}
        for tree in trees:
            steps.setdefault((tree.valid_from, tree.version), {}).update(
                (old, new)
                for old, new in tree.mapping.items()
                if not any(
                    other.valid_from == tree.valid_from
                    and other.version > tree.version
                    and any(lies_in(one.code, new[:REGENCY]) for one in other.regions)
                    for other in trees
                )
            )
        return [(valid_from, mapping) for (valid_from, _), mapping in steps.items()]

    @cached_property
    def _targets(self) -> set[str]:
        return {
            self._current(new, after=number)
            for number, (_, mapping) in enumerate(self._steps, start=1)
            for new in mapping.values()
        }

    def _current(self, code: str, *, after: int = 0, until: int | None = None) -> str:
        for _, mapping in self._steps[after:until]:
            code = recoded(mapping, code)
        return code

    # -- wajib -------------------------------------------------------------------------------------

    def _wajib(self, region: str) -> dict[str, int]:
        stated = {
            row.desa: row.wajib
            for regency, base in self._bases.items()
            for row in base.rows
            if row.desa.startswith(regency) and row.wajib
        }
        found: dict[str, int] = defaultdict(int)
        for desa, wajib in stated.items():
            if lies_in(self._current(desa), region) and not self._is_retold(desa, stated):
                found[self._current(desa)] += wajib
        return dict(found)

    def _is_retold(self, desa: str, stated: Mapping[str, int]) -> bool:
        """Tell whether a regency has stated a place by itself since it came there."""
        path = [(date.min, desa)]
        path += [
            (valid_from, self._current(desa, until=number))
            for number, (valid_from, _) in enumerate(self._steps, start=1)
        ]
        stays = [
            (regency, [*stay]) for regency, stay in groupby(path, key=lambda one: one[1][:REGENCY])
        ]
        words = [
            {code for _, code in stay if code in stated}
            if regency in self._bases and self._bases[regency].valid_from >= stay[0][0]
            else set()
            for regency, stay in stays
        ]
        # A desa that came back may have been stated since: who stated it before is not asked.
        own = max((number for number, codes in enumerate(words) if desa in codes), default=0)
        return any(words[own + 1 :])

    def _is_based(self, code: str) -> bool:
        if code[:REGENCY] in self._bases:
            return True
        tree = self._trees.get(code[:REGENCY])
        named = {one.code for one in tree.regions} if tree else set()
        known = {one for one in named | self._targets if lies_in(one, code[:REGENCY])}
        leaves = {one for one in known if not any(lies_in(other, one) for other in known - {one})}
        for length in LENGTHS:
            if REGENCY <= length <= len(code):
                below = [one for one in leaves if lies_in(one, code[:length])]
                if below:
                    return all(self._has_come(one, len(self._steps)) for one in below)
        return False

    def _has_come(self, code: str, steps: int) -> bool:
        found = False
        for number in reversed(range(steps)):
            mapping = self._steps[number][1]
            for old in self._places(code):
                if old != code and recoded(mapping, old) == code:
                    if old[:REGENCY] not in self._bases and not self._has_come(old, number):
                        return False
                    found = True
            if recoded(mapping, code) != code:
                break
        return found

    def _places(self, code: str) -> set[str]:
        """Return every code that may have become this one: of its end, or named by a re-coding."""
        olds = {old for _, mapping in self._steps for old in mapping}
        return olds | {old + code[len(old) :] for old in olds if len(old) < len(code)}


def _codes_stated(published: Tree | Denominators) -> set[str]:
    if isinstance(published, Denominators):
        return {row.desa for row in published.rows}
    return {*(one.code for one in published.regions), *published.mapping.values()}


def _of_regency(published: Tree | Denominators, regency: str) -> Tree | Denominators:
    """Return what is stated of one regency."""
    if isinstance(published, Denominators):
        rows = tuple(row for row in published.rows if row.desa[:REGENCY] == regency)
        return structs.replace(published, rows=rows)
    return structs.replace(
        published,
        regions=tuple(one for one in published.regions if one.code[:REGENCY] == regency),
        mapping={old: new for old, new in published.mapping.items() if new[:REGENCY] == regency},
    )


def recoded(mapping: Mapping[str, str], code: str) -> str:
    """Return a code under one tree; the most exact entry stands and takes what lies in it along."""
    for length in LENGTHS:
        if length <= len(code) and (new := mapping.get(code[:length])) is not None:
            return new + code[length:] if len(new) == length else new
    return code


def lies_in(code: str, region: str) -> bool:
    """Tell whether a code is a region's own or lies in it."""
    return code == region or code.startswith(f"{region}.")
