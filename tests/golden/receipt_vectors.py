"""Golden receipts: what every reader must take, and what it must refuse, with the reason."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rekam.domain.keys import SigningKey
from rekam.domain.receipt import (
    PAYLOAD_TYPE,
    RECEIPT_BYTES_MAX,
    EpochReceipt,
    Receipt,
    Run,
    pre_authentication_encoding,
    sign_receipt,
)
from tests.support.segments import PRODUCER, SIGNING_KEY

RECEIPT_SEED = hashlib.sha256(b"rekam test vector: receipt key").digest()
OTHER_RECEIPT_SEED = hashlib.sha256(b"rekam test vector: another receipt key").digest()
RECEIPT_KEY = SigningKey.from_seed(RECEIPT_SEED)
OTHER_RECEIPT_KEY = SigningKey.from_seed(OTHER_RECEIPT_SEED)

KEYS = {
    "receipt_seed": RECEIPT_SEED.hex(),
    "receipt_public": RECEIPT_KEY.public.to_text(),
}
"""Test keys: whoever holds the seed can sign, so they serve for nothing else."""


def _head(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


PLAIN = Receipt(
    v=1,
    producer=PRODUCER,
    as_of_ms=1_522_454_400_000,
    keys=(SIGNING_KEY.public.to_text(),),
    epochs=(EpochReceipt(1, (Run(1, 500, _head("a")),)),),
)


@dataclass(frozen=True)
class Vector:
    """The bytes of a receipt, and what is to be said of it."""

    folder: str
    name: str
    raw: bytes
    told: Mapping[str, object]


def vectors() -> Iterator[Vector]:
    """Return all golden receipts."""
    yield from _good()
    yield from _bad()


def _good() -> Iterator[Vector]:
    def good(name: str, raw: bytes, **told: object) -> Vector:
        payload = base64.b64decode(json.loads(raw)["payload"])
        return Vector("good", name, raw, {**KEYS, "receipt": json.loads(payload), **told})

    yield good("one-run", sign_receipt(PLAIN, RECEIPT_KEY))
    yield good("enrolled-only", _signed(_payload(epochs=[])))
    forked = EpochReceipt(
        2,
        (
            Run(1, 40, _head("shared")),
            Run(41, 90, _head("clone")),
            Run(41, 120, _head("original")),
            Run(200, 9_007_199_254_740_991, _head("far")),
        ),
        ((121, 150), (160, 199)),
    )
    two_lives = (*PLAIN.epochs, forked)
    receipt = Receipt(1, PRODUCER, 0, PLAIN.keys, two_lives)
    yield good("fork-and-gaps", sign_receipt(receipt, RECEIPT_KEY))
    yield good("unknown-fields", _signed(_payload(issued_by="office", epochs=[])))
    yield good(
        "written-otherwise",
        json.dumps(
            json.loads(_signed(json.dumps(PLAIN_FIELDS, indent=1).encode())), indent=2
        ).encode(),
    )
    payload = _payload()
    both = [_signature(payload, OTHER_RECEIPT_KEY), _signature(payload, RECEIPT_KEY)]
    yield good("second-signature", _envelope(payload, both))


def _bad() -> Iterator[Vector]:
    def bad(name: str, raw: bytes, reason: str, why: str) -> Vector:
        return Vector("bad", name, raw, {**KEYS, "reason": reason, "why": why})

    invalid, payload = "receipt_invalid", _payload()
    own = _signature(payload, RECEIPT_KEY)
    yield bad(
        "signed-by-another", _signed(payload, OTHER_RECEIPT_KEY), "receipt_untrusted", "whose?"
    )
    forged = {**own, "sig": _signature(payload, OTHER_RECEIPT_KEY)["sig"]}
    why = "names the trusted key, signed by another"
    yield bad("forged", _envelope(payload, [forged]), invalid, why)
    other = _payload(epochs=[{"epoch": 1, "runs": [[1, 501, _head("a")]], "gaps": []}])
    yield bad("claims-more", _envelope(other, [own]), invalid, "the signature is of less")
    bare = base64.b64encode(RECEIPT_KEY.sign(payload)).decode()
    why = "the encoding is signed, not the payload"
    yield bad("signed-without-pae", _envelope(payload, [{**own, "sig": bare}]), invalid, why)
    kind = "application/vnd.rekam.segment-header.v1+json"
    why = "an envelope of something else"
    yield bad("other-type", _envelope(payload, [own], kind=kind), invalid, why)
    yield bad("unsigned", _envelope(payload, []), invalid, "no signature at all")
    yield bad("nine-signatures", _envelope(payload, [own] * 9), invalid, "more than eight")
    yield bad("signature-no-base64", _envelope(payload, [{**own, "sig": "?"}]), invalid, "sig")
    broken = json.loads(_signed(payload)) | {"payload": "{}"}
    yield bad("payload-no-base64", json.dumps(broken).encode(), invalid, "payload")
    for name, fields, why in (
        ("version-2", {"v": 2}, "a version of the future covers nothing"),
        ("producer-nik", {"producer": "6408014101900001"}, "a NIK is no producer"),
        ("key-short", {"keys": ["AAAA"]}, "32 bytes in base64"),
        ("time-below-0", {"as_of_ms": -1}, "before 1970"),
        ("run-backwards", {"epochs": [{"epoch": 1, "runs": [[2, 1, _head("a")]]}]}, "ends early"),
        ("gap-backwards", {"epochs": [{"epoch": 1, "gaps": [[2, 1]]}]}, "ends early"),
        ("head-short", {"epochs": [{"epoch": 1, "runs": [[1, 2, "ab"]]}]}, "64 hex digits"),
        ("epoch-0", {"epochs": [{"epoch": 0}]}, "epochs begin at 1"),
    ):
        yield bad(name, _signed(_payload(**fields)), invalid, f"authentic, but {why}")
    yield bad("payload-no-json", _signed(b"receipt"), invalid, "authentic, but not JSON")
    yield bad("not-json", b"receipt", invalid, "no envelope")
    yield bad("cut", _signed(payload)[:-20], invalid, "ends too early")
    yield bad("nested", b'{"payload":' * 40 + b"1" + b"}" * 40, invalid, "more than 32 levels")
    spaced = _signed(payload) + b" " * RECEIPT_BYTES_MAX
    yield bad("too-large", spaced, "receipt_too_large", "white space counts")


PLAIN_FIELDS: Mapping[str, object] = {
    "v": 1,
    "producer": PRODUCER,
    "as_of_ms": PLAIN.as_of_ms,
    "keys": list(PLAIN.keys),
    "epochs": [{"epoch": 1, "runs": [[1, 500, _head("a")]], "gaps": []}],
}


def _payload(**changes: object) -> bytes:
    return json.dumps({**PLAIN_FIELDS, **changes}, separators=(",", ":")).encode()


def _signature(payload: bytes, key: SigningKey) -> dict[str, str]:
    signature = key.sign(pre_authentication_encoding(payload))
    return {"keyid": key.id, "sig": base64.b64encode(signature).decode()}


def _envelope(
    payload: bytes, signatures: Sequence[Mapping[str, str]], *, kind: str = PAYLOAD_TYPE
) -> bytes:
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind,
        "signatures": signatures,
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


def _signed(payload: bytes, key: SigningKey = RECEIPT_KEY) -> bytes:
    return _envelope(payload, [_signature(payload, key)])
