"""Wajib KTP of places as of a day: what their regency has stated, or the one that they came from.

A re-coding takes along what was stated of the old code, also into another regency. Where that one
has stated the place by itself since, its own word stands, and nobody is counted twice. What nobody
has stated is unknown; it is never taken for nobody.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from projections.reading import Connection
from projections.reference.reads import (
    DenominatorVersion,
    Publications,
    codes_of,
    wajib_by_desa,
)
from projections.reference.recoding import Recoding
from projections.regions import Level, Region, regions_above

_REGENCY_LENGTH: Final = Level.REGENCY.code_length


@dataclass(frozen=True, slots=True)
class Wajib:
    """Wajib KTP under the codes that places have by then."""

    bases: Mapping[str, DenominatorVersion]
    """The valid denominator by the regency that published it."""
    recoding: Recoding
    """As far as it is valid."""
    stated: Mapping[str, int]
    """By desa, under the codes that the denominators use."""
    codes: Iterable[str]
    """Of the trees: at least those of regencies without a denominator of their own."""
    _parts: dict[str, Sequence[str]] = field(default_factory=dict, init=False)
    _currents: dict[str, str | None] = field(default_factory=dict, init=False)

    def of(self, region: Region) -> dict[str, int]:
        """Return wajib by desa; a desa of whom nothing is stated is absent."""
        found: dict[str, int] = defaultdict(int)
        for _, current, count in self._counted(region):
            found[current] += count
        return dict(found)

    def total(self, region: Region, inhabited: Iterable[str]) -> int | None:
        """Return wajib of a whole region; None: of some part of it nothing is stated.

        `inhabited` are codes under which anybody is recorded: a regency that publishes nothing is
        a part of its province by its people.
        """
        if not self.is_whole(region, inhabited):
            return None
        return sum(count for _, _, count in self._counted(region))

    def publishers(self, region: Region) -> list[DenominatorVersion]:
        """Return the denominators that wajib of a region rests on, by regency."""
        regencies = {regency for regency in self.bases if region.publishers.holds(regency)}
        if self.recoding.steps:
            regencies |= {regency_of(stated) for stated, _, _ in self._counted(region)}
        return [self.bases[regency] for regency in sorted(regencies)]

    def is_whole(self, region: Region, inhabited: Iterable[str]) -> bool:
        """Tell whether something is stated of every part of a region; see `total`."""
        if region.level is not Level.PROVINCE:
            return self.is_based(region.code)
        parts = {
            regency_of(code)
            for code in (*self.bases, *self.codes, *self._recoded(), *inhabited)
            if region.holds(code) and code != region.code
        }
        return bool(parts) and all(map(self.is_based, parts))

    def is_based(self, code: str) -> bool:
        """Tell whether wajib of a place, of regency level or below, is stated.

        By its regency, which then states nobody of a place that it does not name; or, of every
        known part of the place, by the regency that the part came from.
        """
        regency = regency_of(code)
        if regency in self.bases:
            return True
        if not self.recoding.steps:
            return False
        while True:
            # Of a place that no tree names the place above decides.
            parts = [part for part in self._parts_of(regency) if _lies_in(part, code)]
            if parts:
                return all(self._has_come(part, len(self.recoding.steps)) for part in parts)
            if code == regency:
                return False
            code = code.rpartition(".")[0]

    def _counted(self, region: Region) -> Iterator[tuple[str, str, int]]:
        for desa, count in self.stated.items():
            if desa not in self._currents:
                self._currents[desa] = self._current(desa)
            current = self._currents[desa]
            if current is not None and region.holds(current):
                yield desa, current, count

    def _current(self, desa: str) -> str | None:
        """Return where a statement counts; None: another one has taken its place."""
        code = desa
        joined: date | None = None
        is_retold = False
        for step in self.recoding.steps:
            new = step.apply(code)
            if new == code:
                continue
            regency = regency_of(new)
            if regency != regency_of(code):
                joined = step.valid_from
            # The regency may state the place under a code that it has given it since.
            if joined and new in self.stated and self.bases[regency].valid_from >= joined:
                is_retold = new != desa
                if not is_retold:  # It is of a place that had come back: what was before is over.
                    joined = None
            code = new
        return None if is_retold else code

    def _parts_of(self, regency: str) -> Sequence[str]:
        """Return what trees and re-codings know of a regency: codes with no other one below."""
        if regency not in self._parts:
            every = (*self.codes, *self._recoded())
            known = {code for code in every if _lies_in(code, regency)}
            above = {above for code in known for above in regions_above(code)}
            self._parts[regency] = sorted(known - above)
        return self._parts[regency]

    def _recoded(self) -> Iterator[str]:
        """Return the codes that re-codings have given, as they are now."""
        for number, step in enumerate(self.recoding.steps, start=1):
            yield from map(Recoding(self.recoding.steps[number:]).current, step.codes.values())

    def _has_come(self, code: str, steps: int) -> bool:
        """Tell whether a place was made, by the first steps, of places that are stated."""
        has_come = False
        for number in reversed(range(steps)):
            step = self.recoding.steps[number]
            for old in step.sources(code):
                if regency_of(old) not in self.bases and not self._has_come(old, number):
                    return False
                has_come = True
            if step.apply(code) != code:
                break  # Before this step the code was another place's.
        return has_come


async def read_wajib(
    connection: Connection,
    denominators: Publications,
    trees: Publications,
    *,
    region: Region,
    as_of: date,
) -> Wajib:
    """Return wajib by the denominators of one day of knowledge under the trees of another one."""
    bases = denominators.denominators_at(as_of)
    recoding = trees.recoding.until(as_of)
    planted = trees.trees_at(as_of)
    codes = {regency for regency in planted if region.publishers.holds(regency)}
    if recoding.steps:  # only then may a regency without a denominator have come to one
        unbased = [planted[regency] for regency in codes - bases.keys()]
        codes |= (await codes_of(connection, unbased, known_at=trees.known_at)).keys()
    stated = await wajib_by_desa(connection, bases.values(), known_at=denominators.known_at)
    return Wajib(bases, recoding, stated, codes)


def regency_of(code: str) -> str:
    """Return the regency that a code lies in, or the code of the province that it is."""
    return code[:_REGENCY_LENGTH]


def _lies_in(code: str, region: str) -> bool:
    return code == region or code.startswith(f"{region}.")
