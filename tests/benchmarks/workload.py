"""What is measured on: a made-up office whose people are recorded and then seen by the centre.

Reproducible. Per person one recording with serials and scores, about three observed statuses weeks
later, and a heartbeat for every third recording. All sizes of segments carry the same events.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final

from rekam.domain.events import (
    Event,
    EventData,
    Heartbeat,
    ProducerEnrolled,
    RecordingCaptured,
    StatusObserved,
    encode,
)
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey, VerifyKey
from rekam.domain.topics import SEGMENTS
from tests.support.history import DAY_MS, REGISTRAR, REGISTRAR_KEY, START_MS, Life, anchored

RECORDERS: Final = 16
FEEDS: Final = 4
"""The centre answers by several feeds, as in the simulated regency."""
DESA_PER_RECORDER: Final = 8
RECORDINGS_PER_HEARTBEAT: Final = 3
CAMPAIGN_DAYS: Final = 60
EPOCH: Final = 1

_PATHS: Final = (
    ("SENT_FOR_ENROLLMENT", "RECEIVED_AT_CENTRAL", "PRINT_READY_RECORD"),
    ("SENT_FOR_ENROLLMENT", "PRINT_READY_RECORD", "SENT_FOR_CARD_PRINTING", "CARD_PRINTED"),
    ("PROCESSING", "SENT_FOR_ENROLLMENT", "PRINT_READY_RECORD"),
    ("SENT_FOR_ENROLLMENT", "DUPLICATE_RECORD"),
)
_DIGITS_OF_BIRTH: Final = 10**6
_BOOT: Final = "3f0c2d6e-7a51"


@dataclass(frozen=True, slots=True)
class Line:
    """One encoded event of a producer."""

    producer: int
    wall_ms: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment on its way to the log."""

    partition: int
    key: bytes
    value: bytes
    events: int


@dataclass(frozen=True, slots=True)
class PlainRecord:
    """One event as a plain Kafka record: no segment, no cryptography."""

    partition: int
    value: bytes


@dataclass(frozen=True)
class Workload:
    """The events of an office with so many people."""

    people: int

    @cached_property
    def lines(self) -> Sequence[Line]:
        """Return every event, in the order in which it happened; each producer's begin anchored."""
        choose = random.Random(self.people)
        lines = [
            self._line(producer, START_MS, anchored(_BOOT)) for producer in range(RECORDERS + FEEDS)
        ]
        span_ms = CAMPAIGN_DAYS * DAY_MS
        for person in range(self.people):
            moment_ms = START_MS + 1 + person * span_ms // self.people + choose.randrange(60_000)
            lines.extend(self._life_of(person, moment_ms, choose))
        lines.sort(key=lambda line: line.wall_ms)
        return lines

    @property
    def events(self) -> int:
        """Return how many events there are."""
        return len(self.lines)

    def segments(self, events_max: int) -> list[Sealed]:
        """Seal all events, so many a segment, in the order in which the segments are full."""
        lives = _lives()
        waiting: list[list[bytes]] = [[] for _ in lives]
        sealed: list[Sealed] = []

        def seal(producer: int) -> None:
            lines, waiting[producer] = waiting[producer], []
            life = lives[producer]
            sealed.append(
                Sealed(
                    partition_of(producer),
                    life.producer.encode(),
                    life.seal(lines=lines),
                    len(lines),
                )
            )

        for line in self.lines:
            waiting[line.producer].append(line.text)
            if len(waiting[line.producer]) == events_max:
                seal(line.producer)
        for producer, lines in enumerate(waiting):
            if lines:
                seal(producer)
        return sealed

    def plain_records(self) -> Iterator[PlainRecord]:
        """Give every event as a record of its own, with its id beside what the line holds."""
        names = [life.producer.encode() for life in _lives()]
        seqs = [0] * len(names)
        for line in self.lines:
            producer = line.producer
            seqs[producer] += 1
            identity = b'{"producer":"%b","epoch":%d,"seq":%d,' % (
                names[producer],
                EPOCH,
                seqs[producer],
            )
            yield PlainRecord(partition_of(producer), identity + line.text[1:])

    def _life_of(self, person: int, moment_ms: int, choose: random.Random) -> Iterator[Line]:
        recorder = person % RECORDERS
        recording = person // RECORDERS
        place = f"64.08.{recorder + 1:02}"
        nik = f"6408{recorder + 1:02}{choose.randrange(_DIGITS_OF_BIRTH):06}{person % 10_000:04}"
        yield self._line(
            recorder,
            moment_ms,
            RecordingCaptured(
                recording=f"{recorder:02}-{recording:06}",
                nik=nik,
                domicile=f"{place}.{2001 + choose.randrange(DESA_PER_RECORDER)}",
                place=place,
                mode="online" if choose.random() < 0.5 else "offline",
                components={
                    "fingerprint_scanner": f"FS-{recorder:04}",
                    "iris_camera": f"IC-{recorder:04}",
                },
                quality={"fingers": choose.randrange(55, 100), "iris": choose.randrange(55, 100)},
                operator=f"op-{recorder % 5}",
            ),
        )
        if recording % RECORDINGS_PER_HEARTBEAT == 0:
            yield self._line(
                recorder,
                moment_ms + 1,
                Heartbeat(queue_events=choose.randrange(60), route="kafka", software="1.0.0"),
            )
        feed = RECORDERS + person % FEEDS
        for status in choose.choice(_PATHS):
            moment_ms += choose.randrange(2 * DAY_MS, 14 * DAY_MS)
            yield self._line(
                feed,
                moment_ms,
                StatusObserved(
                    nik=nik,
                    status=status,
                    observed_ms=moment_ms - choose.randrange(DAY_MS),
                    source="siak",
                ),
            )

    @staticmethod
    def _line(producer: int, wall_ms: int, data: EventData) -> Line:
        event = Event(wall_ms, wall_ms - START_MS, _BOOT, data)
        return Line(producer, wall_ms, encode(event))


@dataclass(frozen=True)
class Ends:
    """How many events lie before each offset of the partitions of a topic."""

    before: Sequence[Sequence[int]]

    @classmethod
    def of(cls, records: Sequence[Sealed], *, skipped: int) -> "Ends":
        """Count; partition 0 begins with `skipped` records without events."""
        counts: list[list[int]] = [[] for _ in range(SEGMENTS.partitions)]
        counts[0] = [0] * skipped
        for record in records:
            counts[record.partition].append(record.events)
        return cls([list(accumulate(found, initial=0)) for found in counts])

    def folded(self, positions: dict[int, int]) -> int:
        """Return how many events lie behind these positions."""
        return sum(self.before[partition][offset] for partition, offset in positions.items())


def enrolments() -> list[ProducerEnrolled]:
    """Return what the registrar says of all producers."""
    return [life.enrolment() for life in _lives()]


def enrolment() -> bytes:
    """Return the segment in which the registrar enrols all producers."""
    registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar")
    return registrar.seal(*[registrar.event(one) for one in enrolments()])


def partition_of(producer: int) -> int:
    """Return the partition that a producer's records go to."""
    return producer % SEGMENTS.partitions


def producer_keys() -> dict[str, VerifyKey]:
    """Return the public key of each producer."""
    return {life.producer: life.key.public for life in _lives()}


def people_for(events_wanted: int) -> int:
    """Return how many people have about so many events, producers' first ones aside."""
    per_person = 1 + 1 / RECORDINGS_PER_HEARTBEAT + sum(len(path) for path in _PATHS) / len(_PATHS)
    return max(RECORDERS, round(events_wanted / per_person))


def _lives() -> list[Life]:
    names = [f"recorder-{n + 1:02}" for n in range(RECORDERS)]
    names += [f"centre-feed-{n + 1}" for n in range(FEEDS)]
    return [
        Life(
            ProducerId(name),
            SigningKey.from_seed(bytes([number]) * 32),
            kind="recorder" if number <= RECORDERS else "centre",
        )
        for number, name in enumerate(names, start=1)
    ]
