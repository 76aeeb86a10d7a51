"""Names on a stick, and the manifest that names them."""

import base64
import json
import re
from pathlib import PurePosixPath

import pytest

from producers.usb.bundle import (
    EPOCH_MAX,
    MANIFEST_BYTES_MAX,
    MANIFEST_TYPE,
    Life,
    Listed,
    Manifest,
    ManifestRejected,
    epoch_of,
    open_manifest,
    producer_folder,
    producer_of,
    receipt_path,
    segment_name,
    segment_of,
    shown,
    sign_manifest,
)
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.keys import SigningKey

KEY = SigningKey.from_seed(bytes([3]) * 32)
OTHER_KEY = SigningKey.from_seed(bytes([4]) * 32)
LISTED = (Listed(1, 500, 900, "a" * 64), Listed(501, 502, 700, "b" * 64))
MANIFEST = Manifest(producer="dev-1", epoch=2, made_ms=5, segments=LISTED, head="c" * 64)


def test_a_life_has_the_folder_of_its_producer_and_epoch() -> None:
    assert Life(ProducerId("dev-1"), Epoch(2)).folder == PurePosixPath("rekam-bundle/dev-1/2")


@pytest.mark.parametrize(
    ("producer", "folder"),
    [
        ("dev-1", "dev-1"),
        ("recorder-64.08.04-1", "recorder-64.08.04-1"),
        ("dev.", "_dev._"),
        ("con", "_con_"),
        ("nul.1", "_nul.1_"),
        ("com1", "_com1_"),
        ("console", "console"),
        ("receipts", "_receipts_"),
    ],
)
def test_an_id_that_fat_would_bend_gets_a_name_that_stays(producer: str, folder: str) -> None:
    assert producer_folder(ProducerId(producer)) == folder
    assert producer_of(folder) == producer


@pytest.mark.parametrize(
    "name",
    ["", "..", ".", "Dev-1", "_dev-1_", "dev_1", "con", "receipts", "6408040101900001", "a/b"],
)
def test_a_name_that_no_export_gives_is_nobodys_folder(name: str) -> None:
    assert producer_of(name) is None


def test_a_receipt_lies_beside_the_producers() -> None:
    assert str(receipt_path(ProducerId("dev-1"))) == "rekam-bundle/receipts/dev-1.json"


@pytest.mark.parametrize(
    "name", ["01", "0", "-1", "x", "", "1.", str(EPOCH_MAX + 1), "1" * 17, "1\n", "\u0661"]
)
def test_only_a_plain_number_is_an_epochs_folder(name: str) -> None:
    assert epoch_of(name) is None


def test_the_name_of_a_segment_states_its_range() -> None:
    assert segment_of(segment_name(501, 1000)) == (501, 1000)


@pytest.mark.parametrize(
    "name",
    [
        "1-501.seg",
        "5-4.seg",
        "01-5.seg",
        "1-5.SEG",
        "1-5.seg.part",
        "1-5",
        "../1-5.seg",
        "1-5.seg\n",
        "9007199254740991-9007199254740992.seg",
    ],
)
def test_a_name_that_states_no_range_of_a_segment_is_refused(name: str) -> None:
    assert segment_of(name) is None


@pytest.mark.parametrize(
    "name", ["KTP 6408040101900001.jpg", "6408040101900001", "\x1b[2J", "budi yanti"]
)
def test_a_foreign_name_that_may_tell_of_a_person_is_not_shown(name: str) -> None:
    assert shown(name) == "(a name that is not shown)"


def test_what_was_signed_is_read_back_and_known_by_its_key() -> None:
    opened = open_manifest(sign_manifest(MANIFEST, KEY))
    assert opened.manifest == MANIFEST
    assert opened.is_signed_by({KEY.id: KEY.public}) is True
    assert opened.is_signed_by({OTHER_KEY.id: OTHER_KEY.public}) is None
    assert opened.is_signed_by({}) is None


def envelope(content: object, /, **changes: object) -> bytes:
    raw = json.loads(sign_manifest(MANIFEST, KEY))
    raw["payload"] = base64.b64encode(json.dumps(content).encode()).decode()
    return json.dumps(raw | changes).encode()


def fields(**changes: object) -> dict[str, object]:
    raw: dict[str, object] = json.loads(
        base64.b64decode(json.loads(sign_manifest(MANIFEST, KEY))["payload"])
    )
    return raw | changes


def test_an_edited_manifest_is_not_signed_by_its_key() -> None:
    opened = open_manifest(envelope(fields(made_ms=6)))
    assert opened.is_signed_by({KEY.id: KEY.public}) is False


ONE = {"first": 1, "last": 5, "bytes": 9, "sha256": "a" * 64}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b"\xff",
        envelope(fields(), payloadType="application/json"),
        envelope(fields(), signatures=[]),
        envelope(fields(), payload="?"),
        envelope(fields(v=2)),
        envelope(fields(epoch=0)),
        envelope(fields(producer="../x")),
        envelope(fields(segments=[])),
        envelope(fields(head="x")),
        envelope(fields(path="/etc")),
        envelope(fields(segments=[ONE, ONE])),
        envelope(fields(segments=[ONE | {"last": 0}])),
        envelope(fields(segments=[ONE | {"last": 501}])),
        envelope(fields(segments=[ONE | {"bytes": 10**9}])),
    ],
)
def test_what_is_no_manifest_is_refused_without_showing_it(raw: bytes) -> None:
    with pytest.raises(ManifestRejected) as caught:
        open_manifest(raw)
    assert caught.value.reason.code == "manifest_invalid"


def test_a_manifest_beyond_its_limit_is_not_even_read() -> None:
    with pytest.raises(ManifestRejected) as caught:
        open_manifest(b" " * (MANIFEST_BYTES_MAX + 1))
    assert caught.value.reason.code == "manifest_too_large"


def test_the_type_of_a_manifest_is_the_documented_one() -> None:
    assert MANIFEST_TYPE == "application/vnd.rekam.bundle-manifest.v1+json"
    assert re.fullmatch(
        rb'\{"payload":"[^"]+","payloadType":"[^"]+","signatures":\[.*\]\}\n',
        sign_manifest(MANIFEST, KEY),
    )
