"""A damaged outbox is set aside, and what is whole of it goes on in a new epoch.

    outbox.db (damaged) ─read page by page─► outbox.db.making ─renamed─► outbox.db.new ─► outbox.db
                        ─renamed─► outbox.db.corrupt-<ms>

Whole is a segment whose header and body are what their hashes say (and whose signature is ours,
when it names our key), and an unsealed line whose CRC-32 fits. Segments keep their epoch and are
queued again; the log counts copies once. Lines become events of the new epoch. What came into the
log before and is not whole here any more stays covered there; what did not is a gap that the
ledger names. A kill at any moment lets the next start do it again or finish it.

Beside the file that is set aside lies a note of what was found in it, for those who look after the
device; who takes the file away takes the note along.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from producers.device.clock import BootSession, Reading
from producers.device.files import Sharing, replace_file, sync_folder
from producers.device.outbox import Outbox, Place
from producers.device.outbox_file import Ballast, Storage, damage_mark, wal_of
from producers.device.sealing import COMPONENT, is_line_whole, is_segment_whole
from producers.device.sqlite_pages import Cell, Pages, Value
from rekam.domain import segment as segments
from rekam.domain.errors import Corrupt, Held, SegmentRejected, Unavailable
from rekam.domain.events import FaultReported
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.keys import VerifyKey

REASON: Final = "the outbox was damaged and set aside"
FAULT: Final = "outbox_damaged"
ADOPTED_AT_ONCE: Final = 500
_NOTE_SUFFIX: Final = ".salvage.json"
STATES: Final = frozenset({"unsent", "taken", "refused", "receipted", "damaged", "pruned"})
"""The index of deliveries has rows of the same shape as the boot sessions."""


T = TypeVar("T")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Found:
    """Where whole rows stand; their bytes are read again when they are taken over."""

    segments: dict[tuple[int, int], tuple[int, Cell]] = field(default_factory=dict)
    """(epoch, first): (last, where)."""
    lines: dict[int, Cell] = field(default_factory=dict)
    boots: dict[str, BootSession] = field(default_factory=dict)
    epochs: set[int] = field(default_factory=set)
    broken: int = 0


class Salvage(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in one outbox that was set aside."""

    wall_ms: int
    """When, by the producer's clock."""
    segments: int
    segment_events: int
    """Those in the segments that were taken over."""
    lines: int
    """Unsealed events that were taken over."""
    broken_rows: int
    """Rows that nothing could be made of."""


def open_or_mend(
    path: Path,
    *,
    producer: ProducerId,
    epoch: Epoch,
    key: VerifyKey,
    storage: Storage,
    sharing: Sharing,
    read_clock: Callable[[], Reading],
) -> Outbox:
    """Open an outbox; mend it first if it is damaged or was found so. Never fall back to less.

    `epoch` is the last one that is known to have been open. Raises OutboxBusy when it needs mending
    while other processes use it, OutboxFull when the disk has no room for a second file, and what
    `Outbox.open` raises.
    """
    if _is_half_replaced(path):
        with sharing.alone():
            _finish_replacement(path, read_clock().wall_ms)
    if not damage_mark(path).exists():
        try:
            return Outbox.open(path, storage=storage)
        except Corrupt as error:
            log.warning("outbox_damaged", producer=producer, error=str(error))
            damage_mark(path).touch(mode=0o600)
    with sharing.alone():
        # Somebody else may have mended it before we were alone.
        if damage_mark(path).exists():
            _mend(path, producer=producer, epoch=epoch, key=key, storage=storage, now=read_clock())
    return Outbox.open(path, storage=storage)


def is_missing(path: Path) -> bool:
    """Tell whether there is no outbox, nor anything of which one could be made.

    A write-ahead log alone is a damaged outbox, and is marked as one.
    """
    if path.exists() or _new(path).exists():
        return False
    if not wal_of(path).exists():
        return True
    path.touch(mode=0o600)
    damage_mark(path).touch(mode=0o600)
    return False


def salvages(path: Path) -> list[Salvage]:
    """Return what was found in the outboxes that are set aside beside this one, oldest first.

    A note that cannot be read is passed over: it is for people, and its file is there all the same.
    """
    found = []
    for note in path.parent.glob(f"{path.name}.corrupt-*{_NOTE_SUFFIX}"):
        try:
            found.append(msgspec.json.decode(note.read_bytes(), type=Salvage))
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("salvage_note_unreadable", error=type(error).__name__)
    return sorted(found, key=lambda one: one.wall_ms)


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}{_NOTE_SUFFIX}")


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _is_half_replaced(path: Path) -> bool:
    return not path.exists() and _new(path).exists()


def _mend(
    path: Path,
    *,
    producer: ProducerId,
    epoch: Epoch,
    key: VerifyKey,
    storage: Storage,
    now: Reading,
) -> None:
    making = path.with_name(f"{path.name}.making")
    for leftover in (_new(path), making, wal_of(making), _shm_of(making)):
        leftover.unlink(missing_ok=True)
    Ballast(path, storage.ballast_bytes).release()
    with Pages(path) as pages:
        found = _look_through(pages, producer=producer, key=key)
        known = {epoch, *found.epochs, *(of for of, _ in found.segments)}
        with Outbox.create(
            making,
            producer=producer,
            epoch=Epoch(min(known)),
            storage=replace(storage, ballast_bytes=0),
        ) as outbox:
            lines = _take_over(outbox, pages, found, open_epoch=max(known), now=now)
    if wal_of(making).exists():
        raise Unavailable(f"{making} could not be closed. Check the disk or SD card")
    salvage = Salvage(
        wall_ms=now.wall_ms,
        segments=len(found.segments),
        segment_events=sum(last - first + 1 for (_, first), (last, _) in found.segments.items()),
        lines=lines,
        broken_rows=found.broken,
    )
    replace_file(_note_of(path), msgspec.json.encode(salvage))
    # From here on it is whole, whatever happens to the other files.
    making.rename(_new(path))
    sync_folder(path.parent)
    log.warning(
        "outbox_mended",
        producer=producer,
        segments=len(found.segments),
        lines=lines,
        broken_rows=found.broken,
    )
    _finish_replacement(path, now.wall_ms)


def _look_through(pages: Pages, *, producer: ProducerId, key: VerifyKey) -> _Found:
    """Find every whole row. Rows are told apart by their shapes (schema.sql)."""
    found = _Found()
    for cell in pages.cells():
        match pages.row(cell):
            case (int(), int(epoch), int(first), int(last), str(digest), bytes(raw)):
                if _is_ours(raw, (epoch, first, last, digest), producer=producer, key=key):
                    found.segments[epoch, first] = last, cell
                else:
                    found.broken += 1
            case (int(seq), int(crc), bytes(line)) if cell.is_table:
                if is_line_whole(line, crc):
                    found.lines[seq] = cell
                else:
                    found.broken += 1
            case (int(epoch), int(), int() | None, 0 | 1) if cell.is_table:
                found.epochs.add(epoch)
            case (str(boot), int(wall_ms), (int() | None) as offset_ms) if (
                not cell.is_table and boot not in STATES
            ):
                found.boots[boot] = BootSession(boot, wall_ms, offset_ms)
            case None:
                found.broken += 1
            case _:
                pass
    return found


def _is_ours(
    raw: bytes, row: tuple[int, int, int, str], *, producer: ProducerId, key: VerifyKey
) -> bool:
    try:
        segment = segments.parse(raw)
    except (SegmentRejected, Held):
        return False
    header = segment.header
    if (header.epoch, header.first, header.last, segment.hash) != row:
        return False
    if header.producer != producer or not is_segment_whole(segment):
        return False
    # Under an earlier key of ours the hashes must do; the log asks for the signature anyway.
    return header.key != key.id or key.is_signature_of(
        segment.signature, segments.pre_authentication_encoding(segment.header_bytes)
    )


def _take_over(
    outbox: Outbox, pages: Pages, found: _Found, *, open_epoch: int, now: Reading
) -> int:
    """Fill the new outbox, oldest first; return how many lines became events of the new epoch."""
    bases: dict[int, int] = {}
    base = 0
    for epoch in sorted({open_epoch, *(of for of, _ in found.segments)}):
        bases[epoch] = base
        base += max(
            (last for (of, _), (last, _) in found.segments.items() if of == epoch), default=0
        )
    outbox.adopt_epochs((Epoch(epoch), base) for epoch, base in bases.items())
    ordered = sorted(found.segments)
    for chunk in _chunks(ordered):
        outbox.adopt_segments(
            (Place(bases[of] + first), _blob(pages.row(found.segments[of, first][1])))
            for of, first in chunk
        )
    outbox.adopt_boots(found.boots.values())
    covered = [
        (first, last) for (of, first), (last, _) in found.segments.items() if of == open_epoch
    ]
    # A line and the segment that holds it are never both there, but in a half-written file.
    lines = [
        cell
        for seq, cell in sorted(found.lines.items())
        if not any(first <= seq <= last for first, last in covered)
    ]
    outbox.begin_epoch(
        reason=REASON,
        now=now,
        faults=[
            FaultReported(
                component=COMPONENT,
                fault=FAULT,
                detail=(
                    f"{len(found.segments)} segments and {len(lines)} unsealed events are whole, "
                    f"{found.broken} rows are not"
                ),
            )
        ],
    )
    for cells in _chunks(lines):
        outbox.adopt_lines([_blob(pages.row(cell)) for cell in cells])
    return len(lines)


def _blob(row: tuple[Value, ...] | None) -> bytes:
    """Return the bytes that end a row which was whole a moment ago."""
    if row is None or not isinstance(row[-1], bytes):
        raise Corrupt(
            "the disk gave a row of the damaged outbox once and not again; copy its file to "
            "another disk and begin there"
        )
    return row[-1]


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while chunk := list(islice(left, ADOPTED_AT_ONCE)):
        yield chunk


def _finish_replacement(path: Path, wall_ms: int) -> None:
    """Set the damaged files aside, and put the new one in their place.

    The main file goes first: a file without its log would pass for a whole, older one.
    """
    aside = path.with_name(f"{path.name}.corrupt-{wall_ms}")
    if path.exists():
        path.rename(aside)
    for name in (wal_of(path), _shm_of(path)):
        if name.exists():
            name.rename(aside.with_name(name.name.replace(path.name, aside.name)))
    if _note_of(path).exists():
        _note_of(path).rename(_note_of(aside))
    damage_mark(path).unlink(missing_ok=True)
    sync_folder(path.parent)
    _new(path).rename(path)
    sync_folder(path.parent)


def _shm_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-shm")
