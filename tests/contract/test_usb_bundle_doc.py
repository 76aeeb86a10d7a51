"""docs/usb-bundle-v1.md is enough: an exporter and an importer made from that page agree with ours.

In the chapter of the page nothing of `rekam` is called.
"""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from producers.usb import bundle
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey, VerifyKey
from rekam.domain.receipt import RECEIPT_BYTES_MAX
from rekam.domain.segment import SEGMENT_BYTES_MAX
from tests.support.device import beat, new_home
from tests.support.segments import PRODUCER, SIGNING_SEED, authentic, pack, split
from tests.support.sticks import CLOCK, MemoryRoute, exported, imported

PAGE: Final = (Path(__file__).parents[2] / "docs" / "usb-bundle-v1.md").read_text()

# -- the page ----------------------------------------------------------------------------------

TYPE: Final = b"application/vnd.rekam.bundle-manifest.v1+json"
DEVICES: Final = ["con", "prn", "aux", "nul"] + [
    f"{port}{number}" for port in ("com", "lpt") for number in range(10)
]


def folder_name(producer: str) -> str:
    stem = producer.partition(".")[0]
    bent = producer.endswith(".") or producer == "receipts" or stem in DEVICES
    return f"_{producer}_" if bent else producer


def to_sign(payload: bytes) -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE, len(payload), payload)


def key_id(raw_public_key: bytes) -> str:
    return hashlib.sha256(raw_public_key).digest()[:16].hex()


def write(stick: Path, producer: str, epoch: int, segments: list[bytes], seed: bytes) -> Path:
    """Export as section 3 says, without what only matters on a disk that fails."""
    folder = stick / "rekam-bundle" / folder_name(producer) / str(epoch)
    folder.mkdir(parents=True)
    listed = []
    head = ""
    for raw in segments:
        header_bytes, _, _ = split(raw)
        header = json.loads(header_bytes)
        first, last = header["first"], header["first"] + header["count"] - 1
        (folder / f"{first}-{last}.seg").write_bytes(raw)
        digest = hashlib.sha256(raw).hexdigest()
        listed.append({"first": first, "last": last, "bytes": len(raw), "sha256": digest})
        head = hashlib.sha256(header_bytes).hexdigest()
    payload = json.dumps(
        {
            "v": 1,
            "producer": producer,
            "epoch": epoch,
            "made_ms": 0,
            "segments": listed,
            "head": head,
        },
        indent=1,
    ).encode()
    key = Ed25519PrivateKey.from_private_bytes(seed)
    signature = {
        "keyid": key_id(key.public_key().public_bytes_raw()),
        "sig": base64.b64encode(key.sign(to_sign(payload))).decode(),
    }
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": TYPE.decode(),
        "signatures": [signature],
    }
    (folder / "MANIFEST.json").write_text(json.dumps(envelope, indent=2))
    return folder


def read(folder: Path, raw_public_key: bytes) -> dict[str, Any]:
    """Check a folder as section 4 says; return its manifest."""
    envelope = json.loads((folder / "MANIFEST.json").read_bytes())
    payload = base64.b64decode(envelope["payload"], validate=True)
    (signature,) = envelope["signatures"]
    assert envelope["payloadType"] == TYPE.decode()
    assert signature["keyid"] == key_id(raw_public_key)
    Ed25519PublicKey.from_public_bytes(raw_public_key).verify(
        base64.b64decode(signature["sig"]), to_sign(payload)
    )
    manifest: dict[str, Any] = json.loads(payload)
    assert set(manifest) == {"v", "producer", "epoch", "made_ms", "segments", "head"}
    header_bytes = b""
    for one in manifest["segments"]:
        raw = (folder / f"{one['first']}-{one['last']}.seg").read_bytes()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (one["bytes"], one["sha256"])
        header_bytes, _, body = split(raw)
        header = json.loads(header_bytes)
        assert (header["producer"], header["epoch"]) == (manifest["producer"], manifest["epoch"])
        assert header["first"] == one["first"]
        assert header["first"] + header["count"] - 1 == one["last"]
        assert header["body"] == hashlib.sha256(body).hexdigest()
    assert manifest["head"] == hashlib.sha256(header_bytes).hexdigest()
    return manifest


# -- ours --------------------------------------------------------------------------------------


async def test_what_the_page_writes_our_importer_takes_wholly(tmp_path: Path) -> None:
    key = SigningKey.from_seed(SIGNING_SEED)
    first = authentic(pack(b"{}\n"))
    prev = hashlib.sha256(split(first)[0]).hexdigest()
    segments = [first, authentic(pack(b"{}\n{}\n"), first=2, count=2, prev=prev)]
    write(tmp_path, PRODUCER, 1, segments, SIGNING_SEED)
    route = MemoryRoute(keys={ProducerId(PRODUCER): (key.public,)})
    found = await imported(tmp_path, route)
    assert (found.is_whole, found.notes) == (True, ())
    assert [one.verdict for one in found.results] == ["accepted", "accepted"]
    assert route.logged == segments
    receipt = tmp_path / "rekam-bundle/receipts" / f"{folder_name(PRODUCER)}.json"
    assert receipt.is_file()


def test_what_our_exporter_writes_the_page_reads(tmp_path: Path) -> None:
    with new_home(tmp_path / "home", producer="nul.1") as home:
        home.outbox.append([beat(CLOCK, number) for number in range(600)])
        exported(home, tmp_path)
        public = home.signing_key.public.raw
    manifest = read(tmp_path / "rekam-bundle" / folder_name("nul.1") / "1", public)
    assert [one["last"] for one in manifest["segments"]] == [500, 600]


def test_both_name_folders_alike() -> None:
    for producer in ("dev-1", "dev.", "receipts", "con", "con.1", "com9.x", "com10", "console"):
        assert bundle.producer_folder(ProducerId(producer)) == folder_name(producer)


def test_the_pages_manifest_is_signed_as_ours(tmp_path: Path) -> None:
    folder = write(tmp_path, PRODUCER, 7, [authentic(pack(b"{}\n"), epoch=7)], SIGNING_SEED)
    opened = bundle.open_manifest((folder / "MANIFEST.json").read_bytes())
    key = VerifyKey(SigningKey.from_seed(SIGNING_SEED).public.raw)
    assert opened.is_signed_by({key.id: key}) is True


def test_the_page_states_our_limits() -> None:
    numbers = {int(text.replace(",", "")) for text in re.findall(r"[0-9][0-9,]*", PAGE)}
    assert {bundle.MANIFEST_SEGMENTS_MAX, SEGMENT_BYTES_MAX, bundle.EPOCH_MAX} <= numbers
    assert f"at most {bundle.MANIFEST_BYTES_MAX // 2**20} MiB" in PAGE
    assert f"a receipt {RECEIPT_BYTES_MAX // 1024} KiB" in PAGE
    assert bundle.MANIFEST_TYPE in PAGE
