"""What tests of the outbox share: numbered lines, keys, and what a server would say."""

from collections.abc import Sequence
from typing import Final

from producers.device.clock import Reading
from producers.device.outbox import Outbox, ReceiptEffect, StoredSegment
from rekam.domain.ids import ProducerId
from rekam.domain.keys import ReaderPrivateKey, SigningKey
from rekam.domain.receipt import EpochReceipt, Run
from rekam.domain.segment import Sealed, open_body, parse

PRODUCER: Final = ProducerId("dev-1")
KEY: Final = SigningKey.from_seed(bytes([3]) * 32)
READER: Final = ReaderPrivateKey.from_seed(bytes([7]) * 32)
ALL: Final = 10**9


def line(number: int, *, kind: str = "x.y.v1", padding: int = 0) -> bytes:
    """Return an event that can be told from all others by its number."""
    return b'{"type":"%s","wall_ms":%d,"mono_ms":1,"boot":"b","data":{"pad":"%s"}}' % (
        kind.encode(),
        number,
        b"x" * padding,
    )


def reading(mono_ms: int = 1, *, boot: str = "b", wall_ms: int = 1) -> Reading:
    """Return what the clocks show."""
    return Reading(wall_ms=wall_ms, mono_ms=mono_ms, boot=boot)


def seal(outbox: Outbox, *, events_max: int = 500, with_health: bool = True) -> int:
    """Seal everything that waits."""
    return outbox.seal_pending(
        signing_key=KEY,
        reader=READER.public,
        sealed=Sealed(1, 1, "b"),
        events_max=events_max,
        with_health=with_health,
    )


def lines_of(segments: Sequence[StoredSegment]) -> dict[tuple[int, int], bytes]:
    """Return the events of segments by (epoch, seq)."""
    return {
        (one.epoch, one.first + index): text
        for one in segments
        for index, text in enumerate(open_body(parse(one.raw), READER))
    }


def run_of(segments: Sequence[StoredSegment]) -> Run:
    """Return what a server says that has exactly these segments, one after the other."""
    return Run(segments[0].first, segments[-1].last, parse(segments[-1].raw).hash)


def receive(
    outbox: Outbox,
    segments: Sequence[StoredSegment],
    *,
    gaps: tuple[tuple[int, int], ...] = (),
    as_of_ms: int = 1,
    now: Reading | None = None,
) -> ReceiptEffect:
    """Apply the receipt of a server that has these segments of one epoch."""
    return outbox.apply_receipt(
        EpochReceipt(segments[0].epoch, (run_of(segments),), gaps),
        raw=b"receipt %d" % as_of_ms,
        as_of_ms=as_of_ms,
        now=now or reading(),
    )
