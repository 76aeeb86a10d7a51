"""Ways to the log: what every route promises, and how long it may take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from rekam.domain.ids import ProducerId

Verdict = Literal["logged", "custody", "refused", "retry"]
"""What became of a segment. `logged`: the log holds it. `custody`: somebody holds it who promised
to bring it to the log. `refused`: it stands in quarantine, `code` says why; only who puts segments
into the log can know that. `retry`: nobody has it.
"""

CUSTODIANS: Final = ("relay", "usb")
"""Kinds of routes that keep segments for others, and log nothing themselves."""

SLOWEST_BYTES_PER_SECOND: Final = 4096
"""A route that is slower than this does not work: 32 kbit/s, a bad day of GPRS."""

ALLOWED_BYTES_MAX: Final = 256 * 1024
"""Bytes that are given time at that pace: one full segment. More goes only where it was quick."""


@dataclass(frozen=True, slots=True)
class SegmentVerdict:
    """What a route says of one segment. `append_ms` is the broker's append time, if known."""

    verdict: Verdict
    append_ms: int | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """The answer to one `send`: a verdict for each segment, in their order."""

    verdicts: tuple[SegmentVerdict, ...]
    receipt: bytes | None = None
    """A signed receipt of this producer that came along, not verified."""
    relay_ms: int | None = None
    """The wall clock of who took custody, as it told with its answer."""


class Route(Protocol):
    """Takes segments to the log, at least once.

    `send` may be called again with segments whose fate is unknown (an answer got lost): the log
    then holds them twice, byte for byte, and they count once. Segments of one call arrive in its
    order. All calls end within a bounded time, also on a link that died without a word; one may run
    beside another. `stop` may be called without `send` and twice.
    """

    @property
    def label(self) -> str:
        """Name the kind of route as events do (kafka, gateway, relay, usb); no address in it."""

    async def send(self, segments: Sequence[bytes], *, producer: ProducerId) -> Delivery:
        """Return a verdict for each segment.

        Raises Unavailable or Overloaded when it is not known what became of them, or when none was
        taken; `retry_after_seconds` then says how long the other side wants to be left alone.
        """

    async def receipt(self, producer: ProducerId) -> bytes | None:
        """Return the latest signed receipt that this route can give; None when it has none.

        Nothing in it is verified here. Raises Unavailable or Overloaded.
        """

    async def stop(self) -> None:
        """Close connections; what was not answered is given up."""


def is_custodian(name: str) -> bool:
    """Return whether a route of that name or label only keeps what it takes: relay-2 does."""
    return name.startswith(CUSTODIANS)


def allowed_seconds(base_seconds: float, size: int) -> float:
    """Return how long a transfer of so many bytes may take before its link counts as dead."""
    return base_seconds + min(size, ALLOWED_BYTES_MAX) / SLOWEST_BYTES_PER_SECOND
