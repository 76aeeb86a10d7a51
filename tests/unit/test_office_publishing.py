"""Files that are too large for an event, re-coded places, and dry runs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from producers.office.published import SHOWN_MAX, Difference, PublishedRecord
from rekam.cli.root import run
from rekam.domain.errors import Corrupt
from rekam.domain.events import (
    CohortEntryResolved,
    DenominatorPublished,
    EventData,
    TreePublished,
    decode,
    encode,
)
from rekam.domain.segment import EVENT_BYTES_MAX
from rekam.runtime.settings import Settings
from tests.support.office import NOBODY, new_office, waiting

NIK = "6408080101700001"
TRY_AGAIN, MISUSE = 75, 2
TREE_2017 = ["--version", "2017", "--valid-from", "2017-01-01"]


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = new_office(tmp_path / "home")
    monkeypatch.setenv("REKAM_HOME", str(settings.home))
    monkeypatch.setenv("REKAM_KAFKA", NOBODY)
    return settings


def stated(settings: Settings, name: str = "registrar") -> Sequence[EventData]:
    events = waiting(settings, settings.home / "office" / name)
    for event in events:
        assert decode(encode(event)) == event
        assert len(encode(event)) <= EVENT_BYTES_MAX
    return [event.data for event in events]


def publish_regions(path: Path, *more: str, text: str | None = None) -> int:
    if text is not None:
        path.write_text(text)
    return run(["office", "publish-regions", str(path), *TREE_2017, *more])


def test_a_tree_of_many_regencies_becomes_a_version_of_each(
    office: Settings, tmp_path: Path
) -> None:
    rows = ["kode,nama", "64,KALTIM", "64.08,KUTAI TIMUR", "64.09,PASER"]
    rows += [f"64.{8 + n % 2:02}.{n // 2 % 90:02}.{2001 + n // 180},Desa {n}" for n in range(1600)]
    assert publish_regions(tmp_path / "r.csv", text="\n".join(rows)) == TRY_AGAIN
    facts = stated(office)
    assert all(isinstance(fact, TreePublished) for fact in facts)
    trees = {fact.version: fact for fact in facts if isinstance(fact, TreePublished)}
    assert list(trees) == ["2017/64", "2017/64.08", "2017/64.09"]
    assert [len(tree.regions) for tree in trees.values()] == [1, 801, 801]
    assert {region.code[:5] for region in trees["2017/64.08"].regions} == {"64.08"}


def test_long_names_split_a_tree_before_its_event_is_too_large(
    office: Settings, tmp_path: Path
) -> None:
    rows = ["kode,nama"]
    rows += [f"64.{8 + n % 2:02}.01.{2001 + n // 2},{'Batu ' * 15}{n}" for n in range(900)]
    assert publish_regions(tmp_path / "r.csv", text="\n".join(rows)) == TRY_AGAIN
    assert len(stated(office)) == 2


@pytest.mark.parametrize(
    ("regions", "name", "reason"),
    [(1600, "x", "64.08: 1600 rows; an event holds 1500"), (900, "Batu " * 30, "bytes; an event")],
)
def test_a_regency_that_is_too_large_alone_is_refused_whole(
    office: Settings,
    tmp_path: Path,
    *,
    regions: int,
    name: str,
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [
        "kode,nama",
        *(f"64.08.{n // 99 + 1:02}.{2001 + n % 99},{name}" for n in range(regions)),
    ]
    assert publish_regions(tmp_path / "r.csv", text="\n".join(rows)) == MISUSE
    assert reason in capsys.readouterr().err
    assert not (office.home / "office").exists()


def test_denominators_of_a_nation_become_a_version_a_regency(
    office: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "wajib.csv"
    rows = [f"64.{n % 20:02}.01.{2001 + n // 20},{n}" for n in range(4000)]
    path.write_text("\n".join(["desa,wajib", *rows]))
    arguments = ["office", "publish-denominators", str(path), "--basis", "DKB", *TREE_2017]
    assert run(arguments) == TRY_AGAIN
    facts = stated(office)
    assert len(facts) == 20
    assert all(isinstance(fact, DenominatorPublished) for fact in facts)
    assert sum(len(fact.rows) for fact in facts if isinstance(fact, DenominatorPublished)) == 4000


@pytest.mark.parametrize("version", ["2017", "2016-koreksi"])
def test_a_version_that_no_report_would_use_is_refused(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    """Of versions with the same first day the last one by name stands (docs/coverage.md)."""
    path = tmp_path / "wajib.csv"
    rows = [f"64.{8 + n % 2:02}.01.{2001 + n // 2},{n}" for n in range(3000)]

    def publish(named: str, *rows: str) -> int:
        path.write_text("\n".join(["desa,wajib", *rows]))
        options = ["--basis", "DKB", "--valid-from", "2017-01-01", "--version", named]
        return run(["office", "publish-denominators", str(path), *options])

    assert publish("2017", *rows) == TRY_AGAIN
    before = stated(office)
    assert publish(version, "64.08.01.2001,7") == MISUSE
    assert "1 (2017/64.08)" in capsys.readouterr().err
    assert stated(office) == before
    assert publish(version, "64.10.01.2001,7") == TRY_AGAIN  # nothing stands of this one
    assert publish("2017/64.08", "64.08.01.2001,7") == TRY_AGAIN
    assert publish(version, "64.08.01.2001,7") == MISUSE  # what was stated in between hides nothing
    assert publish("2018", "64.08.01.2001,7") == TRY_AGAIN


def test_a_re_coded_place_is_published_with_its_tree(office: Settings, tmp_path: Path) -> None:
    recoded = tmp_path / "recoded.csv"
    recoded.write_text("kode lama,kode baru\n6408122002,64.08.12.1002\n")
    text = "kode,nama\n64.08,Kutai Timur\n64.08.12,Sangatta Selatan\n64.08.12.1002,Singa Geweh\n"
    assert publish_regions(tmp_path / "r.csv", "--recoded", str(recoded), text=text) == TRY_AGAIN
    (tree,) = stated(office)
    assert isinstance(tree, TreePublished)
    assert tree.mapping == {"64.08.12.2002": "64.08.12.1002"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("64.08.12.2002,64.08.12.1003", "row 2: column baru: 64.08.12.1003 is not in the tree"),
        ("64.08.12,64.08.12.1002", "row 2: column lama: 64.08.12 is still in the tree"),
        ("64.08.12.1002,64.08.12.1002", "row 2: is re-coded to itself"),
        (
            "64.08.11,64.08.12.1002",
            "row 2: column baru: 64.08.12.1002 is a region of another level than 64.08.11",
        ),
    ],
)
def test_a_re_coding_that_the_tree_contradicts_is_refused(
    office: Settings, tmp_path: Path, row: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recoded = tmp_path / "recoded.csv"
    recoded.write_text(f"lama,baru\n{row}\n")
    text = "kode,nama\n64.08,Kutai Timur\n64.08.12,Sangatta Selatan\n64.08.12.1002,Singa Geweh\n"
    assert publish_regions(tmp_path / "r.csv", "--recoded", str(recoded), text=text) == MISUSE
    assert reason in capsys.readouterr().err
    assert not (office.home / "office").exists()


@pytest.mark.usefixtures("office")
def test_a_code_that_was_re_coded_and_never_was_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tree may have been another office's, so it is told and not refused."""
    recoded, path = tmp_path / "recoded.csv", tmp_path / "r.csv"
    recoded.write_text("lama,baru\n64.08.12.2002,64.08.12.1002\n64.80.12.2003,64.08.12.1003\n")
    later = "kode,nama\n64.08.12.1002,Singa Geweh\n64.08.12.1003,Sangatta\n"
    options = ["--recoded", str(recoded), "--version", "2018", "--valid-from", "2018-01-01"]
    publish_regions(path, *options, "--dry-run", text=later)
    assert "not in the tree before" not in capsys.readouterr().err
    publish_regions(path, text="kode,nama\n64.08.12.2002,Singa Geweh\n64.08.12.2003,Sangatta\n")
    for more, code in ((["--dry-run"], 0), ([], TRY_AGAIN), ([], TRY_AGAIN)):
        capsys.readouterr()
        assert publish_regions(path, *options, *more, text=later) == code
        told = capsys.readouterr().err
        assert "re-coded, and not in the tree before that day: 1 (64.80.12.2003)" in told


def test_a_dry_run_says_what_would_change_and_states_nothing(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.csv"
    first = "kode,nama\n64.08,Kutai Timur\n64.08.05,Sangkulirang\n64.08.05.2006,Benua Baru\n"
    later = "kode,nama,luas\n64.08,Kutai Timur\n64.08.05.2006,Benua Baru Ilir\n64.08.06,Busang\n"
    assert publish_regions(path, "--dry-run", text=first) == 0
    assert not (office.home / "office").exists()
    assert "nothing was published from here before" in capsys.readouterr().out
    publish_regions(path, text=first)
    before = stated(office)
    capsys.readouterr()
    assert publish_regions(path, "--dry-run", text=later) == 0
    told = capsys.readouterr().out
    assert "1 added (64.08.06), 1 removed (64.08.05), 1 changed (64.08.05.2006)" in told
    assert "columns passed over: 1" in told
    assert "without the region above them in the file: 1 (64.08.05.2006)" in told
    assert stated(office) == before


@pytest.mark.usefixtures("office")
def test_a_dry_run_compares_with_what_is_valid_then_in_these_regencies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wajib.csv"

    def publish(valid_from: str, text: str, *more: str) -> str:
        path.write_text(f"desa,wajib\n{text}")
        arguments = ["--version", f"DKB {valid_from}", "--basis", "DKB", "--valid-from", valid_from]
        run(["office", "publish-denominators", str(path), *arguments, *more])
        return capsys.readouterr().out

    publish("2016-06-30", "64.08.01.2001,500\n")
    publish("2017-06-30", "64.08.01.2001,510\n64.09.01.2001,7\n")
    publish("2017-12-31", "64.09.01.2001,8\n")
    told = publish("2018-06-30", "64.08.01.2001,505\n64.08.01.2002,3\n", "--dry-run")
    assert "1 added (64.08.01.2002), 0 removed, 1 changed (64.08.01.2001)" in told
    assert "wajib KTP of these regencies before: 510" in told
    assert "0 added, 0 removed, 0 changed" in publish(
        "2016-12-31", "64.08.01.2001,500\n", "--dry-run"
    )


def test_a_version_takes_its_former_days_away_only_when_that_is_meant(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One version is one event: stated again from another day, it leaves the days before."""
    path = tmp_path / "wajib.csv"

    def publish(valid_from: str, *more: str, row: str = "64.08.01.2001,7") -> int:
        path.write_text(f"desa,wajib\n{row}\n")
        options = ["--basis", "DKB", "--valid-from", valid_from, "--version", "DKB-2-2016"]
        capsys.readouterr()
        return run(["office", "publish-denominators", str(path), *options, *more])

    assert publish("2016-12-31") == TRY_AGAIN
    assert publish("2016-12-31") == TRY_AGAIN  # a correction
    assert publish("2017-12-31", "--dry-run", row="64.72.01.1001,5") == 0
    assert "was published from" not in capsys.readouterr().err
    before = stated(office)
    told = (
        "DKB-2-2016 was published from 2016-12-31: "
        "what it says from that day on is taken back and stands from 2017-12-31 alone"
    )
    assert publish("2017-12-31", "--dry-run") == 0
    assert told in capsys.readouterr().err
    assert publish("2017-12-31") == MISUSE
    refusal = capsys.readouterr().err
    assert told in refusal
    assert "Give it a version of its own, or --move-first-day if that is meant" in refusal
    assert stated(office) == before
    assert publish("2017-12-31", "--move-first-day") == TRY_AGAIN
    assert told in capsys.readouterr().err


@pytest.mark.usefixtures("office")
def test_a_tree_takes_its_former_days_away_only_when_that_is_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.csv"
    publish_regions(path, text="kode,nama\n64.08,Kutai Timur\n")
    later = ["--valid-from", "2018-01-01"]
    capsys.readouterr()
    assert publish_regions(path, *later) == MISUSE
    assert "2017 was published from 2017-01-01" in capsys.readouterr().err
    assert publish_regions(path, *later, "--dry-run") == 0
    assert publish_regions(path, *later, "--move-first-day") == TRY_AGAIN
    assert publish_regions(path, *later) == TRY_AGAIN


def test_names_are_looked_up_in_the_tree_that_was_published_here(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wajib = tmp_path / "wajib.csv"
    wajib.write_text("desa,wajib\nBenua Baru,500\n")
    arguments = ["office", "publish-denominators", str(wajib), "--basis", "DKB", *TREE_2017]
    assert run(arguments) == MISUSE
    assert "--regions" in capsys.readouterr().err
    publish_regions(tmp_path / "r.csv", text="kode,nama\n64.08.05.2006,Benua Baru\n")
    assert run(arguments) == TRY_AGAIN
    _, fact = stated(office)
    assert isinstance(fact, DenominatorPublished)
    assert fact.rows[0].desa == "64.08.05.2006"


def test_a_dry_run_of_a_list_tells_entries_and_never_a_nik(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "list.csv"
    arguments = ["office", "publish-cohort", str(path), "--cohort", "lapas", "--title", "Lapas"]
    path.write_text(f"entry,nik,bucket\n1,{NIK},tercetak\n2,,\n")
    run([*arguments, "--version", "1", "--source", "KPU"])
    path.write_text(f"entry,nik,bucket\n1,{NIK},terverifikasi\n3,{NIK},\n")
    capsys.readouterr()
    assert run([*arguments, "--version", "2", "--source", "KPU", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "1 added (3), 1 removed (2), 1 changed (1)" in told
    assert "of a person named before: 1 (3)" in told
    assert "without a NIK: 0" in told
    kept = b"".join(path.read_bytes() for path in (office.home / "office/published").iterdir())
    assert NIK.encode() not in kept
    assert NIK not in told


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_version_of_a_list_gives_no_entry_up(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    """Entries are facts: the dry run would promise a removal that no fold makes."""
    path = tmp_path / "list.csv"
    arguments = ["office", "publish-cohort", str(path), "--cohort", "lapas", "--title", "Lapas"]
    arguments += ["--source", "KPU", *more, "--version"]
    path.write_text("entry,bucket\n1,tercetak\n2,\n")
    assert run([*(one for one in arguments if one != "--dry-run"), "1"]) == TRY_AGAIN
    before = stated(office, "kpu")
    path.write_text("entry,bucket\n1,tercetak\n3,\n")
    assert run([*arguments, "1"]) == MISUSE
    assert "lacks: 1 (2). No version gives an entry up" in capsys.readouterr().err
    assert stated(office, "kpu") == before
    assert run([*arguments, "2"]) == (0 if more else TRY_AGAIN)


@pytest.mark.parametrize("command", ["publish-cohort", "resolve-cohort"])
@pytest.mark.parametrize("bucket", ["unresolved", "unlisted"])
def test_no_source_can_say_that_nobody_has_said_anything(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, bucket: str
) -> None:
    path = tmp_path / "found.csv"
    path.write_text(f"no,hasil\n7,tercetak\n8,{bucket}\n")
    arguments = ["office", command, str(path), "--cohort", "lapas", "--source", "koran"]
    if command == "publish-cohort":
        arguments += ["--version", "1", "--title", "Lapas"]
    assert run(arguments) == MISUSE
    assert f"row 3: column bucket: no source can say {bucket}" in capsys.readouterr().err
    assert not (office.home / "office").exists()


@pytest.mark.parametrize("command", ["publish-cohort", "resolve-cohort"])
@pytest.mark.parametrize("cohort", ["kpu/lapas", " ", "", ".", ".."])
def test_a_list_whose_id_no_address_can_hold_is_refused(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, cohort: str
) -> None:
    """It would be published and never read: /v1/cohorts/{id} is where it is asked for."""
    path = tmp_path / "found.csv"
    path.write_text("no,hasil\n7,tercetak\n")
    arguments = ["office", command, str(path), "--cohort", cohort, "--source", "koran"]
    if command == "publish-cohort":
        arguments += ["--version", "1", "--title", "Lapas"]
    for more in ([], ["--dry-run"]):
        assert run([*arguments, *more]) == MISUSE
        assert "--cohort: wanted an id without slashes" in capsys.readouterr().err
    assert not (office.home / "office").exists()


def test_another_source_states_what_it_found(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "found.csv"
    path.write_text("no,hasil\n7,tidak_ditemukan\n")
    arguments = ["office", "resolve-cohort", str(path), "--cohort", "lapas", "--source", "koran"]
    assert run([*arguments, "--dry-run"]) == 0
    assert "would stand beside what was stated before" in capsys.readouterr().out
    assert run(arguments) == TRY_AGAIN
    assert stated(office, "kpu") == [
        CohortEntryResolved(cohort="lapas", entry=7, bucket="tidak_ditemukan", source="koran")
    ]


def test_a_dry_run_of_statuses_counts_them(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "statuses.csv"
    path.write_text(f"nik,status,tanggal\n{NIK},PROCESSING,01/02/2018\n")
    assert run(["office", "observe-status", str(path), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "PROCESSING: 1" in told
    assert "would stand beside what was stated before" in told
    assert NIK not in told
    assert not (office.home / "office").exists()


@pytest.mark.usefixtures("office")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2018-03-31T14:00", "2018-03-31T06:00Z"),
        ("2018-03-31T14:00+08:00", "31/03/2018 14:00"),
        ("2018-03-31T06:00Z", "2018-03-31T14:00+08:00"),
    ],
)
def test_two_statuses_of_one_moment_contradict_each_other_in_whatever_zone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], first: str, second: str
) -> None:
    path = tmp_path / "statuses.csv"
    path.write_text(f"nik,status,tgl\n{NIK},SENT,{first}\n{NIK},CARD_ISSUED,{second}\n")
    assert run(["office", "observe-status", str(path), "--dry-run"]) == MISUSE
    assert "row 3: contradicts what row 2 says" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("command", "titles"),
    [
        ("observe-status", "nik,status,number,observed at"),
        ("issue-suket", "nik,status,number,issued at"),
    ],
)
def test_what_was_seen_or_issued_at_a_time_that_has_not_come_is_refused_by_row_and_reason(
    office: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    command: str,
    titles: str,
    more: list[str],
) -> None:
    now = datetime.now(UTC)
    moments = [
        f"{now + timedelta(hours=23):%Y-%m-%dT%H:%M+00:00}",  # a clock, or another zone's
        f"{now + timedelta(hours=25):%Y-%m-%dT%H:%M+00:00}",
        "2018-02-01",
        "01/02/2108",
        "9999-12-31T23:00-05:00",
    ]
    path = tmp_path / "statuses.csv"
    rows = [f"{NIK},PROCESSING,471/{n},{moment}" for n, moment in enumerate(moments)]
    path.write_text("\n".join([titles, *rows]))
    assert run(["office", command, str(path), *more]) == MISUSE
    told = capsys.readouterr().err
    assert [number for number in range(2, 7) if f"row {number}:" in told] == [3, 5, 6]
    assert told.count("more than 24 hours after the clock of this machine") == 2
    assert "outside the years" in told
    assert NIK not in told
    assert not (office.home / "office").exists()


@pytest.mark.parametrize(
    ("command", "text", "column"),
    [
        (["observe-status"], f"nik,status,tanggal\n{NIK},{NIK},01/02/2018\n", "status"),
        (["issue-suket"], f"nik,status,nomor,tgl\n{NIK},PROCESSING,A {NIK},01/02/2018\n", "number"),
        (["publish-regions", *TREE_2017], f"kode,nama\n64.08,{NIK}\n", "nama"),
        (
            ["resolve-cohort", "--cohort", "lapas", "--source", "KPU"],
            f"no,hasil\n1,{NIK}\n",
            "bucket",
        ),
    ],
)
def test_a_nik_in_a_column_that_is_shown_is_refused_and_never_told(
    office: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    command: list[str],
    text: str,
    column: str,
) -> None:
    path = tmp_path / "mixed.csv"
    path.write_text(text)
    for more in ([], ["--dry-run"]):
        assert run(["office", command[0], str(path), *command[1:], *more]) == MISUSE
        told = capsys.readouterr()
        assert f"row 2: column {column}: holds a NIK" in told.err
        assert NIK not in told.err + told.out
    assert not (office.home / "office").exists()


def test_a_nik_in_an_option_is_refused_and_never_told(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "found.csv"
    path.write_text("no,hasil\n7,tidak_ditemukan\n")
    arguments = ["office", "resolve-cohort", str(path), "--cohort", "lapas", "--source", NIK]
    assert run(arguments) == MISUSE
    told = capsys.readouterr().err
    assert "source holds a NIK" in told
    assert NIK not in told
    assert not (office.home / "office").exists()


def test_denominators_of_desa_that_the_tree_lacks_are_named(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They may come before their tree: they are taken, and nobody is left to wonder."""
    publish_regions(tmp_path / "r.csv", text="kode,nama\n64.08.05.2006,Benua Baru\n")
    wajib = tmp_path / "wajib.csv"
    wajib.write_text("kode,wajib\n64.08.05.2006,500\n64.08.05.2060,1\n")
    arguments = ["office", "publish-denominators", str(wajib), "--basis", "DKB", *TREE_2017]
    for more, code in ((["--dry-run"], 0), ([], TRY_AGAIN)):
        capsys.readouterr()
        assert run([*arguments, *more]) == code
        assert "not in the tree of that day: 1 (64.08.05.2060)" in capsys.readouterr().err
    assert len(stated(office)) == 2


def test_codes_of_bps_are_told_from_the_published_ones_by_a_dry_run_alone(
    office: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """BPS 6404 is Kutai Timur, which is 64.08; nothing of 64.08 is compared with it or replaced."""
    path, wajib = tmp_path / "r.csv", tmp_path / "wajib.csv"
    publish_regions(path, text="kode,nama\n64.08,Kutai Timur\n64.08.04.2001,Teluk Lingga\n")
    before = stated(office)
    capsys.readouterr()
    bps = "kode,nama\n6404,Kutai Timur\n6404010001,Teluk Lingga\n"
    assert publish_regions(path, "--dry-run", text=bps) == 0
    assert "nothing was published from here before" in capsys.readouterr().out
    wajib.write_text("kode,wajib\n6404010001,500\n")
    arguments = ["office", "publish-denominators", str(wajib), "--basis", "BPS", *TREE_2017]
    assert run([*arguments, "--dry-run"]) == 0
    assert "not in the tree of that day: 1 (64.04.01.0001)" in capsys.readouterr().err
    assert stated(office) == before


@pytest.mark.usefixtures("office")
def test_a_dry_run_knows_each_regency_of_a_version_that_was_stated_of_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.csv"
    kutai_timur = "kode,nama\n64.08,Kutai Timur\n64.08.06,Busang\n"
    publish_regions(path, text=kutai_timur)
    publish_regions(path, text="kode,nama\n64.72,Samarinda\n")
    capsys.readouterr()
    assert publish_regions(path, "--dry-run", text=kutai_timur) == 0
    assert "against it: 0 added, 0 removed, 0 changed" in capsys.readouterr().out


@pytest.mark.usefixtures("office")
def test_a_version_that_begins_later_in_another_regency_is_not_forgotten_in_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reports keep what a version says of each regency, from that regency's own first day on."""
    path = tmp_path / "r.csv"
    later = ["--valid-from", "2018-01-01"]
    kutai_timur = "kode,nama\n64.08,Kutai Timur\n64.08.06,Busang\n"
    publish_regions(path, text=kutai_timur)
    publish_regions(path, *later, text="kode,nama\n64.72,Samarinda\n")
    capsys.readouterr()
    assert publish_regions(path, "--dry-run", text=kutai_timur) == 0
    assert "against it: 0 added, 0 removed, 0 changed" in capsys.readouterr().out
    assert publish_regions(path, *later, text=kutai_timur) == MISUSE
    assert publish_regions(path, *later, "--move-first-day", text=kutai_timur) == TRY_AGAIN
    capsys.readouterr()
    assert publish_regions(path, "--dry-run", text=kutai_timur) == 0
    told = capsys.readouterr()
    assert "nothing was published from here before" in told.out
    assert "2017 was published from 2018-01-01" in told.err


@pytest.mark.usefixtures("office")
def test_a_kecamatan_as_bps_numbers_it_is_no_kemendagri_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "kode,nama\n6404,Kutai Timur\n6404010,Muara Ancalong\n"
    assert publish_regions(tmp_path / "r.csv", text=text) == MISUSE
    told = capsys.readouterr().err
    assert "row 3: column kode: wanted a Kemendagri code" in told
    assert "row 2" not in told


def test_a_damaged_record_is_named_with_what_to_do(office: Settings) -> None:
    record = PublishedRecord.of(office)
    record.folder.mkdir(parents=True)
    (record.folder / "regions-x.json").write_text("{")
    with pytest.raises(Corrupt, match="Remove it"):
        record.publications("regions")


def test_a_long_difference_is_cut_and_counted() -> None:
    many = {str(n): 1 for n in range(SHOWN_MAX + 5)}
    assert "and 5 more" in str(Difference.between({}, many))
    assert str(Difference.between(many, {})).startswith("0 added, 15 removed (0, 1,")
