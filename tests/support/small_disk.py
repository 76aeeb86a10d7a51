"""A life on a small disk, as a process of its own: filled, sent, receipted, and filled again.

`python -m tests.support.small_disk device|relay FOLDER BYTES` prints one JSON line. BYTES are what
an event has, half of it noise that does not compress.
"""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

from producers.device.outbox import Outbox
from producers.device.outbox_file import Storage
from producers.relay.store import CustodyStore
from rekam.domain.errors import CustodyFull, OutboxFull
from rekam.domain.receipt import open_receipt
from rekam.domain.segment import parse
from tests.support.gateway import TRUSTED, life, receipt_of
from tests.support.outboxes import ALL, PRODUCER, reading, receive, seal

EVENTS_A_SEGMENT = 4
STORAGE = Storage(any_file_system=True)  # what a device has, but for the disk: it is memory

Told = dict[str, int | bool]


def device(folder: Path, size: int) -> Told:
    """Record until it is refused, send and prune all, record again."""
    noise = random.Random(1)

    with Outbox.create(folder / "outbox.db", producer=PRODUCER, storage=STORAGE) as outbox:
        outbox.make_ready()

        def record() -> None:
            outbox.append(_lines(noise, size))
            seal(outbox, events_max=EVENTS_A_SEGMENT)

        first = _until_full(record)
        while seal(outbox, events_max=EVENTS_A_SEGMENT):
            pass
        was_full = outbox.status().is_full
        segments = outbox.unreceipted(limit_bytes=ALL)
        outbox.take(segments, route="kafka", now=reading())
        receive(outbox, segments)
        pruned = outbox.prune(now=reading(2), keep_seconds=0)
        is_full = outbox.status().is_full
        again = _until_full(record)
        kept = len(outbox.unreceipted(limit_bytes=ALL))
    return {
        "first": first,
        "was_full": was_full,
        "pruned": pruned // EVENTS_A_SEGMENT,
        "is_full": is_full,
        "again": again,
        "kept": kept,
    }


def relay(folder: Path, size: int) -> Told:
    """Take until it is refused, release all, take again."""
    noise = random.Random(1)
    one = life()
    raws: list[bytes] = []

    with CustodyStore.open(folder / "relay.db", storage=STORAGE) as store:

        def take() -> None:
            raw = one.seal(_lines(noise, size))
            segment = parse(raw)
            store.take([(segment.header, segment.hash, raw)], now_ms=1)
            raws.append(raw)

        first = _until_full(take)
        receipt = receipt_of(one, raws)
        released = store.release(open_receipt(receipt, TRUSTED), receipt).segments
        again = _until_full(take)
        kept = store.status().segments
    return {"first": first, "released": released, "again": again, "kept": kept}


def _lines(noise: random.Random, size: int) -> list[bytes]:
    return [
        b'{"type":"x.y.v1","wall_ms":%d,"mono_ms":1,"boot":"b","data":{"pad":"%s"}}'
        % (number, noise.randbytes(size // 2).hex().encode())
        for number in range(EVENTS_A_SEGMENT)
    ]


def _until_full(work: Callable[[], None]) -> int:
    count = 0
    while True:
        try:
            work()
        except (OutboxFull, CustodyFull):
            return count
        count += 1


if __name__ == "__main__":
    what, where, how_large = sys.argv[1:]
    print(json.dumps({"device": device, "relay": relay}[what](Path(where), int(how_large))))  # noqa: T201
