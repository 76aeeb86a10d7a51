"""`rekam office order-erasure`: the number is read where no process list or history keeps it."""

import io
from pathlib import Path

import pytest

from producers.office.registrar import registrar_folder
from rekam.cli.root import run
from rekam.domain.events import ErasureOrdered
from rekam.runtime.settings import Settings
from tests.support.office import NOBODY, new_office, waiting

NIK = "6408041101900001"
TRY_AGAIN, MISUSE, INTERRUPTED = 75, 2, 130
ORDER = ("office", "order-erasure", "--order", "2018/4", "--reason", "pasal 43")


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = new_office(tmp_path / "home")
    monkeypatch.setenv("REKAM_HOME", str(settings.home))
    monkeypatch.setenv("REKAM_KAFKA", NOBODY)
    return settings


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_an_order_is_kept_and_its_nik_is_not_shown(
    office: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, f" {NIK} \n")
    assert run([*ORDER, "--yes"]) == TRY_AGAIN
    told = capsys.readouterr()
    assert NIK not in told.out + told.err
    [event] = waiting(office, registrar_folder(office))
    assert event.data == ErasureOrdered(nik=NIK, order="2018/4", reason="pasal 43")


@pytest.mark.parametrize("text", ["", "640804110190000\n", "not a number\n", f"{NIK}0\n"])
def test_what_is_no_nik_is_refused_and_not_shown(
    office: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
) -> None:
    typed(monkeypatch, text)
    assert run([*ORDER, "--yes"]) == MISUSE
    told = capsys.readouterr().err
    assert "sixteen digits" in told
    assert NIK not in told
    assert not registrar_folder(office).exists()


def test_an_order_that_names_the_nik_is_refused(
    office: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its number is shown to whoever asks for the person."""
    typed(monkeypatch, f"{NIK}\n")
    assert run(["office", "order-erasure", "--order", NIK, "--reason", "x", "--yes"]) == MISUSE
    assert "order holds a NIK" in capsys.readouterr().err
    assert not registrar_folder(office).exists()


def test_who_does_not_confirm_has_ordered_nothing(
    office: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, f"{NIK}\nn\n")
    assert run([*ORDER]) == INTERRUPTED
    assert not registrar_folder(office).exists()
