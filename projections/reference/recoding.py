"""Which code a place has under later trees: people recorded under the old one are counted there.

Every tree may re-code places from its first day on. A report as of a day follows the trees valid
then, one after the other, so that an older report stays under the older code. Pure.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from projections.regions import Region, regions_above


@dataclass(frozen=True, slots=True)
class Recode:
    """What one tree re-codes; codes of a level re-code everything below them."""

    valid_from: date
    version: str
    codes: Mapping[str, str]
    """New code by old code."""
    _olds: dict[str, list[str]] = field(default_factory=dict, init=False, compare=False)
    _lengths: list[int] = field(default_factory=list, init=False, compare=False)
    """Of the old codes, the longest first."""

    def __post_init__(self) -> None:
        """Remember the lengths of the old codes: mostly there are desa alone."""
        self._lengths.extend(sorted({len(old) for old in self.codes}, reverse=True))

    def apply(self, code: str) -> str:
        """Return what a code is under this tree; the most exact of its entries stands."""
        for length in self._lengths:
            # A shorter code is looked up whole.
            if (new := self.codes.get(code[:length])) is not None:
                return new + code[length:] if len(new) == length else new
        return code

    def sources(self, code: str) -> Iterator[str]:
        """Return the other codes that become a code under this tree."""
        if not self._olds:
            for old, new in self.codes.items():
                self._olds.setdefault(new, []).append(old)
        for new in (code, *regions_above(code)):
            for old in self._olds.get(new, ()):
                source = old + code[len(new) :]
                if source != code and self.apply(source) == code:
                    yield source


@dataclass(frozen=True, slots=True)
class Recoding:
    """The re-codings of trees, the oldest first, as far as they are valid at some day."""

    steps: tuple[Recode, ...] = ()

    def until(self, as_of: date) -> "Recoding":
        """Return those that are valid at a day."""
        return Recoding(tuple(step for step in self.steps if step.valid_from <= as_of))

    def current(self, code: str) -> str:
        """Return what a code that was used at any time is now."""
        for step in self.steps:
            code = step.apply(code)
        return code

    def about(self, region: Region) -> "Recoding":
        """Return those that can move somebody into, out of or within a region."""
        wanted = self._wanted(region)
        steps: list[Recode] = []
        for step in self.steps:
            codes = {
                old: new
                for old, new in step.codes.items()
                if any(_touch(old, code) for code in wanted)
            }
            if codes:
                steps.append(Recode(step.valid_from, step.version, codes))
        return Recoding(tuple(steps))

    def without(self, is_replaced: Callable[[Recode, str], bool]) -> "Recoding":
        """Return those whose tree stands: no other one took its place at the new code."""
        standing: list[Recode] = []
        for step in self.steps:
            codes = {old: new for old, new in step.codes.items() if not is_replaced(step, new)}
            if codes:
                standing.append(Recode(step.valid_from, step.version, codes))
        return Recoding(tuple(standing))

    def sources(self, region: Region) -> Sequence[Region]:
        """Return regions outside of `region` whose people may have come to be counted in it."""
        outside = [code for code in self._wanted(region) if not region.holds(code)]
        return [Region(code) for code in _widest(outside)]

    def _wanted(self, region: Region) -> list[str]:
        """Return the region's code, and all codes whose people may have come to it."""
        wanted = [region.code]
        for step in reversed(self.steps):
            wanted += [
                old for old, new in step.codes.items() if any(_touch(new, code) for code in wanted)
            ]
        return wanted


def _touch(one: str, other: str) -> bool:
    # All codes of a level are of one length, so a beginning is a region above.
    return one.startswith(other) or other.startswith(one)


def _widest(codes: Iterable[str]) -> list[str]:
    """Return codes without those that lie in another one of them."""
    kept: list[str] = []
    for code in sorted(set(codes)):
        if not kept or not Region(kept[-1]).holds(code):
            kept.append(code)
    return kept
