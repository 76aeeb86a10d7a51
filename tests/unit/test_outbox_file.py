"""Before an outbox is used, its disk and SQLite must be able to keep the promise."""

import errno
import os
from pathlib import Path
from typing import Any

import apsw
import pytest

from producers.device.outbox import Outbox
from producers.device.outbox_file import (
    FORGETFUL,
    Ballast,
    Storage,
    _set_pragmas,
    connect,
    file_system_of,
    probe,
    require_lasting,
)
from rekam.domain.errors import Misconfigured, Unavailable
from tests.support.outboxes import PRODUCER

PLAIN = Storage(ballast_bytes=0, any_file_system=True)
MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /dev/shm rw - tmpfs shm rw
31 22 8:1 / /media/stick\040one rw - vfat /dev/sdb1 rw
32 22 0:50 / /srv rw - overlay overlay rw
33 32 254:1 / /srv/data rw master:3 - xfs /dev/vdb rw
34 22 254:2 / /data rw - ext4 /dev/vdc rw
35 34 0:51 / /data rw - tmpfs late rw
garbled
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/device/outbox.db", "ext4"),
        ("/dev/shm/home/outbox.db", "tmpfs"),  # noqa: S108 - nothing is put there
        ("/media/stick one/outbox.db", "vfat"),
        ("/srv/home/outbox.db", "overlay"),
        ("/srv/data/home/outbox.db", "xfs"),
        ("/srv/database/outbox.db", "overlay"),
        ("/data/outbox.db", "tmpfs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert file_system_of(Path(path), MOUNTS) == kind


def test_without_mounts_nothing_is_claimed(tmp_path: Path) -> None:
    assert file_system_of(tmp_path, "") is None


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.9.99", "2.99.99"])
def test_an_sqlite_that_can_lose_commits_is_refused_before_it_touches_the_file(
    tmp_path: Path, version: str
) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"")
    with pytest.raises(Misconfigured, match=f"SQLite {version} .* 3.51.3 or newer"):
        connect(path, PLAIN, sqlite_version=lambda: version)
    assert [(file.name, file.stat().st_size) for file in tmp_path.iterdir()] == [("outbox.db", 0)]


@pytest.mark.parametrize("version", ["3.51.3", "3.52.0", "3.100.0", "4.0.0"])
def test_a_newer_sqlite_is_taken(tmp_path: Path, version: str) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"")
    connect(path, PLAIN, sqlite_version=lambda: version).close()


def test_the_sqlite_that_is_installed_is_the_one_that_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"")
    connection = connect(path, PLAIN)
    (running,) = connection.execute("SELECT sqlite_version()").fetchall()
    connection.close()
    assert running == (apsw.sqlite_lib_version(),)


SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a memory file system that Linux always has


def test_memory_is_refused_and_the_message_says_where_to_go(tmp_path: Path) -> None:
    assert file_system_of(SHARED_MEMORY / "x") in FORGETFUL
    with pytest.raises(Misconfigured, match="ext4"):
        require_lasting(SHARED_MEMORY / "outbox.db")
    require_lasting(tmp_path / "outbox.db")


def test_a_test_may_say_that_any_file_system_will_do(tmp_path: Path) -> None:
    storage = Storage(any_file_system=True, ballast_bytes=0)
    Outbox.create(tmp_path / "outbox.db", producer=PRODUCER, storage=storage).close()


def test_a_folder_that_takes_no_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="absent"):
        probe(tmp_path / "absent" / "outbox.db")


def test_the_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    probe(tmp_path / "outbox.db")
    assert list(tmp_path.iterdir()) == []


def test_ballast_is_room_on_the_disk_that_can_be_given_up_once(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "outbox.db", 1_000_000)
    file = tmp_path / "outbox.ballast"
    assert ballast.restore()
    assert file.stat().st_blocks * 512 >= 1_000_000
    assert ballast.release()
    assert (ballast.is_whole, file.stat().st_size) == (False, 0)
    assert not ballast.release()
    assert ballast.restore()


def test_no_ballast_is_always_whole(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "outbox.db", 0)
    assert (ballast.is_whole, ballast.restore(), ballast.release()) == (True, True, False)
    assert list(tmp_path.iterdir()) == []


def test_every_setting_that_durability_rests_on_is_read_back(tmp_path: Path) -> None:
    storage = Storage(any_file_system=True)
    with Outbox.create(tmp_path / "outbox.db", producer=PRODUCER, storage=storage) as outbox:
        connection = outbox._connection
        assert {
            name: connection.pragma(name)
            for name in ("journal_mode", "synchronous", "secure_delete", "trusted_schema")
        } == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "trusted_schema": 0}
        assert (tmp_path / "outbox.ballast").stat().st_size > 1_000 * 4096


class Stubborn(apsw.Connection):
    """Has a setting that it does not give up."""

    def __init__(self, path: Path, setting: str) -> None:
        super().__init__(str(path))
        self._setting = setting

    def pragma(self, name: str, *value: Any, **options: Any) -> Any:
        return "as it was" if name == self._setting else super().pragma(name, *value, **options)


@pytest.mark.parametrize(
    "setting",
    [
        "journal_mode",
        "synchronous",
        "secure_delete",
        "wal_autocheckpoint",
        "cache_size",
        "foreign_keys",
        "trusted_schema",
    ],
)
def test_a_setting_that_sqlite_does_not_take_is_refused(tmp_path: Path, setting: str) -> None:
    connection = Stubborn(tmp_path / "outbox.db", setting)
    with pytest.raises(Misconfigured, match=f"{setting} = as it was"):
        _set_pragmas(connection, tmp_path / "outbox.db", pages_max=10_000)
    connection.close()


def test_a_disk_that_takes_bytes_and_does_not_sync_them_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Unavailable, match="Input/output error"):
        probe(tmp_path / "outbox.db")
    assert list(tmp_path.iterdir()) == []


def test_a_budget_that_sqlite_cannot_take_is_refused(tmp_path: Path) -> None:
    storage = Storage(bytes_max=2**50, any_file_system=True, ballast_bytes=0)
    with pytest.raises(Misconfigured, match="size limit"):
        Outbox.create(tmp_path / "outbox.db", producer=PRODUCER, storage=storage)
