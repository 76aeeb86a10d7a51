"""Lines from outside become events: split, checked, stamped with the clocks, appended, answered.

What `rekam device append` and the local endpoint share, so that both say the same.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec

from producers.device.clock import Reading
from producers.device.lanes import lane_of
from producers.device.outbox import Outbox
from rekam.domain import events
from rekam.domain.errors import Corrupt, EventRejected, Held, OutboxFull, RekamError
from rekam.domain.segment import EVENT_BYTES_MAX

BATCH_LINES_MAX: Final = 500
"""Most lines of one transaction."""


class Stored(msgspec.Struct, frozen=True):
    """The event is durable under this seq."""

    seq: int


class Kept(msgspec.Struct, frozen=True):
    """The event is durable in a lane whose events get their seq when they are sealed."""

    lane: str


class Fault(msgspec.Struct, frozen=True):
    """Why a line was not taken; `message` shows none of its values."""

    code: str
    message: str


class Refused(msgspec.Struct, frozen=True):
    """The line was not taken and is stored nowhere."""

    error: Fault


Answer = Stored | Kept | Refused

encode_answer = msgspec.json.Encoder().encode


class Lines:
    """Cuts a stream of bytes into lines; blank ones are skipped.

    Holds at most one line that has not ended, and of that no more than shows it to be too long.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, read: bytes) -> list[bytes]:
        """Return the lines that have ended with these bytes."""
        *complete, rest = (self._rest + read).split(b"\n")
        # Only its length matters from here on; it is refused when its end has come.
        self._rest = rest[: EVENT_BYTES_MAX + 1]
        return [line for line in complete if line.strip()]

    def end(self) -> list[bytes]:
        """Return what stood behind the last line end, when the stream has ended."""
        rest, self._rest = self._rest, b""
        return [rest] if rest.strip() else []


def append_lines(outbox: Outbox, arrived: Sequence[tuple[bytes, Reading]]) -> list[Answer]:
    """Append what is an event, each stamped with the clocks of its arrival; answer in order.

    When this returns, what was answered with a seq or a lane survives power loss: all of it in one
    transaction per lane. In an outbox that has not room for all, each line is tried by itself.
    """
    answers: list[Answer | None] = [None] * len(arrived)
    queued: list[tuple[int, bytes]] = []
    for place, (line, now) in enumerate(arrived):
        try:
            kind, stamped = stamp(line, now)
        except (EventRejected, Held) as error:
            answers[place] = Refused(Fault(error.reason, error.detail))
            continue
        lane = lane_of(kind)
        if lane in ("health", "diagnostic"):
            answers[place] = _keep(outbox, lane=lane, kind=kind, line=stamped)
        else:
            queued.append((place, stamped))
    for (place, _), answer in zip(
        queued, _store(outbox, [line for _, line in queued]), strict=True
    ):
        answers[place] = answer
    return [answer for answer in answers if answer is not None]


def damage_of(answers: Iterable[Answer]) -> Corrupt | None:
    """Return what answers say of a damaged outbox: whoever appends must end then, and be told.

    `append_lines` does not raise it, because lines before the damage may have been stored.
    """
    for answer in answers:
        if isinstance(answer, Refused) and answer.error.code == Corrupt.code:
            return Corrupt(answer.error.message)
    return None


def _store(outbox: Outbox, lines: list[bytes]) -> list[Answer]:
    """Append to the recording lane, whose seqs follow each other."""
    if not lines:
        return []
    try:
        return [Stored(seq) for seq in outbox.append(lines)]
    except OutboxFull as error:
        if len(lines) == 1:
            return [refused(error)]
        return [answer for line in lines for answer in _store(outbox, [line])]
    except RekamError as error:
        return [refused(error)] * len(lines)


def _keep(outbox: Outbox, *, lane: str, kind: str, line: bytes) -> Answer:
    try:
        if lane == "health":
            # Of each kind the latest says all; the device's own heartbeat has the same slot.
            outbox.put_health(kind, line)
        else:
            outbox.put_diagnostic(line)
    except RekamError as error:
        return refused(error)
    return Kept(lane)


def refused(error: RekamError) -> Refused:
    """Return the answer to a line that met an error of the outbox."""
    return Refused(Fault(error.code, str(error)))


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Annotated[str, msgspec.Meta(max_length=100)]
    data: msgspec.Raw
    wall_ms: int | None = None
    mono_ms: int | None = None
    boot: str | None = None


_read_input = msgspec.json.Decoder(_Input).decode


def stamp(line: bytes, now: Reading) -> tuple[str, bytes]:
    """Return the type of a line and its event, with clocks filled in where it gives none.

    Raises EventRejected or Held, without any value of the line.
    """
    _check_size(line)
    try:
        given = _read_input(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EventRejected(
            "not_an_event", 'wanted {"type": …, "data": {…}} with wall_ms, mono_ms, boot if known'
        ) from error
    if (given.mono_ms is None) != (given.boot is None):
        raise EventRejected("not_an_event", "mono_ms counts within boot: give both, or neither")
    stamped = msgspec.json.encode(
        {
            "type": given.type,
            "wall_ms": now.wall_ms if given.wall_ms is None else given.wall_ms,
            "mono_ms": now.mono_ms if given.mono_ms is None else given.mono_ms,
            "boot": now.boot if given.boot is None else given.boot,
            "data": given.data,
        }
    )
    _check_size(stamped)
    # Encoded again from what it means: no line ends or surplus spaces travel.
    encoded = events.encode(events.decode(stamped))
    _check_size(encoded)
    return given.type, encoded


def _check_size(line: bytes) -> None:
    if len(line) > EVENT_BYTES_MAX:
        raise EventRejected(
            "event_too_large", f"more than {EVENT_BYTES_MAX} bytes; split it up, or shorten it"
        )
