"""Write golden bytes that are not there yet: `python -m tests.golden.generate`.

Golden files are promises to devices in the field, so they are only ever added to: a file that
exists is never rewritten, and events that would now come out otherwise are reported (exit 1).
"""

import hashlib
import json
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import zstandard

from rekam.domain.events import decode, encode
from rekam.domain.ids import Epoch, ProducerId, Seq
from rekam.domain.segment import (
    DECOMPRESSED_BYTES_MAX,
    EVENT_BYTES_MAX,
    HEADER_BYTES_MAX,
    SEGMENT_EVENTS_MAX,
    Sealed,
    open_body,
    parse,
    seal,
    verify,
)
from tests.golden.receipt_vectors import vectors
from tests.support.golden_events import EVENTS
from tests.support.segments import (
    OTHER_READER,
    OTHER_SIGNING_KEY,
    PRODUCER,
    READER,
    READER_SEED,
    SEALED,
    SIGNING_KEY,
    SIGNING_SEED,
    authentic,
    compact,
    encrypt,
    fields,
    frame,
    opening_hash_of,
    outcome,
    pack,
    signed,
    split,
)

HERE = Path(__file__).parent
LINES_SHOWN_BYTES_MAX = 4096
"""Above this the vector has the hash of its lines only."""

KEYS = {
    "signing_seed": SIGNING_SEED.hex(),
    "signing_public": SIGNING_KEY.public.to_text(),
    "reader_private": READER_SEED.hex(),
    "reader_public": READER.public.to_text(),
}
"""Test keys: whoever holds the seeds can sign and read, so they serve for nothing else."""


@dataclass(frozen=True)
class Bad:
    """A segment that must be refused or held, and how."""

    name: str
    raw: bytes
    step: str
    outcome: str
    reason: str
    why: str


def main(root: Path = HERE) -> int:
    """Add what is missing under `root`; return 1 when golden events no longer come out the same."""
    lines = defaultdict(list)
    for event in EVENTS:
        lines[event.type].append(encode(event) + b"\n")
    contradictions = [
        name
        for name, encoded in lines.items()
        if not _extend(root / "events" / f"{name}.jsonl", encoded)
    ]
    for name in contradictions:
        click.echo(f"{name}: golden lines would change; meaning never does: make a new version")
    for name, raw in _good():
        path = root / "segments" / "good" / f"{name}.seg"
        if _add(path, raw):
            _add(path.with_suffix(".json"), _describe_good(raw))
    for bad in _bad():
        path = root / "segments" / "bad" / f"{bad.name}.seg"
        if _add(path, bad.raw):
            _add(path.with_suffix(".json"), _describe_bad(bad))
    for vector in vectors():
        path = root / "receipts" / vector.folder / f"{vector.name}.receipt"
        if _add(path, vector.raw):
            _add(path.with_suffix(".json"), _text(vector.told))
    return 1 if contradictions else 0


def _extend(path: Path, lines: list[bytes]) -> bool:
    """Append the golden lines that are missing; tell whether those that are there still stand."""
    wanted = b"".join(lines)
    _add(path, b"")
    there = path.read_bytes()
    with path.open("ab") as file:
        file.write(wanted[len(there) :] if wanted.startswith(there) else b"")
    return wanted.startswith(there)


def _add(path: Path, content: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    click.echo(f"added {path.name}")
    return True


def _text(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _describe_good(raw: bytes) -> bytes:
    segment = parse(raw)
    verify(segment, SIGNING_KEY.public)
    lines = open_body(segment, READER)
    for line in lines:
        decode(line)
    plain = b"".join(line + b"\n" for line in lines)
    description: dict[str, object] = {
        **KEYS,
        "header": json.loads(segment.header_bytes),
        "hash": segment.hash,
        "plain_sha256": hashlib.sha256(plain).hexdigest(),
    }
    if len(plain) <= LINES_SHOWN_BYTES_MAX:
        description["lines"] = [line.decode() for line in lines]
    return _text(description)


def _describe_bad(bad: Bad) -> bytes:
    found = outcome(bad.raw)
    if found != (bad.step, bad.outcome, bad.reason):
        raise AssertionError(f"{bad.name}: {found}")
    return _text(
        {
            **KEYS,
            "step": bad.step,
            "outcome": bad.outcome,
            "reason": bad.reason,
            "why": bad.why,
        }
    )


def _seal(lines: list[bytes], *, epoch: int = 1, first: int = 1, prev: str = "") -> bytes:
    return seal(
        lines,
        producer=ProducerId(PRODUCER),
        epoch=Epoch(epoch),
        first=Seq(first),
        prev=prev or opening_hash_of(PRODUCER, epoch),
        sealed=Sealed(1_522_454_400_000, 60_000, "boot-a"),
        signing_key=SIGNING_KEY,
        reader=READER.public,
    )


def _good() -> Iterator[tuple[str, bytes]]:
    line = encode(EVENTS[0])
    first = _seal([line])
    yield "one-event", first
    second = _seal([encode(event) for event in EVENTS[1:6]], first=2, prev=parse(first).hash)
    yield "chain-a", first
    yield "chain-b", second
    yield "every-type", _seal([encode(event) for event in EVENTS])
    yield "epoch-2", _seal([line], epoch=2)
    beats = [
        b'{"type":"device.heartbeat.v1","wall_ms":%d,"mono_ms":%d,"boot":"boot-a",'
        b'"data":{"queue_events":%d}}' % (n, n, n)
        for n in range(SEGMENT_EVENTS_MAX)
    ]
    yield "500-events", _seal(beats, first=1_001, prev="ab" * 32)
    padded = line[:-1] + b" " * (EVENT_BYTES_MAX - len(line)) + b"}"
    yield "largest-event", _seal([padded])
    yield "last-seq", _seal([line], first=2**53 - 1 - SEGMENT_EVENTS_MAX, prev="cd" * 32)
    # Sealed by another hand: order of fields, spaces, other zstd settings. Bytes as received.
    header = fields()
    body = encrypt(
        zstandard.ZstdCompressor(level=1, write_checksum=True).compress(line + b"\n"), header
    )
    header["body"] = hashlib.sha256(body).hexdigest()
    yield (
        "written-otherwise",
        signed(json.dumps(dict(reversed(header.items())), indent=1).encode(), body),
    )


def _bad() -> Iterator[Bad]:
    yield from _bad_frames()
    yield from _bad_headers()
    yield from _bad_proofs()
    yield from _bad_bodies()


def _base() -> tuple[bytes, bytes, bytes, bytes]:
    raw = authentic(pack(encode(EVENTS[0]) + b"\n"))
    return raw, *split(raw)


def _bad_frames() -> Iterator[Bad]:
    def bad(name: str, raw: bytes, reason: str, why: str) -> Bad:
        return Bad(name, raw, "parse", "rejected", reason, why)

    raw, header, signature, body = _base()
    signature_at = 8 + len(header)
    body_at = signature_at + len(signature)
    yield bad("empty", b"", "not_a_segment", "no byte at all")
    yield bad("cut-in-magic", raw[:3], "not_a_segment", "cut inside the magic")
    yield bad("cut-after-magic", raw[:4], "truncated", "cut after the magic")
    yield bad("cut-in-length", raw[:7], "truncated", "cut inside the header length")
    yield bad("cut-after-length", raw[:8], "truncated", "cut after the header length")
    yield bad(
        "cut-in-header", raw[: signature_at - 1], "truncated", "the header's last byte is gone"
    )
    yield bad("cut-after-header", raw[:signature_at], "truncated", "no signature")
    yield bad(
        "cut-in-signature", raw[: body_at - 1], "truncated", "the signature's last byte is gone"
    )
    yield bad("cut-after-signature", raw[:body_at], "truncated", "no body")
    yield bad("cut-in-body", raw[: body_at + 47], "truncated", "a body shorter than 48 bytes")
    yield bad("flip-in-magic", b"RKM2" + raw[4:], "not_a_segment", "another magic")
    for name, length in (("header-length-0", 0), ("header-length-4097", HEADER_BYTES_MAX + 1)):
        framed = b"RKM1" + struct.pack(">I", length) + b" " * length + signature + body
        yield bad(name, framed, "header_too_large", "the header has 1..4096 bytes")
    lengthened = raw[:4] + struct.pack(">I", len(header) + 1) + raw[8:]
    yield bad(
        "header-length-one-more", lengthened, "header_invalid", "a signature byte in the header"
    )


def _bad_headers() -> Iterator[Bad]:
    def bad(name: str, header: bytes, why: str) -> Bad:
        return Bad(name, signed(header, body), "parse", "rejected", "header_invalid", why)

    _, good, _, body = _base()
    for name, changes, why in (
        ("version-0", {"v": 0}, "versions begin at 1"),
        ("version-10000", {"v": 10_000}, "versions end at 9999"),
        ("version-text", {"v": "1"}, "a number in quotes is text"),
        ("producer-upper-case", {"producer": "Recorder"}, "a-z 0-9 . - only"),
        ("producer-65", {"producer": "r" * 65}, "at most 64 characters"),
        ("producer-nik", {"producer": "r-6408014101900001"}, "16 digits in a row may be a NIK"),
        ("epoch-0", {"epoch": 0}, "epochs begin at 1"),
        ("epoch-too-large", {"epoch": 2**31}, "an epoch is below 2^31"),
        ("first-0", {"first": 0}, "seqs begin at 1"),
        ("first-too-large", {"first": 2**53 - SEGMENT_EVENTS_MAX}, "the last seq must stay exact"),
        ("first-fraction", {"first": 1.0}, "an integer has no fraction"),
        ("count-0", {"count": 0}, "at least one event"),
        ("count-501", {"count": SEGMENT_EVENTS_MAX + 1}, "at most 500 events"),
        ("prev-upper-case", {"prev": "A" * 64}, "hex in lower case"),
        ("prev-short", {"prev": "0" * 63}, "64 hex digits"),
        ("key-long", {"key": "0" * 33}, "32 hex digits"),
        ("clock-too-large", {"sealed": {**SEALED, "wall_ms": 2**53 + 1}}, "within 2^53"),
        ("mono-negative", {"sealed": {**SEALED, "mono_ms": -1}}, "never below 0"),
        ("boot-empty", {"sealed": {**SEALED, "boot": ""}}, "1..64 characters"),
        ("boot-nul", {"sealed": {**SEALED, "boot": "a\0"}}, "no U+0000"),
        ("unknown-field", {"note": 1}, "version 1 has no such field"),
        ("nested", {"note": json.loads("[" * 33 + "]" * 33)}, "more than 32 levels"),
    ):
        yield bad(f"header-{name}", compact(fields(**changes)), why)
    without = fields()
    del without["reader"]
    yield bad("header-missing-field", compact(without), "every field is required")
    yield bad("header-not-utf8", good.replace(b"boot-a", b"boot-\xff"), "UTF-8 only")
    yield bad("header-byte-order-mark", b"\xef\xbb\xbf" + good, "no byte order mark")
    yield bad("header-not-json", good[:-1], "the closing brace is gone")
    future = compact({"v": 2, "anything": {"else": [1, 2]}})
    why = "a later version may be read by later software"
    yield Bad("version-2", signed(future, body), "parse", "held", "unknown_version", why)


def _bad_proofs() -> Iterator[Bad]:
    def bad(name: str, raw: bytes, reason: str, why: str) -> Bad:
        return Bad(name, raw, "verify", "rejected", reason, why)

    raw, header, signature, body = _base()
    edited = header.replace(b'"wall_ms":1522454400000', b'"wall_ms":1522454400001')
    yield bad("flip-in-header", frame(edited, signature, body), "signature_invalid", "time changed")
    respaced = header.replace(b'","', b'", "', 1)
    why = "the same JSON value in other bytes is another header"
    yield bad("header-respaced", frame(respaced, signature, body), "signature_invalid", why)
    for name, place in (("first", 0), ("last", 63)):
        flipped = bytearray(signature)
        flipped[place] ^= 1
        framed = frame(header, bytes(flipped), body)
        yield bad(f"flip-in-signature-{name}", framed, "signature_invalid", "one bit")
    for name, place in (("key", 0), ("text", 40), ("tag", -1)):
        flipped = bytearray(body)
        flipped[place] ^= 1
        framed = frame(header, signature, bytes(flipped))
        yield bad(f"flip-in-body-{name}", framed, "body_mismatch", "one bit")
    yield bad("body-one-byte-short", raw[:-1], "body_mismatch", "the last byte is gone")
    yield bad("body-one-byte-more", raw + b"\0", "body_mismatch", "a byte follows the body")
    bare = frame(header, SIGNING_KEY.sign(header), body)
    yield bad(
        "signed-without-pae", bare, "signature_invalid", "the encoding is signed, not the header"
    )
    forged = signed(header, body, OTHER_SIGNING_KEY)
    yield bad("signed-by-another", forged, "signature_invalid", "names the key, signed by another")
    honest = compact(fields(key=OTHER_SIGNING_KEY.id))
    own = signed(honest, body, OTHER_SIGNING_KEY)
    yield bad("key-of-another", own, "key_mismatch", "authentic, but by another key than asked for")


def _bad_bodies() -> Iterator[Bad]:
    def bad(name: str, raw: bytes, reason: str, why: str) -> Bad:
        return Bad(name, raw, "open", "rejected", reason, why)

    line = encode(EVENTS[0]) + b"\n"
    packed = pack(line)
    other = authentic(packed, reader=OTHER_READER.id)
    why = "another reader may hold the key"
    yield Bad("reader-of-another", other, "open", "held", "unknown_reader", why)
    header = fields()
    body = encrypt(packed, header, OTHER_READER.public)
    header["body"] = hashlib.sha256(body).hexdigest()
    why = "encrypted to another key than the header names"
    yield bad("reader-misnamed", signed(compact(header), body), "body_undecryptable", why)
    for name, change in (
        ("producer", {"producer": "recorder-2"}),
        ("epoch", {"epoch": 2}),
        ("first", {"first": 2}),
        ("count", {"count": 2}),
        ("prev", {"prev": "0" * 64}),
    ):
        header = fields()
        body = encrypt(packed, header)
        header.update(change, body=hashlib.sha256(body).hexdigest())
        why = "signed again, but the body is bound to the field"
        yield bad(f"rebound-{name}", signed(compact(header), body), "body_undecryptable", why)
    zeros = b"\0" * 32 + encrypt(packed, fields())[32:]
    header = fields(body=hashlib.sha256(zeros).hexdigest())
    why = "an encapsulated key of low order"
    yield bad("key-of-low-order", signed(compact(header), zeros), "body_undecryptable", why)
    why = "lines and count must agree"
    yield bad("count-too-high", authentic(packed, count=2), "count_mismatch", why)
    yield bad("count-too-low", authentic(pack(line * 2)), "count_mismatch", why)
    yield bad("no-final-line-end", authentic(pack(line[:-1])), "count_mismatch", why)
    yield bad("no-lines", authentic(pack(b"")), "count_mismatch", why)
    why = "one zstd frame and nothing else"
    yield bad("not-zstd", authentic(line), "body_undecodable", why)
    yield bad("zstd-cut", authentic(packed[:-1]), "body_undecodable", why)
    yield bad("zstd-trailing-bytes", authentic(packed + b"\0"), "body_undecodable", why)
    yield bad("zstd-two-frames", authentic(packed + packed, count=2), "body_undecodable", why)
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0skip"
    yield bad("zstd-skippable-after", authentic(packed + skippable), "body_undecodable", why)
    sizeless = zstandard.ZstdCompressor(write_content_size=False).compress(line)
    why = "the frame must declare its size"
    yield bad("zstd-size-undeclared", authentic(sizeless), "body_undecodable", why)
    yield bad("zstd-size-less", authentic(_declare(line, -1)), "body_undecodable", "declares less")
    yield bad("zstd-size-more", authentic(_declare(line, 1)), "body_undecodable", "declares more")
    bomb = pack(b"0" * (DECOMPRESSED_BYTES_MAX + 1))
    yield bad("bomb-by-size", authentic(bomb), "body_expands_too_much", "more than 4 MiB")
    yield bad(
        "bomb-by-ratio", authentic(pack(b"0" * 65_538)), "body_expands_too_much", "over 100:1"
    )


def _declare(plain: bytes, difference: int) -> bytes:
    """Return a frame that declares a size which is not that of its content."""
    packed = bytearray(pack(plain))
    # A single-segment frame of up to 65,791 bytes: magic, descriptor, size less 256 in two bytes.
    if packed[4] >> 6 == 1:
        struct.pack_into("<H", packed, 5, len(plain) - 256 + difference)
    else:
        packed[5] += difference
    return bytes(packed)


if __name__ == "__main__":
    sys.exit(main())
