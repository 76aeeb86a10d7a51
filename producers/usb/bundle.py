"""USB bundle v1: names and manifest (docs/usb-bundle-v1.md). Pure.

    rekam-bundle/<producer>/<epoch>/<first>-<last>.seg    one segment, byte for byte
    rekam-bundle/<producer>/<epoch>/MANIFEST.json         what was written, signed by the producer
    rekam-bundle/receipts/<producer>.json                 what the office carries back

Names are made of producer ids and numbers alone, in lower case, so that they stay themselves on
FAT; several producers' bundles lie side by side.
"""

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Final

import msgspec

from rekam.domain.admission import Reason
from rekam.domain.errors import Rejected
from rekam.domain.ids import Epoch, KeyId, ProducerId
from rekam.domain.keys import SigningKey, VerifyKey
from rekam.domain.segment import (
    SEGMENT_BYTES_MAX,
    SEGMENT_EVENTS_MAX,
    SEQ_MAX,
    Digest,
    ProducerText,
    producer_id,
)

BUNDLE: Final = "rekam-bundle"
RECEIPTS: Final = "receipts"
MANIFEST: Final = "MANIFEST.json"
UNFINISHED: Final = ".part"
"""Ends the name of a file that is being written."""

MANIFEST_TYPE: Final = "application/vnd.rekam.bundle-manifest.v1+json"
MANIFEST_SEGMENTS_MAX: Final = 20_000
"""FAT32 keeps 65,536 entries a folder, and a name of ours takes three."""

MANIFEST_BYTES_MAX: Final = 8 * 1024 * 1024
EPOCH_MAX: Final = 2**31 - 1
CLOCK_MS_MAX: Final = 2**53

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_SEGMENT_NAME: Final = re.compile(r"([1-9][0-9]{0,15})-([1-9][0-9]{0,15})\.seg", re.ASCII)
_DOS_DEVICE: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_SHOWN: Final = re.compile(r"(?!.*[0-9]{16})[A-Za-z0-9._\-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Life:
    """One epoch of one producer: what a folder of segments belongs to."""

    producer: ProducerId
    epoch: Epoch

    @property
    def folder(self) -> PurePosixPath:
        """Return its folder, below the stick's own."""
        return PurePosixPath(BUNDLE, producer_folder(self.producer), str(self.epoch))


def producer_folder(producer: ProducerId) -> str:
    """Return the name under which a producer's files lie: its id, in `_` where FAT would bend it.

    FAT drops a final dot, some systems keep names of DOS devices to themselves, and one name is
    ours. No id has a `_`, so no two ids share a name.
    """
    bent = producer.endswith(".") or producer == RECEIPTS or _DOS_DEVICE.fullmatch(producer)
    return f"_{producer}_" if bent else producer


def producer_of(name: str) -> ProducerId | None:
    """Return whose folder this is, or None when `producer_folder` gives no such name."""
    try:
        producer = producer_id(name.removeprefix("_").removesuffix("_"))
    except msgspec.ValidationError:
        return None
    return producer if producer_folder(producer) == name else None


def epoch_of(name: str) -> Epoch | None:
    """Return which epoch's folder this is, or None when it is none."""
    if not _NUMBER.fullmatch(name) or int(name) > EPOCH_MAX:
        return None
    return Epoch(int(name))


def segment_name(first: int, last: int) -> str:
    """Return the name of a segment's file."""
    return f"{first}-{last}.seg"


def segment_of(name: str) -> tuple[int, int] | None:
    """Return the range that a file's name states, or None when it states none."""
    found = _SEGMENT_NAME.fullmatch(name)
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    if not (first <= last <= SEQ_MAX and last - first < SEGMENT_EVENTS_MAX):
        return None
    return first, last


def receipt_path(producer: ProducerId) -> PurePosixPath:
    """Return where a producer's receipt lies, below the stick's own folder."""
    return PurePosixPath(BUNDLE, RECEIPTS, f"{producer_folder(producer)}.json")


def shown(name: str) -> str:
    """Return a name from a stick as it may be printed.

    Anybody may have named it: it could hold a person's number, or codes that move a terminal.
    """
    return name if _SHOWN.fullmatch(name) else "(a name that is not shown)"


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One segment of a manifest. `sha256` is that of the whole file."""

    first: Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX)]
    last: Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX)]
    bytes: Annotated[int, msgspec.Meta(ge=1, le=SEGMENT_BYTES_MAX)]
    sha256: Digest


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a producer wrote into one epoch's folder. `head` is the hash of the last segment."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    producer: ProducerText
    epoch: Annotated[int, msgspec.Meta(ge=1, le=EPOCH_MAX)]
    made_ms: Annotated[int, msgspec.Meta(ge=-CLOCK_MS_MAX, le=CLOCK_MS_MAX)]
    segments: Annotated[
        tuple[Listed, ...], msgspec.Meta(min_length=1, max_length=MANIFEST_SEGMENTS_MAX)
    ]
    head: Digest

    @property
    def life(self) -> Life:
        """Return whose manifest it is."""
        return Life(ProducerId(self.producer), Epoch(self.epoch))


class _Signature(msgspec.Struct, frozen=True):
    keyid: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
    sig: Annotated[str, msgspec.Meta(max_length=100)]


class _Envelope(msgspec.Struct, frozen=True, rename={"payload_type": "payloadType"}):
    payload: str
    payload_type: str
    signatures: Annotated[tuple[_Signature, ...], msgspec.Meta(min_length=1, max_length=4)]


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A well-formed manifest; whose signature it bears is for `is_signed_by` to say."""

    manifest: Manifest
    signed: bytes
    signatures: Mapping[KeyId, bytes]

    def is_signed_by(self, keys: Mapping[KeyId, VerifyKey]) -> bool | None:
        """Tell whether one of the keys signed it; None when it names none of them."""
        known = [(keys[key], sig) for key, sig in self.signatures.items() if key in keys]
        if not known:
            return None
        return any(key.is_signature_of(sig, self.signed) for key, sig in known)


class ManifestRejected(Rejected):
    """A manifest is not in its form; the segments beside it may be right all the same."""

    code = "manifest_rejected"

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"{reason.code}: {reason.detail}")
        self.reason = reason


def sign_manifest(manifest: Manifest, key: SigningKey) -> bytes:
    """Return the manifest's file: a DSSE envelope."""
    payload = msgspec.json.encode(manifest)
    envelope = _Envelope(
        payload=b64encode(payload).decode(),
        payload_type=MANIFEST_TYPE,
        signatures=(_Signature(key.id, b64encode(key.sign(_to_sign(payload))).decode()),),
    )
    return msgspec.json.encode(envelope) + b"\n"


def open_manifest(raw: bytes) -> SignedManifest:
    """Read a manifest's file and check its form; no signature yet.

    Raises ManifestRejected when it is not one, or lists segments twice or out of order.
    """
    if len(raw) > MANIFEST_BYTES_MAX:
        raise ManifestRejected(
            Reason("manifest_too_large", f"more than {MANIFEST_BYTES_MAX} bytes; export again")
        )
    try:
        envelope = msgspec.json.decode(raw, type=_Envelope)
        payload = b64decode(envelope.payload, validate=True)
        signatures = {
            KeyId(one.keyid): b64decode(one.sig, validate=True) for one in envelope.signatures
        }
        if envelope.payload_type != MANIFEST_TYPE:
            raise _not_a_manifest("its payloadType is another one")
        manifest = msgspec.json.decode(payload, type=Manifest)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # The decoder's words may show a value of a foreign file.
        raise _not_a_manifest("no DSSE envelope with a manifest of version 1 in it") from error
    if not _is_ascending(manifest.segments):
        raise _not_a_manifest("its segments overlap, or are out of order")
    return SignedManifest(manifest, _to_sign(payload), signatures)


def sha256(raw: bytes) -> str:
    """Return the hash by which a manifest names a file."""
    return hashlib.sha256(raw).hexdigest()


def _not_a_manifest(what: str) -> ManifestRejected:
    return ManifestRejected(Reason("manifest_invalid", f"{what}; damaged or edited: export again"))


def _is_ascending(segments: Sequence[Listed]) -> bool:
    after = 0
    for one in segments:
        if not after < one.first <= one.last < one.first + SEGMENT_EVENTS_MAX:
            return False
        after = one.last
    return True


def _to_sign(payload: bytes) -> bytes:
    """Return the bytes that are signed. Source: DSSE v1 PAE."""
    return b"DSSEv1 %d %b %d %b" % (
        len(MANIFEST_TYPE),
        MANIFEST_TYPE.encode(),
        len(payload),
        payload,
    )
