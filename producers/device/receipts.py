"""What a device does with receipts: it believes those of keys that it trusts, and deletes by them.

Any other, or one that speaks of somebody else, is logged with its reason and changes nothing.
"""

from typing import Final

import structlog

from producers.device.clock import Clock
from producers.device.home import ProducerHome
from producers.device.route import is_custodian
from rekam.domain.receipt import Receipt, ReceiptRejected, open_receipt

CUSTODY_MARK: Final = "+custody"

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def taken_by(route: str, verdict: str) -> str:
    """Return how the outbox remembers the route: one that only keeps a segment says so."""
    if verdict == "custody" and not is_custody(route):
        return route + CUSTODY_MARK
    return route


def is_custody(route: str) -> bool:
    """Return whether a remembered route promised to bring it to the log, and no more."""
    return is_custodian(route) or route.endswith(CUSTODY_MARK)


class ReceiptKeeper:
    """Applies receipts to one home's outbox."""

    def __init__(self, home: ProducerHome, *, clock: Clock) -> None:
        """Take what it works with; its owner closes the home."""
        self._home = home
        self._clock = clock
        self._latest: bytes | None = None

    @property
    def trusts_any(self) -> bool:
        """Return whether a receipt could be believed at all."""
        return bool(self._home.receipt_keys)

    def take(self, raw: bytes) -> frozenset[str]:
        """Apply a receipt as it came; return the routes that had taken what it covers newly.

        As the outbox remembers them, with their mark. Idempotent. What it names as missing is
        queued again. Raises OutboxBusy and what is wrong with the outbox; never because of the
        receipt.
        """
        if raw == self._latest or not self.trusts_any:
            return frozenset()
        try:
            receipt = self._believed(raw)
        except ReceiptRejected as error:
            log.warning("receipt_refused", producer=self._home.producer, reason=error.reason)
            return frozenset()
        effects = [
            self._home.outbox.apply_receipt(
                one, raw=raw, as_of_ms=receipt.as_of_ms, now=self._clock.read()
            )
            for one in receipt.epochs
        ]
        self._latest = raw
        log.info(
            "receipt_applied",
            producer=self._home.producer,
            as_of_ms=receipt.as_of_ms,
            receipted_events=sum(effect.receipted_events for effect in effects),
            requeued_segments=sum(effect.requeued_segments for effect in effects),
        )
        return frozenset().union(*(effect.takers for effect in effects))

    def _believed(self, raw: bytes) -> Receipt:
        receipt = open_receipt(raw, self._home.receipt_keys)
        if receipt.producer != self._home.producer:
            raise ReceiptRejected(
                "receipt_foreign", "it is another producer's; look what stands behind the route"
            )
        return receipt

    def prune(self, keep_seconds: float | None = None) -> int:
        """Delete what a receipt covers for longer than that; return the events.

        Without it, for as long as the home keeps it.
        """
        if keep_seconds is None:
            keep_seconds = self._home.keep_seconds
        return self._home.outbox.prune(now=self._clock.read(), keep_seconds=keep_seconds)
