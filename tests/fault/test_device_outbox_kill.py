"""Processes that are killed inside a transaction, and that write at the same time."""

import asyncio
import sys
from itertools import chain
from pathlib import Path

import pytest

from producers.device.home import ProducerHome
from rekam.domain.events import decode
from rekam.domain.segment import Sealed, open_body, parse, verify
from tests.support.device import READER, new_home

KILLED = -9

DIE_IN_SEAL = """
import os, signal, sys
from pathlib import Path
from producers.device.home import ProducerHome
from rekam.domain.segment import Sealed
home = ProducerHome.open(Path(sys.argv[1]))
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
connection = home.outbox._connection
if sys.argv[2] == "before_commit":
    connection.set_commit_hook(die)
else:
    connection.set_wal_hook(die)
home.outbox.seal_pending(signing_key=home.signing_key, reader=home.reader, sealed=Sealed(1, 1, "b"))
"""

APPEND_MANY = """
import sys
from pathlib import Path
from producers.device.home import ProducerHome
with ProducerHome.open(Path(sys.argv[1])) as home:
    for number in range(200):
        line = b'{"type":"device.heartbeat.v1","wall_ms":1,"mono_ms":1,"boot":"b",' \\
            b'"data":{"queue_events":%d}}' % (int(sys.argv[2]) * 1000 + number)
        (seq,) = home.outbox.append([line])
        print(seq, int(sys.argv[2]) * 1000 + number, flush=True)
"""

HOLD = """
import signal, sys
from pathlib import Path
from producers.device.home import ProducerHome
with ProducerHome.open(Path(sys.argv[1])) as home, home.emitting():
    print("held", flush=True)
    signal.pause()
"""


async def python(script: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, *arguments, stdout=asyncio.subprocess.PIPE
    )


def beat(number: int) -> bytes:
    return (
        b'{"type":"device.heartbeat.v1","wall_ms":1,"mono_ms":1,"boot":"b",'
        b'"data":{"queue_events":%d}}' % number
    )


@pytest.mark.parametrize(("moment", "sealed_segments"), [("before_commit", 0), ("after_commit", 1)])
async def test_a_kill_while_sealing_leaves_each_event_in_one_place(
    tmp_path: Path, moment: str, sealed_segments: int
) -> None:
    lines = [beat(number) for number in range(7)]
    with new_home(tmp_path) as home:
        home.outbox.append(lines)
    process = await python(DIE_IN_SEAL, str(tmp_path), moment)
    await process.communicate()
    assert process.returncode == KILLED
    with ProducerHome.open(tmp_path) as home:
        before = home.outbox.unsent(limit_bytes=10**6)
        assert len(before) == sealed_segments
        assert home.outbox.status().unsent_events == 7
        home.outbox.seal_pending(
            signing_key=home.signing_key, reader=home.reader, sealed=Sealed(1, 1, "b")
        )
        after = home.outbox.unsent(limit_bytes=10**6)
        assert after[: len(before)] == before
        for one in after:
            verify(parse(one.raw), home.signing_key.public)
        assert [line for one in after for line in open_body(parse(one.raw), READER)] == lines


async def test_processes_that_append_at_once_get_distinct_gapless_numbers(tmp_path: Path) -> None:
    with new_home(tmp_path) as home:
        processes = [await python(APPEND_MANY, str(tmp_path), str(number)) for number in range(3)]
        outputs = [(await process.communicate())[0] for process in processes]
        answers = [line.split() for line in chain(*(output.splitlines() for output in outputs))]
        promised = {int(seq): int(number) for seq, number in answers}
        assert sorted(promised) == list(range(1, 601))
        home.outbox.seal_pending(
            signing_key=home.signing_key, reader=home.reader, sealed=Sealed(1, 1, "b")
        )
        found = [
            decode(line).data
            for one in home.outbox.unsent(limit_bytes=10**6)
            for line in open_body(parse(one.raw), READER)
        ]
    assert [getattr(data, "queue_events", None) for data in found] == [
        promised[seq] for seq in range(1, 601)
    ]


async def test_a_killed_emitter_leaves_no_lock_behind(tmp_path: Path) -> None:
    with new_home(tmp_path) as home:
        process = await python(HOLD, str(tmp_path))
        assert process.stdout is not None
        assert await process.stdout.readline() == b"held\n"
        assert home.emitter_pid() == process.pid
        process.kill()
        await process.communicate()
        assert home.emitter_pid() is None
        with home.emitting():
            pass
