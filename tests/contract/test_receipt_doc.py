"""docs/receipt-v1.md is enough: a reader made from that page alone agrees with ours.

In the chapter of the page nothing of `rekam` is called.
"""

import base64
import binascii
import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rekam.domain import receipt as ours
from rekam.domain.json_text import DEPTH_MAX
from rekam.domain.keys import SigningKey, VerifyKey
from rekam.domain.segment import SEQ_MAX
from rekam.domain.topics import RECEIPTS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "receipt-v1.md").read_text()
GOOD: Final = sorted((ROOT / "tests" / "golden" / "receipts" / "good").glob("*.receipt"))
BAD: Final = sorted((ROOT / "tests" / "golden" / "receipts" / "bad").glob("*.receipt"))

# -- the page ----------------------------------------------------------------------------------

TYPE: Final = "application/vnd.rekam.receipt.v1+json"


class Unbelievable(Exception):  # noqa: N818 - a refusal, by its code in the page
    """What section 4 answers."""


def read(raw: bytes, *, trusted: bytes) -> dict[str, Any]:
    if len(raw) > 327680:
        raise Unbelievable("receipt_too_large")
    envelope = parsed(raw)
    signatures = envelope.get("signatures")
    if (
        envelope.get("payloadType") != TYPE
        or not isinstance(signatures, list)
        or not 1 <= len(signatures) <= 8
    ):
        raise Unbelievable("receipt_invalid")
    payload = unbase64(envelope.get("payload"))
    own = hashlib.sha256(trusted).digest()[:16].hex()
    named = [signature for signature in signatures if signature.get("keyid") == own]
    if not named:
        raise Unbelievable("receipt_untrusted")
    message = b"DSSEv1 37 %s %d %s" % (TYPE.encode(), len(payload), payload)
    if not any(is_right(trusted, unbase64(signature.get("sig")), message) for signature in named):
        raise Unbelievable("receipt_invalid")
    return formed(parsed(payload))


def parsed(raw: bytes) -> dict[str, Any]:
    depth = 0
    for byte in re.sub(rb'"(?:[^"\\]|\\.)*"', b"", raw):
        depth += (byte in b"[{") - (byte in b"]}")
        if depth > 32:
            raise Unbelievable("receipt_invalid")
    try:
        found = json.loads(raw)
    except ValueError:
        raise Unbelievable("receipt_invalid") from None
    if not isinstance(found, dict):
        raise Unbelievable("receipt_invalid")
    return found


def unbase64(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error:
        raise Unbelievable("receipt_invalid") from None


def is_right(trusted: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(trusted).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def formed(found: dict[str, Any]) -> dict[str, Any]:
    def wanted(*, truth: bool) -> None:
        if not truth:
            raise Unbelievable("receipt_invalid")

    wanted(truth=found.get("v") == 1)
    producer = str(found.get("producer"))
    wanted(truth=bool(re.fullmatch(r"(?!.*[0-9]{16})[a-z0-9][a-z0-9.-]{0,63}", producer)))
    wanted(truth=isinstance(found["as_of_ms"], int) and 0 <= found["as_of_ms"] <= 2**53)
    for key in found.get("keys", []):
        wanted(truth=bool(re.fullmatch(r"[A-Za-z0-9+/]{43}=", key)))
    for epoch in found.get("epochs", []):
        wanted(truth=1 <= epoch["epoch"] <= 2147483647)
        for first, last, head in epoch.get("runs", []):
            wanted(truth=1 <= first <= last <= 9007199254740991)
            wanted(truth=bool(re.fullmatch(r"[0-9a-f]{64}", head)))
        for first, last in epoch.get("gaps", []):
            wanted(truth=1 <= first <= last <= 9007199254740991)
    return found


# -- the tests ---------------------------------------------------------------------------------


def described(path: Path) -> dict[str, Any]:
    found = json.loads(path.with_suffix(".json").read_bytes())
    assert isinstance(found, dict)
    return found


def trusted_in(told: dict[str, Any]) -> VerifyKey:
    return VerifyKey.from_text(told["receipt_public"])


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_reader_made_from_the_page_and_ours_take_golden_receipts(path: Path) -> None:
    told = described(path)
    key = trusted_in(told)
    assert read(path.read_bytes(), trusted=key.raw) == told["receipt"]
    receipt = ours.open_receipt(path.read_bytes(), {key.id: key})
    assert receipt.producer == told["receipt"]["producer"]
    assert receipt.as_of_ms == told["receipt"]["as_of_ms"]
    assert list(receipt.keys) == told["receipt"]["keys"]
    said = [
        {
            "epoch": epoch.epoch,
            "runs": [[run.first, run.last, run.head] for run in epoch.runs],
            "gaps": [list(gap) for gap in epoch.gaps],
        }
        for epoch in receipt.epochs
    ]
    assert said == told["receipt"]["epochs"]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_reader_made_from_the_page_and_ours_refuse_bad_receipts_alike(path: Path) -> None:
    told = described(path)
    key = trusted_in(told)
    with pytest.raises(Unbelievable, match=told["reason"]):
        read(path.read_bytes(), trusted=key.raw)
    with pytest.raises(ours.ReceiptRejected) as raised:
        ours.open_receipt(path.read_bytes(), {key.id: key})
    assert raised.value.reason == told["reason"]


def test_what_we_sign_is_the_golden_bytes() -> None:
    for name in ("one-run", "fork-and-gaps"):
        path = ROOT / "tests" / "golden" / "receipts" / "good" / f"{name}.receipt"
        told = described(path)
        key = SigningKey.from_seed(bytes.fromhex(told["receipt_seed"]))
        receipt = ours.open_receipt(path.read_bytes(), {key.id: key.public})
        assert ours.sign_receipt(receipt, key) == path.read_bytes()


@pytest.mark.parametrize(
    "limit",
    [
        ours.RECEIPT_BYTES_MAX,
        ours.RUNS_MAX,
        ours.GAPS_MAX,
        ours.KEYS_MAX,
        ours.SIGNATURES_MAX,
        SEQ_MAX,
        DEPTH_MAX,
        RECEIPTS.partitions,
    ],
)
def test_the_page_names_every_limit_as_the_code_has_it(limit: int) -> None:
    assert re.search(rf"(?<!\d){limit}(?!\d)", PAGE)


def test_the_page_names_topic_type_and_codes() -> None:
    assert f"`{RECEIPTS.name}`" in PAGE
    assert f'"{len(ours.PAYLOAD_TYPE)}" SP "{ours.PAYLOAD_TYPE}"' in PAGE
    for code in ("receipt_too_large", "receipt_untrusted", "receipt_invalid"):
        assert f"`{code}`" in PAGE
