"""Commands as an operator runs them, on an office whose log is folded by hand."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from producers.office.registrar import ensure_registrar
from rekam.cli.root import run
from rekam.domain.topics import SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import apply_topics
from rekam.runtime.postgres import open_pool
from rekam.runtime.settings import Settings
from stream_processors.configured import folding_settings
from stream_processors.folder import PostgresFolder
from stream_processors.replay.source import read_log
from tests.support.device_log import log_ends
from tests.support.live import fold
from tests.support.office import new_office


async def fold_log(settings: Settings, dsn: str) -> None:
    """Fold what the log holds, as a processor of this office does."""
    rules, root, opener = folding_settings(settings)
    pool = await open_pool(dsn)
    folder = PostgresFolder(pool, SEGMENTS.name, rules, root, opener)
    assert settings.kafka is not None
    try:
        await folder.meet_known_keys()
        ends = await log_ends(settings.kafka, SEGMENTS)
        async for chunk in read_log(settings.kafka, SEGMENTS.name, ends):
            await fold(folder, chunk)
    finally:
        await pool.close()


async def office_on(
    kafka: EmbeddedKafka, *, home: Path, dsn: str, environment: pytest.MonkeyPatch
) -> Settings:
    """Give an office with a registrar, which commands find by the environment."""
    await apply_topics(kafka.bootstrap)
    settings = new_office(home, kafka=kafka.bootstrap)
    environment.setenv("REKAM_HOME", str(home))
    environment.setenv("REKAM_KAFKA", kafka.bootstrap)
    environment.setenv("REKAM_POSTGRES", dsn)
    ensure_registrar(settings).close()
    return settings


class Terminal:
    """Runs commands and reads what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Return exit code and everything printed."""
        self._capsys.readouterr()
        code = await asyncio.to_thread(run, [*arguments])
        told = self._capsys.readouterr()
        return code, told.out + told.err

    async def json(self, *arguments: str) -> Any:
        """Return what a command prints as JSON."""
        code, out = await self.run(*arguments, "--json")
        assert code == 0, out
        return json.loads(out)
