"""What an outbox may take of its disk is the operator's to say, and stays with the home."""

import json
import os
from pathlib import Path

import pytest

from producers.device.home import ProducerHome
from producers.device.outbox import Outbox
from producers.device.outbox_file import BALLAST_BYTES, OUTBOX_BYTES_MAX, OUTBOX_BYTES_MIN
from rekam.cli.root import run
from rekam.domain.errors import OutboxFull
from tests.support.device import READER, new_home
from tests.support.outboxes import line

MIB = 1024 * 1024
MISUSE = 2


@pytest.fixture
def init(tmp_path: Path) -> list[str]:
    reader = tmp_path / "reader.pub"
    reader.write_text(READER.public.to_text())
    words = ["--producer", "dev-1", "--reader", str(reader), "--home", str(tmp_path / "home")]
    return ["device", "init", "--in-container-layer", *words]


def budget(folder: Path) -> int:
    with ProducerHome.open(folder) as home:
        return home.outbox.status().disk_bytes_max


def disk_mib(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize // MIB


def test_a_budget_given_at_init_stays_with_the_home(init: list[str], tmp_path: Path) -> None:
    assert run([*init, "--mib-max", "20"]) == 0
    assert budget(tmp_path / "home") == 20 * MIB


def test_without_one_it_is_four_gib(init: list[str], tmp_path: Path) -> None:
    assert run(init) == 0
    assert budget(tmp_path / "home") == OUTBOX_BYTES_MAX


def test_recording_stops_at_the_budget_of_the_home(init: list[str], tmp_path: Path) -> None:
    assert run([*init, "--mib-max", "16"]) == 0
    with ProducerHome.open(tmp_path / "home") as home:
        for number in range(200):
            home.outbox.append([line(number, padding=60_000)])
        assert not home.outbox.status().is_full
        with pytest.raises(OutboxFull):
            home.outbox.append([line(number, padding=60_000) for number in range(70)])


def test_a_budget_that_the_disk_does_not_have_makes_no_home(
    init: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = disk_mib(tmp_path) + 1
    assert run([*init, "--mib-max", str(wanted)]) == MISUSE
    told = capsys.readouterr().err
    assert f"not {wanted} MiB" in told
    assert "beside its ballast" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reader.pub"]


def test_a_budget_too_small_to_work_with_is_refused(init: list[str], tmp_path: Path) -> None:
    assert run([*init, "--mib-max", str(OUTBOX_BYTES_MIN // MIB - 1)]) == MISUSE
    assert not (tmp_path / "home").exists()


def test_limits_are_changed_later_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "home"
    with new_home(folder) as home:
        home.outbox.append([line(1)])
    words = ["device", "limits", "--home", str(folder)]
    assert run([*words, "--mib-max", "32"]) == 0
    assert json.loads(capsys.readouterr().out)["mib_max"] == 32
    assert budget(folder) == 32 * MIB
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out)["mib_max"] == 32
    assert run([*words, "--mib-max", "20000000"]) == MISUSE
    assert "beside its ballast" in capsys.readouterr().err
    assert budget(folder) == 32 * MIB
    with ProducerHome.open(folder) as home:
        assert home.outbox.next_seq == 2


def test_the_days_to_keep_are_given_at_init_and_changed_later(
    init: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "home"
    assert run([*init, "--keep-days", "7"]) == 0
    with ProducerHome.open(folder) as home:
        assert home.keep_seconds == 7 * 86_400
    words = ["device", "limits", "--home", str(folder)]
    assert run([*words, "--keep-days", "90", "--mib-max", "64"]) == 0
    with ProducerHome.open(folder) as home:
        assert home.keep_seconds == 90 * 86_400
    capsys.readouterr()
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out) == {"mib_max": 64, "keep_days": 90}
    assert run([*words, "--keep-days", "0"]) == MISUSE


def test_what_the_outbox_takes_already_counts_as_had(tmp_path: Path) -> None:
    """Or an outbox that fills its disk could not even keep its budget."""
    folder = tmp_path / "home"
    with new_home(folder) as home:
        home.outbox.append([line(number, padding=60_000) for number in range(400)])
        home.limit(bytes_max=disk_mib(folder) * MIB)
    assert budget(folder) > (folder / "outbox.db").stat().st_size


def test_a_budget_below_what_the_file_has_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SQLite does not shrink the file: the budget would be a word, and recording would stop."""
    folder = tmp_path / "home"
    with new_home(folder) as home:
        home.outbox.append([line(number, padding=60_000) for number in range(400)])
    assert (folder / "outbox.db").stat().st_size > OUTBOX_BYTES_MIN
    assert run(["device", "limits", "--home", str(folder), "--mib-max", "16"]) == MISUSE
    assert "does not shrink" in capsys.readouterr().err
    assert budget(folder) == OUTBOX_BYTES_MAX


def test_the_ballast_lies_beside_the_budget(init: list[str], tmp_path: Path) -> None:
    assert run([*init, "--mib-max", "16"]) == 0
    assert (tmp_path / "home" / "outbox.ballast").stat().st_size == BALLAST_BYTES


def test_a_mended_outbox_keeps_its_budget(init: list[str], tmp_path: Path) -> None:
    assert run([*init, "--mib-max", "20"]) == 0
    path = tmp_path / "home" / "outbox.db"
    path.write_bytes(b"\xa5" * path.stat().st_size)
    assert budget(tmp_path / "home") == 20 * MIB
    with Outbox.open(path) as outbox:
        assert outbox.epoch == 2
