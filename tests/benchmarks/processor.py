"""The real stream processor, as `rekam processor run` runs it, over a benchmark's topic.

Writes one line when the first records have come from Kafka: the moment on the monotonic clock,
which all processes of a machine share.
"""

import asyncio
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from rekam.runtime.collection import collect_rarely
from rekam.runtime.logging import configure_logging
from rekam.runtime.postgres import open_pool
from stream_processors.app import ProcessorOptions, run_processor
from stream_processors.commands import CONNECTIONS_MAX
from stream_processors.folder import PostgresFolder
from stream_processors.worker import Hooks
from tests.support.history import REGISTRAR_KEY, RULES, new_opener


@dataclass(slots=True)
class Start:
    """Tells the first fetch, once."""

    is_told: bool = False

    def tell(self, _partition: int, _next_offset: int) -> None:
        """Write the moment unless it was written."""
        if not self.is_told:
            self.is_told = True
            sys.stdout.write(f"{time.monotonic()}\n")
            sys.stdout.flush()


async def _run(dsn: str, bootstrap: str, topic: str, folder: str) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)

    async def open_folder() -> PostgresFolder:
        pool = await open_pool(dsn, connections_max=CONNECTIONS_MAX)
        opened = PostgresFolder(pool, topic, RULES, REGISTRAR_KEY.public, new_opener())
        await opened.meet_known_keys()
        return opened

    options = ProcessorOptions(
        bootstrap=bootstrap, data_dir=Path(folder), group=f"group-{topic}", topic=topic
    )
    await run_processor(options, open_folder, stopping, hooks=Hooks(log_end=Start().tell))


if __name__ == "__main__":
    configure_logging(json=True)
    collect_rarely()
    uvloop.run(_run(*sys.argv[1:]))
