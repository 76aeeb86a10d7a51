"""`rekam projection` and `rekam audit replay --known-at`, as an operator uses them."""

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.topics import SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.keyring import load_readers
from rekam.runtime.postgres import connect
from rekam.runtime.settings import Settings
from tests.support.history import Life, captured
from tests.support.processor import produce
from tests.support.terminal import Terminal, fold_log, office_on

FOUND, MISUSE = 1, 2


@pytest.fixture
async def office(
    breakable_kafka: EmbeddedKafka, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Give an office whose log holds a segment of a device that nobody knows, folded."""
    settings = await office_on(
        breakable_kafka, home=tmp_path / "home", dsn=database, environment=monkeypatch
    )
    device = Life(ProducerId("dev-x"), SigningKey.from_seed(bytes([33]) * 32))
    (reader,) = load_readers(settings)
    segment = device.seal(device.event(captured(1, "r")), reader=reader.public)
    await produce(breakable_kafka.bootstrap, SEGMENTS, [(5, segment), (5, b"garbage")])
    await fold_log(settings, database)
    return settings


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


@pytest.mark.usefixtures("office")
async def test_projections_are_listed_with_their_rows_and_digests(terminal: Terminal) -> None:
    code, out = await terminal.run("projection", "list")
    assert (code, "held_record                        1 rows" in out) == (0, True), out
    listed = await terminal.json("projection", "list")
    assert (listed["rows"]["quarantined_record"], listed["positions"]) == (1, {"5": 2})
    told = await terminal.json("projection", "digest")
    assert told["digests"] == listed["digests"]
    code, out = await terminal.run("projection", "digest")
    assert (code, told["digests"]["quarantine"][:32] in out) == (0, True)


@pytest.mark.usefixtures("office")
async def test_a_rebuild_tells_what_differs_and_a_switch_mends_it(
    terminal: Terminal, database: str
) -> None:
    assert (await terminal.json("projection", "rebuild"))["equal"]
    connection = await connect(database)
    try:
        await connection.execute("TRUNCATE quarantined_record")
    finally:
        await connection.close()
    code, out = await terminal.run("projection", "rebuild")
    assert code == FOUND
    assert "quarantine" in out
    assert "DIFFERS" in out
    assert "--switch" in out
    code, out = await terminal.run("projection", "rebuild", "--switch")
    assert (code, "switched" in out) == (0, True), out
    assert (await terminal.json("projection", "list"))["rows"]["quarantined_record"] == 1


@pytest.mark.usefixtures("office")
async def test_refolding_says_how_much_was_judged(terminal: Terminal) -> None:
    code, out = await terminal.run("projection", "refold")
    assert (code, out.splitlines()[-1]) == (0, "judged again: 0 segments")


@pytest.mark.usefixtures("office")
async def test_a_replay_stops_at_a_day_or_an_instant(terminal: Terminal) -> None:
    today = datetime.now(ZoneInfo("Asia/Makassar"))
    yesterday = today - timedelta(days=1)
    known = await terminal.json("audit", "replay", "--known-at", f"{today:%F}", "--compare")
    assert (known["records"], known["recorded"], known["difference_count"]) == (2, 0, 0)
    known = await terminal.json("audit", "replay", "--known-at", yesterday.isoformat())
    assert known["records"] == 0
    code, out = await terminal.run("audit", "replay", "--known-at", f"{yesterday:%F}")
    assert (code, "0 segments were known" in out) == (0, True)
    for wrong in (
        ("--known-at", yesterday.isoformat(), "--compare"),
        ("--known-at", "kemarin"),
        ("--as-of", "2018-03-31"),
    ):
        assert (await terminal.run("audit", "replay", *wrong))[0] == MISUSE
