"""A device whose home is lost is enrolled again: by the real commands, to what officers read."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from producers.device.clock import DeviceClock
from producers.device.home import ProducerHome
from projections.api.configured import office_of
from rekam.cli.root import run
from rekam.domain.events import Event, encode
from rekam.domain.log import Chunk, LogRecord
from rekam.domain.segment import Sealed
from rekam.domain.topics import SEGMENTS
from rekam.runtime.keyring import load_readers, load_registrar_key
from rekam.runtime.postgres import open_pool
from rekam.runtime.settings import Settings
from stream_processors.folder import PostgresFolder
from stream_processors.intake import Opener
from tests.support.api import Recorded, serving
from tests.support.history import captured
from tests.support.live import fold
from tests.support.office import ALL_BYTES, NOBODY, new_office

TRY_AGAIN = 75
BOTH_ORDERS = pytest.mark.parametrize("is_old_first", [True, False], ids=["old-first", "new-first"])


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Give an office whose keys this machine has, and no Kafka."""
    settings = new_office(tmp_path / "office")
    monkeypatch.setenv("REKAM_HOME", str(settings.home))
    monkeypatch.setenv("REKAM_KAFKA", NOBODY)
    return settings


async def enrolled(
    folder: Path, capsys: pytest.CaptureFixture[str], *options: str, people: range
) -> Path:
    """Make the home of rec-1, have it enrolled, and let it record people."""
    capsys.readouterr()
    init = ["device", "init", "--producer", "rec-1", "--home", str(folder), *options]
    assert await asyncio.to_thread(run, [*init, "--in-container-layer"]) == 0
    request = folder.with_suffix(".json")
    request.write_text(capsys.readouterr().out)
    assert json.loads(request.read_text())["producer"] == "rec-1"
    place = ("--place", "64.08.04", "--since", "2018-01-01")
    assert await asyncio.to_thread(run, ["office", "enrol", str(request), *place]) == TRY_AGAIN
    now = DeviceClock().read()
    with ProducerHome.open(folder) as home:
        home.outbox.append(
            [
                encode(Event(now.wall_ms, now.mono_ms, now.boot, captured(one, f"r-{one}")))
                for one in people
            ]
        )
    return folder


async def fold_all(settings: Settings, dsn: str, *folders: Path) -> None:
    """Fold what waits in these homes, each after the other, all of rec-1 in one partition."""
    rules = office_of(settings, accesses=Recorded()).rules
    root = load_registrar_key(settings)
    opener = Opener(rules=rules, registrar_key=root, readers=list(load_readers(settings)))
    offsets = {0: 0, 1: 0}
    pool = await open_pool(dsn)
    try:
        folder_of = PostgresFolder(pool, SEGMENTS.name, rules, root, opener)
        for folder in folders:
            with ProducerHome.open(folder) as home:
                home.outbox.seal_pending(
                    signing_key=home.signing_key, reader=home.reader, sealed=Sealed(0, 0, "test")
                )
                raws = [one.raw for one in home.outbox.unsent(limit_bytes=ALL_BYTES)]
                partition = int(home.producer == "rec-1")
            now_ms = time.time_ns() // 1_000_000
            records = tuple(
                LogRecord(partition, offsets[partition] + place, now_ms, raw)
                for place, raw in enumerate(raws)
            )
            offsets[partition] += len(records)
            await fold(folder_of, Chunk(SEGMENTS.name, partition, records))
    finally:
        await pool.close()


@BOTH_ORDERS
async def test_a_new_home_of_a_later_epoch_counts_beside_what_the_lost_one_sent(
    office: Settings,
    database: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    is_old_first: bool,
) -> None:
    old = await enrolled(tmp_path / "old", capsys, people=range(3))
    new = await enrolled(tmp_path / "new", capsys, "--epoch", "2", people=range(3, 5))
    homes = (old, new) if is_old_first else (new, old)
    async with serving(database, served=office_of(office, accesses=Recorded())) as client:
        await fold_all(office, database, office.home / "office" / "registrar", *homes)
        ledger = await client.figures("/v1/devices/rec-1/ledger")
        quarantined = await client.figures("/v1/quarantine")
    received = {one["epoch"]: one["received"] for one in ledger["epochs"]}
    assert received == {1: [[1, 3]], 2: [[1, 3]]}, "the second begins with its epoch.opened"
    assert (ledger["suspect"], quarantined["total"]) == (False, 0)
    assert await recorded(database) == 5


async def test_without_a_later_epoch_both_homes_are_one_fork(
    office: Settings, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Why there is the option: whoever sends the same numbers second stands in quarantine."""
    old = await enrolled(tmp_path / "old", capsys, people=range(3))
    new = await enrolled(tmp_path / "new", capsys, people=range(3, 5))
    await fold_all(office, database, office.home / "office" / "registrar", old, new)
    assert await recorded(database) == 3


async def recorded(dsn: str) -> int:
    """Return how many people are recorded."""
    pool = await open_pool(dsn)
    try:
        return int(await pool.fetchval("SELECT coalesce(sum(people), 0) FROM coverage_cell"))
    finally:
        await pool.close()
