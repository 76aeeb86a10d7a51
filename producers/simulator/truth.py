"""What the projections must say once everything the fleet planned is folded. For tests."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from producers.simulator.fleet import DEVICES_USUAL, Fleet
from producers.simulator.places import SETTLEMENTS
from producers.simulator.publication import enrolments, reference
from producers.simulator.regency import (
    COHORT,
    COHORT_BUCKETS,
    COHORT_ENTRIES,
    DENOMINATOR_2016_FROM,
    DENOMINATOR_FROM,
    Regency,
    day_of,
)

NOT_OBSERVED: Final = "BIO_CAPTURED"
"""Where somebody counts of whom the centre has said nothing: the data has not left the office."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The truth about a simulated regency on and after LAST_DAY, before any trickle."""

    wajib: Mapping[str, int]
    """By settlement, from DENOMINATOR_FROM on."""
    wajib_2016: Mapping[str, int]
    """By settlement, from DENOMINATOR_2016_FROM on."""
    recorded_on: Mapping[tuple[str, date], int]
    """People by settlement and day of their first recording."""
    statuses: Mapping[str, int]
    """People by the last status, whose sum is everybody."""
    cohort: str
    cohort_entries: int
    buckets: Mapping[str, int]
    """Entries by bucket; the rest of the entries is unresolved."""
    recordings: int
    events_of_fleet: int
    """Events of recorders, feeds and the KPU's desk."""
    events_of_registrar: int
    """Tree, denominators and enrolments; the registrar's own clock anchors come on top."""
    segments_sent_twice: int
    """Of a run that nobody interrupted."""

    def wajib_of(self, region: str, as_of: date) -> int | None:
        """Return the denominator of a region by its code; None before there was one."""
        if as_of < DENOMINATOR_2016_FROM:
            return None
        wajib = self.wajib if as_of >= DENOMINATOR_FROM else self.wajib_2016
        return sum(count for code, count in wajib.items() if _lies_in(code, region))

    def recorded_of(self, region: str, as_of: date) -> int:
        """Return how many people of a region were recorded by the end of a day."""
        return sum(
            count
            for (code, day), count in self.recorded_on.items()
            if day <= as_of and _lies_in(code, region)
        )


def expected(
    people: int, *, seed: int, devices: int = DEVICES_USUAL, fleet: Fleet | None = None
) -> Figures:
    """Return the figures of a regency; give a `fleet` of the same numbers to save time."""
    fleet = fleet or Fleet(Regency(people, seed), devices)
    regency = fleet.regency
    codes = [place.code for place in SETTLEMENTS]
    statuses: Counter[str] = Counter()
    for person in range(people):
        *_, (status, _) = [(NOT_OBSERVED, 0), *regency.observations(person)]
        statuses[status] += 1
    return Figures(
        wajib=dict(zip(codes, regency.wajib, strict=True)),
        wajib_2016=dict(zip(codes, regency.wajib_2016, strict=True)),
        recorded_on=Counter(
            (codes[settlement], day_of(at_ms))
            for settlement, at_ms in zip(regency.settlement, regency.at_ms, strict=True)
        ),
        statuses=statuses,
        cohort=COHORT,
        cohort_entries=COHORT_ENTRIES,
        buckets=dict(COHORT_BUCKETS),
        recordings=people + len(regency.twice),
        events_of_fleet=fleet.events,
        events_of_registrar=(
            len(reference(regency)) + len(enrolments((plan, "") for plan in fleet.plans))
        ),
        segments_sent_twice=sum(
            -(-visit.count // visit.segment_events_max)
            for plan in fleet.plans
            if plan.is_sent_twice
            for visit in plan.visits
        ),
    )


def _lies_in(code: str, region: str) -> bool:
    return code == region or code.startswith(f"{region}.")
