"""L4, L7: what was known at K is what the log up to K says; nobody is counted twice or lost."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from projections.facts import changes_of_knowledge
from projections.memory_store import MemoryStore
from projections.person.facts import PersonFact, decode_facts
from projections.person.state import DATE_UNKNOWN
from projections.tables import CELL_TABLES, ENTITY_KINDS, PERSON, Row
from rekam.domain import events
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.log import LogRecord
from tests.support.coverage_oracle import placement, status
from tests.support.history import (
    DAY_MS,
    DESA,
    REGISTRAR,
    REGISTRAR_KEY,
    RULES,
    START_MS,
    Life,
    Log,
    anchored,
    captured,
    fold_all,
    random_history,
)

SEEDS = st.integers(0, 2**32)

BITEMPORAL = (
    "access_cell",
    "coverage_cell",
    "coverage_duplicate",
    "denominator_cell",
    "publication_cell",
    "recode_cell",
    "region_cell",
)


def folded(records: list[LogRecord]) -> MemoryStore:
    return asyncio.run(fold_all(records))


def known_by(rows: Iterable[Row], table: str, day: date) -> Counter[Row]:
    """Return the rows of a table whose knowledge is of that day or before."""
    place = CELL_TABLES[table].key.index("known_on")
    return Counter(row for row in rows if row[place] <= day)  # type: ignore[operator]  # a date


@given(seed=SEEDS, data=st.data())
@settings(max_examples=150, deadline=None)
def test_as_known_at_k_is_the_fold_of_the_prefix_at_k(seed: int, data: st.DataObject) -> None:
    """Late anchors, keys, enrolments and revocations change what is known from their day on."""
    records = random_history(seed)
    days = sorted({RULES.zone.day(record.append_ms) for record in records})
    known_at = data.draw(st.sampled_from(days))
    prefix = [record for record in records if RULES.zone.day(record.append_ms) <= known_at]
    whole, then = folded(records).tables(), folded(prefix).tables()
    for table in BITEMPORAL:
        assert known_by(whole[table], table, known_at) == Counter(then[table]), table


def test_a_fork_whose_winner_waits_for_its_key_is_lost_from_the_day_of_the_key_on() -> None:
    """The rarest of what the law above covers: told apart on three days."""
    registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
    device = Life(ProducerId("dev-a"), SigningKey.from_seed(bytes([41]) * 32))
    other = SigningKey.from_seed(bytes([42]) * 32)
    log = Log()

    def append(raw: bytes) -> date:
        return RULES.zone.day(log.append(raw, partition=0, later_ms=DAY_MS).append_ms)

    append(registrar.seal(registrar.event(device.enrolment())))
    append(device.seal(device.event(anchored("boot-1"))))
    before = (device.next_seq, device.prev)
    append(device.seal(device.event(captured(1, "r1")), key=other))
    device.next_seq, device.prev = before
    counts_from = append(device.seal(device.event(captured(2, "r2"))))
    rotated = events.KeyRotated(producer="dev-a", key=other.public.to_text(), rotated_ms=1)
    lost_from = append(registrar.seal(registrar.event(rotated)))
    cells = set(folded(log.records).tables()["coverage_cell"])
    day = RULES.zone.day(START_MS)
    assert cells == {
        (DESA[0], day, counts_from, "arrived", "dev-a", "offline", "", 1),
        (DESA[0], day, lost_from, "fork_lost", "dev-a", "offline", "", -1),
        (DESA[0], day, lost_from, "arrived", "dev-a", "offline", "", 1),
    }
    for known_at in (counts_from, lost_from):
        prefix = [one for one in log.records if RULES.zone.day(one.append_ms) <= known_at]
        then = folded(prefix).tables()["coverage_cell"]
        assert known_by(cells, "coverage_cell", known_at) == Counter(then)


@given(seed=SEEDS)
@settings(max_examples=100, deadline=None)
def test_the_sums_over_one_persons_cells_are_what_was_known_of_that_person(seed: int) -> None:
    """At every day as known at every day: recorded in one desa or none; a duplicate or not."""
    for token, raw, *_ in folded(random_history(seed)).tables()["person"]:
        assert isinstance(token, bytes)
        assert isinstance(raw, bytes)
        facts = decode_facts(raw) if raw else []
        cells = ENTITY_KINDS[PERSON].contributions(token, facts, RULES)  # type: ignore[arg-type]  # of people
        recorded = cells["coverage_cell"]
        duplicates = cells.get("coverage_duplicate", {})
        every = [*recorded, *duplicates]
        for known_at in sorted({cell[2] for cell in every}):
            known = as_known(facts, known_at)
            for as_of in sorted({cell[1] for cell in every}):
                placed = placement(known, as_of)
                assert summed(recorded, as_of, known_at) == Counter([placed] if placed else [])
                is_duplicate = (
                    placed is not None and status(known, as_of, RULES.zone) == "DUPLICATE_RECORD"
                )
                assert summed(duplicates, as_of, known_at) == Counter(
                    [placed] if is_duplicate else []
                )


def as_known(facts: list[PersonFact], day: date) -> list[PersonFact]:
    """Return the facts that counted by what was known at the end of a day."""
    found: dict[object, PersonFact] = {}
    for change in changes_of_knowledge(facts, RULES.zone):
        if change.day <= day:
            found[change.after.id] = change.after
    return [fact for fact in found.values() if fact.counts]


def summed(cells: Mapping[tuple[Any, ...], int], as_of: date, known_at: date) -> Counter[object]:
    """Return the sums by desa that are not 0, as the reads take them."""
    sums: Counter[object] = Counter()
    for (desa, day, known_on, *_), people in cells.items():
        is_asked = day == as_of if as_of == DATE_UNKNOWN else day <= as_of
        if is_asked and known_on <= known_at:
            sums[desa] += people
    return Counter({desa: people for desa, people in sums.items() if people})


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_months_and_years_are_the_sums_of_their_days(seed: int) -> None:
    tables = folded(random_history(seed)).tables()
    months: defaultdict[tuple[object, date, date], int] = defaultdict(int)
    years: defaultdict[tuple[object, date, date], int] = defaultdict(int)
    for desa, occurred_on, known_on, *_, people in tables["coverage_cell"]:
        assert isinstance(occurred_on, date)
        assert isinstance(known_on, date)
        assert isinstance(people, int)
        month = occurred_on if occurred_on == DATE_UNKNOWN else first(occurred_on)
        months[desa, month, first(known_on)] += people
        year = month if month == DATE_UNKNOWN else date(month.year, 1, 1)
        years[desa, year, date(known_on.year, 1, 1)] += people
    assert {(*cell, people) for cell, people in months.items() if people} == set(
        tables["coverage_month"]
    )
    assert {(*cell, people) for cell, people in years.items() if people} == set(
        tables["coverage_year"]
    )


def first(day: date) -> date:
    return day - timedelta(days=day.day - 1)
