"""Discards and releases leave no trace of order, of the software before, or of repetition."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from projections.digest import differences, digests_of
from projections.memory_store import MemoryStore
from rekam.domain.log import LogRecord
from stream_processors.replay.rebuild import fold_in_memory
from tests.support.deciding import fold_again_in_memory, older_opener, with_discards
from tests.support.history import REGISTRAR_KEY, RULES, fold_all, new_opener, random_history

seeds = st.integers(0, 10**6)


def assert_equal(one: MemoryStore, other: MemoryStore) -> None:
    assert differences(digests_of(one.tables()), digests_of(other.tables())) == []


def cuts_of(records: list[LogRecord], choose: random.Random) -> list[int]:
    return sorted(choose.sample(range(1, len(records)), k=min(8, len(records) - 1)))


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
async def test_a_discard_means_the_same_before_and_after_what_it_names(seed: int) -> None:
    choose = random.Random(seed)
    records = with_discards(random_history(seed), choose)
    expected = await fold_all(records)
    shuffled = records + choose.sample(records, k=5)  # some are read twice
    choose.shuffle(shuffled)
    assert_equal(expected, await fold_all(shuffled, cuts_of(shuffled, choose)))
    assert_equal(expected, await fold_all(shuffled[::-1], cuts_of(shuffled, choose)))


@settings(max_examples=60, deadline=None)
@given(seed=seeds, has_reader=st.booleans())
async def test_what_newer_software_takes_counts_as_if_it_had_always_been_there(
    *, seed: int, has_reader: bool
) -> None:
    choose = random.Random(seed)
    records = with_discards(random_history(seed), choose)
    choose.shuffle(records)
    store, opener = MemoryStore(), older_opener(has_reader=has_reader)
    while_old = choose.randrange(1, len(records))
    for record in records[:while_old]:
        intake = opener.open_record(record)
        await fold_in_memory(store, [intake], rules=RULES, root=REGISTRAR_KEY.public, opener=opener)
    # An upgrade in the middle of the log; what was held is decided again in any order and turns,
    # some of it twice, and some after what follows has been folded.
    newer = new_opener()
    again = records[:while_old] + choose.sample(records[:while_old], k=min(3, while_old))
    choose.shuffle(again)
    late = choose.randrange(len(again) + 1)
    await _decide_again(store, again[:late], choose)
    for record in records[while_old:]:
        intake = newer.open_record(record)
        await fold_in_memory(store, [intake], rules=RULES, root=REGISTRAR_KEY.public, opener=newer)
    await _decide_again(store, again[late:], choose)
    assert_equal(await fold_all(records), store)


async def _decide_again(
    store: MemoryStore, records: list[LogRecord], choose: random.Random
) -> None:
    newer = new_opener()
    while records:
        count = choose.randrange(1, 5)
        turn, records = records[:count], records[count:]
        await fold_again_in_memory(store, turn, newer)


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
async def test_deciding_again_with_the_same_software_changes_nothing(seed: int) -> None:
    choose = random.Random(seed)
    records = with_discards(random_history(seed), choose)
    store = await fold_all(records)
    choose.shuffle(records)
    await _decide_again(store, records, choose)
    assert_equal(await fold_all(records), store)
