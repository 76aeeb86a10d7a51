"""Segments made by hand, so that each part can be wrong while the rest is right.

Independent of `rekam.domain.segment.seal` where it matters: header bytes, body and signature are
whatever the caller says.
"""

import hashlib
import json
import struct
from collections.abc import Mapping

import zstandard
from cryptography.hazmat.primitives import hpke

from rekam.domain.errors import Held, SegmentRejected
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.keys import ReaderPrivateKey, ReaderPublicKey, SigningKey
from rekam.domain.segment import (
    open_body,
    opening_hash,
    parse,
    pre_authentication_encoding,
    verify,
)

SIGNING_SEED = hashlib.sha256(b"rekam test vector: signing key").digest()
OTHER_SIGNING_SEED = hashlib.sha256(b"rekam test vector: another signing key").digest()
READER_SEED = hashlib.sha256(b"rekam test vector: reader key").digest()
OTHER_READER_SEED = hashlib.sha256(b"rekam test vector: another reader key").digest()

SIGNING_KEY = SigningKey.from_seed(SIGNING_SEED)
OTHER_SIGNING_KEY = SigningKey.from_seed(OTHER_SIGNING_SEED)
READER = ReaderPrivateKey.from_seed(READER_SEED)
OTHER_READER = ReaderPrivateKey.from_seed(OTHER_READER_SEED)

PRODUCER = "recorder-64.08.04-1"
SEALED: Mapping[str, object] = {"wall_ms": 1_522_454_400_000, "mono_ms": 60_000, "boot": "boot-a"}

SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
BOUND_FIELDS = ("producer", "epoch", "first", "count", "prev", "reader")


def fields(**changes: object) -> dict[str, object]:
    """Return a header's fields, right for one event at the start of epoch 1 but for `changes`."""
    header: dict[str, object] = {
        "v": 1,
        "producer": PRODUCER,
        "epoch": 1,
        "first": 1,
        "count": 1,
        "prev": opening_hash_of(PRODUCER, 1),
        "body": "0" * 64,
        "sealed": dict(SEALED),
        "key": SIGNING_KEY.id,
        "reader": READER.id,
    }
    header.update(changes)
    return header


def opening_hash_of(producer: str, epoch: int) -> str:
    """Return the opening hash without the ceremony of identifiers."""
    return opening_hash(ProducerId(producer), Epoch(epoch))


def compact(value: object) -> bytes:
    """Return JSON without spaces, in the order given."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def pack(plain: bytes) -> bytes:
    """Return one zstd frame that declares its size."""
    return zstandard.ZstdCompressor(level=6).compress(plain)


def encrypt(
    packed: bytes, header: Mapping[str, object], reader: ReaderPublicKey = READER.public
) -> bytes:
    """Encrypt a body for these header fields."""
    return SUITE.encrypt(packed, reader.key, compact({name: header[name] for name in BOUND_FIELDS}))


def frame(header_bytes: bytes, signature: bytes, body: bytes) -> bytes:
    """Put the parts of a segment together."""
    return b"RKM1" + struct.pack(">I", len(header_bytes)) + header_bytes + signature + body


def signed(header_bytes: bytes, body: bytes, key: SigningKey = SIGNING_KEY) -> bytes:
    """Sign header bytes as they are, and frame them with a body."""
    return frame(header_bytes, key.sign(pre_authentication_encoding(header_bytes)), body)


def authentic(packed: bytes, **changes: object) -> bytes:
    """Return an authentic segment of this compressed body: signed, bound and hashed as it must."""
    header = fields(**changes)
    body = encrypt(packed, header)
    if "body" not in changes:
        header["body"] = hashlib.sha256(body).hexdigest()
    return signed(compact(header), body)


def split(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """Take a well-formed segment apart: header bytes, signature, body."""
    (length,) = struct.unpack_from(">I", raw, 4)
    return raw[8 : 8 + length], raw[8 + length : 72 + length], raw[72 + length :]


def outcome(raw: bytes) -> tuple[str, str, str]:
    """Take a segment as far as it goes: step, `accepted`, `rejected` or `held`, and reason."""
    step = "parse"
    try:
        segment = parse(raw)
        step = "verify"
        verify(segment, SIGNING_KEY.public)
        step = "open"
        open_body(segment, READER)
    except SegmentRejected as error:
        return step, "rejected", error.reason
    except Held as error:
        return step, "held", error.reason
    return step, "accepted", ""
