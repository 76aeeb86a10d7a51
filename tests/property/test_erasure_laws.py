"""UU 27/2022: who is erased is gone from every table, sums stay, whatever came first."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from projections.access.facts import Forgotten
from projections.access.facts import decode_facts as decode_accesses
from projections.cohort.facts import Listed
from projections.cohort.facts import decode_facts as decode_entries
from projections.digest import differences, digests_of
from projections.duplicate.contributions import TABLE as CASES
from projections.facts import COUNTS, Fact
from projections.memory_store import MemoryStore
from projections.person.erasure import forget, order_of
from projections.person.facts import (
    Captured,
    Erasure,
    ListedIn,
    PersonFact,
    Suket,
    Withdrawn,
    WithdrawnOf,
)
from projections.person.facts import decode_facts as decode_people
from projections.person.niks import ERASED, open_nik
from projections.tables import CELL_TABLES, ENTITY_KINDS, PERSON, Contributions
from rekam.domain import events
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey, VerifyKey
from rekam.domain.log import LogRecord
from rekam.domain.segment import Segment
from stream_processors.intake import Opened, Opener, Waiting
from stream_processors.intake import Refused as RefusedRecord
from stream_processors.replay.rebuild import fold_in_memory
from tests.support.history import (
    DESA,
    READER,
    REGISTRAR,
    REGISTRAR_KEY,
    RULES,
    START_MS,
    Life,
    Log,
    captured,
    fold_all,
    nik,
    random_history,
)

SEEDS = st.integers(0, 2**32)
TOKENS = {RULES.token(nik(number)): nik(number) for number in range(4)}


class Deaf(Opener):
    """Opens records, and hears no order to erase."""

    def open_segment(
        self, record: LogRecord, segment: Segment, key: VerifyKey
    ) -> Opened | Waiting | RefusedRecord:
        opened = super().open_segment(record, segment, key)
        if not isinstance(opened, Opened):
            return opened
        heard = (one for one in opened.events if not isinstance(one.data, Erasure | Forgotten))
        return replace(opened, events=tuple(heard))


def deaf_fold(records: Sequence[LogRecord]) -> MemoryStore:
    store = MemoryStore()
    opener = Deaf(rules=RULES, registrar_key=REGISTRAR_KEY.public, readers=[READER])
    intakes = [opener.open_record(record) for record in records]
    folding = fold_in_memory(store, intakes, rules=RULES, root=REGISTRAR_KEY.public, opener=opener)
    asyncio.run(folding)
    return store


def cells(store: MemoryStore) -> dict[str, Counter[Any]]:
    """Return the rows of all sums, cases of duplicates without whom they lead to."""
    tables = store.tables()
    place = CELL_TABLES[CASES].key.index("token")
    found = {table: Counter(tables[table]) for table in CELL_TABLES if table != CASES}
    cases = [row[:place] + row[place + 1 :] for row in tables[CASES]]
    return {**found, CASES: Counter(cases)}


def nameless(added: Contributions) -> dict[str, dict[Any, int]]:
    """Return contributions without the token of a case of duplicates."""
    found = {table: dict(of_table) for table, of_table in added.items() if of_table}
    if CASES in found:
        found[CASES] = {cell[:-1]: count for cell, count in found[CASES].items()}
    return found


def people(store: MemoryStore) -> Iterable[tuple[bytes, list[PersonFact], bytes]]:
    for token, raw, sealed in store.tables()["person"]:
        assert isinstance(token, bytes)
        assert isinstance(raw, bytes)
        assert isinstance(sealed, bytes)
        yield token, decode_people(raw), sealed


@given(seed=SEEDS, data=st.data())
@settings(max_examples=80, deadline=None)
def test_sums_are_at_every_prefix_what_they_would_be_without_the_order(
    seed: int, data: st.DataObject
) -> None:
    records = random_history(seed)
    prefix = records[: data.draw(st.integers(0, len(records)))]
    assert cells(asyncio.run(fold_all(prefix))) == cells(deaf_fold(prefix))


@given(seed=SEEDS, order=st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_an_order_of_any_time_leaves_the_same_rows(seed: int, order: random.Random) -> None:
    """L2, L3, where everybody is erased by somebody."""
    records = random_history(seed)
    straight = asyncio.run(fold_all(records))
    shuffled = [*records, *order.choices(records, k=5)]
    order.shuffle(shuffled)
    cuts = sorted(order.randrange(len(shuffled)) for _ in range(order.randrange(12)))
    other = asyncio.run(fold_all(shuffled, cuts))
    assert differences(digests_of(straight.tables()), digests_of(other.tables())) == []


@given(moments=st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_of_several_orders_the_earliest_known_is_told(moments: list[int]) -> None:
    orders: list[PersonFact] = [
        Fact("registrar", 1, seq, bytes(8), known_ms, 0, "b", COUNTS, None, Erasure(f"2018/{seq}"))
        for seq, known_ms in enumerate(moments)
    ]
    first = moments.index(min(moments))
    for facts in (orders, orders[::-1]):
        assert order_of(facts) == (f"2018/{first}", min(moments))


@given(seed=SEEDS)
@settings(max_examples=80, deadline=None)
def test_of_an_erased_person_no_row_holds_what_names_one(seed: int) -> None:
    store = asyncio.run(fold_all(random_history(seed)))
    erased: set[bytes] = set()
    for token, facts, sealed in people(store):
        if order_of(facts) is None:
            assert open_nik(sealed, token, RULES) == TOKENS[token]
            continue
        erased.add(token)
        assert sealed == ERASED
        for fact in facts:
            match fact.data:
                case (
                    Captured(recording=number)
                    | Withdrawn(recording=number)
                    | WithdrawnOf(recording=number)
                ):
                    assert number.startswith("\0")
                case Suket(number=number):
                    assert number.startswith("\0")
                case _:
                    assert not isinstance(fact.data, ListedIn)
    tables = store.tables()
    assert not any(token in row for row in tables[CASES] for token in erased)
    for _, raw in tables["cohort_entry"]:
        assert isinstance(raw, bytes)
        for entry in decode_entries(raw):
            assert not (isinstance(entry.data, Listed) and entry.data.person in erased)
    for key, raw in tables["person_access"]:
        assert isinstance(raw, bytes)
        said = decode_accesses(raw)
        assert (key in erased) == any(isinstance(fact.data, Forgotten) for fact in said)
        if key in erased:
            assert not any(getattr(fact.data, "reason", "") for fact in said)


@given(seed=SEEDS, order=st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_what_remains_contributes_the_same_and_remains_when_reduced_again(
    seed: int, order: random.Random
) -> None:
    """So that a person may be reduced at any time, and late events added to what remains."""
    kind = ENTITY_KINDS[PERSON]
    for token, facts, _ in people(deaf_fold(random_history(seed))):
        erasure = msgspec.structs.replace(facts[0], seq=10**6, data=Erasure("order"))
        whole: list[Any] = [*facts, erasure]
        order.shuffle(whole)
        cut = order.randrange(len(whole))
        remains = kind.union(forget(token, whole, RULES))  # type: ignore[arg-type]  # of people
        left = kind.contributions(token, remains, RULES)
        whole_cells = kind.contributions(token, facts, RULES)  # type: ignore[arg-type]
        assert nameless(left) == nameless(whole_cells)
        assert not any(token in cell for cell in left.get(CASES, ()))
        early = forget(token, kind.union([erasure, *whole[:cut]]), RULES)  # type: ignore[list-item, arg-type]
        late = forget(token, kind.union([*early, *whole[cut:]]), RULES)  # type: ignore[list-item, arg-type]
        assert late == remains


def test_an_order_meets_every_event_of_its_person_whichever_is_folded_first() -> None:
    """In all 720 orders, one record after the other: each event is alone with what is there."""
    enrolments, *told = life_of_one_person()
    straight = digests_of(asyncio.run(fold_all([enrolments, *told])).tables())
    for order in permutations(told):
        one_by_one = list(range(1, len(told) + 1))
        store = asyncio.run(fold_all([enrolments, *order], cuts=one_by_one))
        holds_no_more_than_sums(store)
        assert differences(digests_of(store.tables()), straight) == []


def holds_no_more_than_sums(store: MemoryStore) -> None:
    [(token, facts, sealed)] = people(store)
    assert (order_of(facts) or ("", 0))[0] == "2018/4"
    assert sealed == ERASED
    tables = store.tables()
    assert token not in b"".join(raw for _, raw in tables["cohort_entry"])  # type: ignore[misc]  # bytes
    assert b"at the desk" not in b"".join(raw for _, raw in tables["person_access"])  # type: ignore[misc]
    assert [people for *_, people in tables["coverage_month"]] == [1]
    assert [count for *_, count in store.tables()["access_cell"]] == [1, 1]


def test_a_reason_given_by_token_comes_back_under_no_later_key() -> None:
    """Under another key the order is its person's, and the token is nobody's: it finds no order."""
    rules = replace(RULES, person_key=bytes([7]) * 32)
    store = MemoryStore()
    opener = Opener(rules=rules, registrar_key=REGISTRAR_KEY.public, readers=[READER])
    intakes = [opener.open_record(record) for record in life_of_one_person()]
    asyncio.run(
        fold_in_memory(store, intakes, rules=rules, root=REGISTRAR_KEY.public, opener=opener)
    )
    readings: dict[object, Any] = dict(store.tables()["person_access"])  # type: ignore[arg-type]  # pairs
    assert readings.keys() == {RULES.token(nik(1)), rules.token(nik(1))}
    assert b"at the desk" not in b"".join(readings.values())
    assert [count for *_, count in store.tables()["access_cell"]] == [1, 1]


def life_of_one_person() -> list[LogRecord]:
    """Return the enrolments, and a record each for what is told of one person.

    Two recordings, the withdrawal of one (by id, and by whose it is), an entry of a list, a
    letter, readings by NIK and by token, and the order.
    """
    registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
    dev, kpu, centre, api = (
        Life(ProducerId(kind), SigningKey.from_seed(bytes([number]) * 32), kind=kind)
        for number, kind in enumerate(("recorder", "kpu", "centre", "api"), start=70)
    )
    log, person = Log(), nik(1)
    lives = (dev, kpu, centre, api)
    log.append(registrar.seal(*[registrar.event(one.enrolment()) for one in lives]), partition=0)
    recordings = dev.seal(
        dev.event(captured(1, "r-1", DESA[1])),
        dev.event(captured(1, "r-2")),
    )
    withdrawn = events.RecordingWithdrawn(recording="r-1", nik=person, reason="test")
    listed = events.CohortEntryListed(cohort="c", entry=1, nik=person, code="11")
    letter = events.SuketIssued(nik=person, number="s-1", issued_ms=START_MS, status="PROCESSING")
    reading = events.PersonAccessed(
        nik=person, caller="office", call="get_person", reason="at the desk"
    )
    by_token = events.PersonTokenAccessed(
        person=RULES.token(person).hex(),
        caller="office",
        call="get_person_nik",
        reason="at the desk",
    )
    order = events.ErasureOrdered(nik=person, order="2018/4", reason="test")
    for partition, raw in enumerate(
        (
            recordings,
            dev.seal(
                dev.event(withdrawn), dev.event(structs.replace(withdrawn, producer="recorder"))
            ),
            kpu.seal(kpu.event(listed)),
            centre.seal(centre.event(letter)),
            api.seal(api.event(reading), api.event(by_token)),
            registrar.seal(registrar.event(order)),
        )
    ):
        log.append(raw, partition=partition % 3)
    return log.records


def test_an_order_stands_whose_seq_counts_from_another_segment_whichever_is_folded_first() -> None:
    """What was dropped cannot be had back when the segment that was appended earlier arrives."""
    registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
    dev = Life(ProducerId("dev-a"), SigningKey.from_seed(bytes([41]) * 32))
    log = Log()
    log.append(registrar.seal(registrar.event(dev.enrolment())), partition=0)
    log.append(dev.seal(dev.event(captured(1, "r-1"))), partition=0)
    before = (registrar.next_seq, registrar.prev)
    order = events.ErasureOrdered(nik=nik(1), order="2018/4", reason="test")
    loser = registrar.seal(registrar.event(order))
    registrar.next_seq, registrar.prev = before
    winner = registrar.seal(registrar.event(dev.enrolment()))
    first = log.append(winner, partition=1)
    second = log.append(loser, partition=2)
    start = log.records[:2]
    stores = [
        asyncio.run(fold_all([*start, *rest], cuts=[1, 2, 3]))
        for rest in ((first, second), (second, first))
    ]
    for store in stores:
        [(_, facts, sealed)] = people(store)
        assert [fact.counts for fact in facts if isinstance(fact.data, Erasure)] == [False]
        assert sealed == ERASED
    one, other = (digests_of(store.tables()) for store in stores)
    assert differences(one, other) == []


@pytest.mark.parametrize("kind", ["recorder", "office", "centre", "kpu", "api", "registrar"])
def test_an_order_of_anybody_but_the_registrar_of_the_settings_erases_nobody(kind: str) -> None:
    registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
    dev, other = (
        Life(ProducerId(name), SigningKey.from_seed(bytes([number]) * 32), kind=of_kind)
        for number, (name, of_kind) in enumerate((("dev", "recorder"), ("other", kind)), start=41)
    )
    log = Log()
    enrolments = [registrar.event(one.enrolment()) for one in (dev, other)]
    log.append(registrar.seal(*enrolments), partition=0)
    log.append(dev.seal(dev.event(captured(1, "r-1"))), partition=0)
    order = events.ErasureOrdered(nik=nik(1), order="forged", reason="test")
    log.append(other.seal(other.event(order)), partition=1)
    store = asyncio.run(fold_all(log.records))
    [(token, facts, sealed)] = people(store)
    assert order_of(facts) is None
    assert open_nik(sealed, token, RULES) == nik(1)
    [(producer, *_, reason, _)] = store.tables()["excluded_event"]
    assert (producer, reason) == ("other", "not_authorised")
    assert list(store.tables()["person_access"]) == []


def test_the_histories_erase_people_of_whom_something_was_known() -> None:
    """Without them the laws above would say nothing."""
    erased = [
        len(facts)
        for seed in range(40)
        for _, facts, _ in people(asyncio.run(fold_all(random_history(seed))))
        if order_of(facts) is not None
    ]
    assert sum(count > 1 for count in erased) > 5
