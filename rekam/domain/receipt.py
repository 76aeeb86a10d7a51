"""Receipt v1: a signed statement of what the log holds for one producer (docs/receipt-v1.md).

    {"payload": base64 of the JSON, "payloadType": …, "signatures": [{"keyid", "sig"}]}

A producer deletes nothing but what a receipt covers that a key it trusts has signed. A *run*
covers first..last of that producer alone whose own chain has a segment that ends at `last` and
whose hash is `head`: the chain of hashes then says that every byte before it is the same, so a
clone's segments never cover those of its original.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from rekam.domain.errors import Rejected
from rekam.domain.ids import KeyId
from rekam.domain.json_text import DEPTH_MAX, explain, nests_too_deeply
from rekam.domain.keys import SigningKey, VerifyKey
from rekam.domain.ranges import Range
from rekam.domain.segment import SEQ_MAX, Digest, ProducerText

VERSION: Final = 1
PAYLOAD_TYPE: Final = "application/vnd.rekam.receipt.v1+json"

RECEIPT_BYTES_MAX: Final = 320 * 1024
"""A receipt of as many runs, gaps and keys as there may be, each as long as it can be."""

RUNS_MAX: Final = 1_000
GAPS_MAX: Final = 1_000
KEYS_MAX: Final = 64
SIGNATURES_MAX: Final = 8
TIME_MS_MAX: Final = 2**53

_Number = Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX)]
_KeyText = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9+/]{43}=\Z")]


class Run(msgspec.Struct, frozen=True, array_like=True):
    """Segments that cover first..last, each one chained to the one before; `head` is the last's."""

    first: _Number
    last: _Number
    head: Digest


class EpochReceipt(msgspec.Struct, frozen=True):
    """What the log holds of one epoch.

    `runs` are in the order of (first, last, head); more than one covers a seq after a fork.
    `gaps` lie below the highest seq that arrived: not received, and given up by nobody.
    """

    epoch: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    runs: tuple[Run, ...] = ()
    gaps: tuple[tuple[_Number, _Number], ...] = ()


class Receipt(msgspec.Struct, frozen=True):
    """What the log holds of one producer, in order of epochs.

    `as_of_ms` is the append time of its latest admitted record. `keys` are the public signing
    keys (base64) that the registry gives it, the newest last; none: it is not enrolled (yet).
    """

    v: Annotated[int, msgspec.Meta(ge=1, le=VERSION)]
    producer: ProducerText
    as_of_ms: Annotated[int, msgspec.Meta(ge=0, le=TIME_MS_MAX)]
    keys: Annotated[tuple[_KeyText, ...], msgspec.Meta(max_length=KEYS_MAX)] = ()
    epochs: tuple[EpochReceipt, ...] = ()

    def of_epoch(self, epoch: int) -> EpochReceipt | None:
        """Return what it says of one epoch, or None: then it covers nothing of it."""
        return next((found for found in self.epochs if found.epoch == epoch), None)


class ReceiptRejected(Rejected):
    """What should be a receipt is none that may be believed. `reason` is the stable code."""

    code = "receipt_rejected"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class _Signature(msgspec.Struct, frozen=True):
    keyid: str
    sig: str


class _Envelope(msgspec.Struct, frozen=True):
    payload: str
    payload_type: str = msgspec.field(name="payloadType")
    signatures: Annotated[
        tuple[_Signature, ...], msgspec.Meta(min_length=1, max_length=SIGNATURES_MAX)
    ] = ()


_encode: Final = msgspec.json.Encoder().encode
_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_decode_receipt: Final = msgspec.json.Decoder(Receipt).decode


def sign_receipt(receipt: Receipt, key: SigningKey) -> bytes:
    """Return the signed envelope; the same receipt and key give the same bytes.

    The receipt is within its limits (`within_limits`). Source: DSSE v1.
    """
    payload = _encode(receipt)
    signature = key.sign(pre_authentication_encoding(payload))
    raw = _encode(
        _Envelope(
            payload=base64.b64encode(payload).decode(),
            payload_type=PAYLOAD_TYPE,
            signatures=(_Signature(key.id, base64.b64encode(signature).decode()),),
        )
    )
    assert len(raw) <= RECEIPT_BYTES_MAX, len(raw)  # noqa: S101 - within_limits was not called
    return raw


def open_receipt(raw: bytes, trusted: Mapping[KeyId, VerifyKey]) -> Receipt:
    """Return what a receipt says, once a trusted key has vouched for exactly these bytes.

    Fields that this version does not know are passed over. Raises ReceiptRejected with
    `receipt_too_large`, `receipt_untrusted` (no signature is by a trusted key: trust the key, or
    ask another server) or `receipt_invalid` (forged, damaged, or of a newer version).
    """
    if len(raw) > RECEIPT_BYTES_MAX:
        raise ReceiptRejected(
            "receipt_too_large", f"{len(raw)} bytes; the limit is {RECEIPT_BYTES_MAX}"
        )
    envelope = _envelope(raw)
    payload = _from_base64(envelope.payload, what="payload")
    signed = pre_authentication_encoding(payload)
    known = [
        (trusted[KeyId(signature.keyid)], signature.sig)
        for signature in envelope.signatures
        if signature.keyid in trusted
    ]
    if not known:
        raise ReceiptRejected(
            "receipt_untrusted",
            "signed by no key that is trusted here; add the office's receipt.pub to the trusted "
            "keys, or take the receipt from your own office",
        )
    if not any(key.is_signature_of(_from_base64(sig, what="sig"), signed) for key, sig in known):
        raise ReceiptRejected(
            "receipt_invalid", f"not signed by key {known[0][0].id}; a forgery or a flipped bit"
        )
    return _receipt(payload)


def within_limits(receipt: Receipt) -> Receipt:
    """Return the receipt without what passes its limits.

    The newest epoch has the first claim, because its outbox is alive, and in an epoch the oldest
    runs and gaps, because a producer prunes from there. What is left out is not denied: it is
    only not covered.
    """
    runs_left, gaps_left = RUNS_MAX, GAPS_MAX
    kept: list[EpochReceipt] = []
    for epoch in sorted(receipt.epochs, key=lambda found: found.epoch, reverse=True):
        runs, gaps = epoch.runs[:runs_left], epoch.gaps[:gaps_left]
        runs_left -= len(runs)
        gaps_left -= len(gaps)
        if runs or gaps:
            kept.append(EpochReceipt(epoch.epoch, runs, gaps))
    return msgspec.structs.replace(
        receipt, keys=receipt.keys[-KEYS_MAX:], epochs=tuple(reversed(kept))
    )


def pre_authentication_encoding(payload: bytes) -> bytes:
    """Return the bytes that are signed. Source: DSSE v1 PAE."""
    return b"DSSEv1 %d %b %d %b" % (
        len(PAYLOAD_TYPE),
        PAYLOAD_TYPE.encode(),
        len(payload),
        payload,
    )


def _envelope(raw: bytes) -> _Envelope:
    try:
        envelope = _decode_envelope(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ReceiptRejected("receipt_invalid", _explained(raw, error)) from None
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ReceiptRejected("receipt_invalid", f"its payloadType is not {PAYLOAD_TYPE}")
    return envelope


def _receipt(payload: bytes) -> Receipt:
    try:
        receipt = _decode_receipt(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ReceiptRejected("receipt_invalid", _explained(payload, error)) from None
    for epoch in receipt.epochs:
        spans: list[Range] = [(run.first, run.last) for run in epoch.runs]
        if any(first > last for first, last in [*spans, *epoch.gaps]):
            raise ReceiptRejected("receipt_invalid", f"a range of epoch {epoch.epoch} ends early")
    return receipt


def _explained(text: bytes, error: Exception) -> str:
    """Say what is wrong, by the bytes alone: the JSON library's depth depends on the caller's."""
    if nests_too_deeply(text):
        return f"nested more than {DEPTH_MAX} levels deep"
    return explain(error)


def _from_base64(text: str, *, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ReceiptRejected("receipt_invalid", f"its {what} is not base64") from None
