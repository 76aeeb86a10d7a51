"""`rekam gateway run`."""

import asyncio
import signal
import time

import click
import uvloop

from producers.gateway.app import Tls, serve
from producers.gateway.cursors import ReceiptCache
from producers.gateway.log import LogBackend
from producers.gateway.serving import Desk
from rekam.runtime.endpoints import kafka_bootstrap
from rekam.runtime.invocation import settings_of
from rekam.runtime.keyring import load_receipt_public
from rekam.runtime.metrics import Metrics
from rekam.runtime.settings import Settings


@click.group()
def gateway() -> None:
    """Take segments over HTTPS and put them into the log."""


@gateway.command()
@click.pass_context
def run(context: click.Context) -> None:
    """Answer on port REKAM_GATEWAY_PORT until SIGTERM or SIGINT; any number share the work.

    With REKAM_GATEWAY_TLS_CERT and REKAM_GATEWAY_TLS_KEY over HTTPS to all, without them on
    127.0.0.1 alone.
    """
    settings = settings_of(context)
    receipt_key = load_receipt_public(settings)
    backend = LogBackend(
        kafka_bootstrap(settings),
        settings.kafka_security,
        receipts=ReceiptCache({receipt_key.id: receipt_key}),
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, backend))


def tls_of(settings: Settings) -> Tls | None:
    """Return the certificate and key of the settings, if they name them."""
    certificate, key = settings.gateway_tls_cert, settings.gateway_tls_key
    return None if certificate is None or key is None else Tls(certificate, key)


async def _run(settings: Settings, backend: LogBackend) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await serve(
        Desk(backend, Metrics(), now_ms=lambda: time.time_ns() // 1_000_000),
        backend,
        port=settings.gateway_port,
        tls=tls_of(settings),
        stopping=stopping,
        started=click.echo,
    )
