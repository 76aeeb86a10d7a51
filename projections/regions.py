"""Regions as reads ask for them: a code, a level, and the range of desa codes below.

A Kemendagri code is `province.regency.kecamatan.desa` with 2, 2, 2 and 4 digits; its prefixes name
the regions above it.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from projections.person.state import UNPLACED


class Level(StrEnum):
    """A level of the region tree, from the top."""

    PROVINCE = "province"
    REGENCY = "regency"
    KECAMATAN = "kecamatan"
    DESA = "desa"

    @property
    def code_length(self) -> int:
        """Return how long the codes of this level are."""
        return _LENGTHS[self]

    @property
    def below(self) -> "Level":
        """Return the next level down; nothing is below a desa."""
        levels = list(Level)
        return levels[min(levels.index(self) + 1, len(levels) - 1)]

    def is_within(self, other: "Level") -> bool:
        """Tell whether regions of this level lie in regions of the other, or are the same."""
        return self.code_length >= other.code_length


_LENGTHS: Final = {Level.PROVINCE: 2, Level.REGENCY: 5, Level.KECAMATAN: 8, Level.DESA: 13}
_LEVELS: Final = {length: level for level, length in _LENGTHS.items()}
_FORM: Final = re.compile(r"\d\d(\.\d\d(\.\d\d(\.\d{4})?)?)?", re.ASCII)
_LOWEST: Final = "00.00.00.0000"
_HIGHEST: Final = "99.99.99.9999"


@dataclass(frozen=True, slots=True)
class Region:
    """One region by its code."""

    code: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the region of a code with dots, or None when it is not one."""
        return cls(text) if _FORM.fullmatch(text) else None

    @property
    def level(self) -> Level:
        """Return the region's own level."""
        return _LEVELS[len(self.code)]

    @property
    def desa_range(self) -> tuple[str, str]:
        """Return the lowest and the highest desa code that the region can have.

        All desa codes have one shape, so that BETWEEN these two is *in the region* under every
        collation, and a range of an index.
        """
        return self.code + _LOWEST[len(self.code) :], self.code + _HIGHEST[len(self.code) :]

    @property
    def publishers(self) -> "Region":
        """Return the region whose regencies publish what holds here: its regency, or itself."""
        return Region(self.code[: Level.REGENCY.code_length])

    def holds(self, code: str) -> bool:
        """Tell whether a whole code is the region's own or lies in it; UNPLACED lies nowhere."""
        # All codes of a level are of one length: what begins with one of them lies in it.
        return code.startswith(self.code) and code != UNPLACED


def regions_above(code: str) -> list[str]:
    """Return the codes of the regions that a region lies in, the widest first."""
    return [code[:length] for length in _LEVELS if length < len(code)]
