"""A rebuild with a switch as a process to be killed: `python -m … DSN BOOTSTRAP TOPIC`."""

import asyncio
import sys

from stream_processors.replay.shadow import Log, rebuild_tables
from tests.support.history import REGISTRAR_KEY, RULES, new_opener


async def _run(dsn: str, bootstrap: str, topic: str) -> None:
    await rebuild_tables(
        dsn,
        Log(bootstrap, topic),
        rules=RULES,
        root=REGISTRAR_KEY.public,
        opener=new_opener(),
        is_switching=True,
    )


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
