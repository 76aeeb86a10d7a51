"""The outbox against a model: in whatever order, seqs are gapless and bytes stay."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from producers.device.outbox import Outbox, StoredSegment
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.segment import Sealed, open_body, opening_hash, parse, verify
from tests.support.device import READER

KEY = SigningKey.from_seed(bytes([3]) * 32)
PRODUCER = ProducerId("dev-1")


def line(number: int) -> bytes:
    return b'{"type":"x.y.v1","wall_ms":%d,"mono_ms":1,"boot":"b","data":{}}' % number


class OutboxMachine(RuleBasedStateMachine):
    """Appends, seals, acknowledges and reopens."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "outbox.db"
        self.outbox = Outbox.create(self.path, producer=PRODUCER)
        self.appended: list[bytes] = []
        self.taken: dict[int, bytes] = {}
        self.seen: dict[int, bytes] = {}

    @rule(count=st.integers(1, 12))
    def append(self, count: int) -> None:
        lines = [line(len(self.appended) + number) for number in range(count)]
        seqs = self.outbox.append(lines)
        assert list(seqs) == list(range(len(self.appended) + 1, len(self.appended) + count + 1))
        self.appended += lines

    @rule(events_max=st.integers(1, 7))
    def seal(self, events_max: int) -> None:
        self.outbox.seal_pending(
            signing_key=KEY, reader=READER.public, sealed=Sealed(1, 1, "b"), events_max=events_max
        )
        assert self.outbox.status().unsealed_events == 0

    @rule(count=st.integers(1, 4))
    def acknowledge(self, count: int) -> None:
        segments = self.outbox.unsent(limit_bytes=1_000_000)[:count]
        self.outbox.acknowledge(segments)
        self.outbox.acknowledge(segments)
        self.taken |= {segment.first: segment.raw for segment in segments}

    @rule()
    def reopen(self) -> None:
        self.outbox.close()
        self.outbox = Outbox.open(self.path)

    @invariant()
    def every_event_is_in_one_place(self) -> None:
        status = self.outbox.status()
        unsent = self.outbox.unsent(limit_bytes=1_000_000)
        self._check_chain(unsent)
        taken_events = sum(parse(raw).header.count for raw in self.taken.values())
        assert taken_events + status.unsent_events == len(self.appended)
        assert status.acknowledged_through == taken_events
        assert status.next_seq == len(self.appended) + 1
        assert status.unsent_segments == len(unsent)

    def _check_chain(self, unsent: list[StoredSegment]) -> None:
        """Sealed segments hold what was appended, chained; and once seen they never change."""
        prev, last = opening_hash(PRODUCER, Epoch(1)), 0
        for first, raw in sorted(
            (self.taken | {segment.first: segment.raw for segment in unsent}).items()
        ):
            assert self.seen.setdefault(first, raw) == raw
            segment = parse(raw)
            verify(segment, KEY.public)
            assert (segment.header.first, segment.header.prev) == (last + 1, prev)
            found = open_body(segment, READER)
            assert found == self.appended[first - 1 : segment.header.last]
            prev, last = segment.hash, segment.header.last

    def teardown(self) -> None:
        self.outbox.close()
        self.folder.cleanup()


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
