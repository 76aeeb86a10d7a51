"""Why a figure looks as it does: nothing is clamped, everything strange is named."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

REGIONS_NAMED_MAX: Final = 20

RemarkCode = Literal[
    "no_denominator",
    "no_tree",
    "more_recorded_than_wajib",
    "not_in_denominator",
    "not_in_tree",
    "recoded",
    "region_recoded",
    "duplicates_excluded",
]
"""`no_denominator`: of the region, or a part of it, nobody has stated wajib. `no_tree`: nor a tree.
`more_recorded_than_wajib`: so many people more than wajib, over all; `regions` are the desa where
it is so. `not_in_denominator`: people recorded in desa to which the denominator gives nobody.
`not_in_tree`: people recorded under codes that the tree does not know. `recoded`: people recorded
under codes (`regions`) that became others, and counted under those. `region_recoded`: the region
that was asked for, or that only a tree names, has another code by that day (`regions`), under which
it is counted. `duplicates_excluded`: people whom the rule leaves out."""

REMARK_CODES: Final[tuple[RemarkCode, ...]] = (
    "no_denominator",
    "no_tree",
    "more_recorded_than_wajib",
    "not_in_denominator",
    "not_in_tree",
    "recoded",
    "region_recoded",
    "duplicates_excluded",
)


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that explains a figure."""

    remark: RemarkCode
    people: int
    """Whom it is about; nobody when it is about the whole figure."""
    regions: list[str]
    """Codes that it is about, at most REGIONS_NAMED_MAX of them."""
    regions_count: int
    """How many there are."""


@dataclass(slots=True)
class Remarks:
    """Remarks on one figure, gathered from its parts. Most figures have none."""

    people: dict[RemarkCode, int] = field(default_factory=dict)
    regions: dict[RemarkCode, set[str]] = field(default_factory=dict)

    def note(self, remark: RemarkCode, *, people: int = 0, regions: Iterable[str] = ()) -> None:
        """Remember one; of the same code it adds up."""
        self.people[remark] = self.people.get(remark, 0) + people
        self.regions.setdefault(remark, set()).update(regions)

    def add(self, other: "Remarks") -> None:
        """Take over those of a part."""
        for remark, people in other.people.items():
            self.note(remark, people=people, regions=other.regions[remark])

    def told(self) -> list[Remark]:
        """Return them in one fixed order."""
        if not self.people:
            return []
        return [
            Remark(
                remark=remark,
                people=self.people[remark],
                regions=sorted(self.regions[remark])[:REGIONS_NAMED_MAX],
                regions_count=len(self.regions[remark]),
            )
            for remark in REMARK_CODES
            if remark in self.people
        ]
