"""The device's clocks, and what a contact with the broker says about them.

Wall time may be wrong by decades. What is known is its offset from the broker's append time,
measured at each contact and announced per boot session (`device.clock_anchored.v1`), so that the
server can date the events of that session, also those that arrived before.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from rekam.domain.errors import Misconfigured
from rekam.domain.events import ClockAnchored

BOOT_ID_PATH: Final = Path("/proc/sys/kernel/random/boot_id")

ROUND_TRIP_MS_MAX: Final = 5_000
"""A slower contact says too little: the offset is uncertain by half of it."""

MOVED_MS_MIN: Final = 2_000
"""An offset that moved by less is not announced again."""

NEVER_SET_BEFORE_MS: Final = 1_262_304_000_000  # 2010-01-01
"""A clock that shows less began at its maker's date when it was switched on, so an offset found
in this session says nothing about an earlier one."""

SOURCE_MEASURED: Final = "broker"
SOURCE_CARRIED: Final = "carried"
SOURCE_RELAY: Final = "relay"
SOURCE_RELAY_CARRIED: Final = "relay_carried"
"""Of an event's `source`: the log's own append time; that of a later session; a relay's clock."""

RELAY_MOVED_MS_MIN: Final = 60_000
"""The same for a relay's word: its clock is one of many, and dates alone rest on it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """All clocks at one moment. `mono_ms` counts within `boot`, through suspension too."""

    wall_ms: int
    mono_ms: int
    boot: str


@dataclass(frozen=True, slots=True)
class BootSession:
    """A boot session that has events here, and the offset that was announced for it, if any."""

    boot: str
    first_wall_ms: int
    offset_ms: int | None
    relay_offset_ms: int | None = None
    """What was announced for it by a relay's word; counts while nothing better is known."""


class Clock(Protocol):
    """Reads the clocks. `mono_ms` never goes back within a `boot`; `wall_ms` may do anything."""

    def read(self) -> Reading:
        """Return all clocks of this moment."""


class DeviceClock:
    """The clocks of this machine."""

    def __init__(self, boot_id_path: Path = BOOT_ID_PATH) -> None:
        """Read the boot id. Raises Misconfigured when the kernel does not tell it."""
        try:
            self._boot = boot_id_path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(
                [
                    (
                        f"{boot_id_path} cannot be read ({error}); events need the boot session "
                        "in which they happened. Mount /proc"
                    )
                ]
            ) from error
        if not 1 <= len(self._boot) <= 64:  # noqa: PLR2004 - an event's Label
            raise Misconfigured([f"{boot_id_path} holds no boot id; wanted 1 to 64 characters"])

    def read(self) -> Reading:
        """Return all clocks of this moment."""
        return Reading(
            wall_ms=time.time_ns() // 1_000_000,
            mono_ms=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
            boot=self._boot,
        )


@dataclass(frozen=True, slots=True)
class Contact:
    """A server did something at `append_ms` of its clock, between two readings of ours."""

    before: Reading
    after: Reading
    append_ms: int


def offset_of(contact: Contact) -> int | None:
    """Return true time minus wall time, or None when the contact cannot tell.

    Right to half a round trip. Counts back from the later reading on the monotonic clock: the wall
    clock may have been set meanwhile.
    """
    round_trip_ms = contact.after.mono_ms - contact.before.mono_ms
    if contact.before.boot != contact.after.boot or not 0 <= round_trip_ms <= ROUND_TRIP_MS_MAX:
        return None
    return contact.append_ms - (contact.after.wall_ms - round_trip_ms // 2)


def anchors_due(
    offset_ms: int, *, now: Reading, sessions: Iterable[BootSession]
) -> list[ClockAnchored]:
    """Return what to announce: the current session's offset, and that of earlier ones with it.

    The current one when it has none yet or its offset moved by more than MOVED_MS_MIN. An earlier
    one that never had a contact gets the same offset, source "carried": its wall time came from
    the same hardware clock. Not when either shows that the clock restarts with the device.
    """
    by_boot = {session.boot: session for session in sessions}
    current = by_boot.pop(now.boot, None)
    due = []
    if (
        current is None
        or current.offset_ms is None
        or abs(current.offset_ms - offset_ms) > MOVED_MS_MIN
    ):
        due.append(
            ClockAnchored(anchored_boot=now.boot, offset_ms=offset_ms, source=SOURCE_MEASURED)
        )
    if now.wall_ms < NEVER_SET_BEFORE_MS:
        return due
    due.extend(
        ClockAnchored(anchored_boot=session.boot, offset_ms=offset_ms, source=SOURCE_CARRIED)
        for session in by_boot.values()
        if session.offset_ms is None and session.first_wall_ms >= NEVER_SET_BEFORE_MS
    )
    return due


def relay_anchors_due(
    offset_ms: int, *, now: Reading, sessions: Iterable[BootSession]
) -> list[ClockAnchored]:
    """Return what to announce by a relay's clock, for sessions of which the log has said nothing.

    As `anchors_due` does, but weaker: a session of which the log says anything, then or later, is
    dated by that alone.
    """
    due = []
    for session in sessions:
        if session.offset_ms is not None:
            continue
        known_ms = session.relay_offset_ms
        if session.boot == now.boot:
            source = SOURCE_RELAY
            is_due = known_ms is None or abs(known_ms - offset_ms) > RELAY_MOVED_MS_MIN
        else:
            source = SOURCE_RELAY_CARRIED
            set_ms = min(now.wall_ms, session.first_wall_ms)
            is_due = known_ms is None and set_ms >= NEVER_SET_BEFORE_MS
        if is_due:
            due.append(
                ClockAnchored(anchored_boot=session.boot, offset_ms=offset_ms, source=source)
            )
    return due
