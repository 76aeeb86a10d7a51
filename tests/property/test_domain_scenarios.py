"""The cases and traps of the office, each told once: its story, its figures, its events.

Every scenario is folded as its records came, backwards and shuffled: the figures are the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import pytest

from producers.office import columns
from projections.coverage.reads import percent_of
from projections.regions import Level
from rekam.domain import events
from rekam.domain.keys import SigningKey
from rekam.domain.log import LogRecord
from rekam.domain.segment import parse
from tests.support.deciding import discarding
from tests.support.history import REGISTRAR, anchored
from tests.support.scenario import (
    DESA,
    Ask,
    Office,
    ages,
    buckets,
    cases,
    causes,
    changes,
    codes,
    copies,
    coverage,
    denominator,
    device,
    disputed,
    left_out,
    letters,
    months,
    name,
    noon_ms,
    person,
    remarks,
    residuals,
    settlements,
    stages,
    statuses,
    turns,
)

SINGA_GEWEH_DESA = "64.08.12.2002"
SINGA_GEWEH = "64.08.12.1002"
OTHER_DESA = "64.08.05.2006"
BPS_REGENCY, BPS_DESA = columns.code("6404"), columns.desa_code("6404010001")
"""Kutai Timur and a desa of it as BPS numbers them, as the office's reader takes them."""
MARCH = date(2018, 3, 31)
REPORTED, MAY = date(2018, 4, 11), date(2018, 5, 20)
APRIL_2019 = date(2019, 4, 28)
YESTERDAY, TODAY = date(2018, 3, 1), date(2018, 3, 2)
A_DAY_MS = 86_400_000
BOTH_TREES = date(2017, 1, 1)

Tell = Callable[[Office], None]


@dataclass(frozen=True)
class Scenario:
    """A story, what is then published, and the events."""

    story: str
    figures: Mapping[Ask, object]
    tell: Tell


SCENARIOS: list[Scenario] = []


def scenario(story: str, figures: Mapping[Ask, object]) -> Callable[[Tell], Tell]:
    """Register a scenario; what is decorated tells its events."""

    def register(tell: Tell) -> Tell:
        SCENARIOS.append(Scenario(story, figures, tell))
        return tell

    return register


@pytest.mark.parametrize("told", SCENARIOS, ids=lambda told: told.story)
def test_the_figures_are_these_in_whatever_order_the_records_come(told: Scenario) -> None:
    assert len({ask.told for ask in told.figures}) == len(told.figures), "two asks have one name"
    office = Office()
    told.tell(office)
    straight = office.log.records
    backwards = straight[::-1]
    orders = [
        (straight, 1),
        (backwards, 1),
        # Backwards, but nothing waits: what is known later comes first, and is judged at once.
        (sorted(backwards, key=lambda record: not is_of_registrar(record)), 1),
        (office.shuffled(1), 2),
        (office.shuffled(2), 5),
    ]
    for number, (records, records_max) in enumerate(orders):
        published = office.published(records, records_max=records_max)
        answers = {ask.told: ask.of(published) for ask in told.figures}
        expected = {ask.told: answer for ask, answer in told.figures.items()}
        assert answers == expected, f"order {number}"


@pytest.mark.parametrize(
    ("recorded", "wajib_ktp", "percent"),
    [(221_314, 291_506, "75.92"), (180_414, 265_000, "68.08"), (238_379, 289_542, "82.33")],
)
def test_the_published_totals_give_their_percent_to_two_decimals(
    recorded: int, wajib_ktp: int, percent: str
) -> None:
    """What the newspaper rounds to 76 % is 75.92 %."""
    assert str(percent_of(recorded, wajib_ktp)[0]) == percent


def is_of_registrar(record: LogRecord) -> bool:
    return parse(record.value).header.producer == REGISTRAR


# -- words of the stories ----------------------------------------------------------------------


def captured(
    number: int, desa: str = DESA, *, recording: str = "", place: str = "640804"
) -> events.RecordingCaptured:
    return events.RecordingCaptured(
        recording=recording or f"r-{number}",
        nik=person(number, place=place),
        domicile=desa,
        place="64.08.04",
        mode="offline",
    )


def shown(number: int, status: str, on: date, *, minutes: int = 0) -> events.StatusObserved:
    observed_ms = noon_ms(on) + minutes * 60_000
    return events.StatusObserved(
        nik=person(number), status=status, observed_ms=observed_ms, source="siak"
    )


def revoked(since: date) -> events.ProducerRevoked:
    return events.ProducerRevoked(producer="dev", effective_ms=noon_ms(since), reason="dicuri")


def wajib(
    rows: Mapping[str, int], version: str = "DKB-2-2017", valid: date = date(2017, 12, 31)
) -> events.DenominatorPublished:
    return events.DenominatorPublished(
        version=version,
        basis="DKB",
        valid_from=valid,
        rows=tuple(events.Denominator(desa, count) for desa, count in rows.items()),
    )


def tree(
    regions: Mapping[str, str],
    version: str,
    valid: date,
    mapping: Mapping[str, str] | None = None,
) -> events.TreePublished:
    return events.TreePublished(
        version=version,
        valid_from=valid,
        regions=tuple(events.Region(code, region) for code, region in regions.items()),
        mapping=dict(mapping or {}),
    )


def both_trees(office: Office) -> None:
    """Publish the tree of 2016, with 135 settlements, and that of 2017, with six more."""
    above = {"64.08": "Kutai Timur", "64.08.12": "Sangatta Selatan", "64.08.05": "Sangkulirang"}
    others = {f"64.08.18.{2001 + number}": f"desa {number}" for number in range(139)}
    before = dict([*others.items()][:133])
    office.states(
        tree(
            above | {SINGA_GEWEH_DESA: "Singa Geweh", OTHER_DESA: "Benua Baru"} | before,
            "2016",
            date(2010, 1, 1),
        ),
        arrives=date(2012, 1, 5),
    )
    office.states(
        tree(
            above | {SINGA_GEWEH: "Singa Geweh", OTHER_DESA: "Benua Baru Ilir"} | others,
            "2017",
            BOTH_TREES,
            {SINGA_GEWEH_DESA: SINGA_GEWEH},
        ),
        arrives=date(2017, 2, 1),
    )


# -- coverage: denominators, trees, codes --------------------------------------------------------


@scenario(
    "131 recorded of 125 is 104.80 %, unrecorded is -6, and the causes are named",
    {
        coverage(MARCH): (125, 131, -6, "104.80", 0),
        coverage(MARCH, region="64.08.04.2009"): (0, 3, -3, None, 0),
        remarks(MARCH): {
            "more_recorded_than_wajib": 6,
            "not_in_denominator": 3,
            "not_in_tree": 3,
        },
    },
)
def _(office: Office) -> None:
    both = {"64.08": "Kutai Timur", DESA: "Teluk Lingga", OTHER_DESA: "Benua Baru Ilir"}
    office.states(tree(both, "2017", BOTH_TREES), arrives=date(2017, 2, 1))
    office.states(wajib({DESA: 100, OTHER_DESA: 25}), arrives=date(2018, 1, 5))
    places = [DESA] * 105 + [OTHER_DESA] * 23 + ["64.08.04.2009"] * 3
    recorded = [captured(number, desa) for number, desa in enumerate(places)]
    office.says(office.enrol("dev"), *recorded, on=TODAY)


@scenario(
    "a published table is off by 167: here recorded + unrecorded is wajib, and the 167 have a row",
    {
        coverage(MARCH): (300, 267, 33, "89.00", 0),
        coverage(MARCH, region=DESA): (300, 100, 200, "33.33", 0),
        coverage(MARCH, region="64.08.99.2001"): (0, 167, -167, None, 0),
        remarks(MARCH): {"not_in_denominator": 167, "no_tree": 0},
    },
)
def _(office: Office) -> None:
    office.states(wajib({DESA: 300}), arrives=date(2018, 1, 5))
    places = [DESA] * 100 + ["64.08.99.2001"] * 167
    recorded = [captured(number, desa) for number, desa in enumerate(places)]
    office.says(office.enrol("dev"), *recorded, on=TODAY)


@scenario(
    "wajib KTP falls from 291,506 to 289,542, and each report keeps the one that it rests on",
    {
        coverage(MARCH): (291_506, 3, 291_503, "0.00", 0),
        coverage(APRIL_2019): (289_542, 3, 289_539, "0.00", 0),
        coverage(APRIL_2019, known_at=date(2019, 1, 9)): (291_506, 3, 291_503, "0.00", 0),
        denominator(MARCH): "DKB-2-2017",
        denominator(APRIL_2019): "DKB-2-2018",
        denominator(date(2016, 4, 11)): None,
        coverage(date(2016, 4, 11)): (None, 0, None, None, 0),
    },
)
def _(office: Office) -> None:
    office.states(wajib({DESA: 291_506}), arrives=date(2018, 1, 5))
    fallen = wajib({DESA: 289_542}, "DKB-2-2018", date(2018, 12, 31))
    office.states(fallen, arrives=date(2019, 1, 10))
    office.says(office.enrol("dev"), *map(captured, range(3)), on=TODAY)


@scenario(
    "a denominator that is published again under its version takes the place of the first",
    {
        coverage(MARCH): (7, 0, 7, "0.00", 0),
        coverage(MARCH, known_at=date(2018, 1, 7)): (700, 0, 700, "0.00", 0),
    },
)
def _(office: Office) -> None:
    office.states(wajib({DESA: 700}), arrives=date(2018, 1, 5))
    office.states(wajib({DESA: 7}), arrives=date(2018, 1, 8))


@scenario(
    "two regencies call their denominators of a semester by its name, and each keeps its own",
    {
        coverage(MARCH): (7, 0, 7, "0.00", 0),
        coverage(MARCH, regency="64.72"): (9, 0, 9, "0.00", 0),
        coverage(MARCH, regency="64.72", known_at=date(2018, 1, 7)): (90, 0, 90, "0.00", 0),
    },
)
def _(office: Office) -> None:
    office.states(wajib({DESA: 7}), arrives=date(2018, 1, 5))
    office.states(wajib({"64.72.01.1001": 90}), arrives=date(2018, 1, 6))
    office.states(wajib({"64.72.01.1001": 9}), arrives=date(2018, 1, 8))


@scenario(
    "Singa Geweh becomes a kelurahan: its people move to the new code with the tree's first day",
    {
        coverage(MARCH, region=SINGA_GEWEH): (10, 2, 8, "20.00", 0),
        coverage(MARCH, region=SINGA_GEWEH_DESA): None,
        coverage(date(2016, 12, 31), region=SINGA_GEWEH_DESA): (10, 1, 9, "10.00", 0),
        coverage(date(2016, 12, 31), region=SINGA_GEWEH): None,
        coverage(BOTH_TREES, known_at=date(2017, 1, 31), region=SINGA_GEWEH_DESA): (
            *(10, 1, 9, "10.00", 0),
        ),
        coverage(MARCH, region="64.08.12", level=Level.KECAMATAN): (10, 2, 8, "20.00", 0),
        remarks(MARCH): {"recoded": 2},
    },
)
def _(office: Office) -> None:
    both_trees(office)
    base = wajib({SINGA_GEWEH_DESA: 10}, "2015", date(2015, 1, 1))
    office.states(base, arrives=date(2015, 2, 1))
    device = office.enrol("dev")
    office.says(device, captured(1, SINGA_GEWEH_DESA), on=date(2015, 6, 1))
    office.says(device, captured(2, SINGA_GEWEH_DESA), on=date(2018, 2, 1))  # an old form


@scenario(
    "a report about 2016 has the 135 settlements and the names of then, one of 2018 has 141",
    {
        settlements(date(2016, 4, 11)): ("2016", 135),
        settlements(MARCH): ("2017", 141),
        name(OTHER_DESA, date(2016, 4, 11)): "Benua Baru",
        name(OTHER_DESA, MARCH): "Benua Baru Ilir",
    },
)
def _(office: Office) -> None:
    both_trees(office)


@scenario(
    "a kecamatan is re-coded and takes its desa with it, those with an entry of their own go there",
    {
        coverage(MARCH, region="64.08.19.2001"): (None, 1, None, None, 0),
        coverage(MARCH, region="64.08.12.1002"): (None, 1, None, None, 0),
        coverage(date(2016, 12, 31), region=DESA): (None, 1, None, None, 0),
        coverage(MARCH): (None, 2, None, None, 0),
    },
)
def _(office: Office) -> None:
    mapping = {"64.08.04": "64.08.19", "64.08.04.2002": SINGA_GEWEH}
    office.states(tree({"64.08": "Kutai Timur"}, "2017", BOTH_TREES, mapping), arrives=BOTH_TREES)
    recorded = (captured(1, DESA), captured(2, "64.08.04.2002"))
    office.says(office.enrol("dev"), *recorded, on=date(2016, 5, 2))


@scenario(
    "a desa bears its kecamatan's name: codes tell them apart, and nobody is counted in both",
    {
        coverage(MARCH, region="64.08.02.2001"): (4, 1, 3, "25.00", 0),
        coverage(MARCH, region="64.08.02.2002"): (6, 2, 4, "33.33", 0),
        coverage(MARCH, region="64.08.02", level=Level.KECAMATAN): (10, 3, 7, "30.00", 0),
        coverage(MARCH): (10, 3, 7, "30.00", 0),
    },
)
def _(office: Office) -> None:
    named = {
        "64.08": "Kutai Timur",
        "64.08.02": "Muara Wahau",
        "64.08.02.2001": "Muara Wahau",
        "64.08.02.2002": "Nehas Liah Bing",
    }
    office.states(tree(named, "2017", BOTH_TREES), arrives=date(2017, 2, 1))
    office.states(wajib({"64.08.02.2001": 4, "64.08.02.2002": 6}), arrives=date(2018, 1, 5))
    recorded = [captured(1, "64.08.02.2001"), *(captured(n, "64.08.02.2002") for n in (2, 3))]
    office.says(office.enrol("dev"), *recorded, on=TODAY)


@scenario(
    "BPS calls Kutai Timur 6404: a table by its codes is of 64.04, and changes nothing of 64.08",
    {
        coverage(MARCH): (10, 2, 8, "20.00", 0),
        coverage(MARCH, region=BPS_DESA): None,
        coverage(MARCH, regency=BPS_REGENCY): (70, 1, 69, "1.43", 0),
        coverage(MARCH, regency=BPS_REGENCY, region=BPS_DESA): (70, 1, 69, "1.43", 0),
        coverage(MARCH, regency=BPS_REGENCY, region=DESA): None,
        settlements(MARCH): ("2017", 1),
        denominator(MARCH): "DKB-2-2017",
        name("64.08", MARCH): "Kutai Timur",
        name(BPS_REGENCY, MARCH): None,
        remarks(MARCH): {},
        codes("lapas"): {("6404", None): 1, ("64.08", None): 1},
        left_out(): {},
    },
)
def _(office: Office) -> None:
    """Both regencies are published under one basis, and for the same days."""
    kemendagri = {"64.08": "Kutai Timur", DESA: "Teluk Lingga"}
    bps = {BPS_REGENCY: "Kutai Timur", BPS_DESA: "Teluk Lingga"}
    office.states(tree(kemendagri, "2017", BOTH_TREES), arrives=date(2017, 2, 1))
    office.states(tree(bps, "2017-BPS", BOTH_TREES), arrives=date(2017, 2, 2))
    office.states(wajib({DESA: 10}), arrives=date(2018, 1, 5))
    office.states(wajib({BPS_DESA: 70}, "DKB-2-2017-BPS"), arrives=date(2018, 1, 6))
    recorded = (captured(1), captured(2), captured(3, BPS_DESA))
    office.says(office.enrol("dev"), *recorded, on=TODAY)
    listed = [
        events.CohortEntryListed(cohort="lapas", entry=number, version="1", code=told)
        for number, told in enumerate(("6404", "64.08"), start=1)
    ]
    office.says(office.enrol("kpu", "kpu"), *listed, on=TODAY)


@scenario(
    "a NIK from Bontang, or of a woman born elsewhere, is no domicile: the recording's desa counts",
    {
        coverage(region=OTHER_DESA): (None, 2, None, None, 0),
        coverage(region=DESA): None,
        coverage(regency="64.74"): (None, 0, None, None, 0),
    },
)
def _(office: Office) -> None:
    strangers = [captured(1, OTHER_DESA, place="647401"), captured(4_411_900_001, OTHER_DESA)]
    office.says(office.enrol("dev"), *strangers, on=TODAY)


@scenario(
    "who moves house is counted once, in the desa of the latest recording, since the earliest day",
    {
        coverage(YESTERDAY, region=OTHER_DESA): (None, 1, None, None, 0),
        coverage(region=DESA): None,
        coverage(YESTERDAY, known_at=YESTERDAY, region=DESA): (None, 1, None, None, 0),
        coverage(): (None, 1, None, None, 0),
    },
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    office.says(device, captured(1, DESA, recording="a"), on=YESTERDAY)
    office.says(device, captured(1, OTHER_DESA, recording="b"), on=TODAY)


# -- what happens in the field -----------------------------------------------------------------


@scenario(
    "a clock at 1970: the date is unknown and in no month, until a later session knows the time",
    {
        coverage(MARCH, known_at=date(2018, 3, 20)): (None, 0, None, None, 1),
        coverage(MARCH): (None, 1, None, None, 0),
        coverage(date(2018, 3, 4)): (None, 0, None, None, 0),
        months(): {"2018-03-01": 1},
        causes(): {"arrived": 1},
    },
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    device.boot = "flat-battery"
    office.says(device, captured(1), on=date(1970, 1, 2), arrives=date(2018, 3, 6))
    device.boot = "boot-1"
    offset_ms = noon_ms(date(2018, 3, 5)) - noon_ms(date(1970, 1, 2))
    office.says(device, anchored("flat-battery", offset_ms), on=date(2018, 3, 21))


@scenario(
    "a clock three years ahead: no report of 2021 has the recording; its anchor mends the day",
    {
        coverage(date(2021, 3, 31), known_at=date(2018, 3, 9)): (None, 0, None, None, 1),
        coverage(YESTERDAY): (None, 1, None, None, 0),
        months(): {"2018-03-01": 1},
    },
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    device.boot = "ahead"
    office.says(device, captured(1), on=date(2021, 3, 1), arrives=TODAY)
    device.boot = "boot-1"
    offset_ms = noon_ms(YESTERDAY) - noon_ms(date(2021, 3, 1))
    office.says(device, anchored("ahead", offset_ms), on=date(2018, 3, 10))


@scenario(
    "a device knows better what time it was: its later word stands, also if it arrives first",
    {
        coverage(YESTERDAY): (None, 1, None, None, 0),
        coverage(date(2018, 2, 28)): (None, 0, None, None, 0),
    },
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    device.boot = "odd"
    office.says(device, captured(1), on=date(2018, 2, 1), arrives=TODAY)
    for days, arrives in ((5, date(2018, 3, 20)), (28, date(2018, 3, 10))):
        office.says(device, anchored("odd", days * A_DAY_MS), on=TODAY, arrives=arrives)


@scenario(
    "a date that stays unknown is in no month and in no percent, but in its own column",
    {coverage(MARCH): (10, 0, 10, "0.00", 1), coverage(): (10, 0, 10, "0.00", 1), months(): {}},
)
def _(office: Office) -> None:
    office.states(wajib({DESA: 10}), arrives=date(2018, 1, 5))
    device = office.enrol("dev")
    device.boot = "never-anchored"
    office.says(device, captured(1), on=TODAY)


@scenario(
    "the clock is 24 hours ahead and believed; a minute more, and it is not",
    {coverage(date(2018, 3, 3)): (None, 1, None, None, 1)},
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    for number, minutes in enumerate((-1, 1), start=1):
        wall_ms = noon_ms(TODAY) + A_DAY_MS + minutes * 60_000
        raw = device.seal(device.event(captured(number), wall_ms=wall_ms))
        office.append(raw, device, arrives=TODAY)


@scenario(
    "the same queue by the server, directly, and by a stick weeks later: counted once, known first",
    {
        coverage(MARCH): (None, 3, None, None, 0),
        coverage(MARCH, known_at=date(2018, 3, 6)): (None, 0, None, None, 0),
        coverage(MARCH, known_at=date(2018, 3, 7)): (None, 3, None, None, 0),
        copies(): 2,
        left_out(): {},
        changes(TODAY): {("arrived", "dev", "offline", "gateway"): 3},
    },
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    for raw in office.seals(device, *map(captured, range(3)), on=TODAY):
        arrivals = (  # told the latest first
            (date(2018, 4, 2), "usb"),
            (date(2018, 3, 8), "kafka"),
            (date(2018, 3, 7), "gateway"),
        )
        for elsewhere, (arrives, route) in enumerate(arrivals):
            office.append(raw, device, arrives=arrives, elsewhere=elsewhere, route=route)


@scenario(
    "a stick brings what the device had recorded in March: late arrivals by its producer, by usb",
    {
        coverage(MARCH, known_at=REPORTED): (None, 2, None, None, 0),
        coverage(MARCH): (None, 7, None, None, 0),
        changes(REPORTED): {
            ("arrived", "dev", "offline", "usb"): 3,
            ("arrived", "dev", "offline", "kafka"): 1,
            ("arrived", "other", "offline", "relay"): 1,
        },
        left_out(): {},
    },
)
def _(office: Office) -> None:
    device, other = office.enrol("dev"), office.enrol("other")
    office.says(device, captured(1), on=TODAY)
    office.says(other, captured(2), on=TODAY, arrives=REPORTED, route="gateway")
    office.says(device, *map(captured, range(3, 6)), on=TODAY, arrives=MAY, route="usb")
    office.says(other, captured(6), on=TODAY, arrives=MAY, route="relay")
    office.says(device, captured(7), on=TODAY, arrives=MAY)


@scenario(
    "a stick comes before the enrolment: what waited is told by the stick, not by a later copy",
    {
        changes(TODAY): {("arrived", "late", "offline", "usb"): 2},
        copies(): 1,
        left_out(): {},
    },
)
def _(office: Office) -> None:
    device = office.enrol("late", arrives=MAY)
    for raw in office.seals(device, captured(1), captured(2), on=TODAY):
        office.append(raw, device, arrives=REPORTED, route="usb")
        office.append(raw, device, arrives=MAY, elsewhere=1, route="gateway")


@scenario(
    "a withdrawal is told by no route, and a recording by none when its record tells none",
    {
        changes(REPORTED): {
            ("withdrawn", "dev", "", ""): -1,
            ("arrived", "dev", "offline", ""): 1,
        },
        left_out(): {},
    },
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    office.says(device, captured(1), on=TODAY, route="relay")
    withdrawn = events.RecordingWithdrawn(recording="r-1", nik=person(1), reason="salah")
    office.says(device, withdrawn, on=MAY, route="usb")
    office.says(device, captured(2), on=TODAY, arrives=MAY, route="")


@scenario(
    "a device's new key is told by two ways: what it signed is known since the earlier one of them",
    {
        coverage(MARCH, known_at=date(2018, 3, 4)): (None, 0, None, None, 0),
        coverage(MARCH, known_at=date(2018, 3, 5)): (None, 1, None, None, 0),
        left_out(): {},
    },
)
def _(office: Office) -> None:
    device, key = office.enrol("dev"), SigningKey.from_seed(bytes([90]) * 32)
    happened = device.event(captured(1), wall_ms=noon_ms(YESTERDAY))
    office.append(device.seal(happened, key=key), device, arrives=TODAY)
    rotated = events.KeyRotated(producer="dev", key=key.public.to_text(), rotated_ms=1)
    for raw in office.seals(office.registrar, rotated, on=YESTERDAY):
        for elsewhere, arrives in enumerate((date(2018, 3, 10), date(2018, 3, 5))):
            office.append(raw, office.registrar, arrives=arrives, elsewhere=elsewhere)


@scenario(
    "an SD card is restored from an image: what arrived first counts, the rest is a fork and shown",
    {
        coverage(MARCH): (None, 3, None, None, 0),
        coverage(MARCH, region=DESA): (None, 3, None, None, 0),
        coverage(MARCH, region=OTHER_DESA): None,
        left_out(): {"fork_lost": 2},
    },
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    write_back = office.restores(device)
    office.says(device, captured(1), captured(2), on=YESTERDAY)
    write_back()
    office.says(device, captured(3, OTHER_DESA), captured(4, OTHER_DESA), on=TODAY)
    office.opens_epoch(device)
    office.says(device, anchored("boot-1"), captured(5), on=TODAY)


@scenario(
    "a fork whose rival has waited for its key: whoever was appended first, not whoever was read",
    {coverage(MARCH): (None, 1, None, None, 0), coverage(region=OTHER_DESA): None},
)
def _(office: Office) -> None:
    device = office.enrol("dev", arrives=date(2018, 3, 20))
    write_back = office.restores(device)
    office.says(device, captured(1), on=YESTERDAY)
    write_back()
    office.says(device, captured(2, OTHER_DESA), on=TODAY)


@scenario(
    "15,600 recordings are carried to the capital by hand a year later, and a closed month changes",
    {
        coverage(date(2017, 6, 30), known_at=date(2018, 6, 1)): (20_000, 1, 19_999, "0.01", 0),
        coverage(date(2017, 6, 30)): (20_000, 15_601, 4_399, "78.01", 0),
        months(): {"2017-06-01": 15_601},
        causes(): {"arrived": 15_601},
    },
)
def _(office: Office) -> None:
    office.states(wajib({DESA: 20_000}, "2016", date(2016, 12, 31)), arrives=date(2017, 1, 5))
    device = office.enrol("dev")
    office.says(device, captured(0), on=date(2017, 6, 1))
    late = map(captured, range(1, 15_601))
    office.says(device, *late, on=date(2017, 6, 2), arrives=date(2018, 6, 2))


@scenario(
    "a worn scanner records one person three times, and a second device does once more: one person",
    {
        coverage(MARCH): (None, 1, None, None, 0),
        coverage(MARCH, region=OTHER_DESA): (None, 1, None, None, 0),
        causes(): {"arrived": 1},
        months(): {"2018-03-01": 1},
        cases(): {("two_recordings", "open"): 1},
    },
)
def _(office: Office) -> None:
    worn, other = office.enrol("dev-worn"), office.enrol("dev-other")
    again = [captured(1, recording=f"try-{number}") for number in range(3)]
    office.says(worn, *again, on=YESTERDAY, arrives=date(2018, 3, 9))
    office.says(other, captured(1, OTHER_DESA, recording="other"), on=TODAY)


@scenario(
    "of two broken kits one is made: people of both count, each tells which parts it lost and got",
    {
        coverage(MARCH): (None, 5, None, None, 0),
        coverage(MARCH, known_at=REPORTED): (None, 4, None, None, 0),
        changes(date(2018, 2, 28)): {
            ("arrived", "kit-mended", "offline", "kafka"): 3,
            ("arrived", "kit-taken-from", "offline", "usb"): 2,
        },
        device("kit-mended"): (
            "NO_FAULT_REPORTED",
            {"camera": "CAM-0007", "fingerprint_scanner": "FS-0108"},
            [],
            {"t-1": "closed"},
        ),
        device("kit-taken-from"): (
            "REPORTED_FAULT",
            {"fingerprint_scanner": None},
            [("camera", "no_image")],
            {},
        ),
        cases(): {},
        left_out(): {},
    },
)
def _(office: Office) -> None:
    """One kit's scanner is worn, the other one's camera; what the latter recorded lay on it."""
    mended, taken_from = office.enrol("kit-mended"), office.enrol("kit-taken-from")
    desk = office.enrol("desk", "office")
    scanner, camera = "fingerprint_scanner", "camera"
    worn = events.FaultReported(component=scanner, fault="worn")
    dark = events.FaultReported(component=camera, fault="no_image")
    # An earlier repair: its new camera stays, its new scanner wears out too.
    first_camera = events.ComponentSwapped(slot=camera, removed="CAM-0001", installed="CAM-0007")
    first_scanner = events.ComponentSwapped(slot=scanner, removed="FS-0001", installed="FS-0021")
    office.says(mended, first_camera, first_scanner, on=date(2017, 5, 2))
    office.says(mended, captured(1), captured(2), worn, on=YESTERDAY)
    (lay,) = office.seals(taken_from, captured(3), dark, on=YESTERDAY)
    (lay_longer,) = office.seals(taken_from, captured(4), on=TODAY)
    opened = events.TicketOpened(ticket="t-1", producer="kit-mended", summary="sidik jari buram")
    office.says(desk, opened, on=TODAY)
    given = events.ComponentSwapped(slot=scanner, removed="FS-0108")
    got = events.ComponentSwapped(slot=scanner, removed="FS-0021", installed="FS-0108")
    cleared = events.FaultCleared(component=scanner, fault="worn")
    office.says(taken_from, given, on=date(2018, 3, 5), arrives=MAY, route="usb")
    office.says(mended, got, cleared, captured(5), on=date(2018, 3, 5))
    closed = events.TicketClosed(ticket="t-1", producer="kit-mended", outcome="dari dua jadi satu")
    office.says(desk, closed, on=date(2018, 3, 6))
    office.append(lay, taken_from, arrives=date(2018, 4, 2), route="usb")
    office.append(lay_longer, taken_from, arrives=MAY, route="usb")


@scenario(
    "the office settles a case, and a third recording, carried by a stick, opens it again",
    {cases(): {("two_recordings", "open"): 1, ("two_recordings", "resolved"): 1}},
)
def _(office: Office) -> None:
    one, other = office.enrol("dev-one"), office.enrol("dev-other")
    desk = office.enrol("desk", "office")
    office.says(one, captured(1), captured(2), on=YESTERDAY)
    office.says(other, captured(1), captured(2), on=YESTERDAY)
    # After the anchor of its clock, each has recorded person 1 and person 2.
    for number in (1, 2):
        settled = events.DuplicateResolved(
            nik=person(number),
            kind="two_recordings",
            outcome="same_person",
            resolved_ms=noon_ms(TODAY),
            reason="dua kali datang",
            recordings=tuple(f"{life.producer}/1/{1 + number}" for life in (one, other)),
        )
        office.says(desk, settled, on=TODAY)
    again = captured(2, OTHER_DESA, recording="again")
    office.says(one, again, on=YESTERDAY, arrives=date(2018, 5, 2))


@scenario(
    "a recording of the wrong person is withdrawn, by word that comes before the recording does",
    {
        coverage(MARCH): (None, 1, None, None, 0),
        coverage(MARCH, known_at=date(2018, 3, 5)): (None, 1, None, None, 0),
        months(): {"2018-03-01": 1},
    },
)
def _(office: Office) -> None:
    device, desk = office.enrol("dev"), office.enrol("desk", "office")
    void = events.RecordingWithdrawn(recording="r-1", nik=person(1), reason="salah orang")
    office.says(desk, void, on=TODAY)
    office.says(device, captured(1), captured(2), on=YESTERDAY, arrives=date(2018, 3, 4))


@scenario(
    "a stolen device is revoked as of a day in the past: what it recorded since does not count",
    {
        coverage(MARCH): (None, 1, None, None, 0),
        coverage(MARCH, known_at=date(2018, 3, 9)): (None, 2, None, None, 1),
        left_out(): {"revoked": 2},
        causes(): {"arrived": 3, "revoked": -2},
    },
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    office.says(device, captured(1), on=YESTERDAY)
    office.says(device, captured(2), on=TODAY)
    device.boot = "no-anchor"  # an untrusted clock is no excuse
    office.says(device, captured(3), on=date(1999, 1, 1), arrives=date(2018, 3, 3))
    office.states(revoked(TODAY), arrives=date(2018, 3, 10))


@scenario(
    "of two revocations the earlier day stands, whichever was said first",
    {coverage(MARCH): (None, 1, None, None, 0), left_out(): {"revoked": 1}},
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    office.says(device, captured(1), on=YESTERDAY)
    office.says(device, captured(2), on=TODAY)
    office.states(revoked(TODAY), arrives=date(2018, 3, 10))
    office.states(revoked(date(2018, 3, 9)), arrives=date(2018, 3, 11))


@scenario(
    "a training day's segment is discarded by the registrar: nobody of it counts, before or after",
    {
        coverage(MARCH): (None, 1, None, None, 0),
        coverage(MARCH, known_at=date(2018, 3, 9)): (None, 3, None, None, 0),
        left_out(): {"discarded": 2},
        causes(): {"arrived": 3, "discarded": -2},
    },
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    office.says(device, captured(1), on=YESTERDAY)
    office.says(device, captured(2), captured(3), on=TODAY)
    discarded = discarding(office.log.records[-1]).data
    office.states(discarded, arrives=date(2018, 3, 10))


@scenario(
    "of one segment two parts are discarded, one after the other: neither counts",
    {
        coverage(MARCH): (None, 1, None, None, 0),
        coverage(MARCH, known_at=date(2018, 3, 10)): (None, 2, None, None, 0),
        left_out(): {"discarded": 2},
        causes(): {"arrived": 3, "discarded": -2},
    },
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    office.says(device, captured(1), captured(2), captured(3), on=TODAY)
    record = office.log.records[-1]
    header = parse(record.value).header
    for seq, arrives in ((header.first, date(2018, 3, 10)), (header.last, date(2018, 3, 11))):
        office.states(discarding(record, first=seq, last=seq).data, arrives=arrives)


@scenario(
    "three segments share a seq with the next one: who lost it to the first has lost it for good",
    {coverage(MARCH): (None, 4, None, None, 0), left_out(): {"fork_lost": 2}},
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    for number, seq in enumerate((4, 3, 2)):
        device.next_seq = seq
        people = (captured(10 * number), captured(10 * number + 1))
        office.says(device, *people, on=YESTERDAY, arrives=date(2018, 3, 2 + number))


@scenario(
    "a fork whose rival's key is told by two ways: it is lost since the earlier one of them",
    {
        coverage(MARCH, region=DESA, known_at=date(2018, 3, 4)): (None, 1, None, None, 0),
        coverage(MARCH, region=OTHER_DESA, known_at=date(2018, 3, 4)): None,
        coverage(MARCH, region=DESA, known_at=date(2018, 3, 5)): None,
        coverage(MARCH, region=OTHER_DESA, known_at=date(2018, 3, 5)): (None, 1, None, None, 0),
        left_out(): {"fork_lost": 1},
    },
)
def _(office: Office) -> None:
    device, key = office.enrol("dev"), SigningKey.from_seed(bytes([90]) * 32)
    write_back = office.restores(device)
    happened = device.event(captured(1, OTHER_DESA), wall_ms=noon_ms(YESTERDAY))
    office.append(device.seal(happened, key=key), device, arrives=YESTERDAY)
    write_back()
    office.says(device, captured(2), on=YESTERDAY, arrives=TODAY)
    rotated = events.KeyRotated(producer="dev", key=key.public.to_text(), rotated_ms=1)
    for raw in office.seals(office.registrar, rotated, on=YESTERDAY):
        for elsewhere, arrives in enumerate((date(2018, 3, 10), date(2018, 3, 5))):
            office.append(raw, office.registrar, arrives=arrives, elsewhere=elsewhere)


@scenario(
    "segments come weeks before their device's enrolment: held, then counted on their own day",
    {
        coverage(YESTERDAY, known_at=date(2018, 3, 19)): (None, 0, None, None, 0),
        coverage(YESTERDAY): (None, 1, None, None, 0),
        left_out(): {},
    },
)
def _(office: Office) -> None:
    device = office.enrol("dev", arrives=date(2018, 3, 20))
    office.says(device, captured(1), on=YESTERDAY)


# -- the centre's statuses -----------------------------------------------------------------------


@scenario(
    "enrolment fails at the centre, is set back to BIO_CAPTURED and sent again: one recording",
    {
        statuses(): {"SENT_FOR_ENROLLMENT": 1},
        ages(): {("SENT_FOR_ENROLLMENT", date(2018, 3, 5)): 1},
        turns(): {"reset": 1},
        coverage(MARCH): (None, 1, None, None, 0),
        causes(): {"arrived": 1},
    },
)
def _(office: Office) -> None:
    device, centre = office.enrol("dev"), office.enrol("centre", "centre")
    office.says(device, captured(1), on=YESTERDAY)
    path = ("SENT_FOR_ENROLLMENT", "ENROLL_FAILURE_AT_CENTRAL", "BIO_CAPTURED")
    for number, status in enumerate((*path, "SENT_FOR_ENROLLMENT")):
        day = TODAY + timedelta(days=number)
        office.says(centre, shown(1, status, day), on=day)


@scenario(
    "one is stuck in SENT_FOR_ENROLLMENT: a stale word that arrives later does not set it back",
    {
        statuses(): {"SENT_FOR_ENROLLMENT": 1, "PRINT_READY_RECORD": 1},
        ages(): {("SENT_FOR_ENROLLMENT", date(2018, 3, 5)): 1},
        turns(): {},
    },
)
def _(office: Office) -> None:
    device, centre = office.enrol("dev"), office.enrol("centre", "centre")
    office.says(device, captured(1), captured(2), on=YESTERDAY)
    office.says(centre, shown(1, "SENT_FOR_ENROLLMENT", date(2018, 3, 5)), on=date(2018, 3, 5))
    office.says(centre, shown(1, "PROCESSING", date(2018, 3, 4)), on=date(2018, 9, 1))
    office.says(centre, shown(2, "PRINT_READY_RECORD", date(2018, 3, 5)), on=date(2018, 3, 6))


@scenario(
    "a card is printed again: back from CARD_ISSUED to SENT_FOR_CARD_PRINTING is no new recording",
    {
        statuses(): {"SENT_FOR_CARD_PRINTING": 1},
        turns(): {"reprint": 1},
        coverage(MARCH): (1, 1, 0, "100.00", 0),
        causes(): {"arrived": 1},
    },
)
def _(office: Office) -> None:
    office.states(wajib({DESA: 1}), arrives=date(2018, 1, 5))
    device, centre = office.enrol("dev"), office.enrol("centre", "centre")
    office.says(device, captured(1), on=YESTERDAY)
    office.says(centre, shown(1, "CARD_ISSUED", TODAY), on=TODAY)
    again = shown(1, "SENT_FOR_CARD_PRINTING", TODAY, minutes=1)
    office.says(centre, again, on=TODAY)


@scenario(
    "DUPLICATE_RECORD counts by one rule and not by the other, from the day that it is shown",
    {
        coverage(MARCH): (4, 2, 2, "50.00", 0),
        coverage(MARCH, rule="duplicates-excluded/v1"): (4, 1, 3, "25.00", 0),
        coverage(YESTERDAY, rule="duplicates-excluded/v1"): (4, 2, 2, "50.00", 0),
        coverage(MARCH, known_at=date(2018, 3, 8), rule="duplicates-excluded/v1"): (
            *(4, 2, 2, "50.00", 0),
        ),
        statuses(): {"DUPLICATE_RECORD": 1, "BIO_CAPTURED": 1},
    },
)
def _(office: Office) -> None:
    office.states(wajib({DESA: 4}), arrives=date(2018, 1, 5))
    device, centre = office.enrol("dev"), office.enrol("centre", "centre")
    office.says(device, captured(1), captured(2), on=YESTERDAY)
    duplicate = shown(1, "DUPLICATE_RECORD", TODAY)
    office.says(centre, duplicate, on=date(2018, 3, 9))


@scenario(
    "a card that was issued is set back to BIO_CAPTURED: no legal way, kept and flagged",
    {statuses(): {"BIO_CAPTURED": 1}, turns(): {"illegal_jump": 1}},
)
def _(office: Office) -> None:
    centre = office.enrol("centre", "centre")
    for status, day in (("CARD_ISSUED", YESTERDAY), ("BIO_CAPTURED", TODAY)):
        office.says(centre, shown(1, status, day), on=day)


@scenario(
    "a card is seen shipped before it is seen printed: kept and flagged, the later word stands",
    {statuses(): {"CARD_PRINTED": 1}, turns(): {"illegal_jump": 1}},
)
def _(office: Office) -> None:
    centre = office.enrol("centre", "centre")
    for status, day in (("CARD_SHIPPED", YESTERDAY), ("CARD_PRINTED", TODAY)):
        office.says(centre, shown(1, status, day), on=day)


@scenario(
    "a list is typed with a year that has not come: its word is kept and believed of nobody",
    {statuses(): {"PRINT_READY_RECORD": 1}, turns(): {}},
)
def _(office: Office) -> None:
    centre = office.enrol("centre", "centre")
    office.says(centre, shown(1, "CARD_ISSUED", date(2081, 3, 5)), on=YESTERDAY)
    office.says(centre, shown(1, "PRINT_READY_RECORD", TODAY), on=TODAY)


@scenario(
    "nothing but a status of a year that has not come: no status, no duplicate, also when it comes",
    {
        statuses(): {"BIO_CAPTURED": 2},
        ages(): {},
        coverage(): (None, 1, None, None, 1),
        coverage(rule="duplicates-excluded/v1"): (None, 1, None, None, 1),
        cases(): {},
    },
)
def _(office: Office) -> None:
    device, centre = office.enrol("dev"), office.enrol("centre", "centre")
    office.says(device, captured(1), on=YESTERDAY)
    device.boot = "never-anchored"
    office.says(device, captured(2), on=YESTERDAY)
    for number in (1, 2, 3):
        office.says(centre, shown(number, "DUPLICATE_RECORD", date(2081, 3, 5)), on=TODAY)
    office.says(centre, shown(4, "SENT_FOR_ENROLLMENT", date(2081, 3, 5)), on=TODAY)


@scenario(
    "a code that nobody knows stays raw; a status and a letter before any recording record nobody",
    {
        statuses(): {"STATUS_BARU_9": 1},
        coverage(MARCH): (None, 0, None, None, 0),
    },
)
def _(office: Office) -> None:
    centre = office.enrol("centre", "centre")
    letter = events.SuketIssued(
        nik=person(1), number="s-1", issued_ms=noon_ms(TODAY), status="PRINT_READY_RECORD"
    )
    office.says(centre, shown(1, "STATUS_BARU_9", TODAY), letter, on=TODAY)


@scenario(
    "letters carry who has no card: each is valid for six months, the next one takes its place",
    {
        letters(date(2018, 1, 4)): (0, 0),
        letters(date(2018, 7, 4)): (2, 0),
        letters(date(2018, 7, 5)): (1, 1),
        letters(date(2018, 7, 20)): (2, 0),
        letters(date(2019, 1, 20)): (0, 2),
        statuses(): {"PRINT_READY_RECORD": 1, "BIO_CAPTURED": 1},
        coverage(MARCH): (None, 2, None, None, 0),
        left_out(): {},
    },
)
def _(office: Office) -> None:
    centre = office.enrol("centre", "centre")
    office.says(office.enrol("dev"), captured(1), captured(2), on=date(2018, 1, 3))
    office.says(centre, shown(1, "PRINT_READY_RECORD", date(2018, 1, 4)), on=date(2018, 1, 5))
    for number, on, arrives in (
        (1, date(2018, 7, 20), date(2018, 7, 20)),
        (2, date(2018, 2, 1), date(2018, 9, 1)),
        (1, date(2018, 1, 5), date(2018, 12, 1)),
        (2, date(2018, 6, 1), date(2018, 12, 2)),
        (1, date(2108, 7, 20), date(2018, 12, 3)),  # a typed year that has not come
    ):
        letter = events.SuketIssued(
            nik=person(number),
            number=f"471/{on}",
            issued_ms=noon_ms(on),
            status="PRINT_READY_RECORD",
        )
        office.says(centre, letter, on=arrives)


@scenario(
    "the way to the card: who came how far, and who stopped where; what is here sums to recorded",
    {
        coverage(MARCH): (7, 8, -1, "114.29", 0),
        stages(): {
            "recorded": (8, 1),
            "sent": (6, 1),
            "received": (5, 0),
            "print_ready": (3, 1),
            "printed": (2, 0),
            "issued": (2, 2),
        },
        residuals(): {"DUPLICATE_RECORD": 1, "ENROLL_FAILURE_AT_CENTRAL": 1, "unknown": 1},
    },
)
def _(office: Office) -> None:
    """Eight of seven have a recording; the ninth is known to the centre alone, and in no funnel."""
    office.states(wajib({DESA: 7}), arrives=date(2018, 1, 5))
    device, centre = office.enrol("dev"), office.enrol("centre", "centre")
    office.says(device, *map(captured, range(8)), on=YESTERDAY)
    told = (
        "SENT_FOR_ENROLLMENT",
        "ENROLL_FAILURE_AT_CENTRAL",
        "DUPLICATE_RECORD",
        "PRINT_READY_RECORD",
        "CARD_ISSUED",
        "CARD_ISSUED",
        "KODE_18",
    )
    for number, status in (*enumerate(told), (99, "CARD_ISSUED")):
        office.says(centre, shown(number, status, TODAY), on=TODAY)


@scenario(
    "more cards than people who must have one: three are issued, one of them twice, of wajib 2",
    {
        coverage(MARCH): (2, 3, -1, "150.00", 0),
        remarks(MARCH): {"more_recorded_than_wajib": 1, "no_tree": 0},
        statuses(): {"CARD_ISSUED": 3},
        turns(): {"reprint": 1},
    },
)
def _(office: Office) -> None:
    office.states(wajib({DESA: 2}), arrives=date(2018, 1, 5))
    device, centre = office.enrol("dev"), office.enrol("centre", "centre")
    office.says(device, *map(captured, range(3)), on=YESTERDAY)
    for number in range(3):
        office.says(centre, shown(number, "CARD_ISSUED", TODAY), on=TODAY)
    for minutes, status in enumerate(("SENT_FOR_CARD_PRINTING", "CARD_ISSUED"), start=1):
        office.says(centre, shown(1, status, TODAY, minutes=minutes), on=TODAY)


@scenario(
    "a recorder says what only the centre may: it does not count, and is shown",
    {statuses(): {"BIO_CAPTURED": 1}, left_out(): {"not_authorised": 1}},
)
def _(office: Office) -> None:
    said = (captured(1), shown(1, "CARD_ISSUED", TODAY))
    office.says(office.enrol("dev"), *said, on=TODAY)


# -- the 427 -------------------------------------------------------------------------------------

THE_427 = {"terverifikasi": 184, "tercetak": 127, "belum_rekam": 83}


@scenario(
    "the 427 of Bontang: 184, 127, 83, and 33 in no bucket; a paper finds 186 not, words first",
    {
        buckets("427"): {**THE_427, "unresolved": 33},
        buckets("427", rule="printed-within-verified/v1"): {
            "terverifikasi": 311,
            "belum_rekam": 83,
            "unresolved": 33,
        },
        disputed("427"): 186,
        left_out(): {},
    },
)
def _(office: Office) -> None:
    kpu = office.enrol("kpu", "kpu", arrives=date(2018, 4, 20))
    paper = office.enrol("koran", "kpu", arrives=date(2018, 4, 21))
    fates = [bucket for bucket, count in THE_427.items() for _ in range(count)]
    words = [
        events.CohortEntryResolved(cohort="427", entry=number, bucket=bucket, source="KPU")
        for number, bucket in enumerate(fates, start=1)
    ]
    missed = [
        events.CohortEntryResolved(
            cohort="427", entry=number, bucket="tidak_ditemukan", source="koran"
        )
        for number in range(1, 187)
    ]
    entries = [
        events.CohortEntryListed(cohort="427", entry=number, version="1")
        for number in range(1, 428)
    ]
    office.says(kpu, *words, on=date(2018, 4, 1))
    office.says(paper, *missed, on=date(2018, 4, 2))
    office.says(kpu, *entries, on=date(2018, 4, 3))


@scenario(
    "a source takes back its word: what it said last stands, though what it said first came last",
    {buckets("lapas"): {"terverifikasi": 1}, disputed("lapas"): 0},
)
def _(office: Office) -> None:
    kpu = office.enrol("kpu", "kpu")
    first, last = (
        events.CohortEntryResolved(cohort="lapas", entry=1, bucket=bucket, source="KPU")
        for bucket in ("belum_rekam", "terverifikasi")
    )
    (said_first,) = office.seals(kpu, first, on=YESTERDAY)
    (said_last,) = office.seals(kpu, last, on=TODAY)
    office.append(said_last, kpu, arrives=TODAY)
    office.append(said_first, kpu, arrives=MARCH)
    listed = events.CohortEntryListed(cohort="lapas", entry=1, version="1")
    office.says(kpu, listed, on=TODAY)


@scenario(
    "the commission's codes stay as the list has them, also one of which nobody said what it means",
    {
        codes("lapas"): {
            ("11", "without_electronic_card"): 2,
            ("12", "not_yet_ascertained"): 1,
            ("7", "not_eligible"): 1,
            ("U", "changed"): 1,
            ("B", "new"): 1,
            ("13", None): 1,
            ("", None): 1,
        },
        buckets("lapas"): {"unresolved": 8},
    },
)
def _(office: Office) -> None:
    kpu = office.enrol("kpu", "kpu")
    told = ("11", "11", "12", "7", "U", "B", "13", None)
    entries = [
        events.CohortEntryListed(cohort="lapas", entry=number, version="1", code=code)
        for number, code in enumerate(told, start=1)
    ]
    office.says(kpu, *entries, on=TODAY)


@scenario(
    "a second version of a list has its own names; what is said of a number in both holds in both",
    {
        buckets("list", "1"): {"terverifikasi": 1, "unresolved": 1},
        buckets("list", "2"): {"terverifikasi": 1},
        buckets("list", "3"): {"unlisted": 1},
    },
)
def _(office: Office) -> None:
    kpu = office.enrol("kpu", "kpu")
    found = events.CohortEntryResolved(cohort="list", entry=1, bucket="terverifikasi", source="KPU")
    office.says(kpu, found, on=YESTERDAY)
    for version, numbers in (("1", (1, 2)), ("2", (1,))):
        listed = [
            events.CohortEntryListed(cohort="list", entry=number, version=version)
            for number in numbers
        ]
        office.says(kpu, *listed, on=TODAY)


@scenario(
    "a person is erased by order: counted as before, and a late word of the person changes nothing",
    {coverage(MARCH): (None, 1, None, None, 0), causes(): {"arrived": 1}, left_out(): {}},
)
def _(office: Office) -> None:
    device = office.enrol("dev")
    office.says(device, captured(1), on=YESTERDAY)
    order = events.ErasureOrdered(nik=person(1), order="o-1", reason="UU 27/2022")
    office.states(order, arrives=TODAY)
    again = captured(1, recording="again")
    office.says(device, again, on=date(2018, 3, 3), arrives=date(2018, 5, 1))
