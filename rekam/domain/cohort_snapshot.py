"""A list's figures, signed: anybody with the office's key can tell that they were published so.

DSSE envelope of JSON. The payload is a function of the log up to the end of a day, of the rules
that it names and of nothing else, its JSON has one form, and Ed25519 signatures do not depend on
chance. So the same snapshot can be made again later, byte for byte, by whoever has log and key.
It holds no person: the entries are vouched for by their hash.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import date
from hashlib import sha256
from typing import Annotated, Final, Literal

import msgspec

from rekam.domain.errors import Rejected
from rekam.domain.ids import KeyId
from rekam.domain.keys import SigningKey, VerifyKey

PAYLOAD_TYPE: Final = "application/vnd.rekam.cohort-snapshot.v1+json"
SNAPSHOT_BYTES_MAX: Final = 1024 * 1024
SIGNATURES_MAX: Final = 8


class SnapshotRejected(Rejected):
    """A cohort snapshot cannot be believed. `reason` is the stable code."""

    code = "snapshot_rejected"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class CohortSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a list as of a day, as known at the end of another. Buckets sum to `total`."""

    v: Literal[1] = 1
    cohort: str
    version: str | None
    title: str | None
    source: str | None
    announced: int | None
    as_of: date
    known_at: date
    time_zone: str
    rule: str
    conflict_rule: str
    total: int
    buckets: dict[str, int]
    unlisted: int | msgspec.UnsetType = msgspec.UNSET
    """Numbers of which something was said and which the list does not have; absent: none."""
    parts: dict[str, dict[str, int]]
    residual: int
    codes: dict[str, int]
    disputed: dict[str, int]
    sources: dict[str, dict[str, int]]
    entries_sha256: str
    """Of the lines of `entries_hash`."""


class _Signature(msgspec.Struct, frozen=True):
    keyid: str
    sig: str


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    payload: str
    payload_type: str = msgspec.field(name="payloadType")
    signatures: Annotated[
        tuple[_Signature, ...], msgspec.Meta(min_length=1, max_length=SIGNATURES_MAX)
    ]


_encode: Final = msgspec.json.Encoder(order="sorted").encode
_encode_envelope: Final = msgspec.json.Encoder().encode
_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_decode_snapshot: Final = msgspec.json.Decoder(CohortSnapshot).decode


def entries_hash(entries: Iterable[tuple[int, str | None, str]]) -> str:
    """Return SHA-256 (hex) of a line of JSON for each entry, by number: `[number,code,bucket]`."""
    digest = sha256()
    for entry in entries:
        digest.update(_encode(entry) + b"\n")
    return digest.hexdigest()


def sign_snapshot(snapshot: CohortSnapshot, key: SigningKey) -> bytes:
    """Return the signed envelope; one snapshot and key give one form of it. Source: DSSE v1."""
    payload = _encode(snapshot)
    signature = key.sign(pre_authentication_encoding(payload))
    return _encode_envelope(
        _Envelope(
            payload=base64.b64encode(payload).decode(),
            payload_type=PAYLOAD_TYPE,
            signatures=(_Signature(key.id, base64.b64encode(signature).decode()),),
        )
    )


def open_snapshot(raw: bytes, trusted: Mapping[KeyId, VerifyKey]) -> CohortSnapshot:
    """Return what a snapshot says, once a trusted key has vouched for exactly these bytes.

    Raises SnapshotRejected with `snapshot_untrusted` (no signature is by a trusted key) or
    `snapshot_invalid` (forged, damaged, too large, or of a newer version).
    """
    if len(raw) > SNAPSHOT_BYTES_MAX:
        raise SnapshotRejected("snapshot_invalid", f"more than {SNAPSHOT_BYTES_MAX} bytes")
    try:
        envelope = _decode_envelope(raw)
        payload = base64.b64decode(envelope.payload, validate=True)
        signatures = [
            (KeyId(one.keyid), base64.b64decode(one.sig, validate=True))
            for one in envelope.signatures
        ]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, binascii.Error) as error:
        raise SnapshotRejected("snapshot_invalid", "is no envelope of a snapshot") from error
    if envelope.payload_type != PAYLOAD_TYPE:
        raise SnapshotRejected("snapshot_invalid", f"its payloadType is not {PAYLOAD_TYPE}")
    known = [(trusted[key], signature) for key, signature in signatures if key in trusted]
    if not known:
        raise SnapshotRejected(
            "snapshot_untrusted",
            "signed by no key that is trusted here; get the office's snapshot.pub",
        )
    signed = pre_authentication_encoding(payload)
    if not any(key.is_signature_of(signature, signed) for key, signature in known):
        raise SnapshotRejected("snapshot_invalid", "its signature is not of these bytes")
    try:
        return _decode_snapshot(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotRejected("snapshot_invalid", "its payload is no snapshot of v1") from error


def pre_authentication_encoding(payload: bytes) -> bytes:
    """Return the bytes that are signed. Source: DSSE v1 PAE."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
