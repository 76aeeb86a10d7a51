"""Homes and outboxes refuse what is not theirs, and say what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from producers.device.clock import (
    BootSession,
    Contact,
    DeviceClock,
    Reading,
    anchors_due,
    offset_of,
)
from producers.device.home import ENROLLED_AGAIN, ProducerHome
from producers.device.outbox import Outbox
from rekam.domain.errors import Corrupt, Misconfigured, OutboxBusy, OutboxFull, Rejected
from rekam.domain.events import EpochOpened, decode
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.segment import EVENT_BYTES_MAX, Sealed, open_body, parse
from tests.support.device import READER, beat, new_home

NOW_MS = 1_522_468_800_000
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a memory file system that Linux always has


class StillClock:
    """Always shows the same."""

    def read(self) -> Reading:
        return Reading(NOW_MS, 5, "boot-1")


CLOCK = StillClock()


def test_a_home_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    new_home(tmp_path).close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(Misconfigured, match="not empty"):
        new_home(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("producer.json", b"{", "damaged"),
        ("producer.json", b'{"producer":"x"}', "damaged"),
        ("signing.pem", b"nothing", "PEM"),
    ],
)
def test_a_garbled_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    new_home(tmp_path).close()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Misconfigured, match=message) as caught:
        ProducerHome.open(tmp_path)
    assert name in str(caught.value)


def test_a_home_on_memory_is_refused_by_its_own_name() -> None:
    """Not by that of the folder in which it is made, which is gone when somebody looks."""
    if not SHARED_MEMORY.is_dir():
        pytest.skip("this machine has no memory file system")
    home = SHARED_MEMORY / f"rekam-test-{os.getpid()}"
    with pytest.raises(Misconfigured) as caught:
        new_home(home)
    assert str(caught.value).startswith(f"{home}/outbox.db lies on tmpfs")
    assert not [path for path in SHARED_MEMORY.iterdir() if home.name in path.name]


def test_a_disk_that_takes_no_files_is_told_by_the_home_s_own_name(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from rekam.domain.errors import Unavailable\nfrom tests.support.device import new_home\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try:\n    new_home(Path(sys.argv[1]))\nexcept Unavailable as error:\n    print(error)"
    )
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-c", program, str(home)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{home} takes no files"), done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_home_of_a_later_epoch_says_at_first_that_it_is_one(tmp_path: Path) -> None:
    with ProducerHome.create(
        tmp_path / "again",
        producer=ProducerId("dev-1"),
        kind="recorder",
        reader=READER.public,
        epoch=Epoch(3),
    ) as home:
        home.outbox.append([beat(CLOCK, 1)])
        home.outbox.seal_pending(
            signing_key=home.signing_key, reader=home.reader, sealed=Sealed(NOW_MS, 5, "boot-1")
        )
        (one,) = home.outbox.unsent(limit_bytes=1)
        segment = parse(one.raw)
    assert (segment.header.epoch, segment.header.first) == (3, 1)
    first, _ = open_body(segment, READER)
    assert decode(first).data == EpochOpened(reason=ENROLLED_AGAIN)


def test_a_folder_that_is_no_home_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="rekam device init"):
        ProducerHome.open(tmp_path)


def test_files_of_two_homes_are_refused(tmp_path: Path) -> None:
    new_home(tmp_path / "a", producer="dev-a").close()
    new_home(tmp_path / "b", producer="dev-b").close()
    (tmp_path / "a" / "producer.json").write_bytes((tmp_path / "b" / "producer.json").read_bytes())
    with pytest.raises(Corrupt, match="not its own"):
        ProducerHome.open(tmp_path / "a")


def test_a_file_that_is_no_outbox_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"certainly no database" * 500)
    with pytest.raises(Corrupt, match="Keep the file"):
        Outbox.open(path)


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    new_home(tmp_path).close()
    for name in ("signing.pem", "outbox.db", "producer.json"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0, name


def test_a_second_emitter_is_refused_and_appending_goes_on(tmp_path: Path) -> None:
    with new_home(tmp_path) as home, home.emitting():
        with ProducerHome.open(tmp_path) as other:
            with pytest.raises(OutboxBusy), other.emitting():
                pass
            assert list(other.outbox.append([beat(CLOCK, 1)])) == [1]
        assert list(home.outbox.append([beat(CLOCK, 2)])) == [2]


@pytest.mark.parametrize("line", [b"x" * (EVENT_BYTES_MAX + 1), b"a\nb"])
def test_a_line_that_no_segment_can_carry_is_refused_and_nothing_of_its_batch_stays(
    tmp_path: Path, line: bytes
) -> None:
    with new_home(tmp_path) as home:
        with pytest.raises(Rejected):
            home.outbox.append([beat(CLOCK, 1), line])
        assert home.outbox.next_seq == 1


def test_a_full_outbox_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    with new_home(tmp_path) as home:
        home.outbox.append([beat(CLOCK, 1)])
        connection = home.outbox._connection
        connection.pragma("max_page_count", connection.pragma("page_count"))
        with pytest.raises(OutboxFull, match="Everything in it stays"):
            home.outbox.append([beat(CLOCK, number) for number in range(1_000)])
        assert home.outbox.status().unsealed_events == 1


def test_the_settings_that_make_commits_durable_are_in_force(tmp_path: Path) -> None:
    with new_home(tmp_path) as home:
        connection: apsw.Connection = home.outbox._connection
        assert connection.pragma("synchronous") == 2
        assert connection.pragma("journal_mode") == "wal"


def test_each_boot_is_anchored_once_and_again_when_its_clock_moves() -> None:
    sessions = [BootSession("boot-0", NOW_MS - 500, None), BootSession("boot-1", NOW_MS, None)]
    now = CLOCK.read()
    due = anchors_due(7_000, now=now, sessions=sessions)
    assert sorted((told.anchored_boot, told.offset_ms, told.source) for told in due) == [
        ("boot-0", 7_000, "carried"),
        ("boot-1", 7_000, "broker"),
    ]
    told = [BootSession(session.boot, session.first_wall_ms, 7_000) for session in sessions]
    assert anchors_due(8_000, now=now, sessions=told) == []
    (moved,) = anchors_due(20_000, now=now, sessions=told)
    assert (moved.anchored_boot, moved.offset_ms) == ("boot-1", 20_000)


def test_a_clock_that_begins_at_1970_says_nothing_of_earlier_boots() -> None:
    sessions = [BootSession("boot-0", 5, None)]
    due = anchors_due(7_000, now=Reading(9, 9, "boot-1"), sessions=sessions)
    assert [told.anchored_boot for told in due] == ["boot-1"]


def test_an_offset_is_true_time_minus_wall_time_at_the_middle_of_the_round_trip() -> None:
    contact = Contact(Reading(1_000, 10, "b"), Reading(1_200, 210, "b"), append_ms=5_100)
    assert offset_of(contact) == 4_000
    rebooted = Contact(Reading(1_000, 10, "a"), Reading(1_200, 210, "b"), append_ms=5_100)
    assert offset_of(rebooted) is None


def test_a_machine_without_a_boot_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="boot session"):
        DeviceClock(tmp_path / "none")


def test_the_enrolment_request_holds_nothing_secret(tmp_path: Path) -> None:
    with new_home(tmp_path) as home:
        request = home.enrolment_request()
        assert request["key"] == home.signing_key.public.to_text()
    told = json.loads((tmp_path / "producer.json").read_text())
    assert set(told) == {"producer", "kind", "epoch", "reader"}
