"""A read beside a computation: sent off before it begins, and its errors are its own."""

import asyncio
import socket
from collections.abc import Callable, Coroutine

import pytest
import uvloop

from projections.reading import read_beside

ANSWER_SECONDS_MAX = 10.0

Run = Callable[[Coroutine[object, object, None]], None]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_the_question_is_sent_off_before_the_computation_begins(run: Run) -> None:
    ours, theirs = socket.socketpair()
    theirs.settimeout(ANSWER_SECONDS_MAX)

    def compute() -> bytes:
        question = theirs.recv(1)  # nothing comes while the loop keeps it back: it stands still
        theirs.send(b"!")
        return question

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(sock=ours)

        async def read() -> bytes:
            writer.write(b"?")
            return await reader.readexactly(1)

        assert await read_beside(compute, read()) == (b"?", b"!")
        writer.close()
        await writer.wait_closed()

    with theirs:
        run(ask())


async def test_an_error_of_the_read_passes_and_nothing_is_computed_any_more() -> None:
    computed: list[str] = []

    async def read() -> None:
        raise ConnectionError("away")

    with pytest.raises(ConnectionError, match="away"):
        await read_beside(lambda: computed.append("too late"), read())
    await asyncio.sleep(0)
    assert not computed


async def test_an_error_of_the_computation_waits_until_the_read_is_over() -> None:
    over: list[str] = []

    async def read() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        over.append("read")

    def compute() -> None:
        raise ZeroDivisionError

    # The connection is asked nothing more while it is still being answered.
    with pytest.raises(ZeroDivisionError):
        await read_beside(compute, read())
    assert over == ["read"]
