"""The epochs of an outbox, and the head of each one's chain. Functions inside a transaction."""

from typing import cast

import apsw

from rekam.domain.ids import Epoch
from rekam.domain.ranges import RangeSet
from rekam.domain.receipt import Receipt
from rekam.domain.segment import SEQ_MAX
from rekam.runtime.queries import load_queries

_SQL = load_queries("producers.device")


def open_epoch(connection: apsw.Connection) -> tuple[Epoch, int, bool]:
    """Return number and base of the open epoch, and whether it is suspected to be a fork."""
    epoch, base, is_suspected = cast(
        "tuple[Epoch, int, int]", connection.execute(_SQL["select_open_epoch"]).fetchone()
    )
    return epoch, base, bool(is_suspected)


def chain_head(connection: apsw.Connection, epoch: Epoch) -> tuple[int, str] | None:
    """Return last seq and hash of the last sealed segment, if it is of this epoch."""
    row = connection.execute(_SQL["select_head"], (epoch,)).fetchone()
    return cast("tuple[int, str] | None", row)


def sealed_through(connection: apsw.Connection, epoch: Epoch) -> int:
    """Return the last sealed seq of the open epoch; of an earlier one, more than any."""
    if epoch != open_epoch(connection)[0]:
        return SEQ_MAX
    head = chain_head(connection, epoch)
    return 0 if head is None else head[0]


def committed_events(connection: apsw.Connection, receipt: Receipt) -> int:
    """Return how many events of all our epochs lie in its runs, but for those that await a receipt.

    Such lie in a run of a copy of ourselves, which has sealed others under our seqs.
    """
    count = 0
    rows = connection.execute(_SQL["select_epochs"]).fetchall()
    for epoch, base, end in cast("list[tuple[Epoch, int, int | None]]", rows):
        last = sealed_through(connection, epoch) if end is None else end - base
        found = receipt.of_epoch(epoch)
        runs = () if found is None else found.runs
        held = RangeSet.of(*((run.first, min(run.last, last)) for run in runs if run.first <= last))
        for first, through in held.ranges:
            places = (base + first, base + through)
            outstanding = int(connection.execute(_SQL["select_outstanding"], places).get)
            count += through - first + 1 - outstanding
    return count
