"""The outbox against a model: in whatever order, seqs are gapless, bytes stay, sums add up."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from producers.device.outbox import Outbox, StoredSegment
from producers.device.outbox_file import Storage
from rekam.domain.events import EpochOpened, decode
from rekam.domain.ids import Epoch
from rekam.domain.segment import open_body, opening_hash, parse, verify
from tests.support.outboxes import (
    ALL,
    KEY,
    PRODUCER,
    READER,
    line,
    reading,
    receive,
    seal,
)

PLAIN = Storage(ballast_bytes=0, any_file_system=True)
KEEP_SECONDS = 10


@dataclass
class Known:
    """What the model knows of a segment."""

    segment: StoredSegment
    state: str = "unsent"
    receipted_at_ms: int = 0


class OutboxMachine(RuleBasedStateMachine):
    """Appends, seals, sends, receives, prunes, renews and reopens."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "outbox.db"
        self.outbox = Outbox.create(self.path, producer=PRODUCER, storage=PLAIN)
        self.now_ms = 1
        self.numbers = 0
        self.waiting: list[bytes] = []
        """Lines of the open epoch that are in no segment, as they will be sealed; None is ours."""
        self.health: dict[str, bytes] = {}
        self.epoch = Epoch(1)
        self.sealed_through = 0
        self.segments: dict[int, Known] = {}
        """By place, pruned ones too."""
        self.as_of_ms = 0

    def of(self, *states: str) -> list[Known]:
        return [
            self.segments[place]
            for place in sorted(self.segments)
            if self.segments[place].state in states
        ]

    # -- rules -----------------------------------------------------------------------------------

    @rule(count=st.integers(1, 12))
    def append(self, count: int) -> None:
        lines = [line(self.numbers + number) for number in range(count)]
        self.numbers += count
        first = self.sealed_through + len(self.waiting) + 1
        assert self.outbox.append(lines) == range(first, first + count)
        self.waiting += lines

    @rule(slot=st.sampled_from(["beat", "other"]))
    def put_health(self, slot: str) -> None:
        self.numbers += 1
        self.outbox.put_health(slot, line(self.numbers))
        self.health[slot] = line(self.numbers)

    @rule(events_max=st.integers(1, 7), with_health=st.booleans())
    def seal(self, events_max: int, with_health: bool) -> None:  # noqa: FBT001 - drawn
        if with_health:
            self.waiting += [self.health[slot] for slot in sorted(self.health)]
            self.health = {}
        before = {known.segment.place for known in self.segments.values()}
        count = seal(self.outbox, events_max=events_max, with_health=with_health)
        fresh = [one for one in self.outbox.unsent(limit_bytes=ALL) if one.place not in before]
        assert len(fresh) == count == -(-len(self.waiting) // events_max)
        lines = [text for one in fresh for text in open_body(parse(one.raw), READER)]
        assert lines == self.waiting
        self.segments |= {one.place: Known(one) for one in fresh}
        self.sealed_through += len(self.waiting)
        self.waiting = []

    @rule(count=st.integers(1, 4))
    def take(self, count: int) -> None:
        taken = self.outbox.unsent(limit_bytes=ALL)[:count]
        for _ in range(2):
            self.outbox.take(taken, route="kafka", now=reading(self.now_ms))
        for one in taken:
            self.segments[one.place].state = "taken"

    @precondition(lambda self: self.of("unsent", "taken"))
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        known = data.draw(st.sampled_from(self.of("unsent", "taken")))
        self.outbox.refuse(
            known.segment, route="gateway", code="signature_invalid", now=reading(self.now_ms)
        )
        known.state = "refused"

    @rule()
    def retry_refused(self) -> None:
        assert len(self.outbox.retry_refused()) == len(self.of("refused"))
        for known in self.of("refused"):
            known.state = "unsent"

    @rule()
    def requeue_what_is_overdue(self) -> None:
        self.now_ms += 5_000
        late = self.outbox.overdue(now=reading(self.now_ms), seconds=5)
        assert [one.place for one in late] == [known.segment.place for known in self.of("taken")]
        assert self.outbox.requeue([one.place for one in late]) == len(late)
        for known in self.of("taken"):
            known.state = "unsent"

    @precondition(lambda self: self.segments)
    @rule(data=st.data())
    def receive(self, data: st.DataObject) -> None:
        """Any run of any epoch, new or known; perhaps with a gap above it."""
        epoch = data.draw(
            st.sampled_from(sorted({k.segment.epoch for k in self.segments.values()}))
        )
        own = [k for _, k in sorted(self.segments.items()) if k.segment.epoch == epoch]
        first = data.draw(st.integers(0, len(own) - 1))
        last = data.draw(st.integers(first, len(own) - 1))
        self.as_of_ms += 1
        run, missing = own[first : last + 1], own[last + 1 : last + 2]
        lying = [k for k in missing if k.state in {"taken", "receipted"}]
        gaps = tuple((k.segment.first, k.segment.last) for k in missing)
        fresh = [k for k in run if k.state in {"unsent", "taken", "refused"}]
        effect = receive(
            self.outbox,
            [k.segment for k in run],
            gaps=gaps,
            as_of_ms=self.as_of_ms,
            now=reading(self.now_ms),
        )
        assert effect.receipted_events == sum(k.segment.last - k.segment.first + 1 for k in fresh)
        assert effect.requeued_segments == len(lying)
        assert not effect.is_fork_suspected
        for known in fresh:
            known.state, known.receipted_at_ms = "receipted", self.now_ms
        for known in lying:
            known.state = "unsent"

    @rule(passed_ms=st.sampled_from([0, 4_000, KEEP_SECONDS * 1000]))
    def prune(self, passed_ms: int) -> None:
        self.now_ms += passed_ms
        due = [
            known
            for known in self.of("receipted")
            if self.now_ms - known.receipted_at_ms >= KEEP_SECONDS * 1000
            and known.segment.place < max(self.segments)
        ]
        pruned = self.outbox.prune(now=reading(self.now_ms), keep_seconds=KEEP_SECONDS)
        assert pruned == sum(k.segment.last - k.segment.first + 1 for k in due)
        for known in due:
            known.state = "pruned"

    @rule()
    def begin_epoch(self) -> None:
        previous, self.epoch = self.epoch, self.outbox.begin_epoch(reason="why", now=reading())
        assert self.epoch == previous + 1
        head = [k.segment for _, k in sorted(self.segments.items()) if k.segment.epoch == previous]
        opened = EpochOpened(
            reason="why",
            previous_epoch=previous,
            previous_head=parse(head[-1].raw).hash if head else None,
        )
        text = b'{"type":"epoch.opened.v1"'
        self.sealed_through = 0
        seal_me = self.outbox
        assert seal_me.next_seq == len(self.waiting) + 2
        self.waiting.insert(0, self._first_line())
        assert self.waiting[0].startswith(text)
        assert decode(self.waiting[0]).data == opened

    def _first_line(self) -> bytes:
        ((found,),) = self.outbox._connection.execute("SELECT line FROM event WHERE seq = 1")
        assert isinstance(found, bytes)
        return found

    @rule()
    def reopen(self) -> None:
        self.outbox.close()
        self.outbox = Outbox.open(self.path, storage=PLAIN)

    # -- what always holds -----------------------------------------------------------------------

    @invariant()
    def every_event_is_in_one_place(self) -> None:
        status = self.outbox.status()
        events: Callable[..., int] = lambda *states: sum(  # noqa: E731 - for this method alone
            k.segment.last - k.segment.first + 1 for k in self.of(*states)
        )
        assert status.unsealed_events == len(self.waiting) == self.outbox.pending()
        assert status.unsent_events == events("unsent") + len(self.waiting)
        assert status.unsent_segments == len(self.of("unsent"))
        assert status.taken_events == events("taken")
        assert status.refused_segments == len(self.of("refused"))
        assert status.next_seq == self.sealed_through + len(self.waiting) + 1
        assert status.waiting_health == len(self.health)
        assert (status.epoch, status.is_fork_suspected) == (self.epoch, False)

    @invariant()
    def lists_hold_what_they_promise_byte_for_byte(self) -> None:
        assert self.outbox.unsent(limit_bytes=ALL) == [k.segment for k in self.of("unsent")]
        assert self.outbox.unreceipted(limit_bytes=ALL) == [
            k.segment for k in self.of("unsent", "taken", "refused")
        ]

    @invariant()
    def through_means_all_below(self) -> None:
        status = self.outbox.status()
        current = [k for _, k in sorted(self.segments.items()) if k.segment.epoch == self.epoch]
        untaken = [k.segment.first for k in current if k.state in {"unsent", "refused"}]
        assert status.taken_through == min(untaken, default=self.sealed_through + 1) - 1
        uncovered = [k.segment.first for k in current if k.state not in {"receipted", "pruned"}]
        assert status.receipted_through == min(uncovered, default=self.sealed_through + 1) - 1

    @invariant()
    def segments_are_chained_within_their_epoch(self) -> None:
        heads: dict[int, tuple[int, str]] = {}
        for _, known in sorted(self.segments.items()):
            segment = parse(known.segment.raw)
            verify(segment, KEY.public)
            epoch = segment.header.epoch
            last, prev = heads.get(epoch, (0, opening_hash(PRODUCER, Epoch(epoch))))
            assert (segment.header.first, segment.header.prev) == (last + 1, prev)
            heads[epoch] = segment.header.last, segment.hash

    def teardown(self) -> None:
        self.outbox.close()
        self.folder.cleanup()


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
