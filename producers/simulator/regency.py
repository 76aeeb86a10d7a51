"""The regency's numbers and people: what an office published, and a seeded split of it.

Totals are facts (265,000 and 180,414 on 11 April 2016; 291,506 and 221,314 in March 2018). How
they divide over settlements and days was never published: the split is synthetic and says so in
the denominator's version and basis. Pure: the same people and seed give the same regency.
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Final

from producers.simulator.chance import chance
from producers.simulator.places import SETTLEMENTS

WAJIB: Final = 291_506
RECORDED: Final = 221_314
WAJIB_2016: Final = 265_000
RECORDED_2016: Final = 180_414

FIRST_DAY: Final = date(2012, 2, 1)
DAY_2016: Final = date(2016, 4, 11)
LAST_DAY: Final = date(2018, 3, 31)
DENOMINATOR_2016_FROM: Final = date(2015, 12, 31)
DENOMINATOR_FROM: Final = date(2017, 12, 31)

PEOPLE_MIN: Final = 100
PEOPLE_MAX: Final = 1_000_000
RECORDED_TWICE: Final = 2

DAY_MS: Final = 24 * 3600 * 1000
_ZONE_MS: Final = 8 * 3600 * 1000  # WITA has no summer time
_OPENING_MS: Final = 8 * 3600 * 1000
_OPEN_MS: Final = 7 * 3600 * 1000
_EPOCH: Final = date(1970, 1, 1)


def day_start_ms(day: date) -> int:
    """Return the moment at which a day begins in the office (ms since 1970, UTC)."""
    return (day - _EPOCH).days * DAY_MS - _ZONE_MS


def day_of(ms: int) -> date:
    """Return the office's day of a moment."""
    return datetime.fromtimestamp((ms + _ZONE_MS) / 1000, UTC).date()


END_MS: Final = day_start_ms(LAST_DAY) + DAY_MS - 1
"""The last moment that the published figures cover."""

SIZE_OF_DISTRICT: Final = {
    "64.08.04": 9.0,  # Sangatta Utara holds the capital
    "64.08.12": 4.0,
    "64.08.09": 2.2,
    "64.08.02": 1.8,
    "64.08.08": 1.8,
}
"""How large a settlement of that kecamatan tends to be, against 1.0 elsewhere: a guess."""

UNKNOWN_STATUS: Final = "BIO_HOLD_X7"
"""A code that no published list has: the vocabulary is data."""

_STUCK: Final = ("BIO_CAPTURED", "PROCESSING", "SENT_FOR_ENROLLMENT")
_DUPLICATE: Final = ("SENT_FOR_ENROLLMENT", "RECEIVED_AT_CENTRAL", "DUPLICATE_RECORD")
_UNKNOWN: Final = ("SENT_FOR_ENROLLMENT", "RECEIVED_AT_CENTRAL", UNKNOWN_STATUS)
PATHS: Final[tuple[tuple[int, tuple[str, ...]], ...]] = (
    (520, ("SENT_FOR_ENROLLMENT", "PRINT_READY_RECORD", "CARD_PRINTED")),
    (200, ("SENT_FOR_ENROLLMENT", "RECEIVED_AT_CENTRAL", "PRINT_READY_RECORD")),
    (60, ("BIO_CAPTURED", "SENT_FOR_ENROLLMENT", "PRINT_READY_RECORD", "CARD_PRINTED")),
    (80, _STUCK),
    (
        20,  # a reset at the centre, then sent again
        (
            "SENT_FOR_ENROLLMENT",
            "ENROLL_FAILURE_AT_CENTRAL",
            "BIO_CAPTURED",
            "SENT_FOR_ENROLLMENT",
            "PRINT_READY_RECORD",
        ),
    ),
    (90, ("SENT_FOR_ENROLLMENT", "CARD_PRINTED", "CARD_ISSUED")),
    (
        10,  # a reprint, which is not a new recording
        ("PRINT_READY_RECORD", "CARD_ISSUED", "SENT_FOR_CARD_PRINTING", "CARD_PRINTED"),
    ),
    (15, _DUPLICATE),
    (5, ("SENT_FOR_ENROLLMENT", "ADJUDICATE_RECORD")),
    (0, _UNKNOWN),
)
"""What the centre shows of a person, one after the other, and of how many in a thousand."""

_STEP_DAYS: Final = (2, 9, 24, 40, 55)
_PATH_OF_DUPLICATE: Final = next(n for n, (_, path) in enumerate(PATHS) if path is _DUPLICATE)
_PATH_OF_UNKNOWN: Final = next(n for n, (_, path) in enumerate(PATHS) if path is _UNKNOWN)

COHORT: Final = "kpu-lapas-bontang-2018"
COHORT_BUCKETS: Final = {"terverifikasi": 184, "tercetak": 127, "belum_rekam": 83}
COHORT_ENTRIES: Final = 427
"""33 more than the buckets hold: of those no source says anything."""


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Split `total` in proportion to `weights` by largest remainders; the parts sum to it exactly.

    A tie goes to the earlier weight, so the split is reproducible.
    """
    scale = total / math.fsum(weights)
    quotas = [weight * scale for weight in weights]
    parts = [math.floor(quota) for quota in quotas]
    missing = total - sum(parts)
    by_remainder = sorted(range(len(parts)), key=lambda n: (parts[n] - quotas[n], n))
    for n in by_remainder[:missing]:
        parts[n] += 1
    assert sum(parts) == total  # noqa: S101 - the sums are the promise of this module
    return parts


@dataclass(frozen=True)
class Regency:
    """Everybody who is recorded by LAST_DAY, in the order in which it happened.

    A person is a number, 0 to `people` - 1. Settlements are numbers into SETTLEMENTS.
    """

    people: int
    seed: int

    def __post_init__(self) -> None:
        if not PEOPLE_MIN <= self.people <= PEOPLE_MAX:
            raise ValueError(f"{self.people} people; wanted {PEOPLE_MIN}..{PEOPLE_MAX}")

    # -- sums by settlement ------------------------------------------------------------------

    @cached_property
    def wajib_total(self) -> int:
        """Return who must hold a card, in proportion to the published figure."""
        return round(self.people * WAJIB / RECORDED)

    @cached_property
    def early_total(self) -> int:
        """Return how many are recorded by DAY_2016, in proportion to the published figure."""
        return self.people * RECORDED_2016 // RECORDED

    @cached_property
    def _shape(self) -> tuple[list[float], list[float]]:
        """Return a synthetic size per settlement, and its share of recorded people."""
        random = chance(self.seed, "settlements")
        sizes = [
            SIZE_OF_DISTRICT.get(place.district, 1.0) * random.lognormvariate(0.0, 0.5)
            for place in SETTLEMENTS
        ]
        shares = [random.uniform(0.64, 0.86) for _ in SETTLEMENTS]
        return sizes, shares

    @cached_property
    def recorded(self) -> list[int]:
        """Return the recorded people by settlement on LAST_DAY."""
        sizes, shares = self._shape
        return apportion(self.people, [s * r for s, r in zip(sizes, shares, strict=True)])

    @cached_property
    def wajib(self) -> list[int]:
        """Return the denominator by settlement from DENOMINATOR_FROM on: never below `recorded`."""
        sizes, shares = self._shape
        unrecorded = apportion(
            self.wajib_total - self.people,
            [s * (1 - r) for s, r in zip(sizes, shares, strict=True)],
        )
        return [r + u for r, u in zip(self.recorded, unrecorded, strict=True)]

    @cached_property
    def early(self) -> list[int]:
        """Return the recorded people by settlement on DAY_2016: never more than `recorded`."""
        return apportion(self.early_total, self.recorded)

    @cached_property
    def wajib_2016(self) -> list[int]:
        """Return the denominator by settlement from DENOMINATOR_2016_FROM on."""
        unrecorded = apportion(
            round(self.people * WAJIB_2016 / RECORDED) - self.early_total,
            [w - e for w, e in zip(self.wajib, self.early, strict=True)],
        )
        return [e + u for e, u in zip(self.early, unrecorded, strict=True)]

    # -- people --------------------------------------------------------------------------------

    @cached_property
    def settlement(self) -> bytes:
        """Return the settlement of each person."""
        random = chance(self.seed, "people")
        order: list[int] = []
        late = [r - e for r, e in zip(self.recorded, self.early, strict=True)]
        for counts in (self.early, late):
            part = [n for n, count in enumerate(counts) for _ in range(count)]
            random.shuffle(part)
            order += part
        return bytes(order)

    @cached_property
    def at_ms(self) -> "array[int]":
        """Return the true moment of each person's first recording; it never falls."""
        moments = array("q")
        for total, days in (
            (self.early_total, _campaign_days()),
            (self.people - self.early_total, _ordinary_days()),
        ):
            counts = apportion(total, [weight for _, weight in days])
            for (day, _), count in zip(days, counts, strict=True):
                start = day_start_ms(day) + _OPENING_MS
                moments.extend(start + (2 * n + 1) * _OPEN_MS // (2 * count) for n in range(count))
        return moments

    @cached_property
    def twice(self) -> tuple[tuple[int, int], ...]:
        """Return who is recorded a second time, and when: always later, never by another day."""
        quarter = self.people // 4
        return tuple((quarter + n, self.at_ms[3 * quarter + n] + 1) for n in range(RECORDED_TWICE))

    # -- what the centre shows -------------------------------------------------------------------

    @cached_property
    def path(self) -> bytes:
        """Return the number of each person's path in PATHS."""
        random = chance(self.seed, "statuses")
        shares = [share for share, _ in PATHS]
        paths = bytearray(random.choices(range(len(PATHS)), weights=shares, k=self.people))
        for person, _ in self.twice:
            paths[person] = _PATH_OF_DUPLICATE
        paths[0] = _PATH_OF_UNKNOWN
        return bytes(paths)

    @cached_property
    def observed_steps(self) -> bytes:
        """Return how many steps of each person's path the centre has shown by END_MS."""
        lengths = [len(path) for _, path in PATHS]
        by_age = [
            bisect_right([days * DAY_MS for days in _STEP_DAYS[:length]], age)
            for length in lengths
            for age in (days * DAY_MS for days in range(_STEP_DAYS[-1] + 2))
        ]
        oldest = _STEP_DAYS[-1] + 1
        width = oldest + 1
        # An age is never negative: offices close hours before END_MS.
        return bytes(
            by_age[path * width + min((END_MS - _jitter_ms(person) - at) // DAY_MS, oldest)]
            for person, (path, at) in enumerate(zip(self.path, self.at_ms, strict=True))
        )

    def observations(self, person: int) -> Iterator[tuple[str, int]]:
        """Yield the status codes that the centre showed of a person, each with its moment."""
        start = self.at_ms[person] + _jitter_ms(person)
        steps = PATHS[self.path[person]][1][: self.observed_steps[person]]
        for status, days in zip(steps, _STEP_DAYS, strict=False):
            yield status, start + days * DAY_MS

    @cached_property
    def cohort(self) -> list[tuple[int | None, str | None]]:
        """Return person (None: the list gave no NIK of ours) and bucket of each entry, in order.

        Verified and printed ones are people whose last status fits, as far as there are enough.
        """
        random = chance(self.seed, "cohort")
        sample = random.sample(range(self.people), min(self.people, 20 * COHORT_ENTRIES))
        fitting: dict[str, list[int]] = {"terverifikasi": [], "tercetak": []}
        for person in sample:
            last = list(self.observations(person))[-1:]
            if last and last[0][0] == "PRINT_READY_RECORD":
                fitting["terverifikasi"].append(person)
            elif last and last[0][0] == "CARD_PRINTED":
                fitting["tercetak"].append(person)
        entries: list[tuple[int | None, str | None]] = []
        for bucket, count in COHORT_BUCKETS.items():
            people = fitting.get(bucket, [])[:count]
            entries += [(person, bucket) for person in people]
            entries += [(None, bucket)] * (count - len(people))
        entries += [(None, None)] * (COHORT_ENTRIES - len(entries))
        random.shuffle(entries)
        return entries


def _jitter_ms(person: int) -> int:
    """Return up to two hours, so that the centre does not answer everybody at the same moment."""
    return person * 7919 % (2 * 3600 * 1000)


def _working_days(first: date, last: date) -> list[date]:
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    # Monday to Friday, and the last Saturday of a month, when offices come to the villages.
    return [day for day in days if day.weekday() < 5 or _is_last_saturday(day)]  # noqa: PLR2004


def _is_last_saturday(day: date) -> bool:
    return day.weekday() == 5 and (day + timedelta(days=7)).month != day.month  # noqa: PLR2004


def _campaign_days() -> list[tuple[date, float]]:
    """Return the days up to DAY_2016: the mass recording of 2012 that faded within two years."""
    days = _working_days(FIRST_DAY, DAY_2016)
    return [(day, 1 + 6 * math.exp(-n / 180)) for n, day in enumerate(days)]


def _ordinary_days() -> list[tuple[date, float]]:
    """Return the days after DAY_2016: at the end about 85 recordings on each."""
    days = _working_days(DAY_2016 + timedelta(days=1), LAST_DAY)
    return [(day, 68 + 17 * n / len(days)) for n, day in enumerate(days)]


_BIRTHDAYS: Final = 18_250
_SERIALS_MAX: Final = 9_999
NIKS_MAX: Final = 2 * _BIRTHDAYS * _SERIALS_MAX


def _birth_digits() -> list[str]:
    born = (date(1945, 1, 1) + timedelta(days=n) for n in range(_BIRTHDAYS))
    return [
        f"{day.day + forty:02}{day.month:02}{day.year % 100:02}"
        for day in born
        for forty in (0, 40)
    ]


_BIRTH_DIGITS: Final = _birth_digits()


def nik_of(person: int) -> str:
    """Return the made-up NIK of a person number below NIKS_MAX; no two share one."""
    # 7919 has no factor in common with the number of birth days, so this visits each of them once.
    digits = _BIRTH_DIGITS[person * 7919 % len(_BIRTH_DIGITS)]
    return f"640808{digits}{person // len(_BIRTH_DIGITS) + 1:04}"
