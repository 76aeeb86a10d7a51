"""Device to stick: what no receipt covers yet goes into a bundle; the outbox keeps all of it.

Nothing is marked as sent, so a lost stick loses nothing. The work may be killed at any point and
is run again:

    write NAME.part ─► fsync ─► rename to NAME ─► fsync the folder ─► read back, compare
    … all segments, then MANIFEST.json in the same way

A file with its final name is whole. What lies there already, byte for byte, is kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import structlog

from producers.device.clock import Reading
from producers.device.files import replace_file, sole_emitter
from producers.device.home import ProducerHome
from producers.device.outbox import START, Outbox, Place, StoredSegment
from producers.usb.bundle import (
    MANIFEST,
    MANIFEST_BYTES_MAX,
    MANIFEST_SEGMENTS_MAX,
    UNFINISHED,
    Life,
    Listed,
    Manifest,
    ManifestRejected,
    open_manifest,
    segment_name,
    segment_of,
    sha256,
    sign_manifest,
)
from producers.usb.disk import Disk, Entry, require_folder, told_of
from producers.usb.progress import Report
from rekam.domain.errors import (
    Held,
    OutboxFull,
    SegmentRejected,
    StickFailed,
    StickFull,
    StickUnusable,
)
from rekam.domain.ids import Epoch
from rekam.domain.segment import SEGMENT_BYTES_MAX, Sealed, parse

BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""Segments in memory at a time."""

GROUP_FILES_MAX: Final = 64
"""Files that share one fsync of their folder."""

MARGIN_BYTES: Final = 1024 * 1024
"""Left free on a stick: folders grow, and the manifest comes last."""

LISTED_BYTES: Final = 220
"""Most that one segment takes in a manifest."""

LAST_EXPORT: Final = "last_export.json"
_LOCK: Final = "export.lock"

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class LastExport(msgspec.Struct, frozen=True):
    """last_export.json in the producer's home: for the status page, nothing depends on it."""

    made_ms: int
    segments: int
    events: int
    bytes: int


class ExportedLife(msgspec.Struct, frozen=True, kw_only=True):
    """What is on the stick of one epoch, verified."""

    epoch: int
    first: int
    last: int
    segments: int
    events: int
    bytes: int
    written_segments: int
    """Of `segments`, those that this run wrote; the others were there."""


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What is on the stick, and what is not."""

    producer: str
    lives: tuple[ExportedLife, ...]
    unsealed_events: int
    """Could not be sealed (the device's disk is full, or a fork is suspected); they stay."""
    remaining_after: int | None
    """There is more than a folder may hold: the place after which the next export begins."""

    @property
    def segments(self) -> int:
        """Return how many segments are on the stick."""
        return sum(life.segments for life in self.lives)

    @property
    def events(self) -> int:
        """Return how many events are on the stick."""
        return sum(life.events for life in self.lives)

    @property
    def bytes(self) -> int:
        """Return how many bytes they take."""
        return sum(life.bytes for life in self.lives)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the export of one life goes, and what lay there when it began."""

    root: Path
    life: Life
    disk: Disk
    present: Mapping[str, Entry]

    @property
    def folder(self) -> Path:
        return self.root / self.life.folder

    def has_file(self, name: str, *, bytes_max: int) -> bool:
        entry = self.present.get(name)
        return entry is not None and entry.kind == "file" and entry.bytes <= bytes_max


@dataclass(slots=True)
class _Plan:
    """What of one life belongs on the stick. Written by `_planned` and `_write_missing`."""

    place: _Place
    listed: dict[int, Listed] = field(default_factory=dict)
    """By first seq, ascending."""
    hashes: dict[int, str] = field(default_factory=dict)
    """The segments' own, by first seq: a manifest names that of its last one."""
    missing: set[int] = field(default_factory=set)
    missing_bytes: int = 0
    needed_bytes: int = 0
    written: int = 0


_Plans = dict[Epoch, _Plan]


def export(
    home: ProducerHome,
    root: Path,
    *,
    disk: Disk,
    now: Reading,
    report: Report,
    after: Place = START,
    segments_max: int = MANIFEST_SEGMENTS_MAX,
) -> Exported:
    """Write every segment above place `after` that no receipt covers to the stick at `root`.

    When this returns they are on the stick, read back and equal. The outbox is as before, but that
    pending events are sealed. At most `segments_max` of one epoch. Raises StickFull before the
    first write when there is too little room, StickFull, StickUnusable or StickFailed at any point
    (run again: it goes on), OutboxBusy when another export of this home runs.
    """
    with sole_emitter(home.path / _LOCK):
        require_folder(root)
        unsealed_events = _seal(home, now)
        with told_of(root):
            report.begin("memeriksa / checking", bytes_total=None)
            plans, remaining_after = _planned(
                home, root, disk, report, after=after, segments_max=segments_max
            )
            _require_room(root, disk, plans)
            missing_bytes = sum(plan.missing_bytes for plan in plans.values())
            report.begin("menulis / writing", bytes_total=missing_bytes)
            _write_missing(home.outbox, plans, report, after=after)
            for plan in plans.values():
                if plan.listed:
                    _write_manifest(home, plan, now)
                _remove_leftovers(plan.place)
        exported = Exported(
            producer=home.producer,
            lives=tuple(_exported(plan) for plan in plans.values() if plan.listed),
            unsealed_events=unsealed_events,
            remaining_after=remaining_after,
        )
    if exported.lives:
        _remember(home.path, exported, now)
    log.info(
        "bundle_exported",
        producer=home.producer,
        epochs=[life.epoch for life in exported.lives],
        segments=exported.segments,
        written_segments=sum(life.written_segments for life in exported.lives),
        bytes=exported.bytes,
    )
    return exported


def _seal(home: ProducerHome, now: Reading) -> int:
    """Seal what waits; return how many events could not be."""
    try:
        home.outbox.seal_pending(
            signing_key=home.signing_key,
            reader=home.reader,
            sealed=Sealed(wall_ms=now.wall_ms, mono_ms=now.mono_ms, boot=now.boot),
        )
    except OutboxFull as error:
        # A device with a full disk is one that needs its stick most: what is sealed can go.
        log.warning("pending_events_not_sealed", producer=home.producer, error=str(error))
        return home.outbox.pending()
    # Under suspicion of a fork nothing is sealed. What came in meanwhile is for the next export.
    return home.outbox.pending() if home.outbox.status().is_fork_suspected else 0


def _segments(outbox: Outbox, *, after: Place) -> Iterator[StoredSegment]:
    """Yield what no receipt covers, oldest first, BATCH_BYTES_MAX in memory."""
    while batch := outbox.unreceipted(limit_bytes=BATCH_BYTES_MAX, after=after):
        yield from batch
        after = batch[-1].place


def _place(root: Path, life: Life, disk: Disk) -> _Place:
    try:
        present = {entry.name: entry for entry in disk.entries(root / life.folder)}
    except FileNotFoundError:
        present = {}
    return _Place(root, life, disk, present)


def _planned(
    home: ProducerHome,
    root: Path,
    disk: Disk,
    report: Report,
    *,
    after: Place,
    segments_max: int,
) -> tuple[_Plans, Place | None]:
    """Compare the outbox with the stick, without writing anything.

    Also returns the last place that is planned, when there is more beyond it.
    """
    unit = disk.space(root).unit_bytes
    plans: _Plans = {}
    for one in _segments(home.outbox, after=after):
        plan = plans.get(one.epoch)
        if plan is None:
            plan = _Plan(_place(root, Life(home.producer, one.epoch), disk))
            plans[one.epoch] = plan
        if len(plan.listed) == segments_max:
            return plans, after
        after = one.place
        plan.listed[one.first] = Listed(one.first, one.last, len(one.raw), sha256(one.raw))
        plan.hashes[one.first] = parse(one.raw).hash
        if not _is_there(plan.place, one):
            plan.missing.add(one.first)
            plan.missing_bytes += len(one.raw)
            plan.needed_bytes += -(-len(one.raw) // unit) * unit
        report.advance(len(one.raw))
    return plans, None


def _is_there(place: _Place, one: StoredSegment) -> bool:
    """Tell whether the stick holds exactly this segment.

    Raises StickUnusable when it holds another whole one of the same range: then a copy of this
    producer was here, whose events may be nowhere else.
    """
    name = segment_name(one.first, one.last)
    if not place.has_file(name, bytes_max=SEGMENT_BYTES_MAX):
        return False
    found = place.disk.read_back(place.folder / name, bytes_max=SEGMENT_BYTES_MAX)
    if found == one.raw:
        return True
    try:
        other = parse(found)
    except (SegmentRejected, Held):
        return False  # damaged: it is written again
    is_whole = sha256(other.body) == other.header.body
    theirs = (other.header.producer, other.header.epoch, other.header.first, other.header.last)
    life = place.life
    if is_whole and theirs == (life.producer, life.epoch, one.first, one.last):
        raise StickUnusable(
            [
                (
                    f"{place.folder / name} holds other events under the same numbers: a copy "
                    f"of {life.producer} has exported to this stick. Import it at an office, or "
                    "take another stick; and find the copy: it needs an epoch of its own"
                )
            ]
        )
    return False


def _require_room(root: Path, disk: Disk, plans: _Plans) -> None:
    if not any(plan.missing for plan in plans.values()):
        return
    needed = MARGIN_BYTES + sum(
        plan.needed_bytes + LISTED_BYTES * len(plan.listed) for plan in plans.values()
    )
    free = disk.space(root).free_bytes
    if free < needed:
        raise StickFull(
            [
                (
                    f"{root} has {free} bytes free and {needed} are needed; nothing was written. "
                    "Make room, or take another stick"
                )
            ]
        )


def _write_missing(outbox: Outbox, plans: _Plans, report: Report, *, after: Place) -> None:
    """Write what is missing, in order; strike from the plans what is not there any more."""
    if not any(plan.missing for plan in plans.values()):
        return
    group: list[StoredSegment] = []
    left = {epoch: set(plan.missing) for epoch, plan in plans.items()}
    for one in _segments(outbox, after=after):
        if one.first not in left.get(one.epoch, ()):
            continue
        if group and not _fits(group, one):
            _put_group(plans, group, report)
            group = []
        group.append(one)
        left[one.epoch].discard(one.first)
        if not any(left.values()):
            break
    if group:
        _put_group(plans, group, report)
    for epoch, firsts in left.items():
        # A receipt came meanwhile.
        for first in firsts:
            del plans[epoch].listed[first]


def _fits(group: Sequence[StoredSegment], one: StoredSegment) -> bool:
    return (
        one.epoch == group[0].epoch
        and len(group) < GROUP_FILES_MAX
        and sum(len(member.raw) for member in group) + len(one.raw) <= BATCH_BYTES_MAX
    )


def _put_group(plans: _Plans, group: Sequence[StoredSegment], report: Report) -> None:
    plan = plans[group[0].epoch]
    place = plan.place
    if not plan.written:
        for folder in (place.folder.parent.parent, place.folder.parent, place.folder):
            place.disk.make_folder(folder)
    put(
        place.disk,
        place.folder,
        [(segment_name(one.first, one.last), one.raw) for one in group],
    )
    plan.written += len(group)
    report.advance(sum(len(one.raw) for one in group))


def put(disk: Disk, folder: Path, files: Sequence[tuple[str, bytes]]) -> None:
    """Write files whole or not at all; they are durable and were read back when this returns.

    A file of the same name is replaced. Raises OSError, or StickFailed when the stick gives back
    other bytes than it was given.
    """
    for name, raw in files:
        disk.write(folder / f"{name}{UNFINISHED}", raw)
    for name, _ in files:
        disk.rename(folder / f"{name}{UNFINISHED}", folder / name)
    disk.sync_folder(folder)
    for name, raw in files:
        if disk.read_back(folder / name, bytes_max=len(raw)) != raw:
            raise StickFailed(
                f"{folder / name} does not hold what was written: this stick loses data. Take "
                "another one; nothing is lost, the outbox holds all of it"
            )


def _write_manifest(home: ProducerHome, plan: _Plan, now: Reading) -> None:
    """Write the manifest of all that lies here, unless the one there says the same already."""
    place = plan.place
    earlier = _own_manifest(home, place)
    listed, head = _merged(plan, earlier)
    if earlier is not None and (earlier.segments, earlier.head) == (listed, head):
        return
    manifest = Manifest(
        producer=home.producer,
        epoch=place.life.epoch,
        made_ms=now.wall_ms,
        segments=listed,
        head=head,
    )
    put(place.disk, place.folder, [(MANIFEST, sign_manifest(manifest, home.signing_key))])


def _own_manifest(home: ProducerHome, place: _Place) -> Manifest | None:
    """Return the manifest of an earlier export of this home, if it is there and whole."""
    if not place.has_file(MANIFEST, bytes_max=MANIFEST_BYTES_MAX):
        return None
    raw = place.disk.read_back(place.folder / MANIFEST, bytes_max=MANIFEST_BYTES_MAX)
    try:
        found = open_manifest(raw)
    except ManifestRejected as error:
        log.warning("manifest_replaced", producer=home.producer, reason=error.reason.code)
        return None
    public = home.signing_key.public
    is_ours = found.is_signed_by({public.id: public}) and found.manifest.life == place.life
    return found.manifest if is_ours else None


def _merged(plan: _Plan, earlier: Manifest | None) -> tuple[tuple[Listed, ...], str]:
    """Return what to list: the plan, and what an earlier export listed and still lies there."""
    if earlier is None:
        return tuple(plan.listed.values()), plan.hashes[max(plan.listed)]
    room = MANIFEST_SEGMENTS_MAX - len(plan.listed)
    older = [
        one
        for one in reversed(earlier.segments)
        if one.first not in plan.listed
        and plan.place.has_file(segment_name(one.first, one.last), bytes_max=one.bytes)
    ]
    both = sorted([*plan.listed.values(), *older[:room]], key=lambda one: one.first)
    # Only of the last segment of either list is the hash known.
    while both[-1].first not in plan.listed and both[-1] != earlier.segments[-1]:
        both.pop()
    return tuple(both), plan.hashes.get(both[-1].first, earlier.head)


def _remove_leftovers(place: _Place) -> None:
    """Remove what a killed export of this life left unfinished."""
    for name, entry in place.present.items():
        whole = name.removesuffix(UNFINISHED)
        is_ours = name != whole and (whole == MANIFEST or segment_of(whole) is not None)
        if is_ours and entry.kind == "file":
            place.disk.remove(place.folder / name)


def _exported(plan: _Plan) -> ExportedLife:
    listed = list(plan.listed.values())
    return ExportedLife(
        epoch=plan.place.life.epoch,
        first=listed[0].first,
        last=listed[-1].last,
        segments=len(listed),
        events=sum(one.last - one.first + 1 for one in listed),
        bytes=sum(one.bytes for one in listed),
        written_segments=plan.written,
    )


def _remember(folder: Path, exported: Exported, now: Reading) -> None:
    """Note the export for the status page; the stick is right without it."""
    note = LastExport(
        made_ms=now.wall_ms,
        segments=exported.segments,
        events=exported.events,
        bytes=exported.bytes,
    )
    try:
        replace_file(folder / LAST_EXPORT, msgspec.json.encode(note))
    except OSError as error:
        # The device's own disk may be full: that is why people take a stick.
        log.warning("last_export_not_noted", producer=exported.producer, error=error.strerror)


def last_export(folder: Path) -> LastExport | None:
    """Return what the last export of a home was, or None when none is noted."""
    try:
        return msgspec.json.decode((folder / LAST_EXPORT).read_bytes(), type=LastExport)
    except (OSError, msgspec.MsgspecError):
        return None
