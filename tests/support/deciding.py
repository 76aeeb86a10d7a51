"""Decisions on records of a history, and records that are decided again, in memory."""

import hashlib
import random
from collections.abc import Sequence

from projections.memory_store import MemoryStore
from rekam.domain import events
from rekam.domain.errors import Held
from rekam.domain.events import Event, RecordDiscarded
from rekam.domain.ids import Epoch
from rekam.domain.log import LogRecord
from stream_processors.admit import NeedsProducers
from stream_processors.fold import fold_intakes
from stream_processors.intake import Opener
from tests.support.history import DAY_MS, READER, REGISTRAR, REGISTRAR_KEY, RULES, Life


def discarding(record: LogRecord, *, first: int | None = None, last: int | None = None) -> Event:
    """Return the registrar's decision on a record, or on some of its events."""
    data = RecordDiscarded(
        partition=record.partition,
        offset=record.offset,
        record_hash=hashlib.sha256(record.value).hexdigest(),
        reason="test",
        first=first,
        last=last,
    )
    return Event(1, 1, "boot-9", data)


def with_discards(records: Sequence[LogRecord], choose: random.Random) -> list[LogRecord]:
    """Return the history with decisions of the registrar in it, one of them in a fork."""
    registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar", epoch=Epoch(9), boot="boot-9")
    found, now_ms = list(records), records[-1].append_ms
    ends = {record.partition: record.offset for record in records}  # the last one stands

    def append(raw: bytes) -> None:
        nonlocal now_ms
        now_ms += choose.choice((0, 1, DAY_MS))
        partition = choose.choice(sorted(ends))
        ends[partition] += 1
        found.append(LogRecord(partition, ends[partition], now_ms, raw))

    for record in choose.sample(records, k=min(6, len(records))):
        first, last = choose.choice(((None, None), (None, None), (1, 3), (2, 9), (4, 30)))
        start = (registrar.next_seq, registrar.prev)
        append(registrar.seal(discarding(record, first=first, last=last)))
        if choose.random() < 0.3:
            after = (registrar.next_seq, registrar.prev)
            registrar.next_seq, registrar.prev = start
            append(registrar.seal(discarding(choose.choice(records))))
            registrar.next_seq, registrar.prev = after
    return found


YOUNG_TYPES = frozenset(("recording.captured.v1", "cohort.entry_listed.v1", "producer.enrolled.v1"))
"""Types that an older software of the tests does not know."""


def older_opener(*, has_reader: bool = True, young: frozenset[str] = YOUNG_TYPES) -> Opener:
    """Return the opener of a software that does not know some types, or without the reader key."""

    def decode_as_before(line: bytes) -> Event:
        event = events.decode(line)
        if event.type in young:
            raise Held("unknown_type", f"type {event.type}; update this software")
        return event

    return Opener(
        rules=RULES,
        registrar_key=REGISTRAR_KEY.public,
        readers=[READER] if has_reader else [],
        decode=decode_as_before,
    )


async def fold_again_in_memory(
    store: MemoryStore, records: Sequence[LogRecord], opener: Opener
) -> None:
    """Decide again on records that were folded before."""
    producers: frozenset[str] = frozenset()
    intakes = [opener.open_record(record) for record in records]
    places = [(record.partition, record.offset) for record in records]
    while True:
        try:
            await fold_intakes(
                store,
                intakes,
                rules=RULES,
                root=REGISTRAR_KEY.public,
                opener=opener,
                producers=producers,
                again=places,
            )
        except NeedsProducers as wider:
            producers |= wider.producers
        else:
            return
