"""`device run` killed in the middle of appends: what it had answered is in the outbox."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final

import httpx
import pytest

from producers.device.home import ProducerHome
from rekam.domain.events import RecordingCaptured, decode
from rekam.domain.segment import Sealed, open_body, parse
from tests.support.device import READER, new_home
from tests.support.local import Endpoint, RunningDevice, captured

KILLS: Final = 12
WRITERS: Final = 4
ALL_BYTES: Final = 10**8


class Promises:
    """What the endpoint has answered, over all its lives: recording by seq."""

    def __init__(self) -> None:
        self.by_seq: dict[int, str] = {}
        self.sent = 0
        self._enough = asyncio.Event()
        self._wanted = 0

    def next_line(self) -> tuple[str, bytes]:
        self.sent += 1
        return f"st-{self.sent}", captured(self.sent)

    def keep(self, answer: dict[str, object], recording: str) -> None:
        seq = answer["seq"]
        assert isinstance(seq, int)
        assert seq not in self.by_seq
        self.by_seq[seq] = recording
        if len(self.by_seq) >= self._wanted:
            self._enough.set()

    async def until_more(self, count: int) -> None:
        self._wanted = len(self.by_seq) + count
        self._enough.clear()
        await self._enough.wait()


async def write_lines(endpoint: Endpoint, promises: Promises) -> None:
    """Write by the socket until the other side is gone; several lines are always under way."""
    link = await endpoint.link()
    waiting: list[str] = []
    try:
        while True:
            while len(waiting) < 8:
                recording, line = promises.next_line()
                link.writer.write(line + b"\n")
                waiting.append(recording)
            promises.keep(await link.answer(), waiting.pop(0))
    except (ConnectionError, ValueError):
        return  # Killed: an empty or cut line is no answer.
    finally:
        link.writer.close()


async def post_lines(endpoint: Endpoint, promises: Promises) -> None:
    """Write over HTTP until the other side is gone."""
    async with endpoint.client() as client:
        while True:
            recording, line = promises.next_line()
            try:
                answer = await client.post(
                    "/v1/events", content=line, headers={"Content-Type": "application/json"}
                )
            except httpx.TransportError:
                return
            promises.keep(answer.json(), recording)


Writer = Callable[[Endpoint, Promises], Coroutine[None, None, None]]


@pytest.mark.parametrize("write", [write_lines, post_lines])
async def test_every_answered_seq_is_in_the_outbox_after_kills(
    tmp_path: Path, write: Writer
) -> None:
    folder = tmp_path / "home"
    new_home(folder).close()
    promises = Promises()
    choose = random.Random(5)
    for _ in range(KILLS // 2):
        async with RunningDevice(folder) as device, asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS):
                tasks.create_task(write(device.endpoint, promises))
            async with asyncio.timeout(60):
                await promises.until_more(choose.randrange(1, 120))
            device.kill()
    with ProducerHome.open(folder) as home:
        home.outbox.seal_pending(
            signing_key=home.signing_key, reader=home.reader, sealed=Sealed(1, 1, "b")
        )
        held: dict[int, str] = {}
        for one in home.outbox.unsent(limit_bytes=ALL_BYTES):
            for seq, line in enumerate(open_body(parse(one.raw), READER), one.first):
                data = decode(line).data
                if isinstance(data, RecordingCaptured):
                    held[seq] = data.recording
        last = home.outbox.next_seq - 1
    assert promises.by_seq.items() <= held.items()
    assert max(promises.by_seq) <= last
    assert len(set(held.values())) == len(held) <= promises.sent
