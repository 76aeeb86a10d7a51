"""Segment v1: the unit of sync, dedupe, receipt and audit (docs/segment-v1.md).

    "RKM1" | u32 header length, big-endian | header (JSON) | 64-byte Ed25519 signature | body

Bytes are hashed, signed and stored as received and never encoded again: whoever has the public
keys verifies authenticity, order and completeness without being able to read a name.
"""

import hashlib
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke

from rekam.domain.errors import Held, SegmentRejected
from rekam.domain.ids import Epoch, ProducerId, Seq
from rekam.domain.json_text import DEPTH_MAX, explain, holds_nul, nests_too_deeply
from rekam.domain.keys import ReaderPrivateKey, ReaderPublicKey, SigningKey, VerifyKey

MAGIC = b"RKM1"
VERSION = 1
VERSION_MAX = 9999
"""A greater number in a header is no version of any future."""

SIGNATURE_BYTES = 64
HEADER_BYTES_MAX = 4096
SEGMENT_EVENTS_MAX = 500
BODY_BYTES_MAX = 256 * 1024
EVENT_BYTES_MAX = 64 * 1024
DECOMPRESSED_BYTES_MAX = 4 * 1024 * 1024
RATIO_MAX = 100
RATIO_CHECKED_ABOVE_BYTES = EVENT_BYTES_MAX + 1
"""Up to this size, an event and its line end, no ratio is asked: one event always fits."""

SEGMENT_BYTES_MAX = len(MAGIC) + 4 + HEADER_BYTES_MAX + SIGNATURE_BYTES + BODY_BYTES_MAX
PAYLOAD_TYPE = b"application/vnd.rekam.segment-header.v1+json"
SEQ_MAX = 2**53 - 1
"""Largest seq: JSON readers in other languages keep integers exact up to here."""

CLOCK_MS_MAX = 2**53
"""Bounds wall and monotonic clocks, either side of 1970, for the same reason."""

_COMPRESSION_LEVEL = 6
_WINDOW_BYTES_MAX = 8 * 1024 * 1024
_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
_SEALED_BYTES_MIN = 32 + 16  # HPKE encapsulated key and tag

Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_VersionNumber = Annotated[int, msgspec.Meta(ge=1, le=VERSION_MAX)]
_KeyIdText = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
ProducerText = Annotated[str, msgspec.Meta(pattern=r"^(?!.*[0-9]{16})[a-z0-9][a-z0-9.\-]{0,63}\Z")]
"""Producer ids stand in Kafka keys, URLs and file names: no escapes needed, and never a NIK."""


class Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the producer sealed the segment, by its own clocks."""

    wall_ms: Annotated[int, msgspec.Meta(ge=-CLOCK_MS_MAX, le=CLOCK_MS_MAX)]
    mono_ms: Annotated[int, msgspec.Meta(ge=0, le=CLOCK_MS_MAX)]
    boot: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is signed. `prev` is the hash of the previous segment's header or the epoch opening."""

    v: _VersionNumber
    producer: ProducerText
    epoch: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    first: Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX - SEGMENT_EVENTS_MAX)]
    count: Annotated[int, msgspec.Meta(ge=1, le=SEGMENT_EVENTS_MAX)]
    prev: Digest
    body: Digest
    sealed: Sealed
    key: _KeyIdText
    reader: _KeyIdText

    @property
    def last(self) -> int:
        """Return the seq of the last event."""
        return self.first + self.count - 1


@dataclass(frozen=True, slots=True)
class Segment:
    """A framed segment with a valid header; neither its signature nor its body is checked yet."""

    header: Header
    header_bytes: bytes
    signature: bytes
    body: bytes
    hash: str
    """SHA-256 of the header bytes, hex: the segment's identity, because it covers the body."""


_decode_header = msgspec.json.Decoder(Header).decode
_encode_json = msgspec.json.Encoder().encode


def opening_hash(producer: ProducerId, epoch: Epoch) -> str:
    """Return the `prev` of the first segment of an epoch."""
    return hashlib.sha256(f"rekam.epoch.v1\n{producer}\n{epoch}\n".encode()).hexdigest()


def pre_authentication_encoding(header_bytes: bytes) -> bytes:
    """Return the bytes that are signed. Source: DSSE v1 PAE."""
    return b"DSSEv1 %d %b %d %b" % (
        len(PAYLOAD_TYPE),
        PAYLOAD_TYPE,
        len(header_bytes),
        header_bytes,
    )


class _Info(msgspec.Struct, frozen=True):
    """HPKE info: all of the header that exists before the body does, in this order."""

    producer: str
    epoch: int
    first: int
    count: int
    prev: str
    reader: str


def _info(*, producer: str, epoch: int, first: int, count: int, prev: str, reader: str) -> bytes:
    return _encode_json(_Info(producer, epoch, first, count, prev, reader))


class _Compressors(threading.local):
    """zstd contexts are costly to make and must not be shared between threads."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_MAX).decompress


_zstd = _Compressors()


def seal(
    lines: Sequence[bytes],
    *,
    producer: ProducerId,
    epoch: Epoch,
    first: Seq,
    prev: str,
    sealed: Sealed,
    signing_key: SigningKey,
    reader: ReaderPublicKey,
) -> bytes:
    """Compress, encrypt, chain and sign consecutive events; return the segment's bytes.

    `lines` are encoded events without line ends, 1..SEGMENT_EVENTS_MAX of them. Not
    deterministic (HPKE takes a fresh key): seal once, keep the bytes, send the same bytes always.
    Raises SegmentRejected with the limit's code when a limit is passed; halve and try again:
    a single event within EVENT_BYTES_MAX always fits. Raises it with `header_invalid` when an
    argument has not the form that every reader will ask for.
    """
    if not 1 <= len(lines) <= SEGMENT_EVENTS_MAX:
        raise SegmentRejected(
            "too_many_events", f"{len(lines)} events; a segment takes 1..{SEGMENT_EVENTS_MAX}"
        )
    for line in lines:
        if len(line) > EVENT_BYTES_MAX or b"\n" in line:
            raise SegmentRejected(
                "event_too_large",
                f"an event of {len(line)} bytes; the limit is {EVENT_BYTES_MAX} in one line",
            )
    plain = b"\n".join(lines) + b"\n"
    packed = _zstd.compress(plain)
    _check_expansion(len(plain), len(packed))
    body = _SUITE.encrypt(
        packed,
        reader.key,
        _info(
            producer=producer,
            epoch=epoch,
            first=first,
            count=len(lines),
            prev=prev,
            reader=reader.id,
        ),
    )
    if len(body) > BODY_BYTES_MAX:
        raise SegmentRejected(
            "body_too_large", f"the body has {len(body)} bytes; the limit is {BODY_BYTES_MAX}"
        )
    header_bytes = _encode_json(
        Header(
            v=VERSION,
            producer=producer,
            epoch=epoch,
            first=first,
            count=len(lines),
            prev=prev,
            body=hashlib.sha256(body).hexdigest(),
            sealed=sealed,
            key=signing_key.id,
            reader=reader.id,
        )
    )
    _parse_header(header_bytes)  # what a reader would refuse must not leave the producer sealed
    signature = signing_key.sign(pre_authentication_encoding(header_bytes))
    return b"".join((MAGIC, struct.pack(">I", len(header_bytes)), header_bytes, signature, body))


def parse(raw: bytes) -> Segment:
    """Take a segment apart and check its frame, header and limits; no cryptography yet.

    Raises SegmentRejected (wrong for ever) or Held (a version of the future).
    """
    if len(raw) > SEGMENT_BYTES_MAX:
        raise SegmentRejected(
            "segment_too_large", f"{len(raw)} bytes; the limit is {SEGMENT_BYTES_MAX}"
        )
    if raw[:4] != MAGIC:
        raise SegmentRejected("not_a_segment", f"begins with {raw[:4].hex()}, not with RKM1")
    if len(raw) < 8:  # noqa: PLR2004 - magic and length
        raise SegmentRejected("truncated", f"{len(raw)} bytes; the frame alone needs 8")
    (header_length,) = struct.unpack_from(">I", raw, 4)
    if not 1 <= header_length <= HEADER_BYTES_MAX:
        raise SegmentRejected(
            "header_too_large", f"header of {header_length} bytes; wanted 1..{HEADER_BYTES_MAX}"
        )
    body_start = 8 + header_length + SIGNATURE_BYTES
    if len(raw) < body_start + _SEALED_BYTES_MIN:
        raise SegmentRejected(
            "truncated", f"{len(raw)} bytes; header, signature and body need more; send it again"
        )
    header_bytes = raw[8 : 8 + header_length]
    header = _parse_header(header_bytes)
    body = raw[body_start:]
    if len(body) > BODY_BYTES_MAX:
        raise SegmentRejected(
            "body_too_large", f"the body has {len(body)} bytes; the limit is {BODY_BYTES_MAX}"
        )
    return Segment(
        header=header,
        header_bytes=header_bytes,
        signature=raw[8 + header_length : body_start],
        body=body,
        hash=hashlib.sha256(header_bytes).hexdigest(),
    )


class _Version(msgspec.Struct):
    v: _VersionNumber


def _parse_header(header_bytes: bytes) -> Header:
    try:
        header = _decode_header(header_bytes)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if nests_too_deeply(header_bytes):
            detail = f"nested more than {DEPTH_MAX} levels deep"
        elif _version_of(header_bytes) > VERSION:
            raise Held(
                "unknown_version", "the header is of a newer version; update this server"
            ) from None
        else:
            detail = explain(error)
        raise SegmentRejected("header_invalid", detail) from None  # the message may show a value
    if header.v > VERSION:
        raise Held("unknown_version", f"header version {header.v}; update this server")
    if holds_nul(header_bytes):
        raise SegmentRejected("header_invalid", "a text holds U+0000, which no table can keep")
    return header


def _version_of(header_bytes: bytes) -> int:
    try:
        return msgspec.json.decode(header_bytes, type=_Version).v
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0


def verify(segment: Segment, key: VerifyKey) -> None:
    """Check that `key` signed the header and that the body is the one it names.

    Raises SegmentRejected. Whether the key is the producer's is the registry's question.
    """
    if key.id != segment.header.key:
        raise SegmentRejected("key_mismatch", f"signed by {segment.header.key}, not by {key.id}")
    signed = pre_authentication_encoding(segment.header_bytes)
    if not key.is_signature_of(segment.signature, signed):
        raise SegmentRejected(
            "signature_invalid", f"the signature is not by key {key.id}; a forgery or a flipped bit"
        )
    found = hashlib.sha256(segment.body).hexdigest()
    if found != segment.header.body:
        raise SegmentRejected(
            "body_mismatch",
            f"body hashes to {found[:12]}, the header names {segment.header.body[:12]}; "
            "send the segment again",
        )


def open_body(segment: Segment, reader: ReaderPrivateKey) -> list[bytes]:
    """Decrypt and decompress; return the event lines, as many as the header counts.

    Only for a verified segment. Raises SegmentRejected, or Held when it is for another reader.
    """
    header = segment.header
    if reader.id != header.reader:
        raise Held("unknown_reader", f"encrypted to reader key {header.reader}; add its file")
    info = _info(
        producer=header.producer,
        epoch=header.epoch,
        first=header.first,
        count=header.count,
        prev=header.prev,
        reader=header.reader,
    )
    try:
        packed = _SUITE.decrypt(segment.body, reader.key, info)
    except (InvalidTag, ValueError) as error:
        raise SegmentRejected(
            "body_undecryptable", f"not encrypted for this header to reader key {header.reader}"
        ) from error
    plain = _decompress(packed)
    lines = plain.split(b"\n")
    if lines.pop() != b"" or len(lines) != header.count:
        raise SegmentRejected(
            "count_mismatch", f"{len(lines)} lines; the header counts {header.count} events"
        )
    return lines


def _decompress(packed: bytes) -> bytes:
    try:
        size = zstandard.frame_content_size(packed)
        # The library trusts a declared size beyond max_output_size, so it is checked before.
        if size < 0:
            raise SegmentRejected("body_undecodable", "the zstd frame does not declare its size")
        _check_expansion(size, len(packed))
        plain = _zstd.decompress(
            packed, max_output_size=DECOMPRESSED_BYTES_MAX, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise SegmentRejected("body_undecodable", f"not one zstd frame: {error}") from error
    if len(plain) != size:
        raise SegmentRejected("body_undecodable", f"{len(plain)} bytes; {size} were declared")
    return plain


def _check_expansion(plain_bytes: int, packed_bytes: int) -> None:
    if plain_bytes > DECOMPRESSED_BYTES_MAX:
        raise SegmentRejected(
            "body_expands_too_much", f"{plain_bytes} bytes; the limit is {DECOMPRESSED_BYTES_MAX}"
        )
    if plain_bytes > max(RATIO_CHECKED_ABOVE_BYTES, RATIO_MAX * packed_bytes):
        raise SegmentRejected(
            "body_expands_too_much",
            f"{packed_bytes} bytes become {plain_bytes}; the limit is {RATIO_MAX}:1",
        )


def producer_id(text: str) -> ProducerId:
    """Check a producer id. Raises msgspec.ValidationError naming the rule."""
    return ProducerId(msgspec.convert(text, ProducerText))
