"""`rekam office …` while Kafka is away: what was stated is kept, exit code 75."""

import json
from datetime import date
from pathlib import Path

import pytest

from producers.device.home import ProducerHome
from producers.office.registrar import registrar_folder
from rekam.cli.root import run
from rekam.domain.events import (
    CohortEntryListed,
    CohortEntryResolved,
    CohortPublished,
    DenominatorPublished,
    ProducerEnrolled,
    ProducerRevoked,
    RangeDeclaredLost,
    StatusObserved,
    SuketIssued,
    TicketAssigned,
    TicketClosed,
    TicketOpened,
    TreePublished,
)
from rekam.domain.ids import ProducerId
from rekam.domain.keys import ReaderPublicKey
from rekam.runtime.keyring import load_reader_public
from rekam.runtime.settings import Settings
from tests.support.office import NOBODY, new_office, waiting

NIK = "6408080101700001"
TRY_AGAIN, MISUSE = 75, 2


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = new_office(tmp_path / "home")
    monkeypatch.setenv("REKAM_HOME", str(settings.home))
    monkeypatch.setenv("REKAM_KAFKA", NOBODY)
    return settings


def request_of(folder: Path, reader: ReaderPublicKey, *, producer: str = "kit-1") -> Path:
    """Return a file with what `rekam device init` prints."""
    with ProducerHome.create(
        folder / producer, producer=ProducerId(producer), kind="recorder", reader=reader
    ) as home:
        path = folder / f"{producer}.json"
        path.write_text(json.dumps(home.enrolment_request()))
    return path


def stated(settings: Settings, name: str = "registrar") -> list[object]:
    return [event.data for event in waiting(settings, settings.home / "office" / name)]


def test_an_enrolment_is_kept_and_sent_later(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = request_of(tmp_path, load_reader_public(office))
    arguments = ["office", "enrol", str(request), "--place", "64.08.04", "--since", "2018-01-01"]
    assert run(arguments) == TRY_AGAIN
    assert "kept, will be sent later" in capsys.readouterr().err
    (fact,) = stated(office)
    assert isinstance(fact, ProducerEnrolled)
    assert (fact.producer, fact.kind, fact.place) == ("kit-1", "recorder", "64.08.04")
    # Midnight in the office, not in Greenwich.
    assert fact.enrolled_ms == 1_514_736_000_000


@pytest.mark.parametrize("text", ["", "{}", "[", '{"producer":"A B","kind":"recorder","key":"x"}'])
def test_a_request_that_is_none_is_refused_and_nothing_is_stated(
    office: Settings, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    request = tmp_path / "request.json"
    request.write_text(text)
    assert run(["office", "enrol", str(request), "--place", "64.08"]) == MISUSE
    assert "rekam device init" in capsys.readouterr().err
    assert not registrar_folder(office).exists()


def test_the_registrar_itself_is_not_enrolled(office: Settings, tmp_path: Path) -> None:
    request = request_of(tmp_path, load_reader_public(office), producer="registrar")
    assert run(["office", "enrol", str(request), "--place", "64.08"]) == MISUSE


def test_a_wrong_place_is_refused(office: Settings, tmp_path: Path) -> None:
    request = request_of(tmp_path, load_reader_public(office))
    assert run(["office", "enrol", str(request), "--place", "Sangatta"]) == MISUSE
    assert not registrar_folder(office).exists()


def test_a_revocation_is_kept(office: Settings) -> None:
    effective = "2018-03-01T00:00:00+00:00"
    arguments = ["office", "revoke", "kit-1", "--effective", effective, "--reason", "dicuri"]
    assert run(arguments) == TRY_AGAIN
    assert stated(office) == [
        ProducerRevoked(producer="kit-1", effective_ms=1_519_862_400_000, reason="dicuri")
    ]


LOST = ["office", "declare-lost", "--producer", "kit-1", "--reason", "kartu SD rusak"]


def test_a_range_that_is_given_up_is_kept(office: Settings) -> None:
    assert run([*LOST, "--epoch", "2", "--first", "41", "--last", "60"]) == TRY_AGAIN
    assert stated(office) == [
        RangeDeclaredLost(producer="kit-1", epoch=2, first=41, last=60, reason="kartu SD rusak")
    ]


@pytest.mark.parametrize(
    ("epoch", "first", "last"), [("1", "5", "4"), ("0", "1", "2"), ("1", "0", "2"), ("1", "x", "2")]
)
def test_a_range_that_is_none_is_refused_and_nothing_is_stated(
    office: Settings, epoch: str, first: str, last: str
) -> None:
    assert run([*LOST, "--epoch", epoch, "--first", first, "--last", last]) == MISUSE
    assert not registrar_folder(office).exists()


def test_a_repair_is_opened_assigned_and_closed(office: Settings) -> None:
    for step, option, text in (
        ("open", "--summary", "pemindai rusak"),
        ("assign", "--technician", "teknisi-2"),
        ("close", "--outcome", "diganti"),
    ):
        arguments = ["office", "ticket", step, "T-1", "--producer", "kit-1", option, text]
        assert run(arguments) == TRY_AGAIN
    assert stated(office) == [
        TicketOpened(ticket="T-1", producer="kit-1", summary="pemindai rusak"),
        TicketAssigned(ticket="T-1", producer="kit-1", technician="teknisi-2"),
        TicketClosed(ticket="T-1", producer="kit-1", outcome="diganti"),
    ]


def test_denominators_and_regions_are_kept(office: Settings, tmp_path: Path) -> None:
    wajib, regions = tmp_path / "wajib.csv", tmp_path / "regions.csv"
    wajib.write_text("desa,wajib\n64.08.01.2001,500\n64.08.01.2002,700\n")
    regions.write_text("kode,nama\n64.08,Kutai Timur\n64.08.01,Muara Ancalong\n")
    version = ["--version", "DKB-2", "--valid-from", "2017-12-31"]
    assert (
        run(["office", "publish-denominators", str(wajib), *version, "--basis", "DKB"]) == TRY_AGAIN
    )
    assert run(["office", "publish-regions", str(regions), *version]) == TRY_AGAIN
    denominators, tree = stated(office)
    assert isinstance(denominators, DenominatorPublished)
    assert [(row.desa, row.wajib) for row in denominators.rows] == [
        ("64.08.01.2001", 500),
        ("64.08.01.2002", 700),
    ]
    assert isinstance(tree, TreePublished)
    assert tree.valid_from == date(2017, 12, 31)


def test_a_bad_row_publishes_nothing(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "statuses.csv"
    table.write_text(f"nik,status,observed_at\n{NIK},PROCESSING,2018-01-01\n{NIK},X,yesterday\n")
    assert run(["office", "observe-status", str(table)]) == MISUSE
    told = capsys.readouterr().err
    assert "row 3: column observed at" in told
    assert NIK not in told
    assert not (office.home / "office").exists()


def test_statuses_are_stated_by_the_centre_which_is_enrolled_once(
    office: Settings, tmp_path: Path
) -> None:
    table = tmp_path / "statuses.csv"
    table.write_text(f"nik,status,observed_at\n{NIK},PROCESSING,2018-01-01 08:00\n")
    for _ in range(2):
        assert run(["office", "observe-status", str(table)]) == TRY_AGAIN
    (enrolled,) = stated(office)
    assert isinstance(enrolled, ProducerEnrolled)
    assert (enrolled.producer, enrolled.kind) == ("centre", "centre")
    observed = StatusObserved(
        nik=NIK, status="PROCESSING", observed_ms=1_514_764_800_000, source="siak"
    )
    assert stated(office, "centre") == [observed, observed]


def test_letters_in_place_of_a_card_are_stated_whole_or_not_at_all(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "letters.csv"
    row = f"{NIK},470/12/2018,01/01/2018 08:00,SENT_FOR_ENROLLMENT\n"
    table.write_text(f"nik,nomor suket,tanggal terbit,status\n{row}{row}")
    assert run(["office", "issue-suket", str(table)]) == MISUSE
    assert "row 3" in capsys.readouterr().err
    table.write_text(f"nik,nomor suket,tanggal terbit,status\n{row}")
    assert run(["office", "issue-suket", str(table)]) == TRY_AGAIN
    assert stated(office, "centre") == [
        SuketIssued(
            nik=NIK,
            number="470/12/2018",
            issued_ms=1_514_764_800_000,
            status="SENT_FOR_ENROLLMENT",
        )
    ]


def test_a_cohort_is_stated_by_the_kpu_desk(office: Settings, tmp_path: Path) -> None:
    table = tmp_path / "cohort.csv"
    table.write_text(f"entry,nik,bucket\n1,{NIK},tercetak\n2,,\n")
    arguments = ["office", "publish-cohort", str(table), "--cohort", "lapas", "--version", "1"]
    assert run([*arguments, "--title", "Lapas", "--source", "KPU"]) == TRY_AGAIN
    published, first, resolved, second = stated(office, "kpu")
    assert isinstance(published, CohortPublished)
    assert published.entries == 2
    assert first == CohortEntryListed(cohort="lapas", entry=1, nik=NIK, version="1")
    assert isinstance(resolved, CohortEntryResolved)
    assert (resolved.entry, resolved.bucket, resolved.version) == (1, "tercetak", "1")
    assert second == CohortEntryListed(cohort="lapas", entry=2, version="1")
