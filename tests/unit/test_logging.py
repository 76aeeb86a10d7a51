"""Log lines of ours and of the libraries are single JSON objects on standard error."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from rekam.runtime.logging import configure_logging


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_our_lines_and_a_librarys_have_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(json=True)
    structlog.get_logger("rekam").info("batch_accepted", events=3)
    logging.getLogger("library").warning("slow by %d ms", 20)
    captured = capsys.readouterr()
    ours, theirs = (json.loads(line) for line in captured.err.splitlines())
    assert (ours["event"], ours["events"], ours["logger"]) == ("batch_accepted", 3, "rekam")
    assert (theirs["event"], theirs["level"]) == ("slow by 20 ms", "warning")
    assert ours["timestamp"].endswith("Z")
    assert captured.out == ""


def test_error_in_a_json_line_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(json=True)
    try:
        int("because")
    except ValueError:
        structlog.get_logger("rekam").exception("batch_failed")
    [line] = capsys.readouterr().err.splitlines()
    assert "because" in json.loads(line)["exception"]


def test_people_get_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(json=False)
    structlog.get_logger("rekam").info("batch_accepted", events=3)
    assert "batch_accepted" in capsys.readouterr().err
