"""The regions of Kutai Timur (Kemendagri 64.08) as they are: 18 kecamatan, 141 settlements."""

import csv
from dataclasses import dataclass
from importlib import resources
from typing import Final

REGENCY: Final = "64.08"
DISTRICT_LEVEL: Final = "kecamatan"
SETTLEMENT_LEVELS: Final = frozenset({"desa", "kelurahan"})


@dataclass(frozen=True, slots=True)
class Place:
    """One region by its Kemendagri code. `level` is kabupaten, kecamatan, desa or kelurahan."""

    code: str
    level: str
    name: str

    @property
    def district(self) -> str:
        """Return the code of the kecamatan that it lies in, or is."""
        return self.code[:8]


def _read() -> tuple[Place, ...]:
    text = resources.files("producers.simulator").joinpath("regions.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(Place(row["kode"], row["level"], row["nama"]) for row in rows)


PLACES: Final = _read()
"""All of them in the order of their codes, the regency first."""

DISTRICTS: Final = tuple(place for place in PLACES if place.level == DISTRICT_LEVEL)
SETTLEMENTS: Final = tuple(place for place in PLACES if place.level in SETTLEMENT_LEVELS)
"""Their order gives the numbers by which `Regency` names a settlement."""
