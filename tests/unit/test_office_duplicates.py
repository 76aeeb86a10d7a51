"""`rekam office resolve-duplicate`: what was looked at is named, and nothing holds the NIK."""

import io
from pathlib import Path

import pytest

from producers.office.registrar import registrar_folder
from rekam.cli.root import run
from rekam.domain.events import DuplicateResolved, RecordingWithdrawn
from rekam.runtime.settings import Settings
from tests.support.office import NOBODY, new_office, waiting

NIK = "6408041101900001"
TRY_AGAIN, MISUSE = 75, 2
RESOLVE = ("office", "resolve-duplicate", "--kind", "two_recordings", "--reason", "fotonya beda")
LOOKED_AT = ("--recording", "recorder-01/1/7", "--recording", "recorder-02/1/3")


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = new_office(tmp_path / "home")
    monkeypatch.setenv("REKAM_HOME", str(settings.home))
    monkeypatch.setenv("REKAM_KAFKA", NOBODY)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{NIK}\n"))
    return settings


def test_a_recording_under_a_wrong_number_is_withdrawn_and_the_case_settled(
    office: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*RESOLVE, *LOOKED_AT, "--outcome", "wrong_nik", "--withdraw", "r-3")
    assert run(arguments) == TRY_AGAIN
    told = capsys.readouterr()
    assert NIK not in told.out + told.err
    withdrawn, resolved = (event.data for event in waiting(office, registrar_folder(office)))
    assert withdrawn == RecordingWithdrawn(recording="r-3", nik=NIK, reason="fotonya beda")
    assert isinstance(resolved, DuplicateResolved)
    assert (resolved.nik, resolved.kind, resolved.outcome) == (NIK, "two_recordings", "wrong_nik")
    assert resolved.recordings == ("recorder-01/1/7", "recorder-02/1/3")


def test_a_withdrawal_names_whose_recording_is_meant(office: Settings) -> None:
    arguments = (*RESOLVE, *LOOKED_AT, "--outcome", "wrong_nik", "--withdraw", "r-3")
    assert run((*arguments, "--withdraw-from", "recorder-02")) == TRY_AGAIN
    withdrawn, _ = (event.data for event in waiting(office, registrar_folder(office)))
    assert withdrawn == RecordingWithdrawn(
        recording="r-3", nik=NIK, reason="fotonya beda", producer="recorder-02"
    )


def test_a_dry_run_states_nothing(office: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run((*RESOLVE, *LOOKED_AT, "--outcome", "same_person", "--dry-run")) == 0
    assert "would state two_recordings: same_person, 2 recordings" in capsys.readouterr().out
    assert not registrar_folder(office).exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--outcome", "same_person"), "--recording is missing"),
        ((*LOOKED_AT, "--outcome", "wrong_nik"), "--withdraw goes with"),
        ((*LOOKED_AT, "--outcome", "same_person", "--withdraw", "r"), "--withdraw goes with"),
        ((*LOOKED_AT, "--outcome", "same_person", "--withdraw-from", "r"), "goes with --withdraw"),
        (
            (*LOOKED_AT, "--outcome", "wrong_nik", "--withdraw", "r", "--withdraw-from", NIK),
            "RecordingWithdrawn",
        ),
        ((*LOOKED_AT, "--outcome", "same_person", "--recording", NIK), "holds a NIK"),
        ((*LOOKED_AT, "--outcome", "guessed"), "'guessed' is not one of"),
        ((*LOOKED_AT, "--outcome", "same_person", "--recording", "r-3"), "wanted PRODUCER/EPOCH"),
        (("--outcome", "same_person", "--recording", "recorder-01/1/07"), "wanted PRODUCER/EPOCH"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    office: Settings, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], told: str
) -> None:
    assert run((*RESOLVE, *options)) == MISUSE
    error = capsys.readouterr().err
    assert told in error
    assert NIK not in error
    assert not registrar_folder(office).exists()
