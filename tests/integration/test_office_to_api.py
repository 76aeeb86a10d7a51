"""From the files that an office has to the answers that officers read, by the real commands."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from producers.device.home import ProducerHome
from projections.api.configured import office_of
from rekam.cli.root import run
from rekam.domain.log import Chunk, LogRecord
from rekam.domain.segment import Sealed
from rekam.domain.topics import SEGMENTS
from rekam.runtime.keyring import load_readers, load_registrar_key
from rekam.runtime.postgres import open_pool
from rekam.runtime.settings import Settings
from stream_processors.folder import PostgresFolder
from stream_processors.intake import Opener
from tests.support.api import Client, Recorded, serving
from tests.support.live import fold
from tests.support.office import ALL_BYTES, NOBODY, new_office
from tests.support.workbooks import CellValue, write_workbook

DUMP = """
CREATE TABLE wilayah (kode varchar(13) NOT NULL, nama varchar(255), PRIMARY KEY (kode));
INSERT INTO wilayah (kode, nama) VALUES
('64','KALIMANTAN TIMUR'),("64.08","KAB.  KUTAI TIMUR"), ( '64.08.09' , 'Bengalon' ),
('64.08.09.2004','Bengalon'),('64.08.09.2001','Sepaso'),('64.08.12','Sangatta Selatan'),
('64.08.12.1002','Singa Geweh'),('64.07','KAB. KUTAI BARAT'),('64.06','KAB. BERAU'),
"""
OTHERS = ",\n".join(f"('64.{6 + n % 2:02}.01.{2001 + n // 2}','Ba''u {n}')" for n in range(1600))
NIK = "6408080101700001"
TRY_AGAIN, MISUSE = 75, 2


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = new_office(tmp_path / "home")
    monkeypatch.setenv("REKAM_HOME", str(settings.home))
    monkeypatch.setenv("REKAM_KAFKA", NOBODY)
    return settings


@pytest.fixture
async def client(office: Settings, database: str) -> AsyncIterator[Client]:
    async with serving(database, served=office_of(office, accesses=Recorded())) as opened:
        yield opened


async def stated(*arguments: str) -> int:
    return await asyncio.to_thread(run, ["office", *arguments])


async def fold_what_waits(settings: Settings, dsn: str, *names: str) -> None:
    """Fold the segments of the office's producers, each from a partition of its own."""
    served = office_of(settings, accesses=Recorded())
    opener = Opener(
        rules=served.rules,
        registrar_key=load_registrar_key(settings),
        readers=list(load_readers(settings)),
    )
    pool = await open_pool(dsn)
    try:
        folder = PostgresFolder(
            pool, SEGMENTS.name, served.rules, load_registrar_key(settings), opener
        )
        for partition, name in enumerate(names):
            with ProducerHome.open(settings.home / "office" / name) as home:
                home.outbox.seal_pending(
                    signing_key=home.signing_key, reader=home.reader, sealed=Sealed(0, 0, "test")
                )
                raws = [one.raw for one in home.outbox.unsent(limit_bytes=ALL_BYTES)]
            now_ms = time.time_ns() // 1_000_000
            records = [LogRecord(partition, n, now_ms + n, raw) for n, raw in enumerate(raws)]
            await fold(folder, Chunk(SEGMENTS.name, partition, tuple(records)))
    finally:
        await pool.close()


async def test_a_national_dump_and_a_sheet_of_names_become_coverage(
    office: Settings, database: str, tmp_path: Path, client: Client
) -> None:
    dump, sheet = tmp_path / "wilayah.sql", tmp_path / "wajib.xlsx"
    dump.write_text(f"{DUMP}{OTHERS};\n")
    tree = ("publish-regions", str(dump), "--version", "2025", "--valid-from", "2017-01-01")
    assert await stated(*tree) == TRY_AGAIN
    rows: list[list[CellValue]] = [
        ["REKAP WAJIB KTP"],
        [],
        ["Kecamatan", "Nama Desa", "Wajib KTP"],
        ["Bengalon", "Bengalon", 700],
        ["Bengalon", "SEPASO", 300.0],
        ["Sangatta  Selatan", "Singa Geweh", 50],
    ]
    write_workbook(sheet, rows)
    basis = ("--version", "DKB-2", "--basis", "DKB", "--valid-from", "2017-12-31")
    assert await stated("publish-denominators", str(sheet), *basis) == TRY_AGAIN
    write_workbook(sheet, [*rows[:3], [None, "Bengalon", 700]])
    assert await stated("publish-denominators", str(sheet), *basis) == MISUSE
    await fold_what_waits(office, database, "registrar")
    answer = await client.figures("/v1/coverage?region=64.08&level=desa")
    assert [(row["region"], row["name"], row["wajib"]) for row in answer["rows"]] == [
        ("64.08.09.2001", "Sepaso", 300),
        ("64.08.09.2004", "Bengalon", 700),
        ("64.08.12.1002", "Singa Geweh", 50),
    ]
    assert answer["totals"]["wajib"] == 1050
    assert [tree["version"] for tree in answer["trees"]] == ["2025/64.08"]
    other = await client.figures("/v1/coverage?region=64.07&level=desa")
    assert len(other["rows"]) == 800


async def test_a_list_and_what_a_paper_says_of_it_become_a_cohort(
    office: Settings, database: str, tmp_path: Path, client: Client
) -> None:
    listed = write_workbook(
        tmp_path / "lapas.xlsx",
        [
            ["No", "NIK", "Kode KPU", "Hasil"],
            [1, NIK, 11, "terverifikasi"],
            [2, None, "U", "tercetak"],
            [3, None, None, None],
        ],
    )
    paper = tmp_path / "koran.csv"
    paper.write_text("no;hasil\n1;tidak_ditemukan\n3;tidak_ditemukan\n")
    named = ("--cohort", "lapas")
    assert (
        await stated(
            *("publish-cohort", str(listed), *named, "--version", "1"),
            *("--title", "Lapas Bontang", "--source", "KPU"),
        )
        == TRY_AGAIN
    )
    assert await stated("resolve-cohort", str(paper), *named, "--source", "koran") == TRY_AGAIN
    await fold_what_waits(office, database, "registrar", "kpu")
    answer = await client.figures("/v1/cohorts/lapas")
    assert (answer["version"], answer["total"], answer["announced"]) == ("1", 3, 3)
    assert answer["buckets"] == {"terverifikasi": 1, "tercetak": 1, "tidak_ditemukan": 1}
    assert answer["codes"] == {"11": 1, "U": 1}
    assert answer["disputed"]["buckets"] == {"terverifikasi": 1}
    assert [word["source"] for word in answer["sources"]] == ["KPU", "koran"]
