"""What a receipt does to an outbox. Functions inside a transaction.

A run ends on our own chain when we have a segment that ends at its last seq with its very hash: the
chain then proves that the log has our bytes of all that the run covers. When it ends on another
chain, or beyond what we have sealed, somebody else seals in our name.
"""

from typing import Final, Literal, cast

import apsw
import structlog

from producers.device import refusals
from producers.device.clock import Reading
from producers.device.epochs import open_epoch, sealed_through
from producers.device.outbox_rows import ReceiptEffect
from rekam.domain.ids import Epoch
from rekam.domain.receipt import EpochReceipt, Run
from rekam.runtime.queries import load_queries

RunEnd = Literal["own", "foreign", "unknown"]

_SQL: Final = load_queries("producers.device")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def apply_receipt(
    connection: apsw.Connection, receipt: EpochReceipt, *, raw: bytes, as_of_ms: int, now: Reading
) -> ReceiptEffect:
    """Mark what the receipt covers, queue again what it misses, and notice a copy of ourselves."""
    connection.execute(_SQL["upsert_receipt"], (raw, as_of_ms))
    connection.execute(_SQL["update_epoch_seen"], (receipt.epoch,))
    opened, _, was_suspected = open_epoch(connection)
    base = cast("int | None", connection.execute(_SQL["select_epoch_base"], (receipt.epoch,)).get)
    if base is None:
        # Not ours: of another life of this producer, a later one if its number is higher.
        ends: list[RunEnd] = ["foreign"] if receipt.epoch > opened else []
        receipted = requeued = 0
        takers: set[str] = set()
    else:
        ends = [_run_end(connection, receipt.epoch, base, run) for run in receipt.runs]
        covered = [
            row
            for run, end in zip(receipt.runs, ends, strict=True)
            if end == "own"
            for row in _cover(connection, base, run, as_of_ms=as_of_ms, now=now)
        ]
        receipted = sum(events for events, _ in covered)
        takers = {route for _, route in covered if route is not None}
        requeued = _queue_missing(connection, receipt, base, as_of_ms=as_of_ms)
        requeued += refusals.queue_missing(connection, receipt, base, now=now)
    # What a copy did in an earlier epoch is known, and is why there is a later one.
    is_foreign = "foreign" in ends and receipt.epoch >= opened
    if is_foreign and not was_suspected:
        log.error("fork_suspected", epoch=opened)
        connection.execute(_SQL["update_epoch_suspected"], (opened,))
    return ReceiptEffect(
        receipted, requeued, frozenset(takers), is_fork_suspected=is_foreign or was_suspected
    )


def _run_end(connection: apsw.Connection, epoch: int, base: int, run: Run) -> RunEnd:
    row = cast(
        "tuple[int, int, int, str] | None",
        connection.execute(_SQL["select_delivery_before"], (base + run.last,)).fetchone(),
    )
    if run.last > sealed_through(connection, Epoch(epoch)):
        return "foreign"
    if row is None or row[0] != epoch:
        # All of the epoch up to there has been pruned.
        return "unknown"
    _, first, last, digest = row
    if last == run.last:
        return "own" if digest == run.head else "foreign"
    return "foreign" if first <= run.last < last else "unknown"


def _cover(
    connection: apsw.Connection, base: int, run: Run, *, as_of_ms: int, now: Reading
) -> list[tuple[int, str | None]]:
    """Mark the segments that lie wholly in a run; return events and taker of each one new."""
    covered = connection.execute(
        _SQL["update_receipted"],
        (as_of_ms, now.boot, now.mono_ms, base + run.first, base + run.last, run.last),
    )
    return cast("list[tuple[int, str | None]]", covered.fetchall())


def _queue_missing(
    connection: apsw.Connection, receipt: EpochReceipt, base: int, *, as_of_ms: int
) -> int:
    """Queue again what lies in gaps, unless a receipt as new has been heeded; count segments."""
    heeded_ms = cast(
        "int | None", connection.execute(_SQL["select_epoch_heeded"], (receipt.epoch,)).get
    )
    if heeded_ms is not None and as_of_ms <= heeded_ms:
        return 0
    connection.execute(_SQL["update_epoch_heeded"], (as_of_ms, receipt.epoch))
    return sum(
        len(
            connection.execute(
                _SQL["update_missing_to_unsent"], (base + last, receipt.epoch, first, as_of_ms)
            ).fetchall()
        )
        for first, last in receipt.gaps
    )
