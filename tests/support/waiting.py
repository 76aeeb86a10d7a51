"""Wait on a condition that another process brings about."""

import asyncio
from collections.abc import Awaitable, Callable

POLL_SECONDS = 0.02
WAIT_SECONDS_MAX = 120.0


async def until(
    holds: Callable[[], Awaitable[bool]], *, seconds_max: float = WAIT_SECONDS_MAX
) -> None:
    """Return as soon as `holds` is true; raise TimeoutError after the deadline."""
    async with asyncio.timeout(seconds_max):
        while not await holds():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(POLL_SECONDS)
