"""What becomes of segments that a server refused. Functions inside a transaction.

A refusal is one server's word. So a refused segment is set aside and not lost: it is offered again,
by another route first, when a receipt shows that the log lacks it, or a day later in any case. One
that is wrong for ever would be refused for ever: each time it waits longer, and after REFUSALS_MAX
it waits for a person (`rekam device retry-refused`).
"""

from typing import Final, cast

import apsw

from producers.device.clock import Reading
from producers.device.outbox_rows import PLACE_MAX, Place, Refused, StoredSegment
from rekam.domain.ids import Epoch
from rekam.domain.receipt import EpochReceipt
from rekam.runtime.queries import load_queries

REFUSALS_MAX: Final = 10
"""Refusals after which a segment is offered again by a person's word alone: about four days."""

AGAIN_SECONDS: Final = 900
"""How long a refused segment waits at least, although a receipt misses it; doubles each time."""

AGAIN_SECONDS_MAX: Final = 86_400
"""Where the doubling ends, and how long one waits that no receipt speaks of."""

_DOUBLINGS_MAX: Final = 20

_SQL: Final = load_queries("producers.device")


def refuse(
    connection: apsw.Connection, segment: StoredSegment, *, route: str, code: str, now: Reading
) -> None:
    """Set a segment aside, and count the refusal."""
    connection.execute(_SQL["update_refused"], (route, code, now.boot, now.mono_ms, segment.place))


def queue_missing(
    connection: apsw.Connection, receipt: EpochReceipt, base: int, *, now: Reading
) -> int:
    """Queue again what is due of what lies in a gap, or above all that has arrived; count it."""
    arrived = max(run.last for run in receipt.runs) if receipt.runs else 0
    missing = [(first, Place(base + last)) for first, last in receipt.gaps]
    count = 0
    for first, through in (*missing, (arrived + 1, PLACE_MAX)):
        count += _queue(
            connection,
            now=now,
            epoch=receipt.epoch,
            first=first,
            through=through,
            wait_seconds=AGAIN_SECONDS,
        )
    return count


def queue_long(connection: apsw.Connection, *, now: Reading) -> int:
    """Queue again what was refused a day ago, whatever receipts say; count segments."""
    rows = connection.execute(_SQL["select_refused_epochs"]).fetchall()
    count = 0
    for (epoch,) in cast("list[tuple[int]]", rows):
        count += _queue(
            connection,
            now=now,
            epoch=epoch,
            first=1,
            through=PLACE_MAX,
            wait_seconds=AGAIN_SECONDS_MAX,
        )
    return count


def queue_all(connection: apsw.Connection) -> list[Refused]:
    """Queue again everything that is set aside, and forget how often it was refused."""
    rows = connection.execute(_SQL["update_refused_to_unsent"]).fetchall()
    found = [Refused(*row) for row in cast("list[tuple[int, int, str, str, Epoch]]", rows)]
    return sorted(found, key=lambda one: (one.epoch, one.first))


def _queue(
    connection: apsw.Connection,
    *,
    now: Reading,
    epoch: int,
    first: int,
    through: Place,
    wait_seconds: int,
) -> int:
    rows = connection.execute(
        _SQL["update_due_refused_to_unsent"],
        {
            "epoch": epoch,
            "first": first,
            "through": through,
            "refusals_max": REFUSALS_MAX,
            "boot": now.boot,
            "mono_ms": now.mono_ms,
            "wait_ms": wait_seconds * 1000,
            "wait_ms_max": AGAIN_SECONDS_MAX * 1000,
            "doublings_max": _DOUBLINGS_MAX,
        },
    )
    return len(rows.fetchall())
