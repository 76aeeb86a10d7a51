"""`rekam processor run`."""

import asyncio
import signal

import click
import structlog
import uvloop

from projections.ledger.receipts import Registrar
from rekam.runtime.collection import collect_rarely
from rekam.runtime.endpoints import kafka_bootstrap, postgres_dsn
from rekam.runtime.invocation import settings_of
from rekam.runtime.keyring import load_receipt_key
from rekam.runtime.postgres import open_pool
from rekam.runtime.settings import Settings
from stream_processors.app import ProcessorOptions, run_processor
from stream_processors.configured import folding_settings
from stream_processors.folder import PostgresFolder
from stream_processors.places import open_reader
from stream_processors.receipts import ReceiptPublisher, publishing
from stream_processors.release import lift
from stream_processors.replay.shadow import drop_leftovers

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

CONNECTIONS_MAX = 3
"""One folds, one reads positions at a rebalance, one to spare."""


@click.group()
def processor() -> None:
    """Fold the log into the projections."""


@processor.command()
@click.pass_context
def run(context: click.Context) -> None:
    """Fold and publish receipts until SIGTERM or Ctrl-C; any number of these share the work."""
    collect_rarely()
    uvloop.run(_run(settings_of(context)))


async def _run(settings: Settings) -> None:
    rules, root, opener = folding_settings(settings)
    receipt_key = load_receipt_key(settings)
    options = ProcessorOptions(
        bootstrap=kafka_bootstrap(settings),
        data_dir=settings.home / "processor",
        security=settings.kafka_security,
    )
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)

    async def open_folder() -> PostgresFolder:
        pool = await open_pool(
            postgres_dsn(settings),
            connections_max=CONNECTIONS_MAX,
            application_name="rekam-processor",
        )
        folder = PostgresFolder(pool, options.topic, rules, root, opener)
        await folder.require_settings()
        await drop_leftovers(pool)
        await folder.meet_known_keys()
        # What other software or other key files than before can take counts from now on.
        lifted = await lift(
            folder,
            lambda: open_reader(options.bootstrap, options.topic, security=options.security),
        )
        if lifted:
            log.info("held_lifted", records=lifted)
        return folder

    publisher = ReceiptPublisher(
        dsn=postgres_dsn(settings),
        bootstrap=options.bootstrap,
        security=options.security,
        key=receipt_key,
        registrar=Registrar(rules.registrar, root),
    )
    async with publishing(publisher):
        await run_processor(options, open_folder, stopping)
