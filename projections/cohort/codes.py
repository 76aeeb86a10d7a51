"""The election commission's codes of 2018 for a listed person. An unknown one is kept raw."""

from collections.abc import Mapping
from typing import Final, Literal

KpuMeaning = Literal[
    "not_eligible", "changed", "new", "without_electronic_card", "not_yet_ascertained"
]

KPU_2018: Final[Mapping[str, KpuMeaning]] = {
    **{str(reason): "not_eligible" for reason in range(1, 11)},
    "U": "changed",
    "B": "new",
    "11": "without_electronic_card",
    "12": "not_yet_ascertained",
}
"""1 to 10 are reasons why a person may not vote: `tidak memenuhi syarat`."""


def kpu_meaning(code: str | None) -> KpuMeaning | None:
    """Return what a raw code means; None when nobody has said so."""
    return None if code is None else KPU_2018.get(code.strip().upper())
