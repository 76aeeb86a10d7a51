"""What histories are made of: the keys of a small office, lives that seal, a log, and its fold.

A history is a set of log records. `Log.records` tells it in the order of append; tests fold it in
other orders and chunks. Whole ones, with everything that may stand in a log, are told in
`tests/support/whole_history.py`.
"""

from dataclasses import dataclass, field
from itertools import pairwise

from projections.digest import digests_of, projection_digests
from projections.memory_store import MemoryStore
from projections.rules import Rules
from rekam.domain import events
from rekam.domain.clocks import OfficeZone
from rekam.domain.ids import Epoch, ProducerId, Seq
from rekam.domain.keys import ReaderPrivateKey, ReaderPublicKey, SigningKey
from rekam.domain.log import ROUTE_UNTOLD, LogRecord
from rekam.domain.segment import Sealed, opening_hash, parse, seal
from stream_processors.intake import Opener
from stream_processors.replay.rebuild import fold_in_memory

READER = ReaderPrivateKey.from_seed(bytes([7]) * 32)
REGISTRAR_KEY = SigningKey.from_seed(bytes([9]) * 32)
REGISTRAR = ProducerId("registrar")
RULES = Rules(
    zone=OfficeZone("Asia/Makassar"),
    registrar=REGISTRAR,
    person_key=bytes([5]) * 32,
    nik_key=bytes([6]) * 32,
)

START_MS = 1_500_000_000_000
DAY_MS = 86_400_000
PARTITIONS = 3
FIRST_EPOCH = Epoch(1)
DESA = ("64.08.04.2001", "64.08.04.2002", "64.08.12.1002")


def new_opener() -> Opener:
    """Return an opener that has met no key but the trust root."""
    return Opener(rules=RULES, registrar_key=REGISTRAR_KEY.public, readers=[READER])


def nik(number: int) -> str:
    """Return the NIK of a made-up person."""
    return f"640804{number:010d}"


@dataclass
class Life:
    """One producer's outbox as its holder sees it: seals segment after segment."""

    producer: ProducerId
    key: SigningKey
    kind: str = "recorder"
    epoch: Epoch = FIRST_EPOCH
    boot: str = "boot-1"
    next_seq: int = 1
    prev: str = ""

    def event(self, data: events.EventData, *, wall_ms: int = START_MS) -> events.Event:
        """Return an event of this producer."""
        return events.Event(wall_ms, 1, self.boot, data)

    def seal(
        self,
        *happened: events.Event,
        lines: list[bytes] | None = None,
        key: SigningKey | None = None,
        reader: ReaderPublicKey = READER.public,
    ) -> bytes:
        """Seal the next segment."""
        body = [events.encode(event) for event in happened] + (lines or [])
        raw = seal(
            body,
            producer=self.producer,
            epoch=self.epoch,
            first=Seq(self.next_seq),
            prev=self.prev or opening_hash(self.producer, self.epoch),
            sealed=Sealed(START_MS, 1, self.boot),
            signing_key=key or self.key,
            reader=reader,
        )
        self.next_seq += len(body)
        self.prev = parse(raw).hash
        return raw

    def enrolment(self) -> events.ProducerEnrolled:
        """Return what the registrar says of it."""
        return events.ProducerEnrolled(
            producer=self.producer,
            kind=self.kind,  # type: ignore[arg-type]  # one of the literals
            place="64.08.04",
            key=self.key.public.to_text(),
            enrolled_ms=START_MS - 10 * DAY_MS,
        )


def captured(person: int, recording: str, desa: str = DESA[0]) -> events.RecordingCaptured:
    """Return a recording of a made-up person."""
    return events.RecordingCaptured(
        recording=recording, nik=nik(person), domicile=desa, place="64.08.04", mode="offline"
    )


def anchored(boot: str, offset_ms: int = 0, *, source: str = "test") -> events.ClockAnchored:
    """Return an anchor of a boot session."""
    return events.ClockAnchored(anchored_boot=boot, offset_ms=offset_ms, source=source)


@dataclass
class Log:
    """Partitions that give offsets and append times, as a broker does."""

    records: list[LogRecord] = field(default_factory=list)
    now_ms: int = START_MS + 40 * DAY_MS
    _ends: dict[int, int] = field(default_factory=dict)

    def append(
        self, raw: bytes, *, partition: int, later_ms: int = 1_000, route: str = ROUTE_UNTOLD
    ) -> LogRecord:
        """Append a record."""
        self.now_ms += later_ms
        offset = self._ends.get(partition, 0)
        self._ends[partition] = offset + 1
        record = LogRecord(partition, offset, self.now_ms, raw, route)
        self.records.append(record)
        return record


def random_history(seed: int, *, segments: int = 24) -> list[LogRecord]:
    """Return the records of a whole history of about so many segments, without its story."""
    from tests.support.whole_history import seeded  # which is made of the parts above

    return seeded(seed, turns=segments).records


def hash_of(producer: str) -> int:
    """Return the partition that a producer's records go to."""
    return sum(producer.encode()) % PARTITIONS


async def fold_all(records: list[LogRecord], cuts: list[int] | None = None) -> MemoryStore:
    """Fold records in the given order and chunks into a new store."""
    store, opener = MemoryStore(), new_opener()
    bounds = [0, *(cuts or []), len(records)]
    for start, end in pairwise(bounds):
        if start < end:
            intakes = [opener.open_record(record) for record in records[start:end]]
            await fold_in_memory(
                store, intakes, rules=RULES, root=REGISTRAR_KEY.public, opener=opener
            )
    return store


def digests(store: MemoryStore) -> dict[str, str]:
    """Return the digest of each projection."""
    return projection_digests(digests_of(store.tables()))
