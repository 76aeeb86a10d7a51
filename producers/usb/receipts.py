"""Receipts: from a route onto the stick, and from the stick into a device's outbox."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import structlog

from producers.device.clock import Reading
from producers.device.home import ProducerHome
from producers.device.route import Route
from producers.usb.bundle import BUNDLE, RECEIPTS, receipt_path
from producers.usb.disk import Disk, require_folder, told_of
from producers.usb.export import put
from producers.usb.inspection import Keys
from rekam.domain.admission import Reason
from rekam.domain.errors import Misconfigured, Overloaded, RekamError, Unavailable
from rekam.domain.ids import KeyId, ProducerId
from rekam.domain.keys import VerifyKey
from rekam.domain.receipt import (
    RECEIPT_BYTES_MAX,
    Receipt,
    ReceiptRejected,
    open_receipt,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Carried(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A producer's receipt on the stick. `as_of_ms` is known if its key is trusted here."""

    producer: str
    is_written: bool
    as_of_ms: int | None = None
    code: str | None = None
    detail: str | None = None


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What a receipt from a stick meant to the outbox."""

    producer: str
    as_of_ms: int
    receipted_events: int
    """Known to be in the log now that were not known before."""
    requeued_segments: int
    epoch: int
    receipted_through: int
    """Every event of the open `epoch` up to this seq is in the log."""
    is_fork_suspected: bool


class Receipts:
    """The receipts that a route gives, read when asked and remembered."""

    def __init__(self, route: Route, trusted: Keys) -> None:
        """Ask nothing yet."""
        self._route = route
        self._trusted = trusted
        self._raw: dict[ProducerId, bytes] = {}
        self._first: dict[ProducerId, bytes | None] = {}
        self._opened: dict[ProducerId, Receipt] = {}
        self._is_away = False
        self._reasons: dict[str, Reason] = {}

    @property
    def is_away(self) -> bool:
        """Return whether the route has stopped to give receipts."""
        return self._is_away

    @property
    def are_read(self) -> bool:
        """Return whether there is a key here by which to believe any."""
        return bool(self._trusted)

    @property
    def notes(self) -> list[Reason]:
        """Return what stood in the way, once each."""
        return list(self._reasons.values())

    async def of(self, producer: ProducerId) -> Receipt | None:
        """Return a producer's receipt as it was first asked for; None: none that is trusted."""
        if producer not in self._first and not self._is_away:
            await self.refresh(producer)
        return self._opened.get(producer)

    def opened(self, producer: ProducerId) -> Receipt | None:
        """Return a producer's latest receipt, without asking."""
        return self._opened.get(producer)

    def keys_of(self, producer: ProducerId) -> Mapping[KeyId, VerifyKey]:
        """Return the signing keys that the registry gives a producer, as far as is known here."""
        receipt = self._opened.get(producer)
        if receipt is None:
            return {}
        keys = [VerifyKey.from_text(text) for text in receipt.keys]
        return {key.id: key for key in keys}

    def is_newer(self, producer: ProducerId) -> bool:
        """Return whether a producer's receipt is another one than was given first."""
        return self._raw.get(producer) != self._first.get(producer)

    def latest(self, producers: Iterable[ProducerId]) -> dict[ProducerId, bytes]:
        """Return the latest receipts there are, as signed."""
        return {one: self._raw[one] for one in sorted(producers) if one in self._raw}

    async def refresh(self, producer: ProducerId) -> None:
        """Ask the route again. What goes wrong is noted: an import goes on without receipts."""
        try:
            raw = await self._route.receipt(producer)
        except (Unavailable, Overloaded) as error:
            self._is_away = True
            self._reasons["receipts_away"] = Reason(
                "receipts_away", f"{error}. Later: rekam usb receipts FOLDER"
            )
            return
        self._first.setdefault(producer, raw)
        if raw is None:
            return
        if not self._trusted:
            self._reasons["receipts_unread"] = Reason(
                "receipts_unread",
                "no receipt.pub on this machine, so they are carried unread; devices check them",
            )
        else:
            try:
                opened = open_receipt(raw, self._trusted)
            except ReceiptRejected as error:
                self._reasons[error.reason] = Reason(error.reason, error.detail)
                return
            if opened.producer != producer:
                return
            self._opened[producer] = opened
        self._raw[producer] = raw


def carry(
    root: Path, disk: Disk, receipts: Mapping[ProducerId, bytes], trusted: Keys
) -> tuple[Carried, ...]:
    """Write receipts onto the stick, unless a newer one of the same producer lies there.

    A stick that takes none (write-protected, full, gone) is told in the result: an import does not
    fail for it.
    """
    return tuple(_carry(root, disk, producer, raw, trusted) for producer, raw in receipts.items())


def _carry(root: Path, disk: Disk, producer: ProducerId, raw: bytes, trusted: Keys) -> Carried:
    as_of_ms = _as_of(raw, producer, trusted)
    path = receipt_path(producer)
    try:
        with told_of(root):
            for folder in (root / BUNDLE, root / BUNDLE / RECEIPTS):
                disk.make_folder(folder)
            there = _read(root / path, disk)
            if there != raw:
                if there is not None and (_as_of(there, producer, trusted) or 0) > (as_of_ms or 0):
                    # Another office has carried a newer one.
                    return Carried(producer=producer, is_written=False, as_of_ms=as_of_ms)
                put(disk, root / path.parent, [(path.name, raw)])
    except RekamError as error:
        return Carried(
            producer=producer,
            is_written=False,
            as_of_ms=as_of_ms,
            code=error.code,
            detail=str(error),
        )
    return Carried(producer=producer, is_written=True, as_of_ms=as_of_ms)


def _read(path: Path, disk: Disk) -> bytes | None:
    try:
        return disk.read(path, bytes_max=RECEIPT_BYTES_MAX)
    except FileNotFoundError:
        return None


def _as_of(raw: bytes, producer: ProducerId, trusted: Keys) -> int | None:
    try:
        receipt = open_receipt(raw, trusted)
    except ReceiptRejected:
        return None  # what is not believed has no age
    return receipt.as_of_ms if receipt.producer == producer else None


def apply_receipt(home: ProducerHome, root: Path, *, disk: Disk, now: Reading) -> Applied:
    """Take the receipt of this producer from the stick at `root` into its outbox; idempotent.

    Raises Misconfigured when there is none, or none that this home trusts; what the outbox holds
    stays as it was then.
    """
    require_folder(root)
    path = root / receipt_path(home.producer)
    with told_of(root):
        raw = _read(path, disk)
    if raw is None:
        raise Misconfigured(
            [
                (
                    f"{root} holds no {receipt_path(home.producer)}; run `rekam usb import` or "
                    "`rekam usb receipts` at the office first"
                )
            ]
        )
    receipt = open_receipt(raw, home.receipt_keys)
    if receipt.producer != home.producer:
        raise ReceiptRejected(
            "receipt_foreign",
            f"it is that of {receipt.producer}, under another name; let the office write it again",
        )
    receipted = requeued = 0
    is_fork_suspected = False
    for epoch in receipt.epochs:
        effect = home.outbox.apply_receipt(epoch, raw=raw, as_of_ms=receipt.as_of_ms, now=now)
        receipted += effect.receipted_events
        requeued += effect.requeued_segments
        is_fork_suspected |= effect.is_fork_suspected
    status = home.outbox.status()
    log.info(
        "receipt_imported",
        producer=home.producer,
        as_of_ms=receipt.as_of_ms,
        receipted_events=receipted,
        requeued_segments=requeued,
        is_fork_suspected=is_fork_suspected,
    )
    return Applied(
        producer=home.producer,
        as_of_ms=receipt.as_of_ms,
        receipted_events=receipted,
        requeued_segments=requeued,
        epoch=status.epoch,
        receipted_through=status.receipted_through,
        is_fork_suspected=is_fork_suspected,
    )
