"""Commands whose session PostgreSQL ends while they work: told in a sentence, to be repeated."""

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest

from rekam.domain.errors import Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.topics import SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from tests.support.history import Life
from tests.support.processor import produce
from tests.support.terminal import Terminal, fold_log, office_on
from tests.support.waiting import until

END_WAITING = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.mark.parametrize(
    "command",
    [
        ("quarantine", "release", "--all"),
        ("projection", "refold"),
        ("projection", "rebuild", "--switch"),
    ],
    ids=" ".join,
)
async def test_a_command_that_loses_its_session_says_that_it_may_be_repeated(
    *,
    breakable_kafka: EmbeddedKafka,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    settings = await office_on(
        breakable_kafka, home=tmp_path / "home", dsn=database, environment=monkeypatch
    )
    device = Life(ProducerId("dev-x"), SigningKey.from_seed(bytes([33]) * 32))
    request = {"producer": "dev-x", "kind": "recorder", "key": device.key.public.to_text()}
    (tmp_path / "request.json").write_text(json.dumps(request))
    terminal = Terminal(capsys)
    enrol = ("office", "enrol", str(tmp_path / "request.json"))
    assert (await terminal.run(*enrol, "--place", "64.08", "--since", "2017-01-01"))[0] == 0
    await produce(breakable_kafka.bootstrap, SEGMENTS, [(5, b"garbage")])
    await fold_log(settings, database)

    gate, other = await asyncpg.connect(database), await asyncpg.connect(database)
    try:
        async with gate.transaction():
            await gate.execute("SELECT FROM projection_position FOR UPDATE")
            running = asyncio.create_task(terminal.run(*command))

            async def is_ended() -> bool:
                return running.done() or bool(await other.fetchval(END_WAITING))

            await until(is_ended)
            code, told = await running
    finally:
        await gate.close()
        await other.close()
    assert code == Unavailable.exit_code
    assert "it may be repeated" in told
    assert "Traceback" not in told
