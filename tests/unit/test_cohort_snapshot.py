"""A snapshot of a list is believed only as it was signed, and the same one has the same bytes."""

import base64
import json
from datetime import date
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from rekam.cli.root import run
from rekam.domain.cohort_snapshot import (
    SNAPSHOT_BYTES_MAX,
    CohortSnapshot,
    SnapshotRejected,
    entries_hash,
    open_snapshot,
    pre_authentication_encoding,
    sign_snapshot,
)
from rekam.domain.keys import SigningKey
from rekam.runtime.keyring import load_snapshot_key
from tests.support.office import new_office

KEY = SigningKey.from_seed(bytes([1]) * 32)
OTHER = SigningKey.from_seed(bytes([2]) * 32)
TRUSTED = {KEY.id: KEY.public}
SNAPSHOT = CohortSnapshot(
    cohort="lapas",
    version="1",
    title="Lapas Bontang",
    source="KPU",
    announced=427,
    as_of=date(2018, 3, 31),
    known_at=date(2018, 4, 10),
    time_zone="Asia/Makassar",
    rule="exclusive/v1",
    conflict_rule="evidence-first/v1",
    total=427,
    buckets={"terverifikasi": 184, "tercetak": 127, "belum_rekam": 83, "unresolved": 33},
    parts={},
    residual=33,
    codes={},
    disputed={},
    sources={},
    entries_sha256=entries_hash([(1, None, "terverifikasi")]),
)
RAW = sign_snapshot(SNAPSHOT, KEY)
GOLDEN = "194334bf35a901a8e0d8c69af7e957188ab4be167e2dec9f5b9e19cb75de5ccf"


def reason(raw: bytes) -> str:
    with pytest.raises(SnapshotRejected) as caught:
        open_snapshot(raw, TRUSTED)
    return caught.value.reason


def test_numbers_that_the_list_lacks_are_told_where_there_are_any() -> None:
    more = msgspec.structs.replace(SNAPSHOT, unlisted=2)
    assert open_snapshot(sign_snapshot(more, KEY), TRUSTED) == more
    assert b"unlisted" not in base64.b64decode(msgspec.json.decode(RAW)["payload"])


def test_what_was_signed_is_read_back() -> None:
    assert open_snapshot(RAW, TRUSTED) == SNAPSHOT


def test_the_bytes_are_those_that_were_signed_when_the_form_was_made() -> None:
    """A snapshot of 2018 must come out the same from any later version of this software."""
    assert sha256(RAW).hexdigest() == GOLDEN


def test_the_order_of_counting_leaves_no_trace_in_the_bytes() -> None:
    turned = dict(reversed(SNAPSHOT.buckets.items()))
    assert sign_snapshot(msgspec.structs.replace(SNAPSHOT, buckets=turned), KEY) == RAW


def test_another_figure_another_key_and_other_bytes_are_told_apart() -> None:
    envelope = json.loads(RAW)
    payload = base64.b64decode(envelope["payload"]).replace(b"184", b"186")
    forged = envelope | {"payload": base64.b64encode(payload).decode()}
    assert reason(json.dumps(forged).encode()) == "snapshot_invalid"
    assert reason(sign_snapshot(SNAPSHOT, OTHER)) == "snapshot_untrusted"
    assert reason(json.dumps(envelope | {"payloadType": "application/json"}).encode()) == (
        "snapshot_invalid"
    )


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[" * 5000, b"\xff", b" " * (SNAPSHOT_BYTES_MAX + 1), RAW[:-1]]
)
def test_what_is_no_snapshot_is_refused_and_no_crash(raw: bytes) -> None:
    assert reason(raw) == "snapshot_invalid"


def test_a_signed_text_that_is_no_snapshot_of_v1_is_refused() -> None:
    envelope = json.loads(RAW)
    payload = base64.b64decode(envelope["payload"]).replace(b'"v":1', b'"v":2')
    envelope["payload"] = base64.b64encode(payload).decode()
    signature = KEY.sign(pre_authentication_encoding(payload))
    envelope["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    assert reason(json.dumps(envelope).encode()) == "snapshot_invalid"


def test_an_office_checks_its_own_snapshot_and_anothers_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = new_office(tmp_path / "home")
    monkeypatch.setenv("REKAM_HOME", str(settings.home))
    file = tmp_path / "snapshot.json"
    file.write_bytes(sign_snapshot(SNAPSHOT, load_snapshot_key(settings)))
    assert run(["office", "check-snapshot", str(file)]) == 0
    told = capsys.readouterr().out
    assert "lapas version 1, as of 2018-03-31, as known at 2018-04-10" in told
    assert "terverifikasi: 184" in told
    assert "not in the list" not in told
    more = msgspec.structs.replace(SNAPSHOT, unlisted=2)
    file.write_bytes(sign_snapshot(more, load_snapshot_key(settings)))
    assert run(["office", "check-snapshot", str(file)]) == 0
    assert "beside them, not in the list: 2" in capsys.readouterr().out
    file.write_bytes(RAW)
    assert run(["office", "check-snapshot", str(file)]) == 2
    assert "snapshot_untrusted" in capsys.readouterr().err
    public = tmp_path / "their.pub"
    public.write_text(KEY.public.to_text())
    assert run(["office", "check-snapshot", str(file), "--key", str(public)]) == 0
    public.write_text("x")
    assert run(["office", "check-snapshot", str(file), "--key", str(public)]) == 2
