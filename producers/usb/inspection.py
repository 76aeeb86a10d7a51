"""What lies on a stick, and whether it may be sent on: judged without trusting any of it.

Only names of the layout are opened, nothing is followed, nothing larger than its limit is read.
Each file is judged alone, so that one bad file holds back nothing but itself; the manifest adds
what is missing and what was changed. Memory holds a line about each file, never their bytes.
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Final

from producers.usb.bundle import (
    BUNDLE,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    RECEIPTS,
    UNFINISHED,
    Life,
    Listed,
    Manifest,
    ManifestRejected,
    epoch_of,
    open_manifest,
    producer_of,
    segment_name,
    segment_of,
    sha256,
    shown,
)
from producers.usb.disk import GONE, Disk, Entry
from rekam.domain.admission import Reason, missing_key
from rekam.domain.errors import Held, Overloaded, SegmentRejected, StickUnusable
from rekam.domain.ids import KeyId
from rekam.domain.keys import VerifyKey
from rekam.domain.receipt import EpochReceipt
from rekam.domain.segment import (
    SEGMENT_BYTES_MAX,
    Segment,
    parse,
    pre_authentication_encoding,
)

LIVES_MAX: Final = 5_000
"""Most producers' epochs on one stick: a regency has hundreds of devices."""

UNREADABLE_IN_A_ROW_MAX: Final = 8
"""So many files that cannot be read one after the other mean: the stick is gone, not the files."""

Keys = Mapping[KeyId, VerifyKey]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something on the stick that goes no further, and why. `name` may be printed."""

    name: str
    reason: Reason
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Unverified:
    """A signature by a key that nobody here knows."""

    key: KeyId
    signature: bytes
    signed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A whole segment of the life in whose folder it lies; its signature may not be known yet."""

    name: str
    first: int
    last: int
    size: int
    sha256: str
    hash: str = ""
    """The segment's own; empty when its version is of the future."""
    prev: str = ""
    waits_for: Reason | None = None
    """Why it will be held or quarantined, as far as this office can tell."""
    unverified: Unverified | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """What was found of one life, in order of seq."""

    life: Life
    found: tuple[Found, ...]
    refused: tuple[Refusal, ...]
    note: Reason | None
    """What is wrong with its manifest, if anything; the segments speak for themselves then."""


class Reader:
    """Reads a stick, and tells a file that is broken from a stick that is gone."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Read nothing yet."""
        self.root = root
        self._disk = disk
        self._unreadable = 0

    def read(self, file: PurePath, *, bytes_max: int) -> bytes | Reason:
        """Return a file's bytes, or why there are none. Raises OSError when the stick is gone."""
        try:
            raw = self._disk.read(self.root / file, bytes_max=bytes_max)
        except OSError as error:
            return self._unread(error)
        self._unreadable = 0
        return raw

    def entries(self, folder: PurePath) -> list[Entry] | Reason:
        """Return what is in a folder, or why nobody can say. Raises OSError as `read` does."""
        try:
            found = self._disk.entries(self.root / folder)
        except OSError as error:
            return self._unread(error)
        self._unreadable = 0
        return found

    def _unread(self, error: OSError) -> Reason:
        self._unreadable += 1
        if error.errno in GONE or self._unreadable >= UNREADABLE_IN_A_ROW_MAX:
            raise error
        # Raises too, if all of the stick has vanished.
        self._disk.entries(self.root / BUNDLE)
        said = errno.errorcode.get(error.errno or 0, type(error).__name__)
        return Reason(
            "file_unreadable", f"the stick does not give it ({said}); export again, to another one"
        )


def lives_on(reader: Reader) -> tuple[list[Life], list[Refusal]]:
    """Return whose bundles are on a stick, in order, and what else lies between them.

    Raises StickUnusable when there is no bundle, Overloaded above LIVES_MAX, and OSError.
    """
    try:
        entries = reader.entries(PurePosixPath(BUNDLE))
    except FileNotFoundError as error:
        raise StickUnusable(
            [f"{reader.root} holds no folder {BUNDLE}; name the one in which the export put it"]
        ) from error
    lives: list[Life] = []
    refused: list[Refusal] = []
    if isinstance(entries, Reason):
        return [], [Refusal(BUNDLE, entries)]
    for entry in entries:
        if entry.name == RECEIPTS and entry.kind == "folder":
            continue
        producer = producer_of(entry.name)
        if producer is None or entry.kind != "folder":
            refused.append(_out_of_place(entry, BUNDLE))
            continue
        folder = f"{BUNDLE}/{entry.name}"
        below = reader.entries(PurePosixPath(folder))
        if isinstance(below, Reason):
            refused.append(Refusal(folder, below))
            continue
        for one in below:
            epoch = epoch_of(one.name)
            if epoch is None or one.kind != "folder":
                refused.append(_out_of_place(one, folder))
                continue
            lives.append(Life(producer, epoch))
            if len(lives) > LIVES_MAX:
                raise Overloaded(
                    f"{reader.root} holds more than {LIVES_MAX} producers' epochs; copy some of "
                    "the folders to another place and import them apart"
                )
    return sorted(lives), refused


def inspect(reader: Reader, life: Life, *, keys: Keys, advance: Callable[[int], None]) -> Folder:
    """Read and judge all of one life. Raises OSError when the stick is gone."""
    entries = reader.entries(life.folder)
    if isinstance(entries, Reason):
        return Folder(life, (), (Refusal(str(life.folder), entries),), None)
    manifest, note = _manifest(reader, life, entries, keys)
    listed = {(one.first, one.last): one for one in manifest.segments} if manifest else {}
    found: list[Found] = []
    refused: list[Refusal] = []
    for entry in entries:
        span = segment_of(entry.name)
        if entry.name == MANIFEST:
            continue
        if span is None or entry.kind != "file":
            refused.append(_out_of_place(entry, str(life.folder)))
            continue
        told = listed.pop(span, None)
        one = _judged(reader, life, entry, span=span, told=told, keys=keys)
        if isinstance(one, Reason):
            refused.append(Refusal(f"{life.folder}/{entry.name}", one, *span))
        else:
            found.append(one)
        advance(entry.bytes)
    refused += [_missing(life, one) for one in listed.values()]
    return Folder(
        life,
        tuple(sorted(found, key=lambda one: (one.first, one.last))),
        tuple(sorted(refused, key=lambda one: (one.first or 0, one.name))),
        note,
    )


def logged_already(found: Sequence[Found], receipt: EpochReceipt | None) -> set[str]:
    """Return the hashes of those segments that a receipt says the log holds byte for byte.

    A run names the hash of its last segment, and each segment that of the one before it: what
    hangs together with the run's end, and lies in it, is what arrived. A clone's would not.
    """
    if receipt is None:
        return set()
    by_hash = {one.hash: one for one in found if one.hash}
    logged: set[str] = set()
    for run in receipt.runs:
        one = by_hash.get(run.head)
        while one is not None and one.first >= run.first and one.hash not in logged:
            logged.add(one.hash)
            before = by_hash.get(one.prev)
            one = before if before is not None and before.last == one.first - 1 else None
    return logged


def waits_for(segment: Segment, keys: Keys) -> Reason | None:
    """Return why the log will hold or quarantine a whole segment, or None when it will count."""
    key = keys.get(KeyId(segment.header.key))
    if key is None:
        return missing_key(segment.header, keys)
    return _signature(key, segment.signature, pre_authentication_encoding(segment.header_bytes))


def waits_for_now(one: Found, keys: Keys) -> Reason | None:
    """Return the same for a segment whose key was not known when it was found."""
    if one.unverified is None:
        return one.waits_for
    key = keys.get(one.unverified.key)
    if key is None:
        return one.waits_for
    return _signature(key, one.unverified.signature, one.unverified.signed)


def _signature(key: VerifyKey, signature: bytes, signed: bytes) -> Reason | None:
    if key.is_signature_of(signature, signed):
        return None
    return Reason(
        "signature_invalid",
        f"not signed by key {key.id} that it names; a forgery, or damaged before it was exported",
    )


def _manifest(
    reader: Reader, life: Life, entries: Sequence[Entry], keys: Keys
) -> tuple[Manifest | None, Reason | None]:
    entry = next((entry for entry in entries if entry.name == MANIFEST), None)
    if entry is None:
        return None, Reason(
            "manifest_missing",
            "the export was not finished; what is here is taken, run the export again for the rest",
        )
    if entry.kind != "file":
        return None, _out_of_place(entry, str(life.folder)).reason
    raw = reader.read(life.folder / MANIFEST, bytes_max=MANIFEST_BYTES_MAX)
    if isinstance(raw, Reason):
        return None, raw
    try:
        opened = open_manifest(raw)
    except ManifestRejected as error:
        return None, error.reason
    if opened.manifest.life != life:
        return None, Reason(
            "manifest_foreign", "it speaks of another producer or epoch; folders were moved"
        )
    if opened.is_signed_by(keys) is False:
        return None, Reason(
            "manifest_forged", "not signed by the key that it names; edited: export again"
        )
    return opened.manifest, None


def _judged(
    reader: Reader,
    life: Life,
    entry: Entry,
    *,
    span: tuple[int, int],
    told: Listed | None,
    keys: Keys,
) -> Found | Reason:
    if entry.bytes > SEGMENT_BYTES_MAX:
        return Reason("segment_too_large", f"{entry.bytes} bytes; the limit is {SEGMENT_BYTES_MAX}")
    raw = reader.read(life.folder / entry.name, bytes_max=SEGMENT_BYTES_MAX)
    if isinstance(raw, Reason):
        return raw
    digest = sha256(raw)
    if told is not None and (told.bytes, told.sha256) != (len(raw), digest):
        return Reason(
            "file_differs",
            f"{len(raw)} bytes that hash to {digest[:12]}; the manifest names {told.bytes} and "
            f"{told.sha256[:12]}: damaged or edited. Export again",
        )
    first, last = span
    found = Found(name=entry.name, first=first, last=last, size=len(raw), sha256=digest)
    try:
        segment = parse(raw)
    except SegmentRejected as error:
        return Reason(error.reason, error.detail)
    except Held as error:
        return replace(found, waits_for=Reason(error.reason, error.detail))
    header = segment.header
    if (header.producer, header.epoch, header.first, header.last) != (
        life.producer,
        life.epoch,
        first,
        last,
    ):
        return Reason(
            "foreign_segment",
            f"it is {header.first}-{header.last} of {header.producer} epoch {header.epoch}; the "
            "file was moved or renamed. Import the bundle as the device wrote it",
        )
    if sha256(segment.body) != header.body:
        return Reason("body_mismatch", "damaged or edited; export again")
    key = KeyId(header.key)
    signed = pre_authentication_encoding(segment.header_bytes)
    return replace(
        found,
        hash=segment.hash,
        prev=header.prev,
        waits_for=waits_for(segment, keys),
        unverified=None if key in keys else Unverified(key, segment.signature, signed),
    )


def _missing(life: Life, one: Listed) -> Refusal:
    name = segment_name(one.first, one.last)
    return Refusal(
        f"{life.folder}/{name}",
        Reason("file_missing", "the manifest names it and it is not here; export again"),
        one.first,
        one.last,
    )


def _out_of_place(entry: Entry, folder: str) -> Refusal:
    name = f"{folder}/{shown(entry.name)}"
    if entry.kind == "link":
        return Refusal(name, Reason("link_refused", "a link is never followed; copy the file"))
    if entry.kind == "other":
        return Refusal(name, Reason("not_a_file", "a device or pipe has no place in a bundle"))
    if entry.kind == "file" and entry.name.endswith(UNFINISHED):
        return Refusal(
            name, Reason("unfinished_file", "an export was interrupted here; run it again")
        )
    return Refusal(name, Reason("not_in_layout", "no part of a bundle; see docs/usb-bundle-v1.md"))
