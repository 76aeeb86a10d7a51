"""What lies on a stick is judged file by file, and nothing of it is trusted."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from producers.device.home import ProducerHome
from producers.usb.bundle import (
    MANIFEST,
    Life,
    Listed,
    Manifest,
    open_manifest,
    sha256,
    sign_manifest,
)
from producers.usb.disk import told_of
from producers.usb.inspection import (
    UNREADABLE_IN_A_ROW_MAX,
    Folder,
    Keys,
    Reader,
    inspect,
    lives_on,
    logged_already,
)
from rekam.domain.errors import StickFailed, StickUnusable
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.receipt import EpochReceipt, Run
from rekam.domain.segment import SEGMENT_BYTES_MAX, parse
from tests.support.device import beat, new_home
from tests.support.segments import authentic, compact, fields, pack, signed
from tests.support.sticks import CLOCK, FaultyDisk, exported, failing

LIFE = Life(ProducerId("dev-1"), Epoch(1))
SPANS = [(1, 500), (501, 1000), (1001, 1200)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[ProducerHome]:
    with new_home(tmp_path / "home") as made:
        made.outbox.append([beat(CLOCK, number) for number in range(1_200)])
        yield made


@pytest.fixture
def stick(tmp_path: Path, home: ProducerHome) -> Path:
    folder = tmp_path / "stick"
    folder.mkdir()
    exported(home, folder)
    return folder


@pytest.fixture
def folder(stick: Path) -> Path:
    return stick / LIFE.folder


def keys_of(home: ProducerHome) -> Keys:
    return {home.signing_key.id: home.signing_key.public}


def look(stick: Path, *, keys: Keys | None = None, life: Life = LIFE) -> Folder:
    def advance(_: int) -> None:
        pass

    return inspect(Reader(stick, FaultyDisk()), life, keys=keys or {}, advance=advance)


def refusals(found: Folder) -> dict[str, str]:
    return {
        one.name.removeprefix("rekam-bundle/dev-1/1/"): one.reason.code for one in found.refused
    }


def spans(found: Folder) -> list[tuple[int, int]]:
    return [(one.first, one.last) for one in found.found]


def test_a_whole_bundle_is_found_in_order_and_waits_for_the_registry(stick: Path) -> None:
    found = look(stick)
    assert (spans(found), found.refused, found.note) == (SPANS, (), None)
    assert {one.waits_for.code for one in found.found if one.waits_for} == {"unknown_producer"}


def test_with_the_producers_key_its_signatures_hold(stick: Path, home: ProducerHome) -> None:
    found = look(stick, keys=keys_of(home))
    assert [one.waits_for for one in found.found] == [None] * 3


def test_with_another_key_alone_they_wait_for_theirs(stick: Path) -> None:
    other = SigningKey.generate()
    found = look(stick, keys={other.id: other.public})
    assert {one.waits_for.code for one in found.found if one.waits_for} == {"unknown_key"}


def flip(file: Path, at: int) -> None:
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(raw)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda file: flip(file, -1), "file_differs"),
        (lambda file: flip(file, 20), "file_differs"),
        (lambda file: file.write_bytes(file.read_bytes()[:-9]), "file_differs"),
        (lambda file: file.write_bytes(b""), "file_differs"),
        (lambda file: file.unlink(), "file_missing"),
        (lambda file: file.write_bytes(b"x" * (SEGMENT_BYTES_MAX + 1)), "segment_too_large"),
    ],
)
def test_one_bad_file_is_refused_and_the_others_are_not(
    stick: Path, folder: Path, damage: Callable[[Path], None], code: str
) -> None:
    damage(folder / "501-1000.seg")
    found = look(stick)
    assert refusals(found) == {"501-1000.seg": code}
    assert [(one.first, one.last) for one in found.refused] == [(501, 1000)]
    assert spans(found) == [SPANS[0], SPANS[2]]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda file: flip(file, -1), "body_mismatch"),
        (lambda file: flip(file, 0), "not_a_segment"),
        (lambda file: file.write_bytes(file.read_bytes()[:200]), "truncated"),
        (lambda file: file.write_bytes(b""), "not_a_segment"),
    ],
)
def test_without_a_manifest_the_segments_speak_for_themselves(
    stick: Path, folder: Path, damage: Callable[[Path], None], code: str
) -> None:
    (folder / MANIFEST).unlink()
    damage(folder / "1-500.seg")
    found = look(stick)
    assert found.note is not None
    assert found.note.code == "manifest_missing"
    assert refusals(found) == {"1-500.seg": code}
    assert spans(found) == SPANS[1:]


def test_a_segment_under_another_name_is_foreign(stick: Path, folder: Path) -> None:
    (folder / MANIFEST).unlink()
    (folder / "1-500.seg").rename(folder / "1-499.seg")
    assert refusals(look(stick)) == {"1-499.seg": "foreign_segment"}


def test_segments_in_another_producers_folder_are_foreign(stick: Path, folder: Path) -> None:
    moved = stick / "rekam-bundle/dev-2/1"
    shutil.copytree(folder, moved)
    found = look(stick, life=Life(ProducerId("dev-2"), Epoch(1)))
    assert found.note is not None
    assert found.note.code == "manifest_foreign"
    assert {one.reason.code for one in found.refused} == {"foreign_segment"}
    assert found.found == ()


def test_a_manifest_that_was_edited_along_with_a_file_is_found_by_the_key(
    stick: Path, folder: Path, home: ProducerHome
) -> None:
    """The file is whole in itself, and signed by somebody else."""
    forger = SigningKey.generate()
    raw = authentic(pack(b"{}\n"), producer="dev-1", key=forger.id)
    (folder / "1-1.seg").write_bytes(raw)
    manifest = open_manifest((folder / MANIFEST).read_bytes()).manifest
    edited = Manifest(
        producer="dev-1",
        epoch=1,
        made_ms=manifest.made_ms,
        segments=(Listed(1, 1, len(raw), sha256(raw)),),
        head=parse(raw).hash,
    )
    (folder / MANIFEST).write_bytes(
        sign_manifest(edited, forger).replace(forger.id.encode(), home.signing_key.id.encode())
    )
    found = look(stick, keys=keys_of(home))
    assert found.note is not None
    assert found.note.code == "manifest_forged"
    assert spans(found) == [(1, 1), *SPANS]
    assert found.found[0].waits_for is not None
    assert found.found[0].waits_for.code == "unknown_key"


def test_a_header_that_its_key_did_not_sign_is_told_when_the_key_is_known(
    stick: Path, folder: Path, home: ProducerHome
) -> None:
    header = fields(producer="dev-1", key=home.signing_key.id)
    body = b"b" * 48
    header["body"] = sha256(body)
    (folder / "1-1.seg").write_bytes(signed(compact(header), body))
    found = look(stick, keys=keys_of(home))
    assert found.found[0].waits_for is not None
    assert found.found[0].waits_for.code == "signature_invalid"


def test_a_version_of_the_future_waits_for_newer_software(stick: Path, folder: Path) -> None:
    header = compact(fields(v=2, producer="dev-1", first=1201))
    (folder / "1201-1201.seg").write_bytes(signed(header, b"b" * 48))
    found = look(stick)
    assert found.found[-1].waits_for is not None
    assert found.found[-1].waits_for.code == "unknown_version"


def test_what_is_not_in_the_layout_is_refused_by_name_and_never_opened(
    stick: Path, folder: Path
) -> None:
    (folder / "1-500.txt").write_bytes(b"x")
    (folder / "KTP 6408040101900001.jpg").write_bytes(b"x")
    (folder / "7-9.seg.part").write_bytes(b"x")
    (folder / "2001-2002.seg").symlink_to("/dev/zero")
    (folder / "3001-3002.seg").mkdir()
    os.mkfifo(folder / "4001-4002.seg")
    found = look(stick)
    assert refusals(found) == {
        "1-500.txt": "not_in_layout",
        "(a name that is not shown)": "not_in_layout",
        "7-9.seg.part": "unfinished_file",
        "2001-2002.seg": "link_refused",
        "3001-3002.seg": "not_in_layout",
        "4001-4002.seg": "not_a_file",
    }
    assert spans(found) == SPANS


def test_a_link_for_a_manifest_is_not_followed(stick: Path, folder: Path, tmp_path: Path) -> None:
    (folder / MANIFEST).rename(tmp_path / "elsewhere")
    (folder / MANIFEST).symlink_to(tmp_path / "elsewhere")
    found = look(stick)
    assert found.note is not None
    assert found.note.code == "link_refused"
    assert spans(found) == SPANS


def test_only_folders_of_producers_and_epochs_are_lives(stick: Path, tmp_path: Path) -> None:
    bundle = stick / "rekam-bundle"
    (bundle / "receipts").mkdir()
    (bundle / "Thumbs.db").write_bytes(b"x")
    (bundle / "DEV-2").mkdir()
    (bundle / "dev-3").symlink_to(tmp_path)
    (bundle / "dev-1" / "01").mkdir()
    (bundle / "dev-1" / "2").write_bytes(b"x")
    lives, refused = lives_on(Reader(stick, FaultyDisk()))
    assert lives == [LIFE]
    assert {one.name: one.reason.code for one in refused} == {
        "rekam-bundle/DEV-2": "not_in_layout",
        "rekam-bundle/Thumbs.db": "not_in_layout",
        "rekam-bundle/dev-1/01": "not_in_layout",
        "rekam-bundle/dev-1/2": "not_in_layout",
        "rekam-bundle/dev-3": "link_refused",
    }


def test_a_folder_without_a_bundle_is_no_stick_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StickUnusable), told_of(tmp_path):
        lives_on(Reader(tmp_path, FaultyDisk()))


def test_a_bundle_that_is_a_link_is_not_followed(stick: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "rekam-bundle").symlink_to(stick / "rekam-bundle")
    with pytest.raises(StickUnusable), told_of(other):
        lives_on(Reader(other, FaultyDisk()))


def test_a_file_that_cannot_be_read_is_refused_alone(stick: Path) -> None:
    disk = FaultyDisk()
    look_at = Reader(stick, disk)
    disk.at, disk.happens = 3, failing(errno.EIO)  # entries, manifest, then the first segment
    found = inspect(look_at, LIFE, keys={}, advance=lambda _: None)
    assert refusals(found) == {"1-500.seg": "file_unreadable"}
    assert len(found.found) == 2


def test_a_stick_that_vanishes_is_no_set_of_bad_files(stick: Path) -> None:
    disk = FaultyDisk()
    reader = Reader(stick, disk)

    def pulled() -> None:
        shutil.rmtree(stick, ignore_errors=True)

    disk.at, disk.happens = 3, pulled
    with pytest.raises(StickFailed, match="pulled out"), told_of(stick):
        inspect(reader, LIFE, keys={}, advance=lambda _: None)


def test_a_stick_of_which_nothing_can_be_read_any_more_is_gone(stick: Path) -> None:
    """The system may go on to list folders that it remembers."""

    class Remembering(FaultyDisk):
        def read(self, file: Path, *, bytes_max: int) -> bytes:
            raise OSError(errno.EIO, f"{file} {bytes_max}")

    reader = Reader(stick, Remembering())
    for _ in range(UNREADABLE_IN_A_ROW_MAX - 1):
        assert not isinstance(reader.read(LIFE.folder / MANIFEST, bytes_max=9), bytes)
    with pytest.raises(OSError, match="501"):
        reader.read(LIFE.folder / "501-1000.seg", bytes_max=9)


def test_a_receipt_covers_what_hangs_together_with_its_run(stick: Path) -> None:
    found = look(stick).found
    first, second, third = found

    def covered(*runs: Run) -> set[str]:
        return logged_already(found, EpochReceipt(1, runs))

    assert logged_already(found, None) == set()
    assert covered(Run(1, 1200, third.hash)) == {first.hash, second.hash, third.hash}
    assert covered(Run(501, 1000, second.hash)) == {second.hash}
    assert covered(Run(1, 500, first.hash), Run(1001, 1200, third.hash)) == {
        first.hash,
        third.hash,
    }
    assert covered(Run(1, 1200, "0" * 64)) == set()


def test_a_receipt_of_a_run_in_the_middle_of_a_segment_does_not_cover_it(stick: Path) -> None:
    found = look(stick).found
    assert logged_already(found, EpochReceipt(1, (Run(2, 500, found[0].hash),))) == set()
