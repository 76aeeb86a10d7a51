"""What stands behind the HTTP calls: the log itself, or a relay's store."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from producers.gateway.cursors import Known, ReceiptCache
from producers.gateway.intake import Judged
from rekam.domain.ids import ProducerId
from rekam.domain.log import ArrivalRoute

Verdict = Literal["accepted", "duplicate", "held", "custody", "quarantined", "retry"]
"""What became of a segment. In the log: `accepted`, `duplicate`, `held`. `custody`: a relay holds
it. `quarantined`: wrong for ever, see the code. `retry`: nobody is known to have it: send again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict, and what is known beside it.

    `append_ms` is the broker's append time of a record that this call has put into the log, else
    None: a duplicate's own time lies in the past, and a device would set its clock by it.
    """

    verdict: Verdict
    code: str | None = None
    append_ms: int | None = None


class Backend(Protocol):
    """Takes judged segments, at least once, and knows receipts.

    When `take` returns, everything that it calls accepted, held or custody is durable. The same
    segments may come again, also while an earlier call is under way: that is never an error. Those
    of one producer keep their order within a call.
    """

    @property
    def receipts(self) -> ReceiptCache:
        """Give the receipts that are known here."""

    def receipt_of(self, producer: ProducerId) -> Known | None:
        """Return a producer's newest receipt; that it was asked for may bring a newer one soon."""

    async def take(self, judged: Sequence[Judged], *, route: ArrivalRoute) -> list[Outcome]:
        """Return an outcome for each segment, in order, within a bounded time.

        `route` is how they came here, for the log to tell.

        Raises ProblemError when nothing is known to have been taken; the caller sends all again.
        """

    async def missing(self) -> str | None:
        """Return what is missing to take segments now, or None when nothing is; cheap to ask."""
