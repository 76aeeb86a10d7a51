"""What an office states reaches a real log: at once, or with the next command."""

import asyncio
import io
from pathlib import Path

import pytest

from rekam.cli.root import run
from rekam.domain.events import (
    ClockAnchored,
    DuplicateResolved,
    ProducerEnrolled,
    StatusObserved,
    decode,
)
from rekam.domain.topics import SEGMENTS
from rekam.embedded.kafka import EmbeddedKafka
from rekam.runtime.kafka import apply_topics
from rekam.runtime.keyring import load_readers, load_registrar_key
from tests.support.device_log import in_the_log
from tests.support.office import NOBODY, new_office
from tests.support.simulated import opened

NIK = "6408080101700001"


async def test_what_was_kept_goes_with_the_next_command_and_clocks_are_anchored(
    breakable_kafka: EmbeddedKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await apply_topics(breakable_kafka.bootstrap)
    settings = new_office(tmp_path / "home", kafka=breakable_kafka.bootstrap)
    table = tmp_path / "statuses.csv"
    table.write_text(f"nik,status,observed_at\n{NIK},PROCESSING,2018-01-01\n")
    arguments = ["office", "observe-status", str(table)]
    monkeypatch.setenv("REKAM_HOME", str(settings.home))
    monkeypatch.setenv("REKAM_KAFKA", NOBODY)
    assert await asyncio.to_thread(run, arguments) == 75
    monkeypatch.setenv("REKAM_KAFKA", breakable_kafka.bootstrap)
    assert await asyncio.to_thread(run, arguments) == 0
    (reader,) = load_readers(settings)
    lines = opened(
        await in_the_log(breakable_kafka.bootstrap, SEGMENTS),
        registrar=load_registrar_key(settings),
        reader=reader,
    )
    said = [(producer, type(decode(line).data)) for (producer, _, _), line in lines.items()]
    assert sorted(said, key=str) == sorted(
        [
            ("registrar", ProducerEnrolled),
            ("registrar", ClockAnchored),
            ("centre", StatusObserved),
            ("centre", StatusObserved),
            ("centre", ClockAnchored),
        ],
        key=str,
    )


async def test_a_resolution_is_told_as_stated_since_the_desk_cannot_know_what_else_stands(
    breakable_kafka: EmbeddedKafka,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await apply_topics(breakable_kafka.bootstrap)
    settings = new_office(tmp_path / "home", kafka=breakable_kafka.bootstrap)
    monkeypatch.setenv("REKAM_HOME", str(settings.home))
    monkeypatch.setenv("REKAM_KAFKA", breakable_kafka.bootstrap)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{NIK}\n"))
    arguments = ["--kind", "two_recordings", "--outcome", "same_person", "--reason", "sama"]
    looked_at = ["--recording", "recorder-01/1/7"]
    assert (
        await asyncio.to_thread(run, ["office", "resolve-duplicate", *arguments, *looked_at]) == 0
    )
    told = capsys.readouterr()
    assert "stated two_recordings: same_person, 1 recordings looked at" in told.out
    assert "settled when these are all that stand" in told.err
    (reader,) = load_readers(settings)
    lines = opened(
        await in_the_log(breakable_kafka.bootstrap, SEGMENTS),
        registrar=load_registrar_key(settings),
        reader=reader,
    )
    assert DuplicateResolved in [type(decode(line).data) for line in lines.values()]
