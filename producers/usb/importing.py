"""Stick to log: whatever is whole goes on, whatever is not is refused with its reason.

No state of its own: every import reads the stick anew, and the log counts a segment once however
often it comes. What a receipt shows to be there already is not sent again.

    look at one producer's epoch ─► send what is whole, oldest first ─► the next one
    … ─► wait until receipts cover it ─► write the receipts onto the stick
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import msgspec
import structlog

from producers.device.route import ALLOWED_BYTES_MAX, Route, SegmentVerdict
from producers.usb.bundle import Life, sha256
from producers.usb.disk import Disk, require_folder, told_of
from producers.usb.inspection import (
    Folder,
    Found,
    Keys,
    Reader,
    Refusal,
    inspect,
    lives_on,
    logged_already,
    waits_for_now,
)
from producers.usb.progress import Report
from producers.usb.receipts import Carried, Receipts, carry
from rekam.domain.admission import Reason
from rekam.domain.errors import Overloaded, RekamError, Unavailable
from rekam.domain.receipt import Receipt
from rekam.domain.segment import SEGMENT_BYTES_MAX

SEND_BYTES_MAX: Final = 4 * 1024 * 1024
"""Segments in memory at a time. A send begins with less, and grows while the route is quick."""

SEND_SEGMENTS_MAX: Final = 500
QUICK_SECONDS: Final = 1.0

SEGMENTS_MAX: Final = 100_000
"""Segments of one import: about 1 KB of memory each."""

PAUSES_MAX: Final = 10
"""How often in a row a route may ask to be left alone for a while."""

PAUSE_SECONDS_MAX: Final = 60.0
RECEIPT_POLL_SECONDS: Final = 0.5

HELD_CODES: Final = frozenset({"unknown_producer", "unknown_key", "unknown_version"})
"""Codes beside which a gateway's `logged` means: in the log, and held there."""

Verdict = Literal["accepted", "duplicate", "held", "custody", "quarantined", "refused", "retry"]

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one segment, or of something else that lay on the stick.

    `name` may be printed. `is_receipted`: a trusted receipt says that the log holds these bytes.
    """

    name: str
    verdict: Verdict
    first: int | None = None
    last: int | None = None
    producer: str | None = None
    epoch: int | None = None
    code: str | None = None
    detail: str | None = None
    is_receipted: bool = False


class Note(msgspec.Struct, frozen=True):
    """Something of a bundle that is not as it should be, and held nothing back."""

    name: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """All that happened. `interrupted` is why it ended early, if it did."""

    results: tuple[Result, ...]
    notes: tuple[Note, ...]
    """What is wrong with manifests; the segments beside them were judged by themselves."""
    receipt_notes: tuple[Note, ...]
    """Why receipts are not known here, or not all of them."""
    carried: tuple[Carried, ...]
    lives_left: tuple[Life, ...]
    """Those that were not looked at, because it ended early."""
    bytes_sent: int
    interrupted: RekamError | None

    @property
    def is_whole(self) -> bool:
        """Return whether everything on the stick was as it should be."""
        bad = {"quarantined", "refused"}
        return not self.notes and not any(one.verdict in bad for one in self.results)

    @property
    def retry_segments(self) -> int:
        """Return how many segments nobody has taken yet."""
        return sum(one.verdict == "retry" for one in self.results)

    @property
    def custody_segments(self) -> int:
        """Return how many segments a relay keeps, of which no receipt says that they arrived."""
        return sum(one.verdict == "custody" and not one.is_receipted for one in self.results)


@dataclass(slots=True)
class _Progress:
    """One life: what was found, and what the route said. Written by `_Import` alone."""

    folder: Folder
    before: Receipt | None
    sent: dict[str, SegmentVerdict] = field(default_factory=dict)
    """By file name."""
    lost: dict[str, Reason] = field(default_factory=dict)
    """Files that were whole when they were looked at, and not when they were to be sent."""

    def logged(self, receipt: Receipt | None) -> set[str]:
        epoch = None if receipt is None else receipt.of_epoch(self.folder.life.epoch)
        return logged_already(self.folder.found, epoch)


async def import_bundle(
    root: Path,
    route: Route,
    *,
    disk: Disk,
    trusted: Keys,
    wait_seconds: float,
    report: Report,
) -> Imported:
    """Send everything whole on the stick at `root`; say what became of each thing that lies there.

    `trusted` are the keys whose receipts count. Waits at most `wait_seconds` for receipts that
    cover what was sent, and writes the newest onto the stick. Ends early, and says so in
    `interrupted`, when the route or the stick goes away: run it again. Raises StickUnusable when
    there is no bundle.
    """
    require_folder(root)
    reader = Reader(root, disk)
    with told_of(root):
        lives, refused = await asyncio.to_thread(lives_on, reader)
    work = _Import(reader, route, receipts=Receipts(route, trusted), report=report)
    interrupted: RekamError | None = None
    report.begin("mengirim / sending", bytes_total=None)
    try:
        for life in lives:
            await work.take(life)
    except RekamError as error:
        interrupted = error
    else:
        report.begin("menunggu tanda terima / waiting for receipts", bytes_total=None)
        await work.wait_for_receipts(wait_seconds)
    carried = await asyncio.to_thread(
        carry, root, disk, work.receipts.latest({life.producer for life in lives}), trusted
    )
    imported = Imported(
        results=(*map(_refused, refused), *work.results()),
        notes=tuple(work.notes()),
        receipt_notes=tuple(Note("receipts", one.code, one.detail) for one in work.receipts.notes),
        carried=carried,
        lives_left=tuple(life for life in lives if life not in work.lives),
        bytes_sent=work.bytes_sent,
        interrupted=interrupted,
    )
    log.info(
        "bundle_imported",
        producers=len({life.producer for life in lives}),
        results=len(imported.results),
        bytes=imported.bytes_sent,
        interrupted=None if interrupted is None else interrupted.code,
    )
    return imported


class _Import:
    """One import. `take` is called for each life in turn, then the rest once."""

    def __init__(self, reader: Reader, route: Route, *, receipts: Receipts, report: Report) -> None:
        self._reader, self._route, self._report = reader, route, report
        self.receipts = receipts
        self.bytes_sent = 0
        self._send_bytes = ALLOWED_BYTES_MAX
        self._taken: list[_Progress] = []

    @property
    def lives(self) -> set[Life]:
        """Return the lives that were looked at."""
        return {one.folder.life for one in self._taken}

    async def take(self, life: Life) -> None:
        """Look at a life's folder and send what is whole and not there yet. Raises when it ends."""
        before = await self.receipts.of(life.producer)
        with told_of(self._reader.root):
            folder = await asyncio.to_thread(
                inspect,
                self._reader,
                life,
                keys=self.receipts.keys_of(life.producer),
                advance=self._report.advance,
            )
        progress = _Progress(folder, before)
        self._taken.append(progress)
        if sum(len(one.folder.found) for one in self._taken) > SEGMENTS_MAX:
            raise Overloaded(
                f"{self._reader.root} holds more than {SEGMENTS_MAX} segments; what came before "
                f"{life.producer} is sent. Copy the rest to another folder and import it apart"
            )
        known = progress.logged(before)
        waiting = [one for one in folder.found if not one.hash or one.hash not in known]
        while waiting:
            batch, waiting = _split(waiting, self._send_bytes)
            await self._send(batch, progress)

    async def _send(self, batch: Sequence[Found], progress: _Progress) -> None:
        life = progress.folder.life
        with told_of(self._reader.root):
            files = await asyncio.to_thread(_read, self._reader, life, batch, progress.lost)
        pauses = 0
        while files:
            started = time.monotonic()
            try:
                delivery = await self._route.send([raw for _, raw in files], producer=life.producer)
            except (Unavailable, Overloaded) as error:
                pauses += 1
                if error.retry_after_seconds is None or pauses > PAUSES_MAX:
                    raise
                await asyncio.sleep(min(error.retry_after_seconds, PAUSE_SECONDS_MAX))
                continue
            is_quick = time.monotonic() - started < QUICK_SECONDS
            self._send_bytes = (
                min(self._send_bytes * 2, SEND_BYTES_MAX) if is_quick else (ALLOWED_BYTES_MAX)
            )
            left: list[tuple[Found, bytes]] = []
            for (one, raw), verdict in zip(files, delivery.verdicts, strict=True):
                progress.sent[one.name] = verdict
                if verdict.verdict == "retry":
                    left.append((one, raw))
                else:
                    self.bytes_sent += len(raw)
            if len(left) == len(files):
                # It takes nothing of it; the others may fare better.
                return
            files = left

    async def wait_for_receipts(self, seconds: float) -> None:
        """Ask for receipts until they cover what the log took, or `seconds` are over."""
        deadline = time.monotonic() + seconds
        waiting = [one for one in self._taken if _went_to_log(one)]
        while waiting:
            for producer in sorted({one.folder.life.producer for one in waiting}):
                await self.receipts.refresh(producer)
                if self.receipts.is_away:
                    return
            waiting = [one for one in waiting if not self._is_covered(one)]
            left = deadline - time.monotonic()
            if not waiting or left <= 0:
                return
            await asyncio.sleep(min(RECEIPT_POLL_SECONDS, left))

    def _is_covered(self, progress: _Progress) -> bool:
        producer = progress.folder.life.producer
        if not self.receipts.are_read:
            # What it says cannot be believed here; that it is a new one is all there is to see.
            return self.receipts.is_newer(producer)
        logged = progress.logged(self.receipts.opened(producer))
        return all(
            one.hash in logged
            for one in progress.folder.found
            if one.hash and one.name in progress.sent
        )

    def results(self) -> list[Result]:
        """Return what became of everything in the folders that were taken, in order."""
        found: list[Result] = []
        for progress in self._taken:
            life = progress.folder.life
            receipt = self.receipts.opened(life.producer)
            keys = self.receipts.keys_of(life.producer)
            known, logged = progress.logged(progress.before), progress.logged(receipt)
            found += [_refused(one, life) for one in progress.folder.refused]
            found += [
                _result(
                    life,
                    one,
                    *self._verdict(progress, one, keys, is_known=one.hash in known),
                    is_receipted=one.hash in logged,
                )
                for one in progress.folder.found
            ]
        return found

    def _verdict(
        self, progress: _Progress, one: Found, keys: Keys, *, is_known: bool
    ) -> tuple[Verdict, Reason | None]:
        if one.name in progress.lost:
            return "refused", progress.lost[one.name]
        if is_known:
            return "duplicate", None
        sent = progress.sent.get(one.name)
        if sent is None:
            return "retry", Reason("not_sent", "the import ended before; run it again")
        waits = waits_for_now(one, keys)
        match sent.verdict:
            case "retry":
                return "retry", _said(sent)
            case "refused":
                return "quarantined", _said(sent)
            case "custody":
                return "custody", _said(sent)
            case "logged" if sent.code in HELD_CODES:
                return "held", waits or _said(sent)
            case "logged" if self._route.label != "kafka":
                # A gateway has judged it with the registry's keys, which may be unknown here.
                return "accepted", _said(sent)
            case "logged" if waits is None:
                return "accepted", None
            case _:
                assert waits is not None  # noqa: S101 - the case above
                return ("held" if waits.code in HELD_CODES else "quarantined"), waits

    def notes(self) -> list[Note]:
        """Return what is wrong with manifests."""
        return [
            Note(str(one.folder.life.folder), one.folder.note.code, one.folder.note.detail)
            for one in self._taken
            if one.folder.note is not None
        ]


def _split(waiting: list[Found], bytes_max: int) -> tuple[list[Found], list[Found]]:
    """Return the next batch, at least one segment, and the rest."""
    count, room = 0, bytes_max
    for one in waiting[:SEND_SEGMENTS_MAX]:
        room -= one.size
        if count and room < 0:
            break
        count += 1
    return waiting[:count], waiting[count:]


def _read(
    reader: Reader, life: Life, batch: Sequence[Found], lost: dict[str, Reason]
) -> list[tuple[Found, bytes]]:
    """Read the files of a batch again; those that are not what they were go to `lost`."""
    files: list[tuple[Found, bytes]] = []
    for one in batch:
        raw = reader.read(life.folder / one.name, bytes_max=SEGMENT_BYTES_MAX)
        if isinstance(raw, Reason):
            lost[one.name] = raw
        elif sha256(raw) != one.sha256:
            lost[one.name] = Reason(
                "file_differs", "it changed while it was imported; export again, to another stick"
            )
        else:
            files.append((one, raw))
    return files


def _went_to_log(progress: _Progress) -> bool:
    return any(verdict.verdict in {"logged", "custody"} for verdict in progress.sent.values())


def _said(sent: SegmentVerdict) -> Reason | None:
    return None if sent.code is None else Reason(sent.code, "said by the route; docs/errors.md")


def _refused(refusal: Refusal, life: Life | None = None) -> Result:
    return Result(
        name=refusal.name,
        producer=None if life is None else life.producer,
        epoch=None if life is None else life.epoch,
        verdict="refused",
        first=refusal.first,
        last=refusal.last,
        code=refusal.reason.code,
        detail=refusal.reason.detail,
    )


def _result(
    life: Life, one: Found, verdict: Verdict, reason: Reason | None, *, is_receipted: bool
) -> Result:
    return Result(
        name=f"{life.folder}/{one.name}",
        verdict=verdict,
        first=one.first,
        last=one.last,
        producer=life.producer,
        epoch=life.epoch,
        code=None if reason is None else reason.code,
        detail=None if reason is None else reason.detail,
        is_receipted=is_receipted,
    )
