"""From an outbox onto a stick: whole files, nothing lost, whatever the stick does."""

import errno
import shutil
from pathlib import Path

import pytest

from producers.device.home import ProducerHome
from producers.device.outbox import Place
from producers.usb.bundle import MANIFEST, open_manifest
from producers.usb.export import last_export
from rekam.domain.errors import (
    OutboxBusy,
    RekamError,
    StickFailed,
    StickFull,
    StickUnusable,
)
from rekam.domain.receipt import open_receipt
from rekam.domain.segment import parse
from tests.support.device import beat, new_home
from tests.support.sticks import (
    CLOCK,
    TRUSTED,
    FaultyDisk,
    everything_with_a_final_name_is_whole,
    exported,
    failing,
    segment_files,
    signed_receipt,
)

EVENTS = 1_200
SEGMENTS = 3


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "stick"
    folder.mkdir()
    return folder


def home_with_events(
    folder: Path, *, producer: str = "dev-1", events: int = EVENTS
) -> ProducerHome:
    home = new_home(folder, producer=producer)
    home.outbox.append([beat(CLOCK, number) for number in range(events)])
    return home


def unreceipted(home: ProducerHome) -> dict[int, bytes]:
    return {one.first: one.raw for one in home.outbox.unreceipted(limit_bytes=10**8)}


def take_receipt(home: ProducerHome, raws: list[bytes]) -> None:
    raw = signed_receipt(home.producer, raws)
    receipt = open_receipt(raw, TRUSTED)
    for epoch in receipt.epochs:
        home.outbox.apply_receipt(epoch, raw=raw, as_of_ms=receipt.as_of_ms, now=CLOCK.read())


def test_an_export_writes_the_outboxs_bytes_and_a_manifest_of_them(
    tmp_path: Path, stick: Path
) -> None:
    with home_with_events(tmp_path / "home") as home:
        found = exported(home, stick)
        held = unreceipted(home)
        status = home.outbox.status()
        key = home.signing_key.public
    assert (found.segments, found.events, found.remaining_after) == (SEGMENTS, EVENTS, None)
    folder = stick / "rekam-bundle/dev-1/1"
    names = {"1-500.seg", "501-1000.seg", "1001-1200.seg", MANIFEST}
    assert {file.name for file in folder.iterdir()} == names
    assert everything_with_a_final_name_is_whole(stick, held)
    opened = open_manifest((folder / MANIFEST).read_bytes())
    assert opened.is_signed_by({key.id: key})
    listed = opened.manifest.segments
    assert [(one.first, one.last) for one in listed] == [(1, 500), (501, 1000), (1001, 1200)]
    assert [one.bytes for one in listed] == [len(raw) for raw in held.values()]
    assert opened.manifest.head == parse(held[1001]).hash
    assert (status.unsent_events, status.taken_events) == (EVENTS, 0)


def test_an_export_is_noted_in_the_home(tmp_path: Path, stick: Path) -> None:
    with home_with_events(tmp_path / "home") as home:
        assert last_export(home.path) is None
        exported(home, stick)
        noted = last_export(home.path)
    assert noted is not None
    assert (noted.segments, noted.events) == (SEGMENTS, EVENTS)


def test_a_second_export_writes_nothing(tmp_path: Path, stick: Path) -> None:
    with home_with_events(tmp_path / "home") as home:
        exported(home, stick)
        disk = FaultyDisk()
        found = exported(home, stick, disk=disk)
    assert (found.segments, found.lives[0].written_segments) == (SEGMENTS, 0)
    assert "write" not in disk.calls


def test_new_events_join_what_lies_there(tmp_path: Path, stick: Path) -> None:
    with home_with_events(tmp_path / "home") as home:
        exported(home, stick)
        home.outbox.append([beat(CLOCK, 7)])
        found = exported(home, stick)
    assert (found.segments, found.lives[0].written_segments) == (SEGMENTS + 1, 1)
    manifest = open_manifest((stick / "rekam-bundle/dev-1/1" / MANIFEST).read_bytes()).manifest
    assert manifest.segments[-1].last == EVENTS + 1


def test_what_a_receipt_covers_meanwhile_stays_listed_as_long_as_it_lies_there(
    tmp_path: Path, stick: Path
) -> None:
    with home_with_events(tmp_path / "home") as home:
        exported(home, stick)
        take_receipt(home, list(unreceipted(home).values()))
        home.outbox.append([beat(CLOCK, 7)])
        found = exported(home, stick)
        assert (found.lives[0].first, found.segments) == (EVENTS + 1, 1)
        path = stick / "rekam-bundle/dev-1/1" / MANIFEST
        assert len(open_manifest(path.read_bytes()).manifest.segments) == SEGMENTS + 1
        (stick / "rekam-bundle/dev-1/1/1-500.seg").unlink()
        exported(home, stick)
    listed = open_manifest(path.read_bytes()).manifest.segments
    assert [one.first for one in listed] == [501, 1001, 1201]


def test_all_covered_by_receipts_exports_nothing(tmp_path: Path, stick: Path) -> None:
    with home_with_events(tmp_path / "home") as home:
        exported(home, stick)
        take_receipt(home, list(unreceipted(home).values()))
        shutil.rmtree(stick / "rekam-bundle")
        assert exported(home, stick).lives == ()
    assert list(stick.iterdir()) == []


def test_epochs_and_devices_lie_side_by_side(tmp_path: Path, stick: Path) -> None:
    with home_with_events(tmp_path / "one", events=3) as home:
        exported(home, stick)
        home.outbox.begin_epoch(reason="test", now=CLOCK.read())
        found = exported(home, stick)
    with home_with_events(tmp_path / "two", producer="dev.", events=3) as home:
        exported(home, stick)
    assert [life.epoch for life in found.lives] == [1, 2]
    folders = {str(file.parent.relative_to(stick)) for file in segment_files(stick)}
    assert folders == {"rekam-bundle/dev-1/1", "rekam-bundle/dev-1/2", "rekam-bundle/_dev._/1"}


def test_a_flipped_bit_and_a_cut_file_on_the_stick_are_written_again(
    tmp_path: Path, stick: Path
) -> None:
    with home_with_events(tmp_path / "home") as home:
        exported(home, stick)
        folder = stick / "rekam-bundle/dev-1/1"
        flipped = bytearray((folder / "1-500.seg").read_bytes())
        flipped[-1] ^= 1
        (folder / "1-500.seg").write_bytes(flipped)
        (folder / "501-1000.seg").write_bytes(b"RKM1")
        (folder / MANIFEST).write_bytes(b"{")
        found = exported(home, stick)
        assert found.lives[0].written_segments == 2
        assert everything_with_a_final_name_is_whole(stick, unreceipted(home))
        open_manifest((folder / MANIFEST).read_bytes())


def test_leftovers_of_a_killed_export_are_replaced_and_others_left_alone(
    tmp_path: Path, stick: Path
) -> None:
    folder = stick / "rekam-bundle/dev-1/1"
    folder.mkdir(parents=True)
    for name in ("1-500.seg.part", "7-9.seg.part", "MANIFEST.json.part", "notes.part"):
        (folder / name).write_bytes(b"half")
    with home_with_events(tmp_path / "home") as home:
        exported(home, stick)
    assert {file.name for file in folder.glob("*.part")} == {"notes.part"}


def test_a_copy_of_the_device_does_not_overwrite_what_the_other_has_exported(
    tmp_path: Path, stick: Path
) -> None:
    new_home(tmp_path / "home").close()
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    with ProducerHome.open(tmp_path / "home") as home:
        home.outbox.append([beat(CLOCK, 1)])
        exported(home, stick)
        theirs = unreceipted(home)
    with ProducerHome.open(tmp_path / "copy") as copy:
        copy.outbox.append([beat(CLOCK, 2)])
        with pytest.raises(StickUnusable, match="a copy of dev-1"):
            exported(copy, stick)
    assert everything_with_a_final_name_is_whole(stick, theirs)


def test_a_full_stick_is_refused_before_anything_is_written(tmp_path: Path, stick: Path) -> None:
    with home_with_events(tmp_path / "home") as home:
        disk = FaultyDisk(free_bytes=1024 * 1024)
        with pytest.raises(StickFull, match="nothing was written") as caught:
            exported(home, stick, disk=disk)
        assert len(unreceipted(home)) == SEGMENTS
    assert caught.value.exit_code == 2
    assert list(stick.iterdir()) == []


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with home_with_events(tmp_path / "home") as home, pytest.raises(StickUnusable, match="mount"):
        exported(home, tmp_path / "stick")
    assert not (tmp_path / "stick").exists()


@pytest.mark.parametrize("name", ["rekam-bundle", "rekam-bundle/dev-1", "rekam-bundle/dev-1/1"])
def test_a_link_in_the_place_of_a_folder_is_not_followed(
    tmp_path: Path, stick: Path, name: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (stick / name).parent.mkdir(parents=True, exist_ok=True)
    (stick / name).symlink_to(elsewhere)
    with home_with_events(tmp_path / "home") as home, pytest.raises(StickUnusable):
        exported(home, stick)
    assert list(elsewhere.iterdir()) == []


def test_more_than_a_folder_holds_goes_on_after_a_named_place(tmp_path: Path, stick: Path) -> None:
    with home_with_events(tmp_path / "home") as home:
        found = exported(home, stick, segments_max=2)
        assert found.segments == 2
        assert found.remaining_after is not None
        rest = exported(home, stick, after=Place(found.remaining_after))
    assert (rest.segments, rest.remaining_after) == (1, None)
    assert len(segment_files(stick)) == SEGMENTS
    manifest = open_manifest((stick / "rekam-bundle/dev-1/1" / MANIFEST).read_bytes()).manifest
    assert len(manifest.segments) == SEGMENTS


def test_a_stick_that_gives_back_other_bytes_is_told(tmp_path: Path, stick: Path) -> None:
    class LyingDisk(FaultyDisk):
        def write(self, file: Path, raw: bytes) -> None:
            super().write(file, raw[:-1] + b"\0")

    with home_with_events(tmp_path / "home") as home:
        with pytest.raises(StickFailed, match="loses data"):
            exported(home, stick, disk=LyingDisk())
        exported(home, stick)
        assert everything_with_a_final_name_is_whole(stick, unreceipted(home))


def test_two_exports_of_one_home_do_not_run_at_once(tmp_path: Path, stick: Path) -> None:
    class Nested(FaultyDisk):
        def rename(self, source: Path, target: Path) -> None:
            with pytest.raises(OutboxBusy):
                exported(home, stick)
            super().rename(source, target)

    with home_with_events(tmp_path / "home") as home:
        exported(home, stick, disk=Nested())


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, StickFull),
        (errno.EFBIG, StickFull),
        (errno.EROFS, StickUnusable),
        (errno.EIO, StickFailed),
        (errno.ENODEV, StickFailed),
    ],
)
def test_whatever_fails_at_whatever_step_the_outbox_keeps_all_and_the_next_run_completes(
    tmp_path: Path, number: int, told: type[RekamError]
) -> None:
    """One export for each of its steps; all from the same outbox."""
    with home_with_events(tmp_path / "home") as home:
        counted = FaultyDisk()
        (tmp_path / "whole").mkdir()
        exported(home, tmp_path / "whole", disk=counted)
        held = unreceipted(home)
        assert counted.steps >= 20
        for step in range(1, counted.steps + 1):
            stick = tmp_path / f"stick-{step}"
            stick.mkdir()
            with pytest.raises(told):
                exported(home, stick, disk=FaultyDisk(step, failing(number), for_good=True))
            assert everything_with_a_final_name_is_whole(stick, held)
            assert unreceipted(home) == held
            assert exported(home, stick).segments == SEGMENTS
            assert everything_with_a_final_name_is_whole(stick, held)
            assert len(segment_files(stick)) == SEGMENTS
            assert not list(stick.rglob("*.part"))
