"""What the simulated regency's registrar states: the tree, the denominators, the enrolments."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

from producers.simulator.fleet import ENROLLED_MS, Plan
from producers.simulator.places import PLACES, SETTLEMENTS
from producers.simulator.regency import (
    DENOMINATOR_2016_FROM,
    DENOMINATOR_FROM,
    FIRST_DAY,
    WAJIB,
    WAJIB_2016,
    Regency,
)
from rekam.domain.events import (
    Denominator,
    DenominatorPublished,
    EventData,
    ProducerEnrolled,
    Region,
    TreePublished,
)

TREE_VERSION: Final = "kutai-timur-141"
SYNTHETIC: Final = "sintetis / synthetic"


def reference(regency: Regency) -> list[EventData]:
    """Return the region tree and both denominators. Totals are published, splits are synthetic."""
    return [
        TreePublished(
            version=TREE_VERSION,
            valid_from=FIRST_DAY,
            regions=tuple(Region(place.code, place.name) for place in PLACES),
        ),
        _denominator("DKB-2-2015", DENOMINATOR_2016_FROM, regency.wajib_2016, published=WAJIB_2016),
        _denominator("DKB-2-2017", DENOMINATOR_FROM, regency.wajib, published=WAJIB),
    ]


def _denominator(
    name: str, valid_from: date, wajib: Sequence[int], *, published: int
) -> DenominatorPublished:
    total = sum(wajib)
    is_published = total == published
    source = (
        "jumlah dipublikasikan / published total" if is_published else f"skala / scaled to {total}"
    )
    return DenominatorPublished(
        version=f"{name} (sintetis)",
        basis=f"Wajib KTP Kutai Timur, {source}; pembagian per desa {SYNTHETIC}",
        valid_from=valid_from,
        rows=tuple(
            Denominator(place.code, count) for place, count in zip(SETTLEMENTS, wajib, strict=True)
        ),
    )


def enrolments(producers: Iterable[tuple[Plan, str]]) -> list[EventData]:
    """Return an enrolment for each producer with its public key (base64)."""
    return [
        ProducerEnrolled(
            producer=plan.producer,
            kind=plan.kind,
            place=plan.place,
            key=key,
            enrolled_ms=ENROLLED_MS,
        )
        for plan, key in producers
    ]
