"""Routes that obey a test, and clocks that stand still or are set."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from producers.device.clock import DeviceClock, Reading
from producers.device.route import Delivery, SegmentVerdict, Verdict
from rekam.domain.errors import Overloaded, Unavailable
from rekam.domain.events import Event, Heartbeat, decode, encode
from rekam.domain.ids import Epoch, ProducerId, Seq
from rekam.domain.keys import SigningKey
from rekam.domain.segment import Sealed, open_body, opening_hash, parse, seal
from tests.support.device import READER

YEAR_MS = 365 * 86_400_000
NOW_MS = 1_522_454_400_000
SIGNING_KEY = SigningKey.from_seed(bytes([5]) * 32)


@dataclass
class SteadyClock:
    """Always the same moment, unless the test sets it forward."""

    boot: str = "boot-1"
    mono_ms: int = 1_000

    def read(self) -> Reading:
        return Reading(NOW_MS, self.mono_ms, self.boot)


@dataclass
class Years:
    """This machine's clocks, with a wall clock that is some years ahead."""

    ahead: int

    def read(self) -> Reading:
        now = DeviceClock().read()
        return Reading(now.wall_ms + self.ahead * YEAR_MS, now.mono_ms, now.boot)


@dataclass
class Seconds:
    """A monotonic clock that the test moves."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


class Longest:
    """Jitter that always waits as long as it may."""

    def uniform(self, low: float, high: float) -> float:
        assert low <= high
        return high


@dataclass
class ObedientRoute:
    """Keeps what it is given; is away as often as it is told; may hold an answer back."""

    label: str = "test"
    failures: int = 0
    error: Unavailable | Overloaded = field(default_factory=lambda: Unavailable("away"))
    append_ms: int | None = NOW_MS
    verdict: Verdict = "logged"
    code: str | None = None
    unwanted: set[bytes] = field(default_factory=set)
    """Segments that get `verdict`; none: all of them do."""
    receipts: bytes | None = None
    relay_ms: int | None = None
    """What it tells of its clock when it takes custody."""
    log: list[bytes] = field(default_factory=list)
    tries: int = 0
    sizes: list[int] = field(default_factory=list)
    """Bytes of each send."""
    is_stopped: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> Delivery:
        assert producer
        assert segments
        self.tries += 1
        self.sizes.append(sum(map(len, segments)))
        self.asked.set()
        if self.failures:
            self.failures -= 1
            raise self.error
        await self.gate.wait()
        verdicts = tuple(map(self._judged, segments))
        self.log.extend(
            raw
            for raw, verdict in zip(segments, verdicts, strict=True)
            if verdict.verdict in {"logged", "custody"}
        )
        relay_ms = self.relay_ms if self.verdict == "custody" else None
        return Delivery(verdicts, relay_ms=relay_ms)

    def _judged(self, raw: bytes) -> SegmentVerdict:
        if self.unwanted and raw not in self.unwanted:
            return SegmentVerdict("logged", append_ms=self.append_ms)
        told = self.append_ms if self.verdict == "logged" else None
        return SegmentVerdict(self.verdict, append_ms=told, code=self.code)

    async def receipt(self, producer: ProducerId) -> bytes | None:
        assert producer
        return self.receipts

    async def stop(self) -> None:
        self.is_stopped = True

    def events(self) -> list[Event]:
        """Return all events in the log's order."""
        return [decode(line) for raw in self.log for line in open_body(parse(raw), READER)]


def sealed_beats(count: int, *, producer: str = "dev-1") -> list[bytes]:
    """Seal segments of one heartbeat each, chained."""
    name, prev = ProducerId(producer), opening_hash(ProducerId(producer), Epoch(1))
    found = []
    for first in range(1, count + 1):
        beat = Heartbeat(queue_events=first)
        raw = seal(
            [encode(Event(NOW_MS, first, "boot-1", beat))],
            producer=name,
            epoch=Epoch(1),
            first=Seq(first),
            prev=prev,
            sealed=Sealed(wall_ms=NOW_MS, mono_ms=first, boot="boot-1"),
            signing_key=SIGNING_KEY,
            reader=READER.public,
        )
        prev = parse(raw).hash
        found.append(raw)
    return found
