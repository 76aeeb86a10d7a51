"""`rekam quarantine` and `rekam held` on a real log and database, as an operator uses them."""

import json
from pathlib import Path

import pytest

from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.topics import SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.keyring import load_readers
from rekam.runtime.settings import Settings
from tests.support.history import Life, captured, nik
from tests.support.processor import produce
from tests.support.terminal import Terminal, fold_log, office_on

GARBAGE = b"garbage"
PARTITION = 5


@pytest.fixture
async def office(
    breakable_kafka: EmbeddedKafka, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Give an office whose log holds garbage and a segment of a device that nobody knows."""
    settings = await office_on(
        breakable_kafka, home=tmp_path / "home", dsn=database, environment=monkeypatch
    )
    device = Life(ProducerId("dev-x"), SigningKey.from_seed(bytes([33]) * 32))
    (reader,) = load_readers(settings)
    unknown = b'{"type":"a.b.v9","wall_ms":1,"mono_ms":1,"boot":"b","data":{}}'
    segment = device.seal(
        device.event(captured(1, "r")), lines=[unknown, b"not json"], reader=reader.public
    )
    await produce(breakable_kafka.bootstrap, SEGMENTS, [(PARTITION, GARBAGE), (PARTITION, segment)])
    request = {"producer": "dev-x", "kind": "recorder", "key": device.key.public.to_text()}
    (tmp_path / "request.json").write_text(json.dumps(request))
    await fold_log(settings, database)
    return settings


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


@pytest.mark.usefixtures("office")
async def test_what_does_not_count_is_listed_and_shown_with_what_would_release_it(
    terminal: Terminal,
) -> None:
    code, out = await terminal.run("quarantine", "list")
    assert code == 0
    assert f"{PARTITION}:0" in out
    assert "1 quarantined: 1 not_a_segment" in out
    waiting = await terminal.json("held", "list", "--producer", "dev-x")
    assert [entry["reason"] for entry in waiting["entries"]] == ["unknown_producer"]
    assert (await terminal.json("held", "list", "--older-than", "3"))["entries"] == []
    code, out = await terminal.run("held", "show", f"{PARTITION}:1")
    assert code == 0
    assert f"{SEGMENTS.name} partition {PARTITION} offset 1" in out
    assert "claims       dev-x/1 1-3" in out
    assert "would release it: The producer's enrolment" in out
    assert nik(1) not in out
    shown = await terminal.json("quarantine", "show", f"{PARTITION}:0")
    assert (shown["bytes"], shown["header"]) == (len(GARBAGE), None)


@pytest.mark.usefixtures("office")
async def test_what_is_still_refused_ends_with_1_and_stays(terminal: Terminal) -> None:
    code, out = await terminal.run("quarantine", "release", f"{PARTITION}:0")
    assert code == 1
    assert f"{PARTITION}:0: still not_a_segment" in out
    code, out = await terminal.run("quarantine", "release", "--all")
    assert code == 1
    assert "decided again: 2 records" in out
    assert (await terminal.json("quarantine", "list"))["total"] == 1
    assert (await terminal.run("quarantine", "release"))[0] == 2
    assert (await terminal.run("quarantine", "show", f"{PARTITION}:77"))[0] == 1
    assert (await terminal.run("held", "retry"))[0] == 0


@pytest.mark.usefixtures("office")
async def test_what_is_not_folded_yet_is_not_said_to_be_decided(
    breakable_kafka: EmbeddedKafka, terminal: Terminal
) -> None:
    await produce(breakable_kafka.bootstrap, SEGMENTS, [(PARTITION, b"more garbage")])
    ahead, folded = f"{PARTITION}:2", f"{PARTITION}:0"
    code, out = await terminal.run("quarantine", "release", ahead)
    assert code == 1
    assert "decided again: 0 records" in out
    assert f"{ahead}: not folded yet: the processor decides" in out
    code, out = await terminal.run("quarantine", "release", folded, ahead, "--json")
    assert code == 1
    assert '"records":1,' in out
    assert f'"not_folded":[[{PARTITION},2]]' in out


async def test_a_discard_leaves_the_list_and_is_listed_with_who_and_why(
    office: Settings, database: str, terminal: Terminal
) -> None:
    discard = ("quarantine", "discard", f"{PARTITION}:0", "--reason", "uji coba", "--yes")
    code, out = await terminal.run(*discard)
    assert code == 0
    assert out.startswith(f"discarded: {PARTITION}:0\n")
    await fold_log(office, database)
    assert (await terminal.json("quarantine", "list"))["total"] == 0
    [found] = (await terminal.json("quarantine", "list", "--discarded"))["discards"]
    assert (found["by"], found["reason"], found["range"]) == (office.registrar, "uji coba", None)
    code, out = await terminal.run("quarantine", "list", "--discarded")
    assert "by registrar: uji coba" in out


async def test_what_counts_cannot_be_discarded(
    office: Settings, database: str, tmp_path: Path, terminal: Terminal
) -> None:
    request = str(tmp_path / "request.json")
    enrol = ("office", "enrol", request, "--place", "64.08", "--since", "2017-01-01")
    assert (await terminal.run(*enrol))[0] == 0
    await fold_log(office, database)
    place = f"{PARTITION}:1"
    discard = ("quarantine", "discard", place, "--reason", "x", "--yes")
    code, out = await terminal.run(*discard)
    assert code == 2
    assert "--seq: 2, 3" in out
    assert (await terminal.run(*discard, "--seq", "1-2"))[0] == 2
    named = ("quarantine", "discard", place, "--seq", "2", "--reason", nik(1), "--yes")
    assert (await terminal.run(*named))[0] == 2
    code, out = await terminal.run(*discard, "--seq", "2-3")
    assert code == 0
    assert out.startswith(f"discarded: {place}, seq 2-3\n")
    await fold_log(office, database)
    assert (await terminal.json("held", "list"))["total"] == 0
    assert (await terminal.json("quarantine", "list"))["reasons"] == {"not_a_segment": 1}
    code, out = await terminal.run("quarantine", "discard", f"{PARTITION}:9", "--reason", "x")
    assert code == 2
    assert "withdraw the recording" in out
