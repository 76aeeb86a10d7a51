"""A damaged outbox is set aside, what is whole of it goes on in a new epoch, and it says so."""

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from producers.device.home import ProducerHome
from producers.device.outbox import Outbox
from producers.device.outbox_file import PAGE_BYTES, Storage, damage_mark
from rekam.cli.root import run
from rekam.domain.errors import Corrupt, OutboxBusy
from rekam.domain.events import EpochOpened, FaultReported, decode
from rekam.domain.ids import Epoch
from rekam.domain.keys import SigningKey
from rekam.domain.segment import Sealed, parse, verify
from tests.support.disk_faults import Unreadable, child
from tests.support.outboxes import ALL, PRODUCER, READER, line, lines_of, reading, receive

SEALED_EVENTS = 400
UNSEALED_EVENTS = 60
DAMAGES = 60


class StillClock:
    """Always shows the same."""

    read = staticmethod(reading)


def new_home(folder: Path) -> ProducerHome:
    return ProducerHome.create(
        folder,
        producer=PRODUCER,
        kind="recorder",
        reader=READER.public,
        storage=Storage(ballast_bytes=0, any_file_system=True),
    )


def seal(home: ProducerHome, *, events_max: int = 500) -> None:
    home.outbox.seal_pending(
        signing_key=home.signing_key,
        reader=home.reader,
        sealed=Sealed(1, 1, "b"),
        events_max=events_max,
    )


def fill(home: ProducerHome) -> None:
    """Put segments of different sizes into an outbox, and unsealed lines behind them."""
    number = 0
    while number < SEALED_EVENTS:
        home.outbox.append([line(number + each, padding=number) for each in range(20)])
        number += 20
        if number % 80 == 0:
            seal(home, events_max=25)
    seal(home)
    for each in range(UNSEALED_EVENTS):
        home.outbox.append([line(number + each)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a home with events in it."""
    with new_home(tmp_path / "home") as home:
        fill(home)
    return tmp_path / "home"


def everything(home: ProducerHome) -> dict[tuple[int, int], bytes]:
    """Return all events of an outbox, those that wait too."""
    seal(home)
    return lines_of(home.outbox.unreceipted(limit_bytes=ALL))


def overwrite(path: Path, *pages: int) -> None:
    """Let sectors of a disk go bad."""
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE_BYTES)
            file.write(random.Random(page).randbytes(PAGE_BYTES))


def decode_number(text: bytes) -> int:
    """Return the number by which an event can be told from all others."""
    return int(text.split(b'"wall_ms":')[1].split(b",")[0])


def set_aside(folder: Path) -> list[Path]:
    found = folder.glob("outbox.db.corrupt-*")
    return sorted(path for path in found if path.suffix != ".json")


def test_a_destroyed_first_page_costs_no_event(folder: Path) -> None:
    before = (folder / "outbox.db").read_bytes()
    overwrite(folder / "outbox.db", 0)
    destroyed = (folder / "outbox.db").read_bytes()
    assert destroyed != before
    with ProducerHome.open(folder, clock=StillClock()) as home:
        assert home.epoch == 2
        assert home.outbox.status().unsealed_events == UNSEALED_EVENTS + 2
        held = everything(home)
    sealed = [text for (epoch, _), text in held.items() if epoch == 1]
    renewed = [text for (epoch, _), text in held.items() if epoch == 2]
    assert [decode_number(text) for text in sealed] == list(range(SEALED_EVENTS))
    opened, fault = decode(renewed[0]).data, decode(renewed[1]).data
    assert isinstance(opened, EpochOpened)
    assert (opened.previous_epoch, len(opened.previous_head or "")) == (1, 64)
    assert isinstance(fault, FaultReported)
    assert (fault.component, fault.fault) == ("outbox", "outbox_damaged")
    assert [decode_number(text) for text in renewed[2:]] == list(
        range(SEALED_EVENTS, SEALED_EVENTS + UNSEALED_EVENTS)
    )
    (aside,) = set_aside(folder)
    assert aside.read_bytes() == destroyed


def test_status_tells_what_was_salvaged_until_somebody_takes_the_file_away(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overwrite(folder / "outbox.db", 0)
    words = ["device", "status", "--home", str(folder)]
    assert run([*words, "--json"]) == 0
    standing = json.loads(capsys.readouterr().out)
    (salvage,) = standing["salvages"]
    assert salvage.pop("wall_ms") > 0
    segments = salvage.pop("segments")
    assert segments > 1
    assert salvage == {
        "segment_events": SEALED_EVENTS,
        "lines": UNSEALED_EVENTS,
        "broken_rows": 0,
    }
    assert standing["epoch"] == 2
    # The new epoch says of itself that it was opened, and why.
    assert standing["recorded_events"] == SEALED_EVENTS + UNSEALED_EVENTS + 2
    assert standing["severity"] == "watch"
    assert run(words) == 0
    told = capsys.readouterr().out
    assert f"{SEALED_EVENTS} events in {segments} segments and {UNSEALED_EVENTS} unsealed" in told
    for file in folder.glob("outbox.db.corrupt-*"):
        file.unlink()
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["salvages"] == []


@pytest.mark.parametrize("tail", [0, 5_000, 100_000])
def test_a_file_cut_short_gives_what_is_left_of_it(folder: Path, tail: int) -> None:
    path = folder / "outbox.db"
    content = path.read_bytes()[:tail]
    path.write_bytes(content)
    with ProducerHome.open(folder, clock=StillClock()) as home:
        assert home.epoch == 2
        assert home.outbox.append([line(1)])
        assert len(everything(home)) >= 3


def test_whatever_page_is_lost_the_rest_is_whole_and_nothing_is_invented(
    folder: Path, tmp_path: Path
) -> None:
    with ProducerHome.open(folder) as home:
        number_of = home.outbox.next_seq - 1
        key = home.signing_key.public
    assert number_of == SEALED_EVENTS + UNSEALED_EVENTS
    pages = (folder / "outbox.db").stat().st_size // PAGE_BYTES
    chance = random.Random(5)
    kept = 0
    for trial in range(DAMAGES):
        copy = tmp_path / f"copy-{trial}"
        shutil.copytree(folder, copy)
        overwrite(copy / "outbox.db", *chance.sample(range(pages), 2))
        damage_mark(copy / "outbox.db").touch()
        with ProducerHome.open(copy, clock=StillClock()) as home:
            assert home.epoch == 2
            held = everything(home)
            for one in home.outbox.unreceipted(limit_bytes=ALL):
                verify(parse(one.raw), key)
        for (epoch, seq), text in held.items():
            if epoch == 1:
                assert decode_number(text) == seq - 1
        renewed = [decode_number(text) for (epoch, _), text in held.items() if epoch == 2][2:]
        assert renewed == sorted(set(renewed))
        assert set(renewed) <= set(range(SEALED_EVENTS, SEALED_EVENTS + UNSEALED_EVENTS))
        kept += len(held) - 2
        shutil.rmtree(copy)
    assert kept > 0.7 * DAMAGES * number_of


@pytest.mark.parametrize("is_laid_out", [False, True])
def test_what_only_the_write_ahead_log_holds_is_found_too(
    tmp_path: Path, *, is_laid_out: bool
) -> None:
    folder = tmp_path / "home"
    new_home(folder).close()

    def record_and_die(tell: Callable[[str], None]) -> None:
        with ProducerHome.open(folder) as home:
            if is_laid_out:
                home.outbox.make_ready()
            fill(home)
            tell(str(home.outbox.next_seq))
            # Before it is closed: SQLite would empty the log.
            os.kill(os.getpid(), signal.SIGKILL)

    with child(record_and_die) as (code, told):
        assert (code, told) == (-9, [str(SEALED_EVENTS + UNSEALED_EVENTS + 1)])
    wal = folder / "outbox.db-wal"
    assert wal.stat().st_size > 10 * PAGE_BYTES
    (folder / "outbox.db").unlink()
    with ProducerHome.renew(folder, reason="the file was deleted", clock=StillClock()) as home:
        held = everything(home)
    numbers = {decode_number(text) for text in held.values()}
    assert numbers >= set(range(SEALED_EVENTS))


def test_what_the_disk_cannot_read_any_more_is_damage(tmp_path: Path) -> None:
    """Marked, so that whoever opens the home next mends it."""
    path = tmp_path / "outbox.db"
    disk = Unreadable()
    with Outbox.create(path, producer=PRODUCER, storage=disk.storage) as outbox:
        outbox.append([line(1)])
    disk.armed = True
    with pytest.raises(Corrupt, match="damaged"):
        Outbox.open(path, storage=disk.storage)
    assert damage_mark(path).exists()


def test_salvaged_segments_are_covered_by_receipts_of_their_own_epoch(folder: Path) -> None:
    overwrite(folder / "outbox.db", 0)
    with ProducerHome.open(folder, clock=StillClock()) as home:
        old = [one for one in home.outbox.unsent(limit_bytes=ALL) if one.epoch == 1]
        effect = receive(home.outbox, old)
        assert (effect.receipted_events, effect.is_fork_suspected) == (SEALED_EVENTS, False)
        assert home.outbox.prune(now=reading(9), keep_seconds=0) > 0


def test_segments_under_an_earlier_key_of_ours_are_taken_over(folder: Path) -> None:
    """Their hashes must do here; the log asks for the signature anyway."""
    with ProducerHome.open(folder) as home:
        own = home.outbox.unsent(limit_bytes=ALL)
    (folder / "signing.pem").unlink()
    SigningKey.generate().save(folder / "signing.pem")
    overwrite(folder / "outbox.db", 0)
    with ProducerHome.open(folder, clock=StillClock()) as home:
        assert [one.raw for one in home.outbox.unsent(limit_bytes=ALL)] == [one.raw for one in own]


def test_mending_waits_until_nobody_else_uses_the_home(folder: Path) -> None:
    with ProducerHome.open(folder) as user:
        damage_mark(folder / "outbox.db").touch()
        with pytest.raises(OutboxBusy, match="End them"):
            ProducerHome.open(folder)
        user.outbox.append([line(9)])
    with ProducerHome.open(folder, clock=StillClock()) as home:
        assert home.epoch == 2
        assert line(9) in everything(home).values()


@pytest.mark.parametrize("stage", ["built", "main set aside", "all set aside"])
def test_a_kill_while_the_files_are_replaced_is_finished_at_the_next_start(
    folder: Path, tmp_path: Path, stage: str
) -> None:
    copy = tmp_path / "mended"
    shutil.copytree(folder, copy)
    path = folder / "outbox.db"
    overwrite(copy / "outbox.db", 0)
    overwrite(path, 0)
    damage_mark(path).touch()
    path.with_name("outbox.db-wal").touch()
    with ProducerHome.open(copy, clock=StillClock()) as home:
        expected = home.outbox.status().unsent_events
    shutil.copy(copy / "outbox.db", folder / "outbox.db.new")
    if stage != "built":
        path.rename(folder / "outbox.db.corrupt-1")
    if stage == "all set aside":
        path.with_name("outbox.db-wal").rename(folder / "outbox.db.corrupt-1-wal")
        damage_mark(path).unlink()
    with ProducerHome.open(folder, clock=StillClock()) as home:
        assert (home.epoch, home.outbox.status().unsent_events) == (2, expected)
    assert not (folder / "outbox.db.new").exists()
    assert not damage_mark(path).exists()
    with ProducerHome.open(folder) as home:
        assert home.epoch == Epoch(2)
