"""SIGKILL at every step that the outbox takes on its disk, some hundred lives of one file."""

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from producers.device.outbox import Outbox, StoredSegment
from producers.device.outbox_file import Storage
from rekam.domain.segment import opening_hash, parse, verify
from tests.support.disk_faults import Deadly, child
from tests.support.outboxes import (
    ALL,
    KEY,
    PRODUCER,
    line,
    lines_of,
    reading,
    receive,
    seal,
)

LIVES = 300
STEPS_MAX = 80
KILLED = -9
PLAIN = Storage(ballast_bytes=0, any_file_system=True)


def live(path: Path, seed: int) -> Callable[[Callable[[str], None]], None]:
    """Return a life that ends at a step; it tells what it has promised, and what it begins."""

    def work(tell: Callable[[str], None]) -> None:
        chance = random.Random(seed)
        disk = Deadly(chance.randrange(1, STEPS_MAX))
        with Outbox.open(path, storage=disk.storage) as outbox:
            while True:
                match chance.choice(["append", "append", "seal", "take", "receipt", "prune"]):
                    case "append":
                        tell("began append")
                        number = chance.randrange(1_000_000)
                        (seq,) = outbox.append([line(number)])
                        tell(f"promised {seq} {number}")
                    case "seal":
                        tell("began seal")
                        seal(outbox, events_max=chance.randrange(1, 5))
                    case "take":
                        found = outbox.unsent(limit_bytes=3_000)
                        tell("began take")
                        outbox.take(found, route="kafka", now=reading())
                    case "receipt":
                        found = outbox.unreceipted(limit_bytes=2_000)
                        if found:
                            # Before it is applied: from then on these may go.
                            tell(f"receipted {found[-1].last}")
                            tell("began receipt")
                            receive(outbox, found, as_of_ms=seed)
                    case _:
                        tell("began prune")
                        outbox.prune(now=reading(9), keep_seconds=0)

    return work


def test_kills_at_every_step_lose_nothing_and_change_no_byte(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    Outbox.create(path, producer=PRODUCER, storage=PLAIN).close()
    promised: dict[int, bytes] = {}
    seen: dict[int, bytes] = {}
    killed_in: set[str] = set()
    receipted = 0
    for seed in range(1, LIVES + 1):
        with child(live(path, seed)) as (code, told):
            assert code == KILLED
        doing = "opening"
        for text in told:
            match text.split():
                case ["promised", seq, number]:
                    assert int(seq) not in promised
                    promised[int(seq)] = line(int(number))
                case ["receipted", last]:
                    receipted = max(receipted, int(last))
                case [_, doing]:
                    pass
        killed_in.add(doing)
        with Outbox.open(path, storage=PLAIN) as outbox:
            assert outbox.next_seq > max(promised, default=0)
            for one in outbox.unreceipted(limit_bytes=ALL):
                assert seen.setdefault(one.first, one.raw) == one.raw
    assert killed_in >= {"append", "seal", "take", "receipt", "prune"}
    with Outbox.open(path, storage=PLAIN) as outbox:
        # Fresh events flow afterwards.
        fresh = outbox.append([line(7)])
        seal(outbox)
        held = outbox.unreceipted(limit_bytes=ALL)
    events = {seq: text for (_, seq), text in lines_of(held).items()}
    assert events[fresh[0]] == line(7)
    lost = [seq for seq, text in promised.items() if seq > receipted and events.get(seq) != text]
    assert lost == []
    check_chain([*(segment(raw) for raw in seen.values()), *held])


def segment(raw: bytes) -> StoredSegment:
    header = parse(raw).header
    return StoredSegment(header.first, header.last, raw, header.epoch, header.first)  # type: ignore[arg-type]  # ids are numbers


def check_chain(segments: list[StoredSegment]) -> None:
    """All segments that ever were seen make one authentic chain without a fork."""
    by_first = {one.first: parse(one.raw) for one in segments}
    ordered = [by_first[first] for first in sorted(by_first)]
    for one in ordered:
        verify(one, KEY.public)
    if ordered[0].header.first == 1:
        assert ordered[0].header.prev == opening_hash(PRODUCER, 1)  # type: ignore[arg-type]  # an epoch is a number
    for one, following in pairwise(ordered):
        assert following.header.first > one.header.last
        if following.header.first == one.header.last + 1:
            assert following.header.prev == one.hash
