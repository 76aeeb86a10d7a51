"""Homes that were copied, restored or robbed of a file begin a new epoch, by a supervisor's act."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from producers.device.home import ProducerHome
from producers.device.outbox_file import Storage
from rekam.cli.root import run
from rekam.domain.errors import Corrupt, Misconfigured
from rekam.domain.events import EpochOpened, decode
from rekam.domain.keys import SigningKey
from tests.support.outboxes import ALL, PRODUCER, READER, line, lines_of, reading, receive, run_of
from tests.support.outboxes import seal as seal_outbox

ONE, TWO = (SigningKey.from_seed(bytes([number]) * 32).public for number in (1, 2))


class StillClock:
    """Always shows the same."""

    read = staticmethod(reading)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a home with one sealed event and one that is not."""
    folder = tmp_path / "home"
    with ProducerHome.create(
        folder,
        producer=PRODUCER,
        kind="recorder",
        reader=READER.public,
        receipt_keys=[ONE],
        storage=Storage(ballast_bytes=0, any_file_system=True),
    ) as home:
        home.outbox.append([line(1)])
        seal_outbox(home.outbox)
        home.outbox.append([line(2)])
    return folder


def test_a_new_epoch_names_the_head_of_the_one_before_and_both_are_sent(folder: Path) -> None:
    with ProducerHome.open(folder) as home:
        (sealed,) = home.outbox.unsent(limit_bytes=ALL)
    with ProducerHome.renew(folder, reason="restored", clock=StillClock()) as home:
        assert (home.epoch, home.outbox.next_seq) == (2, 3)
        seal_outbox(home.outbox)
        old, new = home.outbox.unsent(limit_bytes=ALL)
        assert old == sealed
        opened, moved = lines_of([new]).values()
        assert decode(opened).data == EpochOpened(
            reason="restored", previous_epoch=1, previous_head=run_of([old]).head
        )
        assert moved == line(2)
    with ProducerHome.open(folder) as home:
        assert home.epoch == 2


def test_a_new_epoch_may_begin_beside_a_process_that_records_and_sends(folder: Path) -> None:
    with ProducerHome.open(folder) as other, other.emitting():
        ProducerHome.renew(folder, reason="a copy", clock=StillClock()).close()
        assert other.epoch == 2
        assert other.outbox.append([line(3)]) == range(3, 4)
        seal_outbox(other.outbox)
        assert [one.epoch for one in other.outbox.unsent(limit_bytes=ALL)] == [1, 2]


def test_an_older_outbox_is_refused_until_a_new_epoch_begins(folder: Path) -> None:
    older = folder.with_name("older.db")
    shutil.copy(folder / "outbox.db", older)
    ProducerHome.renew(folder, reason="once", clock=StillClock()).close()
    shutil.copy(older, folder / "outbox.db")
    with pytest.raises(Corrupt, match="new-epoch"):
        ProducerHome.open(folder)
    with ProducerHome.renew(folder, reason="again", clock=StillClock()) as home:
        assert home.epoch == 3


def test_a_home_without_its_outbox_goes_on_in_a_new_epoch(folder: Path) -> None:
    (folder / "outbox.db").unlink()
    with pytest.raises(Misconfigured, match="does not exist"):
        ProducerHome.open(folder)
    with ProducerHome.renew(folder, reason="it was deleted", clock=StillClock()) as home:
        assert (home.epoch, home.outbox.next_seq) == (2, 2)


def test_a_crash_between_outbox_and_card_is_made_good_at_the_next_start(folder: Path) -> None:
    card = (folder / "producer.json").read_bytes()
    ProducerHome.renew(folder, reason="once", clock=StillClock()).close()
    (folder / "producer.json").write_bytes(card)
    with ProducerHome.open(folder) as home:
        assert home.epoch == 2
    assert json.loads((folder / "producer.json").read_text())["epoch"] == 2


def test_a_restored_home_is_found_out_by_its_receipt(folder: Path, tmp_path: Path) -> None:
    """The image lacks what was sent since: going on would use seqs twice."""
    image = tmp_path / "image"
    shutil.copytree(folder, image)
    with ProducerHome.open(folder) as home:
        seal_outbox(home.outbox)
        sent = home.outbox.unsent(limit_bytes=ALL)
    with ProducerHome.open(image) as restored:
        assert receive(restored.outbox, sent).is_fork_suspected
        assert restored.outbox.append([line(3)]) == range(3, 4)
        assert seal_outbox(restored.outbox) == 0


# -- keys of receipts ------------------------------------------------------------------------------


def test_receipt_keys_are_those_of_the_file_and_can_be_changed(folder: Path) -> None:
    with ProducerHome.open(folder) as home:
        assert set(home.receipt_keys) == {ONE.id}
        home.trust_receipts([ONE, TWO])
        assert home.receipt_keys == {ONE.id: ONE, TWO.id: TWO}
        (folder / "receipts.pub").unlink()
        assert home.receipt_keys == {}


def test_a_damaged_file_of_receipt_keys_is_named(folder: Path) -> None:
    (folder / "receipts.pub").write_text("not a key\n")
    with (
        ProducerHome.open(folder) as home,
        pytest.raises(Misconfigured, match=r"receipts\.pub"),
    ):
        assert home.receipt_keys


# -- commands --------------------------------------------------------------------------------------


def test_new_epoch_tells_what_it_did(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["device", "new-epoch", "--home", str(folder), "--reason", "restored"]) == 0
    assert json.loads(capsys.readouterr().out) == {"producer": "dev-1", "epoch": 2, "next_seq": 3}


@pytest.mark.parametrize("reason", [" ", "x" * 201])
def test_a_reason_that_no_event_can_carry_changes_nothing(folder: Path, reason: str) -> None:
    assert run(["device", "new-epoch", "--home", str(folder), "--reason", reason]) == 2
    with ProducerHome.open(folder) as home:
        assert home.epoch == 1


def test_init_trusts_the_receipt_key_that_it_is_given(tmp_path: Path) -> None:
    reader, receipt = tmp_path / "reader.pub", tmp_path / "receipt.pub"
    reader.write_text(READER.public.to_text())
    receipt.write_text(f"{TWO.to_text()}\n")
    words = ["device", "init", "--producer", "dev-2", "--home", str(tmp_path / "new")]
    keys = ["--reader", str(reader), "--receipt-key", str(receipt)]
    assert run([*words, *keys, "--in-container-layer"]) == 0
    with ProducerHome.open(tmp_path / "new") as home:
        assert home.receipt_keys == {TWO.id: TWO}


def test_init_names_the_file_that_is_no_reader_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reader.pub").write_text("junk")
    words = ["--producer", "dev-1", "--in-container-layer", "--home", str(tmp_path / "home")]
    assert run(["device", "init", *words, "--reader", str(tmp_path / "reader.pub")]) == 2
    assert f"--reader {tmp_path / 'reader.pub'}: " in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_trust_receipts_replaces_the_keys(folder: Path, tmp_path: Path) -> None:
    receipt = tmp_path / "receipt.pub"
    receipt.write_text(TWO.to_text())
    assert run(["device", "trust-receipts", "--home", str(folder), str(receipt)]) == 0
    with ProducerHome.open(folder) as home:
        assert home.receipt_keys == {TWO.id: TWO}
    receipt.write_text("nothing")
    assert run(["device", "trust-receipts", "--home", str(folder), str(receipt)]) == 2


def test_retry_refused_says_what_it_queued_again_and_who_had_refused_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProducerHome.open(folder) as home:
        seal_outbox(home.outbox)
        for one, code in zip(home.outbox.unsent(limit_bytes=ALL), ("fork", "bad"), strict=True):
            home.outbox.refuse(one, route="gateway", code=code, now=reading())
    words = ["device", "retry-refused", "--home", str(folder)]
    assert run(words) == 0
    assert capsys.readouterr().out.splitlines() == [
        "refused by gateway (bad): 1 segments",
        "refused by gateway (fork): 1 segments",
        (
            "2 segments, 2 events, wait to be sent again; `rekam device run` or `rekam device "
            "sync` sends them"
        ),
    ]
    with ProducerHome.open(folder) as home:
        status = home.outbox.status()
        assert (status.unsent_segments, status.refused_segments) == (2, 0)
    assert run(words) == 0
    assert "nothing was done" in capsys.readouterr().out
