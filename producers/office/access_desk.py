"""The read API's own desk: who reads of people, durable here before anything is answered.

    call ─record─► outbox of the desk (fsync) ─► answer
                        └─ keep_sending ─► Kafka ─► folded like any other event

Its home is made with the first record: an API that nobody asks of people puts nothing on the log.
Where the registrar's home is on this machine too, that enrols the desk by itself; elsewhere a
person does, with the request that lies in its home, and until then the records are kept and held.
"""

import asyncio
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import structlog

from producers.device.clock import DeviceClock
from producers.device.emitter import drain
from producers.device.emitter import run as emit
from producers.device.files import replace_file
from producers.device.home import ProducerHome
from producers.device.kafka_route import KafkaRoute
from producers.office.desk import OfficeDesk, send, state
from producers.office.registrar import ensure_registrar, registrar_folder
from rekam.domain.errors import Misconfigured, OutboxBusy, Unavailable
from rekam.domain.events import AccessRecord, ProducerKind
from rekam.domain.ids import ProducerId
from rekam.runtime.endpoints import kafka_bootstrap
from rekam.runtime.keyring import load_reader_public, load_receipt_public, receipt_public_path
from rekam.runtime.settings import Settings

KIND: Final[ProducerKind] = "api"
DESK: Final = OfficeDesk("api", KIND)
RETRY_SECONDS: Final = 15.0
"""How long to wait before sending is tried again after it could not be begun."""
_REQUEST: Final = "request.json"

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class AccessDesk:
    """Records and sends; a context manager. One of a machine sends, others wait for their turn."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; nothing is opened yet."""
        self._settings = settings
        self._folder = DESK.folder(settings)
        self._home: ProducerHome | None = None
        """The recording thread's own: an outbox is not for use by several threads."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="record-access")
        self._is_made = asyncio.Event()

    def __enter__(self) -> Self:
        if self._folder.exists():
            self._is_made.set()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    async def record(self, accesses: Sequence[AccessRecord]) -> None:
        """Keep all or none; when this returns they survive power loss and will reach the log.

        Raises a RekamError when they cannot be kept.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._record, accesses)
        self._is_made.set()

    async def keep_sending(self, stopping: asyncio.Event) -> None:
        """Send what is recorded until `stopping` is set; what cannot be sent waits, and is logged.

        Raises what is wrong with the outbox.
        """
        await _either(self._is_made, stopping)
        while not stopping.is_set():
            try:
                await self._send(stopping)
            except (Unavailable, Misconfigured) as error:
                log.warning("accesses_wait", error=str(error), retry_seconds=RETRY_SECONDS)
                await _wait(stopping, RETRY_SECONDS)

    async def send_waiting(self) -> None:
        """Send once what is recorded: for a process that ends, where `keep_sending` goes on.

        Raises Unavailable when it must wait: it is kept. Another process that sends takes it, too.
        """
        with ExitStack() as stack:
            homes: list[ProducerHome] = []
            if registrar_folder(self._settings).exists():  # our own enrolment, perhaps
                homes.append(stack.enter_context(ensure_registrar(self._settings)))
            homes.append(stack.enter_context(ProducerHome.open(self._folder)))
            with suppress(OutboxBusy):
                await send(self._settings, homes)

    async def _send(self, stopping: asyncio.Event) -> None:
        settings = self._settings
        with ProducerHome.open(self._folder) as home:
            async with KafkaRoute(kafka_bootstrap(settings), settings.kafka_security) as route:
                if registrar_folder(settings).exists():
                    with ensure_registrar(settings) as registrar:
                        if registrar.outbox.status().unsent_events:  # our own enrolment, perhaps
                            await drain(registrar, route, clock=DeviceClock())
                await emit(home, route, clock=DeviceClock(), stopping=stopping)

    # In the recording thread

    def _record(self, accesses: Sequence[AccessRecord]) -> None:
        if self._home is None:
            self._home = self._open()
        state(self._home, accesses)

    def _open(self) -> ProducerHome:
        settings = self._settings
        with ExitStack() as stack:
            if registrar_folder(settings).exists():
                registrar = stack.enter_context(ensure_registrar(settings))
                home = DESK.open(settings, registrar)
            elif self._folder.exists():
                home = ProducerHome.open(self._folder)
            else:
                home = self._make()
            if receipt_public_path(settings).exists():
                home.trust_receipts([load_receipt_public(settings)])
            return home

    def _make(self) -> ProducerHome:
        """Make the home where nobody can enrol it by itself."""
        home = ProducerHome.create(
            self._folder,
            # Another machine's API may have the same registrar.
            producer=ProducerId(f"{DESK.name}-{secrets.token_hex(4)}"),
            kind=KIND,
            reader=load_reader_public(self._settings),
        )
        request: Path = home.path / _REQUEST
        replace_file(request, msgspec.json.encode(home.enrolment_request()))
        log.warning(
            "access_desk_must_be_enrolled",
            producer=home.producer,
            run=f"rekam office enrol {request} --place CODE",
        )
        return home

    def _close(self) -> None:
        home, self._home = self._home, None
        if home is not None:
            home.close()


async def _either(one: asyncio.Event, other: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waits = [asyncio.create_task(event.wait()) for event in (one, other)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    """Wait, but not beyond `stopping`."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
