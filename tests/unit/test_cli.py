"""The command line: quick help, errors as exit codes, and every noun in its place."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import structlog

from rekam.cli.root import NOUNS, Noun, exit_code_of, run
from rekam.domain.errors import Misconfigured, Overloaded, ProblemFound, Unavailable

HEAVY = ("faust", "asyncpg", "aiokafka", "starlette", "structlog", "rich", "cryptography", "apsw")
SCREEN_LINES = 24


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_help_fits_a_screen_and_imports_nothing_heavy() -> None:
    program = (
        "import json, sys\nfrom rekam.cli.root import run\n"
        "code = run(['--help'])\n"
        "print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    code, modules = json.loads(done.stderr)
    assert code == 0
    assert "Usage: rekam" in done.stdout
    assert len(done.stdout.splitlines()) <= SCREEN_LINES
    assert not set(HEAVY) & set(modules)


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("rekam 0.")


@pytest.mark.parametrize("name", NOUNS)
def test_every_noun_is_built_and_is_called_as_it_is_named(name: str) -> None:
    assert NOUNS[name].is_built()
    assert NOUNS[name].load().name == name


@pytest.mark.parametrize("target", ["rekam.absent:x", "absent.package.commands:x"])
def test_noun_without_its_module_is_not_listed(target: str) -> None:
    assert not Noun(target, "Not there.").is_built()


def test_unknown_noun_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rekord"]) == 2
    assert "No such command 'rekord'" in capsys.readouterr().err


def test_no_noun_at_all_shows_the_help_and_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_every_fault_of_the_settings_has_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "rekam.toml"
    config.write_text('port = 0\ntime_zone = "Mars"\n')
    assert run(["--config", str(config), "config", "check"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    first, second = told.err.splitlines()
    assert first.startswith("misconfigured: port (file)='0': wanted a port")
    assert second.startswith("misconfigured: time_zone (file)='Mars': wanted a time zone")


def test_config_check_prints_what_counts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "rekam.toml"
    config.write_text(f'home = "{tmp_path}"\nport = 9000\n')
    assert run(["--config", str(config), "config", "check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "REKAM_PORT=9000" in lines
    assert f"REKAM_PERSON_KEY={tmp_path}/keys/person.key" in lines


def test_config_check_looks_into_the_key_files_that_are_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "rekam.toml"
    config.write_text(f'home = "{tmp_path}"\n')
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/person.key").touch(mode=0o600)
    (tmp_path / "keys/registrar.pub").touch()
    assert run(["--config", str(config), "config", "check"]) == 2
    told = capsys.readouterr().err
    assert "REKAM_PERSON_KEY" in told
    assert "REKAM_REGISTRAR_KEY" in told


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (Unavailable("no broker"), 75, "unavailable: no broker\n"),
        (ProblemFound("two rows differ"), 1, "problem_found: two rows differ\n"),
        (Misconfigured(["a", "b"]), 2, "misconfigured: a\nmisconfigured: b\n"),
        (
            ExceptionGroup(
                "together", [Unavailable("x"), ExceptionGroup("", [Misconfigured("y")])]
            ),
            2,
            "unavailable: x\nmisconfigured: y\n",
        ),
        (
            ExceptionGroup("together", [Unavailable("x"), Overloaded("y")]),
            75,
            "unavailable: x\noverloaded: y\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (click.UsageError("no such thing"), 2, "Error: no such thing\n"),
        (click.exceptions.Exit(7), 7, ""),
    ],
)
def test_error_becomes_its_lines_and_its_exit_code(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of(raising(error)) == code
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), ExceptionGroup("", [Unavailable("x"), ValueError("a bug")])]
)
def test_exception_that_is_not_ours_keeps_its_traceback(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        exit_code_of(raising(error))
    assert caught.value is error


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def test_reader_that_has_enough_ends_us_quietly() -> None:
    command = [sys.executable, "-m", "rekam", "config", "check"]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
