"""The relay's composition root: a gateway's calls before a store, and a forwarder behind it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import structlog

from producers.device.files import sole_emitter
from producers.device.known_time import KnownTime
from producers.device.outbox_file import files_of
from producers.device.route import Route
from producers.gateway.app import Tls, serve
from producers.gateway.cursors import ReceiptCache
from producers.gateway.serving import Desk, Limits
from producers.relay.custody import Custody
from producers.relay.forwarder import Forwarder, ForwarderOptions
from producers.relay.store import (
    LOCK_FILE,
    STORAGE,
    STORE_BYTES_MAX,
    STORE_FILE,
    CustodyStore,
)
from rekam.domain.errors import Misconfigured
from rekam.domain.ids import KeyId
from rekam.domain.keys import VerifyKey
from rekam.runtime.metrics import Metrics

STOP_SECONDS_MAX: Final = 5.0
"""How long a send upstream may go on after `stopping` is set; then it is sent again next time."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayOptions:
    """How one relay is served."""

    port: int
    """0: a free one."""
    tls: Tls | None = None
    bytes_max: int = STORE_BYTES_MAX
    forwarder: ForwarderOptions = field(default_factory=ForwarderOptions)
    limits: Limits = field(default_factory=Limits)


async def run_relay(
    home: Path,
    routes: Sequence[Route],
    *,
    trusted: Mapping[KeyId, VerifyKey],
    options: RelayOptions,
    now_ms: Callable[[], int],
    stopping: asyncio.Event,
    started: Callable[[str], None] = lambda _address: None,
    known_time: KnownTime | None = None,
) -> None:
    """Take custody of segments and forward them until `stopping` is set; stops the routes.

    `known_time` learns from upstream what devices are told of the time.
    Raises OutboxBusy when another relay works in this home, Misconfigured, Unavailable (the port
    is taken), and Corrupt when the store contradicts itself. A home that was made for it is gone
    again when it did not come to take anything.
    """
    has_started = False

    def note_start(address: str) -> None:
        nonlocal has_started
        has_started = True
        started(address)

    with _owned_store(home, bytes_max=options.bytes_max, is_used=lambda: has_started) as store:
        await serve_store(
            store,
            routes,
            trusted=trusted,
            options=options,
            now_ms=now_ms,
            stopping=stopping,
            started=note_start,
            known_time=known_time,
        )


async def serve_store(
    store: CustodyStore,
    routes: Sequence[Route],
    *,
    trusted: Mapping[KeyId, VerifyKey],
    options: RelayOptions,
    now_ms: Callable[[], int],
    stopping: asyncio.Event,
    started: Callable[[str], None] = lambda _address: None,
    known_time: KnownTime | None = None,
) -> None:
    """Do what `run_relay` does, with a store that its owner closes."""
    async with AsyncExitStack() as stack:
        for route in routes:
            stack.push_async_callback(route.stop)
        custody = Custody(store, ReceiptCache(trusted), now_ms=now_ms, known_time=known_time)
        stack.callback(custody.close)
        forwarder = Forwarder(
            custody, routes, now_ms=now_ms, options=options.forwarder, known_time=known_time
        )
        told_ms = now_ms if known_time is None else known_time.now_ms
        desk = Desk(custody, Metrics(), now_ms=told_ms, limits=options.limits)
        async with asyncio.TaskGroup() as tasks:
            ending = asyncio.Event()
            forwarding = tasks.create_task(forwarder.run(ending), name="forwarder")
            await serve(
                desk,
                custody,
                port=options.port,
                tls=options.tls,
                stopping=stopping,
                started=started,
            )
            ending.set()
            await asyncio.wait({forwarding}, timeout=STOP_SECONDS_MAX)
            if forwarding.cancel():
                log.warning("upstream_send_given_up", waited_seconds=STOP_SECONDS_MAX)


@contextmanager
def _owned_store(
    home: Path, *, bytes_max: int, is_used: Callable[[], bool]
) -> Iterator[CustodyStore]:
    """Be the one relay of a home, which is made if it is not there, while the block runs.

    When the block fails before the home is used, what was made is removed.
    """
    home = home.absolute()
    made = [folder for folder in (home, *home.parents) if not folder.exists()]
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(
            [f"--home {home}: wanted a folder that can be written ({error.strerror})"]
        ) from error
    with sole_emitter(home / LOCK_FILE):
        try:
            with CustodyStore.open(
                home / STORE_FILE, storage=replace(STORAGE, bytes_max=bytes_max)
            ) as store:
                yield store
        except BaseException:
            # While the lock is ours: nobody else can have begun here.
            if made and not is_used():
                _remove(made)
            raise


def _remove(made: Sequence[Path]) -> None:
    """Remove a new home with its empty store, and the folders that were made for it."""
    home, *_ = made
    for file in (*files_of(home / STORE_FILE), home / LOCK_FILE):
        file.unlink(missing_ok=True)
    with suppress(OSError):  # Somebody has put something there meanwhile.
        for folder in made:
            folder.rmdir()
