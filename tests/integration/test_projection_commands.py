"""`rekam projection` and `rekam audit replay --known-at`, as an operator uses them."""

import asyncio
import re
from datetime import datetime, timedelta
from io import BytesIO, TextIOWrapper
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from producers.office.stating import publish
from rekam.domain.events import PersonAccessed, decode
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.segment import open_body, parse
from rekam.domain.topics import SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.keyring import load_readers
from rekam.runtime.postgres import connect
from rekam.runtime.settings import Settings
from tests.support.device_log import in_the_log
from tests.support.history import DESA, Life, captured, nik
from tests.support.processor import produce
from tests.support.terminal import Terminal, fold_log, office_on

FOUND, MISUSE = 1, 2
WHY = ("--reason", "judged wrongly before the fix")


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


def judged(out: str) -> str:
    """Return what a refold answers; the lines after it are the log of its sending."""
    [answer] = [line for line in out.splitlines() if line.startswith("judged again")]
    return answer


@pytest.mark.usefixtures("office")
async def test_refolding_says_how_much_was_judged(terminal: Terminal) -> None:
    code, out = await terminal.run("projection", "refold")
    assert (code, out.splitlines()[-1]) == (0, "judged again: 0 segments")


@pytest.fixture
async def recorded(office: Settings, database: str) -> None:
    """Let two devices be enrolled and have recorded one person each, in two desa."""
    (reader,) = load_readers(office)
    lives = [
        Life(ProducerId(f"dev-{number}"), SigningKey.from_seed(bytes([number]) * 32))
        for number in (1, 2)
    ]
    await asyncio.to_thread(publish, office, [life.enrolment() for life in lives])
    records = [
        (number, life.seal(life.event(captured(number, "r", DESA[number])), reader=reader.public))
        for number, life in enumerate(lives, start=1)
    ]
    assert office.kafka is not None
    await produce(office.kafka, SEGMENTS, records)
    await fold_log(office, database)


@pytest.mark.usefixtures("recorded")
async def test_refolding_takes_producers_regions_and_people(
    terminal: Terminal, tmp_path: Path
) -> None:
    people = tmp_path / "people.txt"
    people.write_text(f"{nik(1)}\n{nik(2)}\n")
    for named, segments in (
        ((), 4),
        (("--producer", "dev-1"), 2),  # its own, and its enrolment
        (("--producer", "dev-1", "--producer", "dev-2"), 3),
        (("--region", "64.08"), 2),
        (("--region", DESA[1]), 1),
        (("--people", str(people), *WHY), 2),
        (("--people", str(people), *WHY, "--producer", "dev-1"), 3),
    ):
        code, out = await terminal.run("projection", "refold", *named)
        assert (code, judged(out)) == (0, f"judged again: {segments} segments"), named


@pytest.mark.usefixtures("recorded")
async def test_refolding_reads_people_from_standard_input(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lines, segments in ((f"{nik(1)}\n", 1), (f"{nik(1)}\r\n{nik(2)}", 2)):
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(lines.encode())))
        code, out = await terminal.run("projection", "refold", "--people", "-", *WHY)
        assert (code, judged(out)) == (0, f"judged again: {segments} segments")


@pytest.mark.usefixtures("recorded")
async def test_refolding_names_what_nothing_is_said_of_and_never_a_nik(
    terminal: Terminal, tmp_path: Path
) -> None:
    people = tmp_path / "people.txt"
    people.write_text(f"{nik(1)}\n{nik(3)}\n")
    for named, told in (
        (("--producer", "dev-9"), "--producer dev-9"),
        (("--region", "11"), "--region 11"),
        (("--region", "Kutai"), "wanted a code with dots"),
        (("--people", str(people), *WHY), "line 2"),
    ):
        code, out = await terminal.run("projection", "refold", *named)
        assert (code, told in out, nik(3) in out) == (MISUSE, True, False), out
    for text, told in (("", "no line"), (f"{nik(1)}\n6408é\n", "line 2"), ("64080400", "line 1")):
        people.write_text(text)
        code, out = await terminal.run("projection", "refold", "--people", str(people), *WHY)
        assert (code, told in out, "6408" in out) == (MISUSE, True, False), out


async def readings(settings: Settings) -> list[tuple[str, str, str]]:
    """Return whom the log says was read of, by which call, and why."""
    (reader,) = load_readers(settings)
    assert settings.kafka is not None
    found: list[tuple[str, str, str]] = []
    for raw in await in_the_log(settings.kafka, SEGMENTS):
        if b'"producer":"api"' not in raw:
            continue
        for line in open_body(parse(raw), reader):
            data = decode(line).data
            if isinstance(data, PersonAccessed):
                found.append((data.nik, data.call, data.reason))
    return found


@pytest.mark.usefixtures("recorded")
async def test_refolding_people_is_recorded_first_like_any_other_reading_of_them(
    terminal: Terminal, office: Settings, tmp_path: Path
) -> None:
    """Also of whom nothing is known: the answer says just that."""
    people = tmp_path / "people.txt"
    people.write_text(f"{nik(1)}\n{nik(3)}\n")
    code, out = await terminal.run("projection", "refold", "--people", str(people))
    assert (code, "give --reason" in out) == (MISUSE, True), out
    for text in (f"he is {nik(1)}", " "):
        named = ("--people", str(people), "--reason", text)
        code, out = await terminal.run("projection", "refold", *named)
        assert (code, "--reason: wanted" in out) == (MISUSE, True), out
    assert not (office.home / "office" / "api").exists()

    code, out = await terminal.run("projection", "refold", "--people", str(people), *WHY)
    assert (code, "line 2" in out) == (MISUSE, True), out
    assert await readings(office) == [(nik(1), "refold", WHY[1]), (nik(3), "refold", WHY[1])]


@pytest.mark.usefixtures("recorded")
async def test_refolding_people_is_refused_when_it_cannot_be_recorded(
    terminal: Terminal, office: Settings, tmp_path: Path
) -> None:
    people = tmp_path / "people.txt"
    people.write_text(f"{nik(1)}\n")
    (office.home / "office" / "api").mkdir()
    code, out = await terminal.run("projection", "refold", "--people", str(people), *WHY)
    assert (code, "judged again" in out, nik(1) in out) == (MISUSE, False, False), out


@pytest.mark.usefixtures("recorded")
async def test_a_replay_tells_statuses_and_the_funnel_as_they_were_known(
    terminal: Terminal,
) -> None:
    today = f"{datetime.now(ZoneInfo('Asia/Makassar')):%F}"
    known = await terminal.json("audit", "replay", "--known-at", today, "--compare")
    assert (known["statuses"], known["difference_count"]) == ({"BIO_CAPTURED": 2}, 0)
    assert known["funnel"]["recorded"] == 2
    assert known["funnel"]["stages"]["recorded"] == {"reached": 2, "here": 2}
    assert known["duplicates"] == {}
    one = await terminal.json("audit", "replay", "--known-at", today, "--region", DESA[1])
    assert (one["region"], one["statuses"]) == (DESA[1], {"BIO_CAPTURED": 1})
    code, out = await terminal.run("audit", "replay", "--known-at", today)
    assert code == 0
    assert "funnel of 2 recorded" in out
    assert re.search(r"BIO_CAPTURED +2\n", out)
    for wrong in (("--known-at", today, "--region", "Kutai"), ("--region", "64.08")):
        assert (await terminal.run("audit", "replay", *wrong))[0] == MISUSE


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
