"""From a stick to a route: what became of each segment, and receipts back to the outbox."""

import errno
import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from producers.device.home import KEEP_DAYS, ProducerHome
from producers.device.local.standing import DAY_MS
from producers.device.route import SegmentVerdict
from producers.usb.bundle import MANIFEST, receipt_path
from producers.usb.importing import Imported
from producers.usb.receipts import apply_receipt
from rekam.cli.root import run
from rekam.domain.errors import Misconfigured, Overloaded, StickFailed, StickUnusable, Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.receipt import ReceiptRejected, open_receipt
from rekam.domain.segment import parse
from tests.support.device import beat, new_home
from tests.support.segments import compact, fields, signed
from tests.support.sticks import (
    CLOCK,
    RECEIPT_KEY,
    TRUSTED,
    FaultyDisk,
    MemoryRoute,
    exported,
    failing,
    imported,
    segment_files,
    signed_receipt,
)

PRODUCER = ProducerId("dev-1")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[ProducerHome]:
    with new_home(tmp_path / "home") as made:
        made.outbox.append([beat(CLOCK, number) for number in range(1_200)])
        made.trust_receipts([RECEIPT_KEY.public])
        yield made


@pytest.fixture
def stick(tmp_path: Path, home: ProducerHome) -> Path:
    folder = tmp_path / "stick"
    folder.mkdir()
    exported(home, folder)
    return folder


def enrolled(home: ProducerHome) -> MemoryRoute:
    return MemoryRoute(keys={home.producer: (home.signing_key.public,)})


def counts(found: Imported) -> dict[str, int]:
    return dict(Counter(one.verdict for one in found.results))


def sent_by(home: ProducerHome) -> list[bytes]:
    return [one.raw for one in home.outbox.unreceipted(limit_bytes=10**8)]


async def test_everything_whole_arrives_in_order_byte_for_byte(
    stick: Path, home: ProducerHome
) -> None:
    route = enrolled(home)
    found = await imported(stick, route)
    assert route.logged == sent_by(home)
    assert counts(found) == {"accepted": 3}
    assert [(one.first, one.last) for one in found.results] == [(1, 500), (501, 1000), (1001, 1200)]
    assert all(one.is_receipted for one in found.results)
    assert found.is_whole
    assert found.bytes_sent == sum(map(len, route.logged))


async def test_a_second_import_sends_nothing_that_a_receipt_shows_to_be_there(
    stick: Path, home: ProducerHome
) -> None:
    route = enrolled(home)
    await imported(stick, route)
    found = await imported(stick, route)
    assert counts(found) == {"duplicate": 3}
    assert len(route.logged) == 3


async def test_without_receipts_a_second_import_sends_the_same_bytes_again(
    stick: Path, home: ProducerHome
) -> None:
    route = MemoryRoute(gives_receipts=False)
    await imported(stick, route)
    await imported(stick, route)
    assert route.logged == sent_by(home) * 2


async def test_a_producer_that_nobody_knows_is_in_the_log_and_held(
    stick: Path, home: ProducerHome
) -> None:
    route = MemoryRoute()
    found = await imported(stick, route)
    assert counts(found) == {"held": 3}
    assert {one.code for one in found.results} == {"unknown_producer"}
    assert route.logged == sent_by(home)
    assert found.is_whole


async def test_a_copys_segments_are_sent_though_a_receipt_names_their_range(
    stick: Path, home: ProducerHome, tmp_path: Path
) -> None:
    """Both lives of a cloned device reach the log: the receipt's hash is of the other chain."""
    with new_home(tmp_path / "other") as other:
        other.outbox.append([beat(CLOCK, number) for number in range(1_200)])
        (tmp_path / "theirs").mkdir()
        exported(other, tmp_path / "theirs")
    route = enrolled(home)
    await imported(tmp_path / "theirs", route)
    found = await imported(stick, route)
    assert route.logged[3:] == sent_by(home)
    assert counts(found) == {"accepted": 3}


async def test_one_that_its_known_key_did_not_sign_is_quarantined_through_the_log(
    stick: Path, home: ProducerHome
) -> None:
    body = b"b" * 48
    header = fields(
        producer="dev-1",
        first=1_201,
        key=home.signing_key.id,
        body=hashlib.sha256(body).hexdigest(),
    )
    raw = signed(compact(header), body)
    (stick / "rekam-bundle/dev-1/1/1201-1201.seg").write_bytes(raw)
    route = enrolled(home)
    found = await imported(stick, route)
    assert counts(found) == {"accepted": 3, "quarantined": 1}
    assert found.results[-1].code == "signature_invalid"
    assert raw in route.logged
    assert not found.is_whole


async def test_a_key_that_becomes_known_while_it_waits_decides_about_what_was_sent(
    stick: Path, home: ProducerHome
) -> None:
    class Enrolling(MemoryRoute):
        async def receipt(self, producer: ProducerId) -> bytes | None:
            return await super().receipt(producer) if self.logged else None

    route = Enrolling(keys={home.producer: (home.signing_key.public,)})
    assert counts(await imported(stick, route)) == {"accepted": 3}


@pytest.mark.parametrize(
    ("said", "verdict", "code"),
    [
        (SegmentVerdict("logged"), "accepted", None),
        (SegmentVerdict("logged", code="unknown_producer"), "held", "unknown_producer"),
        (SegmentVerdict("custody"), "custody", None),
        (SegmentVerdict("refused", code="signature_invalid"), "quarantined", "signature_invalid"),
        (SegmentVerdict("retry", code="unavailable"), "retry", "unavailable"),
    ],
)
async def test_a_gateways_verdict_is_told_as_it_was_given(
    stick: Path, said: SegmentVerdict, verdict: str, code: str | None
) -> None:
    route = MemoryRoute(label="gateway", says=lambda _: said, gives_receipts=False)
    found = await imported(stick, route)
    assert counts(found) == {verdict: 3}
    assert {one.code for one in found.results} == {code}
    assert found.retry_segments == (3 if verdict == "retry" else 0)
    assert found.custody_segments == (3 if verdict == "custody" else 0)
    assert found.is_whole == (verdict != "quarantined")


async def test_one_segment_that_a_route_puts_off_is_offered_again_and_holds_back_none(
    stick: Path, home: ProducerHome
) -> None:
    offered: Counter[int] = Counter()

    def says(raw: bytes) -> SegmentVerdict:
        first = parse(raw).header.first
        offered[first] += 1
        return SegmentVerdict("retry" if first == 501 and offered[first] < 3 else "logged")

    route = enrolled(home)
    route.says = says
    found = await imported(stick, route)
    assert counts(found) == {"accepted": 2, "retry": 1}
    assert len(route.logged) == 2
    assert counts(await imported(stick, route)) == {"accepted": 1, "duplicate": 2}


async def test_damaged_files_are_refused_and_the_rest_is_imported(
    stick: Path, home: ProducerHome
) -> None:
    (stick / "rekam-bundle/dev-1/1/501-1000.seg").write_bytes(b"RKM1")
    (stick / "rekam-bundle/dev-1/1/holiday.jpg").write_bytes(b"x")
    (stick / "rekam-bundle/rubbish!").write_bytes(b"x")
    route = enrolled(home)
    found = await imported(stick, route)
    assert counts(found) == {"accepted": 2, "refused": 3}
    assert not found.is_whole
    first, _, third = sent_by(home)
    assert route.logged == [first, third]


async def test_a_bundle_without_its_manifest_is_imported_and_told(
    stick: Path, home: ProducerHome
) -> None:
    (stick / "rekam-bundle/dev-1/1" / MANIFEST).unlink()
    found = await imported(stick, enrolled(home))
    assert counts(found) == {"accepted": 3}
    assert [note.code for note in found.notes] == ["manifest_missing"]
    assert not found.is_whole


async def test_a_file_that_changes_between_looking_and_sending_is_not_sent(
    stick: Path, home: ProducerHome
) -> None:
    file = stick / "rekam-bundle/dev-1/1/1-500.seg"
    disk = FaultyDisk()

    def change() -> None:
        file.write_bytes(file.read_bytes()[:-1] + b"?")

    # Bundle, producer, epoch, manifest, three segments; then the first one again.
    disk.at, disk.happens = 8, change
    route = enrolled(home)
    found = await imported(stick, route, disk=disk)
    assert disk.calls[:8] == ["entries"] * 3 + ["read"] * 5
    assert [one.code for one in found.results] == ["file_differs", None, None]
    assert route.logged == sent_by(home)[1:]


async def test_a_route_that_is_away_ends_it_and_the_next_run_completes(
    stick: Path, home: ProducerHome
) -> None:
    route = enrolled(home)
    route.errors = [Unavailable("away")]
    found = await imported(stick, route, wait_seconds=60)
    assert isinstance(found.interrupted, Unavailable)
    assert counts(found) == {"retry": 3}
    assert counts(await imported(stick, route)) == {"accepted": 3}


async def test_a_route_that_asks_for_a_pause_gets_it(stick: Path, home: ProducerHome) -> None:
    route = enrolled(home)
    route.errors = [Overloaded("slowly", retry_after_seconds=0.001)] * 3
    assert counts(await imported(stick, route)) == {"accepted": 3}


async def test_a_producer_that_was_not_reached_is_named(
    stick: Path, home: ProducerHome, tmp_path: Path
) -> None:
    with new_home(tmp_path / "two", producer="dev-2") as two:
        two.outbox.append([beat(CLOCK, 1)])
        exported(two, stick)
    route = enrolled(home)
    route.errors = [Unavailable("away")]
    found = await imported(stick, route)
    assert [life.producer for life in found.lives_left] == ["dev-2"]


@pytest.mark.parametrize("number", [errno.ENODEV, errno.EIO])
async def test_a_stick_that_is_pulled_out_at_any_step_ends_it_and_the_next_run_completes(
    stick: Path, home: ProducerHome, number: int
) -> None:
    counted = FaultyDisk()
    await imported(stick, enrolled(home), disk=counted)
    shutil.rmtree(stick / "rekam-bundle/receipts")
    for step in range(4, counted.steps + 1):
        route = enrolled(home)
        disk = FaultyDisk(step, failing(number), for_good=True)
        found = await imported(stick, route, disk=disk)
        is_in_the_end = not any(call in {"entries", "read"} for call in counted.calls[step - 1 :])
        if not is_in_the_end and found.interrupted is not None:
            assert isinstance(found.interrupted, StickFailed)
        await imported(stick, route)
        assert {parse(raw).hash for raw in route.logged} == {
            parse(raw).hash for raw in sent_by(home)
        }
        assert set(route.logged) == set(sent_by(home))


async def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(StickUnusable):
            await imported(folder, MemoryRoute())


async def test_receipts_go_back_on_the_stick_and_commit_what_they_cover(
    stick: Path, home: ProducerHome
) -> None:
    found = await imported(stick, enrolled(home))
    assert [(one.producer, one.is_written) for one in found.carried] == [("dev-1", True)]
    applied = apply_receipt(home, stick, disk=FaultyDisk(), now=CLOCK.read())
    assert (applied.receipted_events, applied.receipted_through) == (1_200, 1_200)
    assert sent_by(home) == []
    again = apply_receipt(home, stick, disk=FaultyDisk(), now=CLOCK.read())
    assert (again.receipted_events, again.receipted_through) == (0, 1_200)


async def test_a_receipt_of_a_part_commits_that_part(stick: Path, home: ProducerHome) -> None:
    (stick / "rekam-bundle/dev-1/1/1001-1200.seg").unlink()
    await imported(stick, enrolled(home))
    applied = apply_receipt(home, stick, disk=FaultyDisk(), now=CLOCK.read())
    assert (applied.receipted_events, applied.receipted_through) == (1_000, 1_000)
    assert len(sent_by(home)) == 1


def test_a_receipt_brought_back_lets_go_of_what_an_earlier_one_covered_long_ago(
    stick: Path, home: ProducerHome
) -> None:
    """A device that only sticks reach has nothing else that makes room."""
    raws = sent_by(home)
    words = ["device", "import-receipts", "--home", str(home.path), "--from", str(stick)]
    put_receipt(stick, signed_receipt(PRODUCER, raws, as_of_ms=1))
    assert run(words) == 0
    assert stored(home) == len(raws)
    put_receipt(stick, signed_receipt(PRODUCER, raws, as_of_ms=1 + KEEP_DAYS * DAY_MS))
    assert run(words) == 0
    assert stored(home) == 1, "the last one stays: the next is chained to it"


def stored(home: ProducerHome) -> int:
    return int(home.outbox._connection.execute("SELECT count(*) FROM segment").get)


def put_receipt(stick: Path, raw: bytes) -> Path:
    path = stick / receipt_path(PRODUCER)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda raws: signed_receipt(PRODUCER, raws, key=SigningKey.generate()), "untrusted"),
        (lambda raws: signed_receipt(PRODUCER, raws)[:-9], "invalid"),
        (lambda _: b" " * 10**6, "too_large"),
        (lambda _: signed_receipt(ProducerId("dev-2"), []), "foreign"),
    ],
)
def test_a_receipt_that_is_not_to_be_believed_commits_nothing(
    stick: Path, home: ProducerHome, make: Callable[[list[bytes]], bytes], reason: str
) -> None:
    raws = sent_by(home)
    put_receipt(stick, make(raws))
    with pytest.raises(ReceiptRejected) as caught:
        apply_receipt(home, stick, disk=FaultyDisk(), now=CLOCK.read())
    assert caught.value.reason == f"receipt_{reason}"
    assert sent_by(home) == raws


def test_a_stick_without_a_receipt_says_how_to_get_one(stick: Path, home: ProducerHome) -> None:
    with pytest.raises(Misconfigured, match="rekam usb receipts"):
        apply_receipt(home, stick, disk=FaultyDisk(), now=CLOCK.read())


async def test_an_older_receipt_does_not_replace_a_newer_one(
    stick: Path, home: ProducerHome
) -> None:
    newer = signed_receipt(PRODUCER, sent_by(home), as_of_ms=10**12)
    path = put_receipt(stick, newer)
    found = await imported(stick, enrolled(home))
    assert [one.is_written for one in found.carried] == [False]
    assert path.read_bytes() == newer


async def test_a_write_protected_stick_is_imported_all_the_same(
    stick: Path, home: ProducerHome
) -> None:
    class Protected(FaultyDisk):
        def make_folder(self, folder: Path) -> None:
            raise OSError(errno.EROFS, str(folder))

    found = await imported(stick, enrolled(home), disk=Protected())
    assert counts(found) == {"accepted": 3}
    assert [(one.is_written, one.code) for one in found.carried] == [(False, "stick_unusable")]
    assert found.is_whole


async def test_an_office_that_trusts_no_key_carries_receipts_unread(
    stick: Path, home: ProducerHome
) -> None:
    found = await imported(stick, enrolled(home), trusted={})
    assert [note.code for note in found.receipt_notes] == ["receipts_unread"]
    assert [one.is_written for one in found.carried] == [True]
    raw = (stick / receipt_path(PRODUCER)).read_bytes()
    (epoch,) = open_receipt(raw, TRUSTED).epochs
    assert epoch.runs[0].last == 1_200


async def test_it_waits_for_receipts_that_cover_what_it_sent(
    stick: Path, home: ProducerHome
) -> None:
    class Slow(MemoryRoute):
        asked = 0

        async def receipt(self, producer: ProducerId) -> bytes | None:
            self.asked += 1
            return await super().receipt(producer) if self.asked > 2 else None

    route = Slow(keys={home.producer: (home.signing_key.public,)})
    found = await imported(stick, route, wait_seconds=60)
    assert route.asked == 3
    assert all(one.is_receipted for one in found.results)


async def test_names_of_other_people_do_not_reach_what_is_told(
    stick: Path, home: ProducerHome
) -> None:
    nik = "6408040101900001"
    (stick / "rekam-bundle/dev-1/1" / f"{nik}.seg").write_bytes(b"x")
    (stick / "rekam-bundle" / nik).mkdir()
    found = await imported(stick, enrolled(home))
    assert nik not in repr(found)
    assert len(segment_files(stick)) == 4
