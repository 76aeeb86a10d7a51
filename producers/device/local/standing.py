"""How a device stands at one moment: `rekam device status` prints it, the status page shows it."""

from typing import Final

import msgspec

from producers.device.clock import NEVER_SET_BEFORE_MS, Reading
from producers.device.home import ProducerHome
from producers.device.known_time import BEHIND_MS_MAX, WRITTEN
from producers.device.salvage import Salvage
from rekam.domain.errors import ServerDatesWrong

DAY_MS: Final = 86_400_000

RECEIPT_SECONDS_MAX: Final = 86_400.0
"""Events that a route took for longer than this want a receipt: someone should look."""

CLOCK_WRONG_MS_MIN: Final = 300_000
"""A clock that is off by less does not concern the operator; the server corrects it."""


class RouteStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How a way to the log does. `is_working` is None as long as it was not tried."""

    label: str
    is_working: bool | None = None
    problem: str | None = None
    """`certificate_dates`: by the time known here, its certificate is not valid."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of a producer's home. Times are of its own clock unless they say otherwise."""

    producer: str
    kind: str
    epoch: int
    next_seq: int
    recorded_events: int
    """Saved in all epochs of this outbox, wherever they are now."""
    committed_events: int
    """Of those, what the newest trusted receipt shows to be in the log."""
    queue_events: int
    """Saved here and taken by no route yet."""
    unsent_segments: int
    oldest_unsent_ms: int | None
    taken_events: int
    """Taken by a route; no receipt covers them yet."""
    taken_through: int
    receipted_through: int
    committed: list[tuple[int, int]]
    """Ranges of the open epoch that a trusted receipt covers."""
    refused_segments: int
    damaged_segments: int
    """Set aside, because the disk has changed their bytes and no receipt covers them."""
    damaged_events: int
    """Those in them, and those that the disk changed before they were sealed."""
    damaged_now_events: int
    """Of those, the ones of the open epoch: nobody has said yet that the disk was looked at."""
    last_receipt_ms: int | None
    """Append time (the log's clock) of the latest record that the last receipt knows."""
    overdue_events: int
    """Of the taken ones, those without a receipt for RECEIPT_SECONDS_MAX."""
    receipt_keys: int
    """How many keys of receipts this home trusts."""
    is_fork_suspected: bool
    disk_bytes: int
    disk_free_bytes: int
    disk_percent: int
    is_disk_nearly_full: bool
    is_disk_full: bool
    emitter_pid: int | None
    wall_ms: int
    clock_offset_ms: int | None
    """True time minus wall time in this boot session, by the log's word or else a relay's; None
    before its first contact."""
    routes: tuple[RouteStanding, ...] = ()
    salvages: tuple[Salvage, ...] = ()
    """What was found in each outbox that was damaged and set aside; its file is still here."""

    @property
    def waiting_ms(self) -> int | None:
        """Return how long the oldest unsent event waits; None when none does or a clock lied."""
        oldest = self.oldest_unsent_ms
        if oldest is None or min(oldest, self.wall_ms) < NEVER_SET_BEFORE_MS:
            return None
        return max(0, self.wall_ms - oldest)

    @property
    def is_clock_wrong(self) -> bool:
        """Return whether the clock is known to be off by more than CLOCK_WRONG_MS_MIN.

        Without a contact in this session: whether it shows what has certainly passed.
        """
        if self.clock_offset_ms is not None:
            return abs(self.clock_offset_ms) > CLOCK_WRONG_MS_MIN
        return self.wall_ms < max(WRITTEN[1], self.last_receipt_ms or 0) - BEHIND_MS_MAX

    @property
    def are_dates_refused(self) -> bool:
        """Return whether a server is out of reach because its dates or the clock are wrong."""
        return any(route.problem == ServerDatesWrong.code for route in self.routes)

    @property
    def is_route_working(self) -> bool | None:
        """Return whether some route works; None when none was tried or nothing is sending."""
        tried = [route.is_working for route in self.routes if route.is_working is not None]
        return any(tried) if tried else None


def standing_of(
    home: ProducerHome, *, now: Reading, routes: tuple[RouteStanding, ...] = ()
) -> Standing:
    """Return how a home stands now. Reads no event and no segment."""
    found = home.outbox.status()
    offsets = {
        session.boot: session.relay_offset_ms if session.offset_ms is None else session.offset_ms
        for session in home.outbox.boots(now.boot)
    }
    receipt = home.last_receipt()
    overdue = home.outbox.overdue(now=now, seconds=RECEIPT_SECONDS_MAX)
    return Standing(
        producer=home.producer,
        kind=home.kind,
        epoch=found.epoch,
        next_seq=found.next_seq,
        recorded_events=found.recorded_events,
        # Whoever no longer trusts its key still has what it let go.
        committed_events=(
            found.receipted_through if receipt is None else home.outbox.committed_events(receipt)
        ),
        queue_events=found.unsent_events,
        unsent_segments=found.unsent_segments,
        oldest_unsent_ms=found.oldest_unsent_ms,
        taken_events=found.taken_events,
        taken_through=found.taken_through,
        receipted_through=found.receipted_through,
        committed=[(1, found.receipted_through)] if found.receipted_through else [],
        refused_segments=found.refused_segments,
        damaged_segments=found.damaged_segments,
        damaged_events=found.damaged_events,
        damaged_now_events=found.damaged_now_events,
        last_receipt_ms=found.receipt_as_of_ms,
        overdue_events=sum(one.last - one.first + 1 for one in overdue),
        receipt_keys=len(home.receipt_keys),
        is_fork_suspected=found.is_fork_suspected,
        disk_bytes=found.disk_bytes,
        disk_free_bytes=home.free_bytes(),
        disk_percent=found.disk_percent,
        is_disk_nearly_full=found.is_warning,
        is_disk_full=found.is_full,
        emitter_pid=home.emitter_pid(),
        wall_ms=now.wall_ms,
        clock_offset_ms=offsets.get(now.boot),
        routes=routes,
        salvages=tuple(home.salvages()),
    )
