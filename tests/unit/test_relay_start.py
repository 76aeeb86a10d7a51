"""A relay that refuses to start says why, by file and option, and leaves nothing behind."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from producers.device.files import sole_emitter
from producers.device.outbox_file import file_system_of
from producers.relay.store import LOCK_FILE, STORE_FILE, CustodyStore
from rekam.cli.root import run
from tests.support.receipts import RECEIPT_KEY

MISUSE, TRY_AGAIN = 2, 75
MEMORY = Path("/dev/shm")  # noqa: S108 - what is wanted of it is that it is refused


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "receipt.pub"
    path.write_text(RECEIPT_KEY.public.to_text())
    return path


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def start(home: Path, key: Path, *, port: int = 0) -> int:
    words = ["--home", str(home), "--port", str(port), "--receipt-key", str(key)]
    upstream = ["--route", "http://127.0.0.1:1", "--in-container-layer"]
    return run(["relay", "run", *words, *upstream])


@pytest.mark.parametrize(
    "content", [b"junk", b"\xff\xfe", b"A" * 10_000, b""], ids=["junk", "binary", "long", "empty"]
)
def test_a_file_that_is_no_key_is_named_and_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    junk = tmp_path / "junk.pub"
    junk.write_bytes(content)
    assert start(tmp_path / "relay", junk) == MISUSE
    told = capsys.readouterr().err
    assert "--receipt-key" in told
    assert str(junk) in told
    assert not (tmp_path / "relay").exists()


def test_a_start_on_a_port_that_is_taken_leaves_no_new_folder(
    tmp_path: Path, key: Path, taken_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(tmp_path / "district" / "relay", key, port=taken_port) == TRY_AGAIN
    assert str(taken_port) in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["receipt.pub"]


def test_a_disk_that_forgets_is_refused_and_left_as_it_was(
    key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = MEMORY / f"relay-{key.parent.name}"
    if file_system_of(home) != "tmpfs":
        pytest.skip("this machine has no memory file system at /dev/shm")
    assert start(home, key) == MISUSE
    assert "does not keep events" in capsys.readouterr().err
    assert not home.exists()


def test_a_folder_that_was_there_stays_and_so_does_what_it_holds(
    tmp_path: Path, key: Path, taken_port: int
) -> None:
    home = tmp_path / "relay"
    home.mkdir()
    assert start(home, key, port=taken_port) == TRY_AGAIN
    assert home.is_dir()
    CustodyStore.open(home / STORE_FILE).close()
    (home / "note.txt").write_text("x")
    assert start(home, key, port=taken_port) == TRY_AGAIN
    assert (home / STORE_FILE).exists()
    assert (home / "note.txt").exists()


def test_a_second_relay_that_is_refused_takes_nothing_from_the_first(
    tmp_path: Path, key: Path
) -> None:
    home = tmp_path / "relay"
    home.mkdir()
    with sole_emitter(home / LOCK_FILE), CustodyStore.open(home / STORE_FILE):
        assert start(home, key) == TRY_AGAIN
        assert (home / STORE_FILE).exists()
        assert (home / LOCK_FILE).exists()
