"""Many boot sessions: whichever anchor comes when, the same rows; and a fold reads few of them."""

import asyncio
import random
from collections.abc import Collection, Sequence
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from projections.digest import differences, digests_of
from projections.facts import COUNTS
from projections.memory_store import MemoryStore
from projections.registry.context import context_of, timeline_of
from projections.registry.facts import Anchor, ProducerFact
from projections.rows import AnchorKey, LedgerRow
from rekam.domain import events
from rekam.domain.clocks import RELAY_SOURCES
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.log import LogRecord
from stream_processors.replay.rebuild import fold_in_memory
from tests.support.history import (
    DAY_MS,
    REGISTRAR,
    REGISTRAR_KEY,
    RULES,
    START_MS,
    Life,
    Log,
    anchored,
    captured,
    fold_all,
    new_opener,
)

BOOTS = 5
SOURCES = ("broker", "carried", "relay", "relay_carried")
DEVICE = ProducerId("dev-a")


def device() -> Life:
    return Life(DEVICE, SigningKey.from_seed(bytes([21]) * 32))


def enrolled(log: Log, life: Life) -> None:
    registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
    log.append(registrar.seal(registrar.event(life.enrolment())), partition=2)


def sessions(seed: int) -> list[LogRecord]:
    """Return segments that name one session or several, anchor their own, another's, or nobody's.

    Some are copies by a second route, some other segments for the same seqs.
    """
    choose = random.Random(seed)
    life, log = device(), Log()
    enrolled(log, life)
    for number in range(14):
        happened: list[events.Event] = []
        for turn in range(choose.randrange(1, 4)):
            life.boot = f"boot-{choose.randrange(BOOTS)}"
            wall_ms = START_MS + choose.randrange(20) * DAY_MS
            happened.append(
                life.event(captured(choose.randrange(6), f"r-{number}-{turn}"), wall_ms=wall_ms)
            )
            if choose.random() < 0.35:
                told = anchored(
                    f"boot-{choose.randrange(BOOTS)}",
                    choose.randrange(3) * DAY_MS,
                    source=choose.choice(SOURCES),
                )
                happened.append(life.event(told, wall_ms=wall_ms))
        before = (life.next_seq, life.prev)
        raw = life.seal(*happened)
        log.append(raw, partition=0, later_ms=choose.randrange(1, 3 * DAY_MS))
        if choose.random() < 0.2:
            log.append(raw, partition=1, later_ms=choose.randrange(1, 3 * DAY_MS))
        if choose.random() < 0.15:
            after = (life.next_seq, life.prev)
            life.next_seq, life.prev = before
            log.append(life.seal(*happened[:1]), partition=1)
            life.next_seq, life.prev = after
    return log.records


@given(seed=st.integers(0, 2**32), order=st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_anchors_in_any_order_give_the_same_rows(seed: int, order: random.Random) -> None:
    """L2: what a session is anchored by is looked up, and where it is named; both are sets."""
    records = sessions(seed)
    straight = asyncio.run(fold_all(records))
    shuffled = [*records, *order.choices(records, k=2)]
    order.shuffle(shuffled)
    cuts = sorted(order.randrange(len(shuffled)) for _ in range(order.randrange(9)))
    other = asyncio.run(fold_all(shuffled, cuts))
    assert differences(digests_of(straight.tables()), digests_of(other.tables())) == []


ANCHORS = st.lists(
    st.tuples(
        st.integers(1, 2),
        st.integers(1, 9),
        st.integers(0, 6),
        st.sampled_from(("boot-0", "boot-1")),
        st.integers(0, 3),
        st.sampled_from(SOURCES),
    ),
    max_size=12,
    unique_by=lambda told: told[:2],
)
"""(epoch, seq, day since which it is known, boot session, offset, source)"""


@given(told=ANCHORS, order=st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_a_relay_s_word_moves_no_date_that_is_known_without_it(
    told: list[tuple[int, int, int, str, int, str]], order: random.Random
) -> None:
    facts = [
        ProducerFact(
            producer=DEVICE,
            epoch=epoch,
            seq=seq,
            variant=b"",
            known_ms=START_MS + day * DAY_MS,
            wall_ms=0,
            boot=boot,
            verdict=COUNTS,
            occurred_on=None,
            data=Anchor(boot, offset_ms, source),
        )
        for epoch, seq, day, boot, offset_ms, source in told
    ]
    order.shuffle(facts)
    strong = [fact for fact in facts if _source(fact) not in RELAY_SOURCES]
    whole, without = timeline_of(facts, RULES.zone), timeline_of(strong, RULES.zone)
    ends = {boot: steps[-1][1] for boot, steps in whole.anchors.items()}
    in_order = sorted(facts, key=lambda fact: fact.id)
    assert ends == context_of(in_order).anchors
    for boot, steps in without.anchors.items():
        for day in {turn for turn, _ in (*steps, *whole.anchors[boot])}:
            if (stood := _at(steps, day)) is not None:
                assert _at(whole.anchors[boot], day) == stood
    for boot in {boot for _, _, _, boot, _, _ in told}:
        assert boot in whole.anchors, "a relay's word is better than none"


def _at(steps: Sequence[tuple[date, int]], day: date) -> int | None:
    """Return the offset that stood at the end of a day."""
    return next((offset_ms for turn, offset_ms in reversed(steps) if turn <= day), None)


def _source(fact: ProducerFact) -> str:
    assert isinstance(fact.data, Anchor)
    return fact.data.source


class AskedStore(MemoryStore):
    """A store that notes what of a producer's life it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.segments_read = 0
        self.anchors_read = 0

    async def anchors_of(self, boots: Collection[AnchorKey]) -> dict[AnchorKey, bytes]:
        """Note how many there were."""
        found = await super().anchors_of(boots)
        self.anchors_read += len(found)
        return found

    async def ledger_of(self, producers: Collection[str]) -> list[LedgerRow]:
        """Note how many there were."""
        found = await super().ledger_of(producers)
        self.segments_read += len(found)
        return found

    async def ledger_of_boots(self, boots: Collection[AnchorKey]) -> list[LedgerRow]:
        """Note how many there were."""
        found = await super().ledger_of_boots(boots)
        self.segments_read += len(found)
        return found


def daily(days: int, *, anchor_first: bool) -> list[LogRecord]:
    """Return a device that boots every day and sends three segments."""
    life, log = device(), Log()
    enrolled(log, life)
    for day in range(days):
        life.boot = f"boot-{day}"
        told = life.event(anchored(life.boot), wall_ms=START_MS + day * DAY_MS)
        recorded = [
            life.event(captured(10 * day + turn, f"r-{day}-{turn}"), wall_ms=told.wall_ms)
            for turn in range(2)
        ]
        for happened in [told, *recorded] if anchor_first else [*recorded, told]:
            log.append(life.seal(happened), partition=0)
    return log.records


def folded(records: Sequence[LogRecord]) -> AskedStore:
    """Fold record by record."""

    async def fold() -> AskedStore:
        store, opener = AskedStore(), new_opener()
        for record in records:
            intakes = [opener.open_record(record)]
            await fold_in_memory(
                store, intakes, rules=RULES, root=REGISTRAR_KEY.public, opener=opener
            )
        return store

    return asyncio.run(fold())


def test_a_session_that_begins_with_its_anchor_has_nothing_of_the_past_read() -> None:
    store = folded(daily(30, anchor_first=True))
    assert store.segments_read == 0
    assert store.anchors_read == 30 * 2  # of the session itself, by the two segments that follow


def test_a_late_anchor_reads_its_own_session_however_long_the_device_has_lived() -> None:
    store = folded(daily(30, anchor_first=False))
    assert store.segments_read == 30 * 2


def test_what_is_kept_in_a_producers_own_row_does_not_grow_with_its_sessions() -> None:
    def size(days: int) -> int:
        rows = folded(daily(days, anchor_first=True)).tables()["producer"]
        return next(len(row[1]) for row in rows if row[0] == DEVICE)  # type: ignore[arg-type]  # bytes

    assert size(30) == size(3)
