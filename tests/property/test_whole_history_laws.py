"""L2 to L5 and L7 on whole histories: every family at once, in any order, over two workers.

`LAWS_TIMES=20` in the environment tries so many times as many histories.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import date
from itertools import chain, groupby, pairwise
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from projections.access.facts import Accessed
from projections.cohort.state import entry_state
from projections.coverage.contributions import month_of, year_of
from projections.device_health.state import LABELS, device_state
from projections.digest import differences, digests_of
from projections.facts import ROUTES, VARIANT_BYTES, VERDICT_REASONS, Fact, counted
from projections.memory_store import MemoryStore
from projections.person.facts import Observed
from projections.person.state import DATE_UNKNOWN, placement_moves
from projections.reading import DAY_MAX
from projections.regions import Level
from projections.registry.context import context_of
from projections.registry.facts import LATEST_WINS, Enrolled, decode_facts
from projections.tables import (
    ACCESS,
    CELL_TABLES,
    COHORT_ENTRY,
    ENTITY_KINDS,
    FOLDED_KINDS,
    PERSON,
    ROLL_UPS,
    Row,
)
from projections.verification.vocabulary import AGEING
from rekam.domain.log import Chunk, LogRecord
from stream_processors.admit import NeedsProducers
from stream_processors.fold import judge_again
from stream_processors.intake import Intake, Opened
from stream_processors.replay.knowledge import UNDATED, cells_known_by
from stream_processors.replay.rebuild import fold_in_memory, rebuild
from tests.support.figures import Figures, summed
from tests.support.history import REGISTRAR_KEY, RULES, digests, fold_all, new_opener
from tests.support.whole_history import History, examples, histories, seeded

CHANCES = st.integers(0, 2**32).map(random.Random)
OVER_TIME = tuple(name for name, table in CELL_TABLES.items() if "known_on" in table.key)
"""Tables that say what was known on each day."""


class Worker:
    """Folds chunks into shared tables; what it has met of keys is its own."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.opener = new_opener()

    async def fold(self, records: Sequence[LogRecord]) -> None:
        """Fold a chunk as one transaction."""
        intakes = [self.opener.open_record(record) for record in records]
        await fold_in_memory(
            self.store, intakes, rules=RULES, root=REGISTRAR_KEY.public, opener=self.opener
        )


def folded(records: Sequence[LogRecord]) -> MemoryStore:
    return asyncio.run(fold_all([*records]))


def assert_equal(one: MemoryStore, other: MemoryStore) -> None:
    assert differences(digests_of(one.tables()), digests_of(other.tables())) == []
    assert digests(one) == digests(other)


def chunks_of(records: Sequence[LogRecord], choose: random.Random) -> list[list[LogRecord]]:
    bounds = sorted(choose.randrange(len(records) + 1) for _ in range(choose.randrange(9)))
    return [
        [*records[start:end]] for start, end in pairwise([0, *bounds, len(records)]) if start < end
    ]


Tables = dict[str, list[tuple[Any, ...]]]


# -- L2: order, repetition, chunks, workers ----------------------------------------------------


@given(history=histories(), choose=CHANCES)
@examples(50)
def test_any_order_repetition_and_chunking_gives_the_same_rows(
    history: History, choose: random.Random
) -> None:
    shuffled = [*history.records, *choose.choices(history.records, k=5)]
    choose.shuffle(shuffled)
    worker = Worker(MemoryStore())

    async def fold() -> None:
        for chunk in chunks_of(shuffled, choose):
            await worker.fold(chunk)

    asyncio.run(fold())
    assert_equal(worker.store, folded(history.records))


@given(history=histories(), choose=CHANCES)
@examples(50)
def test_two_workers_give_the_same_rows_however_their_chunks_fall_between_each_other(
    history: History, choose: random.Random
) -> None:
    """Each partition in order; now and then a worker ends, and one takes its chunk again."""
    partitions: defaultdict[int, list[LogRecord]] = defaultdict(list)
    for record in history.records:
        partitions[record.partition].append(record)
    store = MemoryStore()
    streams = [
        (Worker(store), chunks_of(records, choose)) for _, records in sorted(partitions.items())
    ]
    workers = [Worker(store), Worker(store)]
    owners = [choose.randrange(2) for _ in streams]

    async def fold() -> None:
        while remaining := [number for number, (_, chunks) in enumerate(streams) if chunks]:
            number = choose.choice(remaining)
            chunks = streams[number][1]
            await workers[owners[number]].fold(chunks[0])
            if choose.random() < 0.1:  # killed after the commit, before anybody heard of it
                workers[owners[number]] = Worker(store)
                owners[number] = choose.randrange(2)
            else:
                chunks.pop(0)

    asyncio.run(fold())
    assert_equal(store, folded(history.records))


# -- L3: live = rebuilt ------------------------------------------------------------------------


@given(history=histories(), choose=CHANCES)
@examples(50)
def test_record_by_record_at_once_and_rebuilt_are_the_same(
    history: History, choose: random.Random
) -> None:
    worker = Worker(MemoryStore())

    async def one_by_one() -> None:
        for record in history.records:
            await worker.fold([record])

    async def rebuilt() -> MemoryStore:
        async def log() -> Any:
            for chunk in chunks_of(history.records, choose):
                yield Chunk("t", chunk[0].partition, tuple(chunk))

        return await rebuild(log(), rules=RULES, root=REGISTRAR_KEY.public, opener=new_opener())

    asyncio.run(one_by_one())
    at_once = folded(history.records)
    assert_equal(worker.store, at_once)
    assert_equal(asyncio.run(rebuilt()), at_once)
    refold(worker.store)
    assert_equal(worker.store, at_once)


def refold(store: MemoryStore) -> None:
    """Judge every admitted segment again, in one turn."""
    places = [(row[6], row[7]) for row in store.tables()["ledger_segment"]]
    producers: frozenset[str] = frozenset()
    while True:
        try:
            asyncio.run(
                judge_again(
                    store,
                    cast("list[tuple[int, int]]", places),
                    rules=RULES,
                    root=REGISTRAR_KEY.public,
                    opener=new_opener(),
                    producers=producers,
                )
            )
        except NeedsProducers as wider:
            producers |= wider.producers
        else:
            return


# -- L4: sums, at every prefix -------------------------------------------------------------------


def tables_of(store: MemoryStore) -> Tables:
    return {name: [tuple(row) for row in rows] for name, rows in store.tables().items()}


def entities_of(tables: Tables, kind: int) -> list[tuple[bytes, list[Fact[Any]]]]:
    entity = ENTITY_KINDS[kind]
    return [(row[0], entity.decode(row[1])) for row in tables[entity.table] if row[1]]


def facts_of(tables: Tables, kind: int) -> list[list[Fact[Any]]]:
    return [facts for _, facts in entities_of(tables, kind)]


def at_every_prefix(history: History, check: Callable[[Tables, Figures], None]) -> None:
    worker = Worker(MemoryStore())

    async def fold() -> None:
        for record in history.records:
            await worker.fold([record])
            check(tables_of(worker.store), Figures.of(worker.store))

    asyncio.run(fold())


@given(history=histories())
@examples(25)
def test_cells_are_at_every_prefix_what_the_entities_add_and_roll_ups_their_sums(
    history: History,
) -> None:
    """Nothing that was ever added or taken back is left over."""

    def check(tables: Tables, _figures: Figures) -> None:
        sums: dict[str, Counter[tuple[object, ...]]] = {name: Counter() for name in CELL_TABLES}
        for kind in FOLDED_KINDS:
            entity = ENTITY_KINDS[kind]
            for key, raw, *_ in tables[entity.table]:
                added = entity.contributions(key, entity.decode(raw), RULES) if raw else {}
                for table, cells in added.items():
                    sums[table].update(cells)
        for desa, occurred_on, known_on, *_, people in tables["coverage_cell"]:
            sums["coverage_month"][desa, month_of(occurred_on), month_of(known_on)] += people
            sums["coverage_year"][desa, year_of(occurred_on), year_of(known_on)] += people
        assert {*ROLL_UPS} == {"coverage_month", "coverage_year"}
        for table in CELL_TABLES:
            assert {row[:-1]: row[-1] for row in tables[table]} == {
                cell: count for cell, count in sums[table].items() if count
            }, table

    at_every_prefix(history, check)


@given(history=histories(), data=st.data())
@examples(25)
def test_recorded_and_unrecorded_are_wajib_and_parts_are_the_whole_at_every_prefix(
    history: History, data: st.DataObject
) -> None:
    as_of = data.draw(st.dates(date(2017, 7, 1), date(2017, 9, 15)) | st.just(DAY_MAX))

    def check(tables: Tables, figures: Figures) -> None:
        placed = sum(
            moves[-1].after is not None
            for facts in facts_of(tables, PERSON)
            if (moves := placement_moves(facts, RULES.zone))
        )
        for rule in ("duplicates-count/v1", "duplicates-excluded/v1"):
            shown = [
                figures.coverage(as_of=as_of, level=level, rule=rule)
                for level in (Level.DESA, Level.KECAMATAN, Level.REGENCY)
            ]
            for coverage in shown:
                whole = coverage.totals
                assert (whole.recorded, whole.date_unknown) == summed(coverage.rows.values())
                assert whole.recorded == shown[0].totals.recorded
                assert whole.wajib == shown[0].totals.wajib
                for row in (*coverage.rows.values(), whole):
                    assert row.recorded >= 0
                    assert row.date_unknown >= 0
                    assert row.wajib is None or row.recorded + (row.unrecorded or 0) == row.wajib
            if as_of == DAY_MAX and rule == "duplicates-count/v1":
                assert sum(summed(shown[0].rows.values())) == placed

    at_every_prefix(history, check)


@given(history=histories())
@examples(25)
def test_fleet_states_sum_to_the_enrolled_producers_at_every_prefix(history: History) -> None:
    """Whoever is only spoken of, or only speaks, has no place in the fleet, and no state either."""

    def check(tables: Tables, _figures: Figures) -> None:
        labels: Counter[str] = Counter()
        enrolled = 0
        for _, raw, contact_ms in tables["producer"]:
            facts = decode_facts(raw) if raw else []
            context = context_of(facts)
            labels[device_state(facts, context=context, contact_ms=contact_ms).label] += 1
            enrolled += any(isinstance(fact.data, Enrolled) and fact.counts for fact in facts)
        assert labels.keys() <= {*LABELS}
        assert labels.total() - labels["NOT_ENROLLED"] == enrolled
        assert labels.total() == len(tables["producer"])

    at_every_prefix(history, check)


@given(history=histories())
@examples(25)
def test_statuses_sum_to_people_and_buckets_to_the_list_at_every_prefix(history: History) -> None:
    def check(tables: Tables, figures: Figures) -> None:
        people = sum(
            bool(moves and moves[-1].after)
            or any(fact.counts and isinstance(fact.data, Observed) for fact in facts)
            for facts in facts_of(tables, PERSON)
            for moves in [placement_moves(facts, RULES.zone)]
        )
        assert sum(row[-1] for row in tables["verification_cell"]) == people
        statuses = figures.sums("verification_cell", "desa", "status")
        ages = figures.sums("verification_age", "desa", "status")
        assert ages == {cell: statuses[cell] for cell in statuses if cell[1] in AGEING}
        entries = [counted(facts) for facts in facts_of(tables, COHORT_ENTRY)]
        for version in ("1", "2"):
            states = [
                entry_state(facts, RULES.zone, version=version, as_of=DAY_MAX) for facts in entries
            ]
            expected = Counter(state.bucket for state in states if state is not None)
            assert figures.buckets("c", version) == expected
            disputed = sum(state is not None and state.is_disputed for state in states)
            assert figures.disputed("c", version) == disputed

    at_every_prefix(history, check)


@given(history=histories())
@examples(25)
def test_readings_of_people_are_counted_once_each_on_their_day_at_every_prefix(
    history: History,
) -> None:
    """Also those whose day becomes known, or known otherwise, when a clock is anchored."""

    def check(tables: Tables, figures: Figures) -> None:
        expected = Counter(
            (fact.data.caller, fact.data.call, fact.occurred_on or DATE_UNKNOWN)
            for facts in facts_of(tables, ACCESS)
            for fact in counted(facts)
            if isinstance(fact.data, Accessed)
        )
        assert figures.sums("access_cell", "caller", "call", "accessed_on") == expected

    at_every_prefix(history, check)


# -- L7: as known at K is the fold of the prefix at K --------------------------------------------


@given(history=histories())
@examples(50)
def test_as_known_at_k_is_the_fold_of_the_prefix_at_k(history: History) -> None:
    """Whatever came later: anchors, keys, enrolments, revocations, forks, trees, withdrawals."""
    worker = Worker(MemoryStore())
    known: dict[date, Figures] = {}
    stood: dict[date, dict[str, dict[Row, object]]] = {}

    async def fold() -> None:
        for day, records in groupby(history.records, key=appended_on):
            await worker.fold([*records])
            known[day] = Figures.of(worker.store)
            tables = worker.store.tables()
            stood[day] = {table: {row[:-1]: row[-1] for row in tables[table]} for table in UNDATED}

    asyncio.run(fold())
    whole = Figures.of(worker.store)
    rows = worker.store.tables()["person"]
    people = {cast("bytes", key): person_facts(facts) for key, facts, _ in rows}
    for known_at, then_stood in stood.items():
        sums: dict[str, Counter[Row]] = {table: Counter() for table in UNDATED}
        for token, facts in people.items():
            for table, cells in cells_known_by(token, facts, known_at, RULES).items():
                sums[table].update(cells)
        assert {table: {**found} for table, found in sums.items()} == then_stood, known_at
    for known_at, then in known.items():
        for table in OVER_TIME:
            columns = CELL_TABLES[table].key
            now = whole.sums(table, *columns, known_at=known_at)
            assert now == then.sums(table, *columns), (table, known_at)
        assert whole.coverage(known_at=known_at) == then.coverage()
        for version in ("1", "2"):
            assert whole.buckets("c", version, known_at=known_at) == then.buckets("c", version)


def person_facts(facts: object) -> list[Fact[object]]:
    return ENTITY_KINDS[PERSON].decode(cast("bytes", facts)) if facts else []


def appended_on(record: LogRecord) -> date:
    return RULES.zone.day(record.append_ms)


# -- L5: nothing silent --------------------------------------------------------------------------


@given(history=histories())
@examples(50)
def test_every_record_and_every_event_of_it_is_somewhere(history: History) -> None:
    worker = Worker(MemoryStore())
    asyncio.run(worker.fold(history.records))
    tables = tables_of(worker.store)
    admitted = [(row[6], row[7]) for row in tables["ledger_segment"]]
    places = [
        (row[0], row[1])
        for table in ("ledger_copy", "held_record", "quarantined_record")
        for row in tables[table]
    ]
    assert Counter(admitted + places) == Counter(map(place_of, history.records))

    facts = [fact for kind in ENTITY_KINDS for of_one in facts_of(tables, kind) for fact in of_one]
    excluded = {row[:4]: row[4] for row in tables["excluded_event"]}
    told = {fact.id for fact in facts} | excluded.keys()
    for record in history.records:
        if place_of(record) in admitted:
            assert unaccounted(worker.opener.open_record(record), told) == []
    for fact in facts:
        assert fact.counts == (fact.id not in excluded)


@given(history=histories(), choose=CHANCES)
@examples(50)
def test_each_fact_is_told_by_the_route_of_the_earliest_copy_of_its_segment(
    history: History, choose: random.Random
) -> None:
    shuffled = choose.sample(history.records, k=len(history.records))
    worker = Worker(MemoryStore())

    async def fold() -> None:
        for chunk in chunks_of(shuffled, choose):
            await worker.fold(chunk)

    asyncio.run(fold())
    earliest: dict[bytes, LogRecord] = {}
    for record in sorted(history.records, key=lambda one: (one.append_ms, *place_of(one))):
        earliest.setdefault(record.value, record)
    by_place = {place_of(record): record for record in history.records}
    tables = tables_of(worker.store)
    told: dict[tuple[str, int, bytes], str] = {}
    for row in tables["ledger_segment"]:
        first = earliest[by_place[row[6], row[7]].value]
        assert (row[6:9], row[12]) == ((*place_of(first), first.append_ms), first.route)
        told[row[0], row[1], row[3][:VARIANT_BYTES]] = row[12]
    for kind in ENTITY_KINDS:
        for fact in chain.from_iterable(facts_of(tables, kind)):
            assert ROUTES[fact.route] == told[fact.producer, fact.epoch, fact.variant]


def place_of(record: LogRecord) -> tuple[int, int]:
    return (record.partition, record.offset)


def unaccounted(intake: Intake, told: Collection[object]) -> list[int]:
    """Return the seqs of a segment that are no fact and in no account of what does not count.

    Of a device's health the latest word stands for all.
    """
    assert isinstance(intake, Opened)
    header, variant = intake.header, intake.hash[:VARIANT_BYTES]
    replaced = {event.seq for event in intake.events if type(event.data) in LATEST_WINS}
    return [
        seq
        for seq in range(header.first, header.last + 1)
        if seq not in replaced and (header.producer, header.epoch, seq, variant) not in told
    ]


def test_the_histories_hold_everything_that_the_laws_are_about() -> None:
    """Without it the laws above would say little."""
    found: Counter[object] = Counter()
    for seed in range(80):
        tables = tables_of(folded(seeded(seed, turns=14).records))
        found.update(row[5] for row in tables["excluded_event"])
        found.update(row[7] for row in tables["held_record"])
        found.update(row[7] for row in tables["quarantined_record"])
        found.update(f"case {row[2]}" for row in tables["duplicate_case"])
        for row in tables["coverage_cell"]:
            found[row[3]] += 1
            found["date_unknown"] += row[1] == DATE_UNKNOWN
            found[f"by {row[6]}"] += 1
        found["epochs"] += any(row[1] != 1 for row in tables["ledger_segment"])
        for table in ("ledger_copy", *CELL_TABLES):
            found[table] += len(tables[table])
    wanted: list[object] = [
        *(reason for reason, _ in VERDICT_REASONS.values()),
        *("not_json", "unknown_type", "unknown_field", "not_authorised"),
        *("unknown_producer", "unknown_key", "unknown_reader", "unknown_version"),
        *("signature_invalid", "header_invalid"),
        *("case open", "case resolved"),
        *("arrived", "withdrawn", "redated", "revoked", "fork_lost", "authority"),
        *(f"by {route}" for route in ROUTES),
        *("date_unknown", "epochs", "ledger_copy", *CELL_TABLES),
    ]
    assert [what for what in wanted if found[what] < 3] == []
