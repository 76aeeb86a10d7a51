"""Every bad row of a refused table in a file: `--faults PATH`."""

from pathlib import Path

import click
import pytest

from producers.office.commands_publish import COMMANDS
from rekam.cli.root import run
from rekam.runtime.settings import Settings
from tests.support.office import NOBODY, new_office

NIK = "6408080101700001"
TRY_AGAIN, MISUSE = 75, 2
DATED = ["--version", "2017", "--valid-from", "2017-01-01"]
BAD_ROWS = 25
BAD = "kode,nama\n" + "".join(f"64.0x,Desa {n}\n" for n in range(BAD_ROWS))
GOOD = "kode,nama\n64.08,Kutai Timur\n"
EVERY_COMMAND = {
    "publish-regions": ([*DATED], f"kode,nama\n64.08,{NIK}\n"),
    "publish-denominators": ([*DATED, "--basis", "DKB"], f"kode,wajib\n{NIK},1.234\n"),
    "publish-cohort": (
        ["--cohort", "lapas", "--version", "1", "--title", "Lapas", "--source", "KPU"],
        f"no,nik,hasil\n1,{NIK},{NIK}\n",
    ),
    "resolve-cohort": (["--cohort", "lapas", "--source", "KPU"], f"no,hasil\n1,{NIK}\n"),
    "observe-status": ([], f"nik,status,tanggal\n{NIK},{NIK},01/02/2018\n"),
    "issue-suket": ([], f"nik,status,nomor,tgl\n{NIK},PROCESSING,A {NIK},01/02/2018\n"),
}


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = new_office(tmp_path / "home")
    monkeypatch.setenv("REKAM_HOME", str(settings.home))
    monkeypatch.setenv("REKAM_KAFKA", NOBODY)
    return settings


@pytest.fixture
def table(office: Settings, tmp_path: Path) -> Path:
    """Give a tree of which every row is bad, to an office that has stated nothing."""
    assert not (office.home / "office").exists()
    path = tmp_path / "regions.csv"
    path.write_text(BAD)
    return path


def publish(table: Path, *more: str) -> int:
    return run(["office", "publish-regions", str(table), *DATED, *more])


def test_the_message_shows_twenty_bad_rows_and_names_the_option_that_writes_all(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(table) == MISUSE
    told = capsys.readouterr().err
    assert ("row 21:" in told, "row 22:" in told) == (True, False)
    assert "and 5 more (25 in all)" in told
    assert "`--faults PATH` writes them all" in told


def test_the_message_names_no_option_where_it_shows_every_bad_row(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.write_text("".join(BAD.splitlines(keepends=True)[:21]))
    assert publish(table) == MISUSE
    told = capsys.readouterr().err
    assert "row 21:" in told
    assert "--faults" not in told


def test_every_bad_row_is_written_by_number_and_reason_for_the_owner_alone(
    office: Settings, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = tmp_path / "bad rows.txt"
    assert publish(table, "--faults", str(faults)) == MISUSE
    lines = faults.read_text().splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"row {number}" for number in range(2, BAD_ROWS + 2)
    ]
    assert all("column kode: " in line for line in lines)
    assert faults.stat().st_mode & 0o777 == 0o600
    told = capsys.readouterr().err
    assert f"{faults} has them all" in told
    assert "--faults" not in told
    assert not (office.home / "office").exists()


def test_a_file_that_is_there_is_left_as_it_is_and_both_faults_are_told(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(table, "--faults", str(table)) == MISUSE
    assert table.read_text() == BAD
    told = capsys.readouterr().err
    assert "table_rejected: " in told
    assert "row 2:" in told
    assert f"misconfigured: --faults={table}: cannot be written (File exists)" in told


def test_a_folder_that_is_not_there_is_told_beside_the_bad_rows(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(table, "--faults", str(tmp_path / "none" / "bad.txt")) == MISUSE
    told = capsys.readouterr().err
    assert "row 2:" in told
    assert "cannot be written (No such file or directory); name a new file" in told


def test_a_table_without_bad_rows_is_published_and_no_file_is_made(
    office: Settings, table: Path, tmp_path: Path
) -> None:
    table.write_text(GOOD)
    assert publish(table, "--faults", str(tmp_path / "bad.txt")) == TRY_AGAIN
    assert (office.home / "office" / "registrar").exists()
    assert not (tmp_path / "bad.txt").exists()


def test_bad_rows_of_a_second_table_are_written_too(table: Path, tmp_path: Path) -> None:
    table.write_text(GOOD)
    recoded, faults = tmp_path / "recoded.csv", tmp_path / "bad.txt"
    recoded.write_text("lama,baru\n64.08,64.09\n")
    assert publish(table, "--recoded", str(recoded), "--faults", str(faults)) == MISUSE
    assert faults.read_text() == "row 2: column baru: 64.09 is not in the tree\n"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
@pytest.mark.usefixtures("office")
def test_every_command_that_reads_a_table_writes_its_bad_rows_and_no_cell(
    command: click.Command, tmp_path: Path
) -> None:
    name = str(command.name)
    options, text = EVERY_COMMAND[name]
    table, faults = tmp_path / "mixed.csv", tmp_path / "bad.txt"
    table.write_text(text)
    assert run(["office", name, str(table), *options, "--faults", str(faults)]) == MISUSE
    assert faults.read_text().startswith("row 2: column ")
    assert NIK not in faults.read_text()
