"""A simulated regency as a process of its own, and what it has put on the log."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from projections.rules import Rules
from rekam.domain.clocks import OfficeZone
from rekam.domain.events import ProducerEnrolled, decode
from rekam.domain.keys import ReaderPrivateKey, VerifyKey
from rekam.domain.segment import open_body, parse, verify
from rekam.domain.topics import SEGMENTS
from rekam.runtime.keyring import (
    load_nik_key,
    load_person_key,
    load_readers,
    load_registrar_key,
)
from rekam.runtime.settings import Settings
from stream_processors.intake import Opener
from stream_processors.replay.rebuild import rebuild
from stream_processors.replay.source import read_log
from tests.support.device_log import log_ends
from tests.support.machine import command

LINE_SECONDS_MAX = 60.0

EventId = tuple[str, int, int]


class SimulatorLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of its standard output."""

    appended: int
    sent: int
    total: int
    phase: str


class RunningSimulator:
    """One `rekam simulate`; killed when it is left."""

    def __init__(self, home: Path, kafka: str, *arguments: str) -> None:
        self._arguments = arguments
        self._environ = {
            **{name: text for name, text in os.environ.items() if not name.startswith("REKAM_")},
            "REKAM_HOME": str(home),
            "REKAM_KAFKA": kafka,
        }
        self._process: asyncio.subprocess.Process
        self.lines: list[SimulatorLine] = []

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *command("simulate", *self._arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._environ,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()

    async def until(self, holds: Callable[[SimulatorLine], bool]) -> SimulatorLine | None:
        """Return the first line of which it is true; None when the process ends before."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LINE_SECONDS_MAX):
            while raw := await self._process.stdout.readline():
                line = msgspec.json.decode(raw, type=SimulatorLine)
                self.lines.append(line)
                if holds(line):
                    return line
        return None

    async def ended(self) -> int:
        """Return the exit code once it has ended by itself."""
        await self.until(lambda _: False)
        return await self._process.wait()

    def terminate(self) -> None:
        """Ask for an orderly end."""
        self._process.terminate()

    async def kill(self) -> None:
        """End it as a power cut would; nothing happens when it has ended."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


def opened(
    raws: Sequence[bytes], *, registrar: VerifyKey, reader: ReaderPrivateKey
) -> Mapping[EventId, bytes]:
    """Return every event by its id. Fails on a bad signature, an unknown key and a fork."""
    keys: dict[str, VerifyKey] = {registrar.id: registrar}
    lines: dict[EventId, bytes] = {}
    segments = {segment.hash: segment for segment in map(parse, raws)}
    # Enrolments may lie behind what they allow, so the registrar is read first.
    for segment in sorted(segments.values(), key=lambda one: one.header.key != registrar.id):
        header = segment.header
        verify(segment, keys[header.key])
        for seq, line in enumerate(open_body(segment, reader), start=header.first):
            event_id = (header.producer, header.epoch, seq)
            # Copies of a segment have one hash; another segment with the same seq is a fork.
            assert event_id not in lines, f"fork at {event_id}"
            lines[event_id] = line
            if header.key == registrar.id and isinstance(
                enrolled := decode(line).data, ProducerEnrolled
            ):
                key = VerifyKey.from_text(enrolled.key)
                keys[key.id] = key
    return lines


async def projected(
    settings: Settings, bootstrap: str, topic: str
) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of every projection's tables, folded from the log in memory."""
    rules = Rules(
        zone=OfficeZone(settings.time_zone),
        registrar=settings.registrar,
        person_key=load_person_key(settings),
        nik_key=load_nik_key(settings),
    )
    root = load_registrar_key(settings)
    opener = Opener(rules=rules, registrar_key=root, readers=load_readers(settings))
    ends = await log_ends(bootstrap, replace(SEGMENTS, name=topic))
    store = await rebuild(read_log(bootstrap, topic, ends), rules=rules, root=root, opener=opener)
    return {name: [tuple(row) for row in rows] for name, rows in store.tables().items()}
