"""The relay's backend: durable before it is answered, and forwarded by and by."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

import structlog

from producers.device.known_time import KnownTime
from producers.gateway.backend import Outcome
from producers.gateway.cursors import Known, ReceiptCache
from producers.gateway.intake import Judged
from producers.gateway.problems import ProblemError
from producers.relay.store import CustodyStore
from rekam.domain.errors import Corrupt, CustodyFull, Unavailable
from rekam.domain.ids import ProducerId
from rekam.domain.log import ArrivalRoute
from rekam.domain.receipt import ReceiptRejected
from rekam.domain.segment import Header

FULL_RETRY_SECONDS: Final = 60.0
"""A full relay waits for its upstream: coming back at once helps nobody."""

RETRY_SECONDS: Final = 5.0
ASKED_MAX: Final = 1_000
"""Producers whose newest receipt is wanted because somebody asked."""

P = ParamSpec("P")
T = TypeVar("T")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Custody:
    """Holds segments for others. All work on the store is done by one thread, in its order."""

    def __init__(
        self,
        store: CustodyStore,
        receipts: ReceiptCache,
        *,
        now_ms: Callable[[], int],
        known_time: KnownTime | None = None,
    ) -> None:
        """Work on a store that its owner closes, after `close`."""
        self._known_time = known_time
        self.receipts = receipts
        self.arrived = asyncio.Event()
        """Set whenever something new is stored; the forwarder clears it."""
        self._store, self._now_ms = store, now_ms
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="custody")
        self._asked: dict[ProducerId, None] = {}
        self._broken: asyncio.Future[object] | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Know the receipts of earlier lives; end at `stopping`, or when the store is corrupt."""
        self._broken = asyncio.get_running_loop().create_future()
        told: asyncio.Future[object] = asyncio.ensure_future(stopping.wait())
        try:
            for raw in await self.with_store(self._store.receipts):
                self._learn(raw)
            await asyncio.wait({told, self._broken}, return_when=asyncio.FIRST_COMPLETED)
            if self._broken.done():
                await self._broken
        finally:
            told.cancel()
            self._broken.cancel()

    def close(self) -> None:
        """Let the store's thread finish what was asked of it, and end it."""
        self._thread.shutdown()

    async def with_store(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something with the store, after whatever was asked of it before.

        A store that contradicts itself ends the relay: raises Corrupt here and out of `run`.
        """

        def call() -> T:
            return work(*args, **kwargs)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except Corrupt as error:
            if self._broken is not None and not self._broken.done():
                self._broken.set_exception(error)
            raise

    @property
    def store(self) -> CustodyStore:
        """Give the store, for `with_store` alone."""
        return self._store

    def receipt_of(self, producer: ProducerId) -> Known | None:
        """Return a producer's newest receipt, and ask upstream for a newer one soon."""
        known = self.receipts.of(producer)
        if known is not None and len(self._asked) < ASKED_MAX:
            self._asked[producer] = None
        return known

    def take_asked(self, count: int) -> list[ProducerId]:
        """Return some of the producers whose receipt was asked for, and forget them."""
        taken = list(self._asked)[:count]
        for producer in taken:
            del self._asked[producer]
        return taken

    async def take(self, judged: Sequence[Judged], *, route: ArrivalRoute) -> list[Outcome]:  # noqa: ARG002
        """Store what may be right; durable when this returns.

        How it came is not kept: to the log it comes by this relay (docs/routes.md).
        """
        outcomes = [self._outcome(one) for one in judged]
        wanted = [
            (one.header, one.hash, one.raw)
            for one, outcome in zip(judged, outcomes, strict=True)
            if outcome.verdict == "custody" and one.header is not None and one.hash is not None
        ]
        if wanted:
            await self._take(wanted)
        return outcomes

    async def _take(self, wanted: list[tuple[Header, str, bytes]]) -> None:
        try:
            new = await self.with_store(self._store.take, wanted, now_ms=self._now_ms())
        except CustodyFull as error:
            log.warning("custody_full", error=str(error))
            raise ProblemError(
                "custody_full",
                "the relay takes nothing more until its upstream has receipted what it holds. "
                "Keep the segments, and send them by another way if there is one",
                retry_after_seconds=FULL_RETRY_SECONDS,
            ) from error
        except Unavailable as error:
            log.warning("custody_unavailable", error=str(error))
            raise ProblemError(
                "custody_unavailable",
                "the relay's disk does not take them now; keep the segments and send them again",
                retry_after_seconds=RETRY_SECONDS,
            ) from error
        log.info("segments_taken", segments=len(wanted), new=new)
        self.arrived.set()

    def _outcome(self, one: Judged) -> Outcome:
        code = None if one.reason is None else one.reason.code
        if one.outlook == "quarantined":
            return Outcome("quarantined", code)
        if one.header is None or one.hash is None:
            # Of a later version: what cannot be read cannot be found in a receipt, and would stay.
            return Outcome("retry", code)
        if one.outlook == "admissible" and self.receipts.is_in_the_log(one.header, one.hash):
            return Outcome("duplicate")
        return Outcome("custody", code)

    async def learn(self, raw: bytes) -> frozenset[str]:
        """Take in a receipt from upstream and let go what it covers; return who had taken that.

        One that no trusted key has signed changes nothing.
        """
        known = self._learn(raw)
        if known is None:
            return frozenset()
        try:
            gone = await self.with_store(self._store.release, known.receipt, known.raw)
        except (CustodyFull, Unavailable) as error:
            # It comes again; what it covers stays until then.
            log.warning("receipt_not_stored", error=str(error))
            return frozenset()
        if gone.segments:
            log.info("segments_released", producer=known.receipt.producer, segments=gone.segments)
        return gone.routes

    def _learn(self, raw: bytes) -> Known | None:
        try:
            known = self.receipts.learn(raw)
        except ReceiptRejected as error:
            log.warning("receipt_rejected", reason=error.reason)
            return None
        if self._known_time is not None:
            self._known_time.note_receipt(known.receipt.as_of_ms)
        return known

    async def missing(self) -> str | None:
        """Return None: a relay that runs takes segments, also while its upstream is away."""
        return None
