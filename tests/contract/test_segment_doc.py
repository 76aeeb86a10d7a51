"""docs/segment-v1.md is enough: a reader and a writer made from that page, and nothing of ours.

In the chapter of the page, X25519, HKDF and AES-GCM are put together as its section 4.1 says, not
by an HPKE library, and nothing of `rekam` is called.
"""

import base64
import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Final

import pytest
import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rekam.domain import segment as ours
from rekam.domain.events import decode, encode
from rekam.domain.ids import Epoch
from rekam.domain.json_text import DEPTH_MAX
from rekam.domain.keys import ReaderPrivateKey, VerifyKey

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "segment-v1.md").read_text()
GOOD: Final = sorted((ROOT / "tests" / "golden" / "segments" / "good").glob("*.seg"))
BAD: Final = sorted((ROOT / "tests" / "golden" / "segments" / "bad").glob("*.seg"))

# -- the page ----------------------------------------------------------------------------------


class Unreadable(Exception):  # noqa: N818 - a refusal or a holding, by its code in the page
    """What section 7 answers."""


FORMS: Final = {
    "producer": r"(?!.*[0-9]{16})[a-z0-9][a-z0-9.-]{0,63}",
    "prev": r"[0-9a-f]{64}",
    "body": r"[0-9a-f]{64}",
    "key": r"[0-9a-f]{32}",
    "reader": r"[0-9a-f]{32}",
}
RANGES: Final = {
    "v": (1, 9999),
    "epoch": (1, 2147483647),
    "first": (1, 9007199254740491),
    "count": (1, 500),
}
CLOCKS: Final = {"wall_ms": (-(2**53), 2**53), "mono_ms": (0, 2**53)}
TYPE: Final = b"application/vnd.rekam.segment-header.v1+json"
KEM: Final = b"KEM\x00\x20"
HPKE: Final = b"HPKE\x00\x20\x00\x01\x00\x01"


def key_id(raw: bytes) -> str:
    return hashlib.sha256(raw).digest()[:16].hex()


def raw_public(key: X25519PrivateKey | Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def signed_message(header: bytes) -> bytes:
    return b" ".join([b"DSSEv1", b"%d" % len(TYPE), TYPE, b"%d" % len(header), header])


def opening_hash(producer: str, epoch: int) -> str:
    return hashlib.sha256(f"rekam.epoch.v1\n{producer}\n{epoch}\n".encode()).hexdigest()


def extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), ikm, "sha256")


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    return hmac.digest(prk, info + b"\x01", "sha256")[:length]  # one block is enough for all


def labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def key_and_nonce(shared: bytes, enc: bytes, reader: bytes, info: bytes) -> tuple[bytes, bytes]:
    eae_prk = labeled_extract(KEM, b"", b"eae_prk", shared)
    shared_secret = labeled_expand(KEM, eae_prk, b"shared_secret", enc + reader, 32)
    context = b"\0" + b"".join(
        labeled_extract(HPKE, b"", label, ikm)
        for label, ikm in ((b"psk_id_hash", b""), (b"info_hash", info))
    )
    secret = labeled_extract(HPKE, shared_secret, b"secret", b"")
    return (
        labeled_expand(HPKE, secret, b"key", context, 16),
        labeled_expand(HPKE, secret, b"base_nonce", context, 12),
    )


def info_of(header: dict[str, object]) -> bytes:
    names = ("producer", "epoch", "first", "count", "prev", "reader")
    quoted = (f'"{value}"' if isinstance(value := header[name], str) else value for name in names)
    pairs = (f'"{name}":{value}' for name, value in zip(names, quoted, strict=True))
    return ("{" + ",".join(pairs) + "}").encode()


def is_in_range(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def read_header(raw: bytes) -> dict[str, object]:
    depth = 0
    for mark in re.findall(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', raw):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(mark, 0)
        if depth > 32:
            raise Unreadable("header_invalid")
    try:
        header = json.loads(raw.decode())
    except ValueError as error:
        raise Unreadable("header_invalid") from error
    if not isinstance(header, dict):
        raise Unreadable("header_invalid")
    if is_in_range(header.get("v"), 2, 9999):
        raise Unreadable("unknown_version")
    sealed = header.get("sealed")
    if (
        header.keys() != {*FORMS, *RANGES, "sealed"}
        or not all(re.fullmatch(form, str(header[name])) for name, form in FORMS.items())
        or not all(is_in_range(header[name], *limits) for name, limits in RANGES.items())
        or not isinstance(sealed, dict)
        or sealed.keys() != {*CLOCKS, "boot"}
        or not all(is_in_range(sealed[name], *limits) for name, limits in CLOCKS.items())
        or not isinstance(sealed["boot"], str)
        or not 1 <= len(sealed["boot"]) <= 64
        or "\0" in sealed["boot"]
    ):
        raise Unreadable("header_invalid")
    return header


def read_frame(raw: bytes) -> tuple[bytes, bytes, bytes]:
    if len(raw) > 266312:
        raise Unreadable("segment_too_large")
    if raw[:4] != b"RKM1":
        raise Unreadable("not_a_segment")
    if len(raw) < 8:
        raise Unreadable("truncated")
    end = 8 + int.from_bytes(raw[4:8], "big")
    if not 1 <= end - 8 <= 4096:
        raise Unreadable("header_too_large")
    if len(raw) < end + 64 + 48:
        raise Unreadable("truncated")
    return raw[8:end], raw[end : end + 64], raw[end + 64 :]


def read(
    raw: bytes, *, signer: bytes, reader: X25519PrivateKey
) -> tuple[dict[str, object], list[bytes]]:
    header_bytes, signature, body = read_frame(raw)
    header = read_header(header_bytes)
    if len(body) > 262144:
        raise Unreadable("body_too_large")
    if header["key"] != key_id(signer):
        raise Unreadable("key_mismatch")
    try:
        Ed25519PublicKey.from_public_bytes(signer).verify(signature, signed_message(header_bytes))
    except InvalidSignature as error:
        raise Unreadable("signature_invalid") from error
    if hashlib.sha256(body).hexdigest() != header["body"]:
        raise Unreadable("body_mismatch")
    if header["reader"] != key_id(raw_public(reader)):
        raise Unreadable("unknown_reader")
    lines = unpack(decrypt(body, header, reader)).split(b"\n")
    if lines.pop() != b"" or len(lines) != header["count"]:
        raise Unreadable("count_mismatch")
    return header, lines


def decrypt(body: bytes, header: dict[str, object], reader: X25519PrivateKey) -> bytes:
    enc, ciphertext = body[:32], body[32:]
    try:
        shared = reader.exchange(X25519PublicKey.from_public_bytes(enc))
        key, nonce = key_and_nonce(shared, enc, raw_public(reader), info_of(header))
        return AESGCM(key).decrypt(nonce, ciphertext, None)
    except (InvalidTag, ValueError) as error:
        raise Unreadable("body_undecryptable") from error


def unpack(packed: bytes) -> bytes:
    try:
        size = zstandard.frame_content_size(packed)
        if size < 0:
            raise Unreadable("body_undecodable")
        if size > 4194304 or (size > 65537 and size > 100 * len(packed)):
            raise Unreadable("body_expands_too_much")
        decompressor = zstandard.ZstdDecompressor(max_window_size=8 << 20).decompressobj()
        plain = decompressor.decompress(packed)
    except zstandard.ZstdError as error:
        raise Unreadable("body_undecodable") from error
    if not decompressor.eof or decompressor.unused_data or len(plain) != size:
        raise Unreadable("body_undecodable")
    return plain


def write(
    lines: list[bytes], *, producer: str, epoch: int, first: int, prev: str,
    signer: Ed25519PrivateKey, reader: bytes,
) -> bytes:  # fmt: skip
    header: dict[str, object] = {
        "v": 1,
        "producer": producer,
        "epoch": epoch,
        "first": first,
        "count": len(lines),
        "prev": prev,
        "reader": key_id(reader),
        "key": key_id(raw_public(signer)),
        "sealed": {"wall_ms": 0, "mono_ms": 0, "boot": "mulai"},
    }
    packed = zstandard.ZstdCompressor().compress(b"".join(line + b"\n" for line in lines))
    own = X25519PrivateKey.generate()
    enc = raw_public(own)
    shared = own.exchange(X25519PublicKey.from_public_bytes(reader))
    key, nonce = key_and_nonce(shared, enc, reader, info_of(header))
    body = enc + AESGCM(key).encrypt(nonce, packed, None)
    header["body"] = hashlib.sha256(body).hexdigest()
    header_bytes = json.dumps(header).encode()
    signature = signer.sign(signed_message(header_bytes))
    return b"RKM1" + len(header_bytes).to_bytes(4, "big") + header_bytes + signature + body


# -- the tests ---------------------------------------------------------------------------------


def described(path: Path) -> dict[str, object]:
    found = json.loads(path.with_suffix(".json").read_bytes())
    assert isinstance(found, dict)
    return found


def read_golden(path: Path) -> tuple[dict[str, object], list[bytes]]:
    told = described(path)
    return read(
        path.read_bytes(),
        signer=base64.b64decode(str(told["signing_public"])),
        reader=X25519PrivateKey.from_private_bytes(bytes.fromhex(str(told["reader_private"]))),
    )


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_reader_made_from_the_page_opens_our_golden_segments(path: Path) -> None:
    told = described(path)
    header, lines = read_golden(path)
    assert header == told["header"]
    plain = b"".join(line + b"\n" for line in lines)
    assert hashlib.sha256(plain).hexdigest() == told["plain_sha256"]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_reader_made_from_the_page_gives_the_same_answer_to_bad_segments(path: Path) -> None:
    with pytest.raises(Unreadable) as raised:
        read_golden(path)
    assert str(raised.value) == described(path)["reason"]


@pytest.mark.parametrize("count", [1, 2, 500])
def test_what_a_writer_made_from_the_page_seals_we_take(count: int) -> None:
    signer, reader = Ed25519PrivateKey.generate(), ReaderPrivateKey.generate()
    lines = [b'{"number":%d}' % number for number in range(count)]
    raw = write(
        lines,
        producer="tablet-7",
        epoch=3,
        first=1,
        prev=opening_hash("tablet-7", 3),
        signer=signer,
        reader=reader.public.raw,
    )
    segment = ours.parse(raw)
    ours.verify(segment, VerifyKey(raw_public(signer)))
    assert ours.open_body(segment, reader) == lines
    assert segment.header.prev == ours.opening_hash(ours.producer_id("tablet-7"), Epoch(3))


def test_the_examples_in_the_page_are_true() -> None:
    assert opening_hash("recorder-64.08.04-1", 1) in PAGE
    assert len(TYPE) == 44
    assert f"DSSEv1 44 {TYPE.decode()} 439 " in PAGE
    example = next(line for line in PAGE.splitlines() if line.startswith('{"type":'))
    assert encode(decode(example.encode())).decode() == example


@pytest.mark.parametrize(
    "limit",
    [
        ours.HEADER_BYTES_MAX,
        ours.SEGMENT_EVENTS_MAX,
        ours.BODY_BYTES_MAX,
        ours.EVENT_BYTES_MAX,
        ours.DECOMPRESSED_BYTES_MAX,
        ours.RATIO_CHECKED_ABOVE_BYTES,
        ours.SEGMENT_BYTES_MAX,
        ours.SEQ_MAX - ours.SEGMENT_EVENTS_MAX,
        ours.VERSION_MAX,
        DEPTH_MAX,
    ],
)
def test_the_page_names_every_limit_as_the_code_has_it(limit: int) -> None:
    assert re.search(rf"(?<!\d){limit}(?!\d)", PAGE)


def test_the_page_names_the_ratio() -> None:
    assert f"{ours.RATIO_MAX} times as long" in PAGE
