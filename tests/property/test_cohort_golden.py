"""The 427 of Bontang prison from the log, in whatever order its records come."""

import asyncio
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from projections.memory_store import MemoryStore
from rekam.domain import events
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.log import LogRecord
from rekam.domain.segment import SEGMENT_EVENTS_MAX
from tests.support.history import (
    REGISTRAR,
    REGISTRAR_KEY,
    START_MS,
    Life,
    Log,
    digests,
    fold_all,
    hash_of,
)

LIST = "kpu-lapas-bontang-2018"
BUCKETS = {"terverifikasi": 184, "tercetak": 127, "belum_rekam": 83}
NOT_FOUND = 186


def bontang(*, is_paper_revoked: bool = False) -> list[LogRecord]:
    """Return the log: two desks speak before they are enrolled, words come before the list."""
    registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
    kpu, paper = (
        Life(ProducerId(name), SigningKey.from_seed(bytes([seed]) * 32), kind="kpu")
        for name, seed in (("kpu", 1), ("kpu-paper", 2))
    )
    fates: list[str | None] = [name for name, count in BUCKETS.items() for _ in range(count)]
    fates += [None] * 33
    words: list[events.EventData] = [
        events.CohortEntryResolved(
            cohort=LIST, entry=number, bucket=bucket, source="KPU", version="1"
        )
        for number, bucket in enumerate(fates, start=1)
        if bucket is not None
    ]
    words += [
        events.CohortPublished(
            cohort=LIST, version="1", title="Lapas Bontang", source="KPU", entries=len(fates)
        ),
        *(
            events.CohortEntryListed(cohort=LIST, entry=number, version="1")
            for number in range(1, len(fates) + 1)
        ),
    ]
    log = Log()
    for life, said in (
        (kpu, words),
        (
            paper,
            [
                events.CohortEntryResolved(
                    cohort=LIST, entry=number, bucket="tidak_ditemukan", source="koran"
                )
                for number in range(1, NOT_FOUND + 1)
            ],
        ),
        (registrar, [kpu.enrolment(), paper.enrolment()]),
    ):
        for start in range(0, len(said), SEGMENT_EVENTS_MAX):
            part = [life.event(data) for data in said[start : start + SEGMENT_EVENTS_MAX]]
            log.append(life.seal(*part), partition=hash_of(life.producer))
    if is_paper_revoked:
        revoked = events.ProducerRevoked(
            producer=paper.producer, effective_ms=START_MS - 1, reason="bukan sumber"
        )
        log.append(registrar.seal(registrar.event(revoked)), partition=hash_of(REGISTRAR))
    return log.records


def buckets_of(store: MemoryStore) -> Counter[object]:
    found: Counter[object] = Counter()
    for _, _, bucket, *_, count in store.tables()["cohort_cell"]:
        found[bucket] += count  # type: ignore[operator]  # an int
    return Counter({bucket: count for bucket, count in found.items() if count})


def disputed_of(store: MemoryStore) -> int:
    return sum(
        count  # type: ignore[misc]  # an int
        for _, _, _, _, is_disputed, *_, count in store.tables()["cohort_cell"]
        if is_disputed
    )


def claims_of(store: MemoryStore) -> Counter[object]:
    found: Counter[object] = Counter()
    for _, _, source, bucket, *_, count in store.tables()["cohort_claim"]:
        found[source, bucket] += count  # type: ignore[operator]  # an int
    return Counter({word: count for word, count in found.items() if count})


@given(order=st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_the_427_are_184_127_83_and_33_whatever_came_first(order: random.Random) -> None:
    records = bontang()
    straight = asyncio.run(fold_all(records))
    order.shuffle(records)
    store = asyncio.run(fold_all(records, [order.randrange(len(records))]))
    assert buckets_of(store) == {**BUCKETS, "unresolved": 33}
    assert sum(buckets_of(store).values()) == 427
    assert claims_of(store) == {
        **{("KPU", bucket): count for bucket, count in BUCKETS.items()},
        ("koran", "tidak_ditemukan"): NOT_FOUND,
    }
    assert disputed_of(store) == NOT_FOUND
    assert digests(store) == digests(straight)


@given(order=st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_a_source_that_is_not_believed_any_more_takes_its_words_back(order: random.Random) -> None:
    records = bontang(is_paper_revoked=True)
    straight = asyncio.run(fold_all(records))
    order.shuffle(records)
    store = asyncio.run(fold_all(records, [order.randrange(len(records))]))
    assert buckets_of(store) == {**BUCKETS, "unresolved": 33}
    assert disputed_of(store) == 0
    assert claims_of(store) == {("KPU", bucket): count for bucket, count in BUCKETS.items()}
    assert digests(store) == digests(straight)
