"""Histories of a small office: everything that may stand in the log, sealed as producers seal it.

A `History` is a set of log records. `records` tells it in the order of append; tests fold it in
other orders and chunks. Enrolments may come late, keys rotate, clocks lie, forks and garbage occur.
"""

import random
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise

from projections.digest import digests_of, projection_digests
from projections.memory_store import MemoryStore
from projections.rules import Rules
from rekam.domain import events
from rekam.domain.clocks import OfficeZone
from rekam.domain.ids import Epoch, ProducerId, Seq
from rekam.domain.keys import ReaderPrivateKey, SigningKey
from rekam.domain.log import LogRecord
from rekam.domain.segment import Sealed, opening_hash, parse, seal
from stream_processors.intake import Opener
from stream_processors.replay.rebuild import fold_in_memory

READER = ReaderPrivateKey.from_seed(bytes([7]) * 32)
REGISTRAR_KEY = SigningKey.from_seed(bytes([9]) * 32)
REGISTRAR = ProducerId("registrar")
RULES = Rules(zone=OfficeZone("Asia/Makassar"), registrar=REGISTRAR, person_key=bytes([5]) * 32)

START_MS = 1_500_000_000_000
DAY_MS = 86_400_000
PARTITIONS = 3
FIRST_EPOCH = Epoch(1)
DESA = ("64.08.04.2001", "64.08.04.2002", "64.08.12.1002")
STATUSES = ("BIO_CAPTURED", "SENT_FOR_ENROLLMENT", "PRINT_READY_RECORD", "DUPLICATE_RECORD", "X_9")


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
            reader=READER.public,
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


def anchored(boot: str, offset_ms: int = 0) -> events.ClockAnchored:
    """Return an anchor of a boot session."""
    return events.ClockAnchored(anchored_boot=boot, offset_ms=offset_ms, source="test")


@dataclass
class Log:
    """Partitions that give offsets and append times, as a broker does."""

    records: list[LogRecord] = field(default_factory=list)
    now_ms: int = START_MS + 40 * DAY_MS
    _ends: dict[int, int] = field(default_factory=dict)

    def append(self, raw: bytes, *, partition: int, later_ms: int = 1_000) -> LogRecord:
        """Append a record."""
        self.now_ms += later_ms
        offset = self._ends.get(partition, 0)
        self._ends[partition] = offset + 1
        record = LogRecord(partition, offset, self.now_ms, raw)
        self.records.append(record)
        return record


def random_history(  # noqa: C901 - one chapter for each thing that can happen
    seed: int, *, segments: int = 24
) -> list[LogRecord]:
    """Return a reproducible history in which everything that the rules know of may happen."""
    choose = random.Random(seed)
    registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
    lives = [
        Life(ProducerId(name), SigningKey.from_seed(bytes([number]) * 32), kind=kind)
        for number, (name, kind) in enumerate(
            (("dev-a", "recorder"), ("dev-b", "recorder"), ("centre", "centre"), ("kpu", "kpu")),
            start=20,
        )
    ]
    spare = {
        life.producer: SigningKey.from_seed(bytes([60 + n]) * 32) for n, life in enumerate(lives)
    }
    raws: list[tuple[bytes, int]] = []  # bytes, partition

    def put(life: Life, raw: bytes) -> None:
        raws.append((raw, hash_of(life.producer)))

    statements: list[events.EventData] = [
        life.enrolment() for life in lives if choose.random() < 0.9
    ]
    statements += [
        events.KeyRotated(
            producer=life.producer, key=spare[life.producer].public.to_text(), rotated_ms=1
        )
        for life in lives
        if choose.random() < 0.5
    ]
    if choose.random() < 0.5:
        statements.append(
            events.ProducerRevoked(
                producer=choose.choice(lives).producer,
                effective_ms=START_MS + choose.randrange(30) * DAY_MS,
                reason="test",
            )
        )
    statements += [
        events.DenominatorPublished(
            version=f"v{choose.randrange(2)}",
            basis="test",
            valid_from=date(2017, 1, 1),
            rows=tuple(events.Denominator(desa, choose.randrange(1, 9)) for desa in DESA),
        ),
        *_publications(choose),
    ]
    for _ in range(segments):
        life = choose.choice(lives)
        before = (life.next_seq, life.prev)
        happened = [_random_event(life, choose) for _ in range(choose.randrange(1, 5))]
        lines = [
            choose.choice(
                (b"not json", b'{"type":"a.b.v9","wall_ms":1,"mono_ms":1,"boot":"b","data":{}}')
            )
        ]
        raw = life.seal(
            *happened,
            lines=lines if choose.random() < 0.15 else [],
            key=spare[life.producer] if choose.random() < 0.25 else None,
        )
        put(life, raw)
        if choose.random() < 0.2:  # another segment for the same seqs, perhaps a shorter one
            after = (life.next_seq, life.prev)
            life.next_seq, life.prev = before
            put(
                life,
                life.seal(*[_random_event(life, choose) for _ in range(choose.randrange(1, 4))]),
            )
            life.next_seq, life.prev = max((life.next_seq, life.prev), after)
        if choose.random() < 0.2:
            raws.append((raw, choose.randrange(PARTITIONS)))  # by a second route
        if choose.random() < 0.1:
            spoilt = bytearray(raw)
            spoilt[choose.randrange(8, len(raw))] ^= 1 << choose.randrange(8)
            raws.append((bytes(spoilt), choose.randrange(PARTITIONS)))
        if choose.random() < 0.1:
            life.boot = f"boot-{choose.randrange(1, 4)}"
    if choose.random() < 0.3:
        stranger = Life(ProducerId("stranger"), SigningKey.from_seed(bytes([99]) * 32))
        put(stranger, stranger.seal(stranger.event(captured(1, "s1"))))
    raws.append((b"garbage", 0))
    _let_some_come_late(raws, choose)
    choose.shuffle(statements)
    while statements:
        taken, statements = statements[:2], statements[2:]
        start = (registrar.next_seq, registrar.prev)
        raws.insert(
            choose.randrange(len(raws) + 1),
            (registrar.seal(*[registrar.event(data) for data in taken]), hash_of(REGISTRAR)),
        )
        if choose.random() < 0.2:
            after = (registrar.next_seq, registrar.prev)
            registrar.next_seq, registrar.prev = start
            other = lives[0].enrolment()
            raws.append((registrar.seal(registrar.event(other)), hash_of(REGISTRAR)))
            registrar.next_seq, registrar.prev = max((registrar.next_seq, registrar.prev), after)
    log = Log()
    for raw, partition in raws:
        log.append(raw, partition=partition, later_ms=choose.choice((0, 1, DAY_MS)))
    return log.records


def _let_some_come_late(raws: list[tuple[bytes, int]], choose: random.Random) -> None:
    """Move some segments behind later ones, as when a stick brings them."""
    for _ in range(choose.choice((0, 0, 1, 3))):
        early, late = sorted(choose.sample(range(len(raws)), k=2))
        raws.insert(late, raws.pop(early))


def _publications(choose: random.Random) -> list[events.EventData]:
    """Return trees that re-code desa, and denominators that fall; some are published again."""
    recoded = {DESA[1]: DESA[2], "64.08.12.2002": DESA[2], "64.08.12": "64.08.19"}
    published: list[events.EventData] = []
    for version in choose.choices(("t1", "t2", "t3"), k=choose.randrange(4)):
        codes = choose.sample(DESA, k=2)
        published.append(
            events.TreePublished(
                version=version,
                valid_from=date(2017, choose.choice((1, 7, 8)), 1),
                regions=tuple(events.Region(code, f"{version} {code}") for code in codes),
                mapping=dict(choose.sample(sorted(recoded.items()), k=choose.randrange(3))),
            )
        )
    published += [
        events.DenominatorPublished(
            version=version,
            basis=choose.choice(("test", "DKB")),
            valid_from=date(2017, choose.choice((1, 7, 8)), 1),
            rows=tuple(
                events.Denominator(desa, choose.randrange(6))
                for desa in choose.sample(DESA, k=choose.randrange(1, 4))
            ),
        )
        for version in choose.choices(("v0", "v1", "v2"), k=choose.randrange(3))
    ]
    return published


def _random_event(life: Life, choose: random.Random) -> events.Event:
    person = choose.randrange(4)
    wall_ms = choose.choice((0, START_MS, START_MS + choose.randrange(40) * DAY_MS, 2 * START_MS))
    choices: list[events.EventData] = [
        anchored(f"boot-{choose.randrange(1, 4)}", choose.choice((0, DAY_MS, START_MS))),
        events.Heartbeat(queue_events=choose.randrange(9)),
        events.FaultReported(component="scanner", fault="worn"),
        events.EpochOpened(reason="test"),
        events.TicketOpened(ticket="t1", producer=choose.choice(("dev-a", "dev-b")), summary="x"),
    ]
    match life.kind:
        case "centre":
            choices += [
                events.StatusObserved(
                    nik=nik(person),
                    status=choose.choice(STATUSES),
                    observed_ms=START_MS + choose.randrange(9) * DAY_MS,
                    source="test",
                )
            ] * 6
        case "kpu":
            choices += [
                events.CohortEntryListed(cohort="c", entry=person),
                events.CohortEntryResolved(
                    cohort="c", entry=person, bucket=choose.choice(("a", "b")), source="test"
                ),
                events.CohortPublished(cohort="c", version="1", title="t", source="s", entries=4),
            ] * 2
            version = choose.choice((None, "1", "2"))
            choices += [
                events.CohortEntryListed(
                    cohort="c",
                    entry=person,
                    nik=choose.choice((None, nik(person))),
                    code=choose.choice((None, "11", "U")),
                    version=version,
                ),
                events.CohortEntryResolved(
                    cohort="c",
                    entry=person,
                    bucket=choose.choice(("a", "not_found")),
                    source=choose.choice(("test", "koran")),
                    version=version,
                ),
                events.CohortPublished(cohort="c", version="2", title="t", source="s", entries=3),
            ] * 2
        case _:
            recording = f"{life.producer}-{choose.randrange(6)}"
            choices += [captured(person, recording, choose.choice(DESA))] * 6
            choices += [
                events.RecordingWithdrawn(recording=recording, nik=nik(person), reason="test"),
                events.StatusObserved(  # a recorder may not state this
                    nik=nik(person), status="CARD_ISSUED", observed_ms=START_MS, source="test"
                ),
            ]
    return life.event(choose.choice(choices), wall_ms=wall_ms)


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
