"""The outbox: the durable queue of one producer, in SQLite.

    append ─► event rows ─seal─► unsent ─take─► taken ─receipt─► receipted ─prune─► gone

Any number of processes may append beside one that emits: each write is one `BEGIN IMMEDIATE`
transaction, so SQLite lets one writer in at a time and numbers stay distinct and gapless. Two
*emitters* would send everything twice; `ProducerHome.emitting` refuses the second one.

A segment is stored before anything is sent, and the same transaction removes its plain event rows
(overwritten with zeros: they name people). Nothing but a signed receipt ever lets a segment go.
"""

import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar, cast

import apsw
import structlog

from producers.device import refusals
from producers.device.clock import BootSession, Reading
from producers.device.epochs import chain_head, committed_events, open_epoch, sealed_through
from producers.device.files import sync_folder
from producers.device.lanes import lane_of
from producers.device.outbox_file import (
    DEFAULT_STORAGE,
    PAGE_BYTES,
    ROOM_BYTES,
    Ballast,
    Storage,
    Transaction,
    connect,
    empty_wal,
    fitting,
    lay_out_wal,
    snapshot,
    spare_bytes,
    translated,
    wal_of,
)
from producers.device.outbox_rows import (
    PLACE_MAX,
    START,
    OutboxStatus,
    Overdue,
    Place,
    ReceiptEffect,
    Refused,
    StoredSegment,
)
from producers.device.outbox_schema import make_tables, require_tables
from producers.device.receipting import apply_receipt
from producers.device.sealing import (
    COMPONENT,
    Head,
    head_of,
    is_event,
    is_segment_whole,
    line_of,
    seal_prefix,
    sealable,
)
from rekam.domain import segment as segments
from rekam.domain.errors import Corrupt, Misconfigured, OutboxFull, SegmentRejected
from rekam.domain.events import EpochOpened, FaultReported
from rekam.domain.ids import Epoch, ProducerId, Seq
from rekam.domain.keys import ReaderPublicKey, SigningKey
from rekam.domain.receipt import EpochReceipt, Receipt
from rekam.domain.segment import SEGMENT_EVENTS_MAX, Sealed
from rekam.runtime.queries import load_queries

T = TypeVar("T")
__all__ = [
    "PLACE_MAX",
    "START",
    "Outbox",
    "OutboxStatus",
    "Overdue",
    "Place",
    "ReceiptEffect",
    "Refused",
    "StoredSegment",
]

WARNED_PERCENT: Final = 80
REFUSED_PERCENT: Final = 95
"""Share of the budget beyond which `append` refuses; sealing and taking have what is above it."""

CRITICAL_REFUSED_PERCENT: Final = 98
"""The same for lines of the critical lane alone."""

LOOKED_AT_EVERY_BYTES: Final = 64 * 1024
"""How much is appended between two looks at budget and ballast: a look costs CPU."""

LEFT_BYTES_MIN: Final = 256 * 1024
"""With less on the disk and in the file the next append may be refused: it is called full."""

LOOKED_AT_ALWAYS_PERCENT: Final = 75
"""Above this share of the budget, each append looks."""

HEALTH_SLOTS_MAX: Final = 32
DIAGNOSTICS_MAX: Final = 200

BOOTS_MAX: Final = 500
"""Most boot sessions that are anchored at once; the rest follows at the next contact."""

PRUNED_AT_ONCE_MAX: Final = 200
"""Segments that one transaction removes, and fewer of large ones (ROOM_BYTES)."""

_SQL = load_queries("producers.device")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Outbox:
    """One connection to an outbox; a context manager. Not for use by several threads."""

    def __init__(self, path: Path, connection: apsw.Connection, *, storage: Storage) -> None:
        """Take over an open connection; use `create` or `open`."""
        self._path = path
        self._connection = connection
        self._writing = Transaction(connection, path)
        self._bytes_max = storage.bytes_max
        self._pages_max = storage.bytes_max // PAGE_BYTES
        self._ballast = Ballast(path, storage.ballast_bytes)
        self._boots: set[str] = set()
        self._unseen_bytes = LOOKED_AT_EVERY_BYTES  # so that the first append looks
        self._is_nearly_full = False
        self._keeps_wal = False
        producer = connection.execute(_SQL["select_outbox"]).get
        if producer is None or connection.execute(_SQL["select_open_epoch"]).get is None:
            raise Corrupt(f"{path} does not say whose outbox it is; restore it or enrol again")
        self.producer = ProducerId(producer)

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        producer: ProducerId,
        epoch: Epoch = Epoch(1),  # noqa: B008 - a NewType's call gives an int
        storage: Storage = DEFAULT_STORAGE,
    ) -> Self:
        """Make an empty outbox, readable by its owner alone; durable when this returns.

        Raises Misconfigured when there is a file of that name, or when the disk or SQLite cannot
        keep what is promised.
        """
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError as error:
            raise Misconfigured(
                [f"{path} exists already; it may hold events, so nothing was done"]
            ) from error
        connection = connect(path, storage)
        with Transaction(connection, path):
            make_tables(connection)
            connection.execute(_SQL["insert_outbox"], (producer,))
            connection.execute(_SQL["insert_epoch"], (epoch, 0))
        outbox = cls(path, connection, storage=storage)
        outbox._ballast.restore()
        sync_folder(path.parent)
        return outbox

    @classmethod
    def open(cls, path: Path, *, storage: Storage = DEFAULT_STORAGE) -> Self:
        """Open an outbox; other processes may have it open too.

        Raises Misconfigured when there is none, when another version of this software made it, or
        when the disk or SQLite cannot keep what is promised; Corrupt when it is damaged or
        something else.
        """
        if not path.is_file():
            raise Misconfigured(
                [
                    (
                        f"{path} does not exist; run `rekam device init`, or, if it was lost, "
                        "`rekam device new-epoch`"
                    )
                ]
            )
        connection = connect(path, storage)
        try:
            with translated(path):
                require_tables(connection, path)
                outbox = cls(path, connection, storage=storage)
        except BaseException:
            connection.close()
            raise
        outbox._ballast.restore()
        return outbox

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def make_ready(self) -> None:
        """Make the appends of a process that stays as quick as they get; durable when it returns.

        Writes some 4 MB, once: the WAL gets its full length, and keeps it until the last process
        closes the outbox. Nothing is done where the disk is short of room.
        """
        if self._ballast.is_whole and self._ballast.disk_free_bytes() >= 2 * ROOM_BYTES:
            with translated(self._path):
                self._keeps_wal = lay_out_wal(self._connection, self._path)

    # -- recording -----------------------------------------------------------------------------

    @property
    def epoch(self) -> Epoch:
        """Return the open epoch."""
        with translated(self._path):
            return open_epoch(self._connection)[0]

    @property
    def next_seq(self) -> int:
        """Return the seq that the next append gets, unless another process appends before."""
        with translated(self._path):
            return self._last_seq() + 1

    def append(
        self,
        lines: Sequence[bytes],
        *,
        anchored: Mapping[str, int] | None = None,
        by_relay: Mapping[str, int] | None = None,
    ) -> range:
        """Store encoded events (`rekam.domain.events.encode`) in one transaction; give their seqs.

        When this returns they survive power loss (one fsync; tests/benchmarks/appends.py). All or
        none are stored. `anchored` remembers, in the same transaction, the clock offset that the
        lines announce for boot sessions; `by_relay`, which they announce by a relay's word.
        Raises EventRejected for a line that is no event or passes EVENT_BYTES_MAX; OutboxFull at
        REFUSED_PERCENT of the budget (CRITICAL_REFUSED_PERCENT when all lines are of the critical
        lane) or on a full disk, where fewer lines may still fit; OutboxBusy when another process
        writes for longer than BUSY_MS_MAX.
        """
        heads = [head_of(line) for line in lines]
        self._unseen_bytes += sum(map(len, lines))
        is_looking = self._unseen_bytes >= LOOKED_AT_EVERY_BYTES or self._is_nearly_full
        may_use_last_room = is_looking and all(lane_of(head.type) == "critical" for head in heads)
        if (
            is_looking
            and not may_use_last_room
            and not (
                self._ballast.restore() or self._ballast.leaves_room(spare_bytes(self._connection))
            )
        ):
            raise OutboxFull(
                f"the disk of {self._path} is full. Everything in the outbox stays and can be "
                "sent; free disk space, or send (`rekam device sync`)"
            )
        with self._writing:
            seqs = self._insert(lines, heads)
            for boot, offset_ms in (anchored or {}).items():
                self._connection.execute(_SQL["update_boot"], (offset_ms, boot))
            for boot, offset_ms in (by_relay or {}).items():
                self._connection.execute(_SQL["upsert_relay_anchor"], (boot, offset_ms))
            if is_looking:
                self._require_room(
                    CRITICAL_REFUSED_PERCENT if may_use_last_room else REFUSED_PERCENT
                )
        self._boots.update(head.boot for head in heads)
        return seqs

    def _require_room(self, percent_max: int) -> None:
        """Raise OutboxFull when the open transaction takes more than its share of the budget."""
        used = self._used_pages()
        self._unseen_bytes = 0
        self._is_nearly_full = used * 100 > self._pages_max * LOOKED_AT_ALWAYS_PERCENT
        if used * 100 > self._pages_max * percent_max:
            raise OutboxFull(
                f"{self._path} would use {used * PAGE_BYTES} of its {self._bytes_max} bytes; "
                f"recording stops at {percent_max} %. Everything in it stays; send "
                "(`rekam device sync`, or a USB stick) and bring receipts back"
            )

    def put_health(self, slot: str, line: bytes) -> None:
        """Keep an event of the health lane; the latest of a slot replaces the one before.

        Durable when this returns. It gets its seq when it is sealed. Raises EventRejected for a
        line that is no event, OutboxFull for more than HEALTH_SLOTS_MAX slots or on a full disk.
        """
        head_of(line)
        with self._writing as connection:
            if connection.execute(_SQL["count_other_slots"], (slot,)).get >= HEALTH_SLOTS_MAX:
                raise OutboxFull(f"{HEALTH_SLOTS_MAX} health slots are in use; reuse one of them")
            connection.execute(_SQL["upsert_health"], (slot, line))

    def put_diagnostic(self, line: bytes) -> None:
        """Keep an event of the diagnostic lane; beyond DIAGNOSTICS_MAX the oldest is dropped.

        It gets its seq when it is sealed. In a full outbox it is itself dropped; what is dropped
        is counted (`OutboxStatus.dropped_diagnostics`). Raises EventRejected for no event.
        """
        head_of(line)
        with self._writing as connection:
            if self._used_pages() * 100 > self._pages_max * REFUSED_PERCENT:
                connection.execute(_SQL["update_diagnostics_dropped"], (1,))
                return
            connection.execute(_SQL["insert_diagnostic"], (line,))
            connection.execute(_SQL["delete_old_diagnostics"], (DIAGNOSTICS_MAX,))
            if dropped := connection.changes():
                connection.execute(_SQL["update_diagnostics_dropped"], (dropped,))

    def _insert(self, lines: Sequence[bytes], heads: Sequence[Head]) -> range:
        """Give lines their seqs, inside a transaction."""
        first = self._last_seq() + 1
        seqs = range(first, first + len(lines))
        self._connection.executemany(
            _SQL["insert_event"],
            ((seq, zlib.crc32(line), line) for seq, line in zip(seqs, lines, strict=True)),
        )
        # The first wall time of each new session: reversed, so that the first one stays.
        sessions = {head.boot: head.wall_ms for head in reversed(heads)}
        for boot, wall_ms in sessions.items():
            if boot not in self._boots:
                self._connection.execute(_SQL["insert_boot"], (boot, wall_ms))
        return seqs

    # -- sealing -------------------------------------------------------------------------------

    def seal_pending(
        self,
        *,
        signing_key: SigningKey,
        reader: ReaderPublicKey,
        sealed: Sealed,
        events_max: int = SEGMENT_EVENTS_MAX,
        segments_max: int | None = None,
        with_health: bool = True,
    ) -> int:
        """Seal the events that are in no segment yet; return how many segments it took.

        Events appended meanwhile wait for the next call. Each segment is stored in a transaction
        of its own that also removes its event rows; when that commits, its bytes are durable and
        final. Stops after `segments_max`, so that a caller can do something else between. Health
        and diagnostic lines go along unless `with_health` is False: while no route works they had
        better wait and be replaced. While a fork is suspected nothing is sealed: it would be sealed
        under seqs that somebody else has used.
        """
        assert 1 <= events_max <= SEGMENT_EVENTS_MAX, events_max  # noqa: S101 - our own bug
        with translated(self._path):
            if open_epoch(self._connection)[2]:
                return 0
        self._number_waiting_lines(sealed, with_health=with_health)
        through = self.next_seq - 1
        count = 0
        while segments_max is None or count < segments_max:

            def seal_one(connection: apsw.Connection) -> bool:
                rows = connection.execute(_SQL["select_events"], (through, events_max))
                lines, damaged = sealable(cast("Iterable[tuple[int, int, bytes]]", rows), sealed)
                rows.close()
                self._keep_aside(damaged)
                if lines:
                    self._seal(lines, signing_key=signing_key, reader=reader, sealed=sealed)
                return bool(lines)

            if not self._make_room(seal_one):
                break
            count += 1
        return count

    def _number_waiting_lines(self, sealed: Sealed, *, with_health: bool) -> None:
        """Turn what has no seq yet into events; in a full outbox it goes on waiting."""
        with translated(self._path):
            lines = [line for (line,) in self._connection.execute(_SQL["select_waiting_lines"])]
            faults = self._connection.execute(_SQL["select_faults"]).fetchall()
        if not faults and not (lines and with_health):
            return
        try:
            with self._writing as connection:
                told = [
                    line_of(sealed, FaultReported(component=COMPONENT, fault=fault, detail=detail))
                    for fault, detail in connection.execute(_SQL["select_faults"])
                ]
                connection.execute(_SQL["delete_faults"])
                if with_health:
                    waiting = connection.execute(_SQL["select_waiting_lines"])
                    # A damaged one is dropped: the next of its kind replaces it anyway.
                    told += [line for (line,) in waiting if is_event(cast("bytes", line))]
                    connection.execute(_SQL["delete_health"])
                    connection.execute(_SQL["delete_diagnostics"])
                self._insert(told, [head_of(line) for line in told])
        except OutboxFull as error:
            log.warning("waiting_lines_not_sealed", producer=self.producer, error=str(error))

    def _keep_aside(self, damaged: Iterable[tuple[int, bytes]]) -> None:
        """Keep lines whose bits have changed; what is sealed under their seqs is a fault."""
        for seq, line in damaged:
            epoch = open_epoch(self._connection)[0]
            log.error("event_damaged", producer=self.producer, epoch=epoch, seq=seq)
            self._connection.execute(_SQL["insert_damaged_line"], (epoch, seq, line))

    def _seal(
        self,
        rows: list[tuple[int, bytes]],
        *,
        signing_key: SigningKey,
        reader: ReaderPublicKey,
        sealed: Sealed,
    ) -> None:
        epoch, base, _ = open_epoch(self._connection)
        after, prev = chain_head(self._connection, epoch) or (
            0,
            segments.opening_hash(self.producer, epoch),
        )
        first = rows[0][0]
        if first != after + 1:
            raise Corrupt(
                f"{self._path}: the first unsealed event is {first}, the last sealed one {after}; "
                "keep the file and run `rekam device new-epoch`"
            )
        lines = [line for _, line in rows]
        raw, count = seal_prefix(
            lines,
            producer=self.producer,
            epoch=epoch,
            first=Seq(first),
            prev=prev,
            sealed=sealed,
            signing_key=signing_key,
            reader=reader,
        )
        heads = [head_of(line) for line in lines[:count]]
        # First remove, then insert: in a full outbox the segment takes the place of its events.
        self._connection.execute(_SQL["delete_events"], (first + count - 1,))
        self._store(
            segments.parse(raw),
            raw,
            place=Place(base + first),
            wall_ms=heads[0].wall_ms,
            is_critical=any(lane_of(head.type) == "critical" for head in heads),
        )

    def _store(
        self,
        segment: segments.Segment,
        raw: bytes,
        *,
        place: Place,
        wall_ms: int,
        is_critical: bool,
    ) -> None:
        """Store and queue a segment, inside a transaction."""
        header = segment.header
        row = (place, header.epoch, header.first, header.last, segment.hash)
        self._connection.execute(_SQL["insert_segment"], (*row, raw))
        self._connection.execute(
            _SQL["insert_delivery"], (*row, len(raw), wall_ms, int(is_critical))
        )

    # -- sending -------------------------------------------------------------------------------

    def unsent(
        self, *, limit_bytes: int, after: Place = START, through: Place | None = None
    ) -> list[StoredSegment]:
        """Return the oldest segments that no route has taken, above place `after` up to `through`.

        At most `limit_bytes` of them, but at least one if there is any: the queue never has to
        fit into memory. One whose bytes are not what was sealed is set aside, and a fault event
        tells its range.
        """
        return self._load(
            _SQL["select_unsent"],
            (after, PLACE_MAX if through is None else through),
            limit_bytes=limit_bytes,
        )

    def unsent_critical(self, *, limit_bytes: int) -> list[StoredSegment]:
        """Return the oldest unsent segments that hold an event of the critical lane."""
        return self._load(_SQL["select_unsent_critical"], (), limit_bytes=limit_bytes)

    def unreceipted(self, *, limit_bytes: int, after: Place = START) -> list[StoredSegment]:
        """Return the oldest segments above place `after` that no receipt covers, taken or not."""
        return self._load(_SQL["select_unreceipted"], (after,), limit_bytes=limit_bytes)

    def _load(
        self, sql: str, bindings: tuple[int, ...], *, limit_bytes: int
    ) -> list[StoredSegment]:
        found: list[StoredSegment] = []
        damaged: list[Place] = []
        room = limit_bytes
        with translated(self._path):
            for place, size in self._connection.execute(sql, bindings):
                room -= size
                if found and room < 0:
                    break
                segment = self._intact(place)
                if segment is None:
                    room += size
                    damaged.append(place)
                else:
                    found.append(segment)
        for place in damaged:
            self._set_aside(place)
        return found

    def _intact(self, place: Place) -> StoredSegment | None:
        """Return a segment if its bytes are what was sealed: header and body by their hashes."""
        try:
            row = self._connection.execute(_SQL["select_segment"], (place,)).fetchone()
        except apsw.CorruptError:
            return None
        if row is None:
            return None
        epoch, first, last, digest, raw, refused_by = row
        try:
            segment = segments.parse(raw)
        except SegmentRejected:
            return None
        if segment.hash != digest or not is_segment_whole(segment):
            return None
        return StoredSegment(first, last, raw, epoch, place, refused_by)

    def _set_aside(self, place: Place) -> None:
        """Take a damaged segment out of the queue, and note the fault for the next sealing."""

        def set_aside(connection: apsw.Connection) -> None:
            epoch, first, last = cast(
                "tuple[int, int, int]",
                connection.execute(_SQL["select_delivery"], (place,)).fetchone(),
            )
            connection.execute(_SQL["update_damaged"], (place,))
            if connection.changes():
                log.error(
                    "segment_damaged", producer=self.producer, epoch=epoch, first=first, last=last
                )
                connection.execute(
                    _SQL["insert_fault"],
                    ("segment_damaged", f"epoch {epoch}, events {first} to {last}"),
                )

        self._make_room(set_aside)

    def take(self, taken: Sequence[StoredSegment], *, route: str, now: Reading) -> None:
        """Remember that a route has taken these segments; durable, in one transaction, idempotent.

        Their bytes stay until a signed receipt covers them. Of two routes the first one counts.
        """
        self._make_room(
            lambda connection: connection.executemany(
                _SQL["update_taken"], ((route, now.boot, now.mono_ms, one.place) for one in taken)
            )
        )

    def refuse(self, segment: StoredSegment, *, route: str, code: str, now: Reading) -> None:
        """Set a segment aside that a server calls wrong; durable. One set aside stays as it is.

        It is offered again when a receipt misses it (`apply_receipt`), or after a day
        (`retry_long_refused`), REFUSALS_MAX times in all, or by a person's word (`retry_refused`).
        """
        self._make_room(
            lambda connection: refusals.refuse(connection, segment, route=route, code=code, now=now)
        )

    def retry_refused(self) -> list[Refused]:
        """Queue again all that is set aside, as if never refused before; return what it was."""
        return self._make_room(refusals.queue_all)

    def retry_long_refused(self, *, now: Reading) -> int:
        """Queue again what was refused a day ago and not too often; return how many segments."""
        return self._make_room(lambda connection: refusals.queue_long(connection, now=now))

    def overdue(self, *, now: Reading, seconds: float, seconds_max: float = 0.0) -> list[Overdue]:
        """Return what a route took at least so long ago without a receipt since.

        What was taken before is given twice the time of the last time, up to `seconds_max`. By the
        monotonic clock. Of an earlier boot session only the time since this one began is known to
        have passed; `seconds` of that are enough.
        """
        with translated(self._path):
            return [
                Overdue(first, last, route, epoch, place)
                for place, epoch, first, last, route in self._connection.execute(
                    _SQL["select_overdue"],
                    (now.boot, now.mono_ms, round(seconds * 1000), round(seconds_max * 1000)),
                )
            ]

    def requeue(self, places: Iterable[Place]) -> int:
        """Queue again what a route took; return how many segments. The log counts copies once."""
        found = tuple(places)

        def requeue(connection: apsw.Connection) -> int:
            count = 0
            for place in found:
                connection.execute(_SQL["update_taken_to_unsent"], (place,))
                count += connection.changes()
            return count

        return self._make_room(requeue)

    # -- receipts ------------------------------------------------------------------------------

    def apply_receipt(
        self, receipt: EpochReceipt, *, raw: bytes, as_of_ms: int, now: Reading
    ) -> ReceiptEffect:
        """Take note of what the log holds of one epoch, by a receipt whose signature is verified.

        Receipted are the segments that lie in a run whose head is a segment of ours: the chain of
        hashes makes sure that the log has these very bytes. Segments in its gaps are queued again,
        those of an earlier receipt too (a lost cluster is refilled), once for each newer receipt;
        refused ones by their own waits (refusals.py), also above all that the receipt names.
        What it says beyond our own head, or of other bytes under our seqs, is a copy's: the open
        epoch is then suspected to be a fork. Durable, idempotent; older receipts do no harm.
        """
        return self._make_room(
            lambda connection: apply_receipt(
                connection, receipt, raw=raw, as_of_ms=as_of_ms, now=now
            )
        )

    def last_receipt(self) -> tuple[bytes, int] | None:
        """Return the newest receipt as it was signed, and up to when it speaks."""
        with translated(self._path):
            found = self._connection.execute(_SQL["select_receipt"]).fetchone()
        return None if found is None else (found[0], found[1])

    def prune(self, *, now: Reading, keep_seconds: float) -> int:
        """Remove segments that a receipt has covered for `keep_seconds`; return how many events.

        Time counts only as far as it is known to have passed: by the broker's clock between the
        covering receipt and the newest one, or by our monotonic clock. In an outbox above
        WARNED_PERCENT nothing is kept beyond its receipt: the oldest go at once, until it is below.
        The last segment stays: the next one is chained to it. Freed pages are used again, and the
        WAL is emptied, unless it was laid out and the disk has room.
        """
        events = early = 0
        while count := self._prune_some(now=now, keep_seconds=keep_seconds):
            events += count
        while (surplus := self._surplus_bytes()) and (
            count := self._prune_some(now=now, keep_seconds=0, bytes_wanted=surplus)
        ):
            early += count
        if events or early:
            if not (self._keeps_wal and self._ballast.is_whole):
                self._empty_wal()
            self._ballast.restore()
            log.info(
                "outbox_pruned", producer=self.producer, events=events + early, early_events=early
            )
        return events + early

    def _prune_some(
        self, *, now: Reading, keep_seconds: float, bytes_wanted: int | None = None
    ) -> int:
        """Remove what may go in one transaction, not much more than wanted; return the events."""

        def prune_some(connection: apsw.Connection) -> int:
            asked = (now.boot, now.mono_ms, round(keep_seconds * 1000), PRUNED_AT_ONCE_MAX)
            rows = connection.execute(_SQL["select_prunable"], asked).fetchall()
            found = cast("list[tuple[int, int, int]]", rows)
            found = found[: fitting((size for *_, size in found), room=bytes_wanted)]
            for place, *_ in found:
                connection.execute(_SQL["update_pruned"], (place,))
                connection.execute(_SQL["delete_segment"], (place,))
            if found:
                connection.execute(_SQL["delete_pruned"])
            return sum(count for _, count, _ in found)

        return self._make_room(prune_some)

    def _surplus_bytes(self) -> int:
        """Return how much more is used than WARNED_PERCENT of what may be used."""
        with translated(self._path), snapshot(self._connection):
            used, spare = self._used_pages(), spare_bytes(self._connection)
        usable = self._usable_pages(used, spare)
        return max(0, used - (usable * WARNED_PERCENT - 1) // 100) * PAGE_BYTES

    # -- epochs --------------------------------------------------------------------------------

    def begin_epoch(
        self,
        *,
        reason: str,
        now: Reading,
        above: int = 0,
        faults: Sequence[FaultReported] = (),
    ) -> Epoch:
        """Open a new epoch in one durable transaction; return it.

        Higher than any that this outbox or a receipt has named, and than `above`. Sealed segments
        keep their epoch and go on their way. Events that are in no segment move into the new epoch,
        behind its `epoch.opened` and the `faults`, because a copy may have used their seqs.
        """
        sealed = Sealed(wall_ms=now.wall_ms, mono_ms=now.mono_ms, boot=now.boot)
        with self._writing as connection:
            previous, base, _ = open_epoch(self._connection)
            last, head = chain_head(self._connection, previous) or (0, None)
            seen = int(connection.execute(_SQL["select_epoch_seen"]).get)
            epoch = Epoch(max(previous, seen, above) + 1)
            lines = [
                line_of(
                    sealed,
                    EpochOpened(
                        reason=reason,
                        previous_epoch=previous,
                        previous_head=head,
                    ),
                )
            ]
            lines += [line_of(sealed, fault) for fault in faults]
            first = connection.execute(_SQL["select_first_seq"]).get
            if first is not None:
                # Aside first: a number may be another event's until that one has moved.
                connection.execute(_SQL["update_seqs_aside"])
            for seq, line in enumerate(lines, 1):
                connection.execute(_SQL["insert_event"], (seq, zlib.crc32(line), line))
            connection.execute(_SQL["insert_boot"], (now.boot, now.wall_ms))
            if first is not None:
                connection.execute(_SQL["update_seqs_back"], (first - len(lines) - 1,))
            connection.execute(_SQL["insert_epoch"], (epoch, base + last))
        log.warning("epoch_opened", producer=self.producer, epoch=epoch, previous=previous)
        return epoch

    def adopt_epochs(self, epochs: Iterable[tuple[Epoch, int]]) -> None:
        """Name the epochs of segments that will be adopted, with their bases. For a new outbox."""
        with self._writing as connection:
            for epoch, base in epochs:
                connection.execute(_SQL["upsert_epoch"], (epoch, base))

    def adopt_segments(self, rows: Iterable[tuple[Place, bytes]]) -> None:
        """Queue segments of a damaged outbox in one transaction, as they were sealed."""
        with self._writing:
            for place, raw in rows:
                segment = segments.parse(raw)
                wall_ms = segment.header.sealed.wall_ms
                self._store(segment, raw, place=place, wall_ms=wall_ms, is_critical=False)

    def adopt_lines(self, lines: Sequence[bytes]) -> None:
        """Append lines of a damaged outbox in one transaction; the room for them is there."""
        with self._writing:
            self._insert(lines, [head_of(line) for line in lines])

    def adopt_boots(self, boots: Iterable[BootSession]) -> None:
        """Remember boot sessions of a damaged outbox, so that they are anchored once."""
        with self._writing as connection:
            for one in boots:
                connection.execute(_SQL["insert_boot"], (one.boot, one.first_wall_ms))
                connection.execute(_SQL["update_boot"], (one.offset_ms, one.boot))

    # -- standing ------------------------------------------------------------------------------

    def pending(self) -> int:
        """Return how many events are in no segment; cheap enough to ask several times a second.

        Health and diagnostic lines are not among them: alone they need not be sealed.
        """
        with translated(self._path):
            return int(self._connection.execute(_SQL["select_pending"]).get)

    def status(self) -> OutboxStatus:
        """Return where the outbox stands: one snapshot, without reading the queue's bytes."""
        with translated(self._path), snapshot(self._connection):
            epoch, base, is_suspected = open_epoch(self._connection)
            states = {
                state: (count, events)
                for state, count, events, _ in self._connection.execute(_SQL["select_states"])
            }
            low, high, line, wall_ms, waiting, dropped, as_of_ms = cast(
                "tuple[int | None, int | None, bytes | None, int | None, int, int, int | None]",
                self._connection.execute(_SQL["select_standing"]).fetchone(),
            )
            untaken, unreceipted = cast(
                "tuple[int | None, int | None]",
                self._connection.execute(_SQL["select_first_in_states"], (epoch,)).fetchone(),
            )
            sealed = sealed_through(self._connection, epoch)
            next_seq = self._last_seq() + 1
            used = self._used_pages()
            spare = spare_bytes(self._connection)
            damaged_lines, damaged_now = cast(
                "tuple[int, int]",
                self._connection.execute(_SQL["select_damaged"], (epoch,)).fetchone(),
            )
        oldest = wall_ms
        if oldest is None and line is not None and is_event(line):
            oldest = head_of(line).wall_ms
        unsealed = 0 if low is None or high is None else high - low + 1
        unsent, unsent_events = states.get("unsent", (0, 0))
        refused, refused_events = states.get("refused", (0, 0))
        damaged, damaged_events = states.get("damaged", (0, 0))
        left_bytes = spare + self._ballast.disk_free_bytes()
        percent = used * 100 // self._usable_pages(used, spare)
        is_full = (
            used * 100 > self._pages_max * REFUSED_PERCENT
            or left_bytes < LEFT_BYTES_MIN
            or not self._ballast.leaves_room(spare)
        )
        return OutboxStatus(
            epoch=epoch,
            next_seq=next_seq,
            recorded_events=base + next_seq - 1,
            unsealed_events=unsealed,
            waiting_health=waiting,
            unsent_segments=unsent,
            unsent_events=unsent_events + unsealed,
            oldest_unsent_ms=oldest,
            taken_events=states.get("taken", (0, 0))[1],
            taken_through=sealed if untaken is None else untaken - 1,
            receipted_through=sealed if unreceipted is None else unreceipted - 1,
            refused_segments=refused,
            refused_events=refused_events,
            damaged_segments=damaged,
            damaged_events=damaged_events + damaged_lines,
            damaged_now_events=damaged_now,
            dropped_diagnostics=dropped,
            receipt_as_of_ms=as_of_ms,
            is_fork_suspected=bool(is_suspected),
            disk_bytes=sum(
                file.stat().st_size for file in (self._path, wal_of(self._path)) if file.exists()
            ),
            disk_bytes_max=self._bytes_max,
            disk_percent=percent,
            is_warning=is_full or percent >= WARNED_PERCENT,
            is_full=is_full,
        )

    def committed_events(self, receipt: Receipt) -> int:
        """Return how many events of all our epochs a receipt of ours shows to be in the log.

        Those that a copy of ourselves sealed under our seqs are not among them.
        """
        with translated(self._path), snapshot(self._connection):
            return committed_events(self._connection, receipt)

    def boots(self, current: str) -> list[BootSession]:
        """Return the boot sessions without an announced offset, and `current` if it has events."""
        with translated(self._path):
            return [
                BootSession(*row)
                for row in self._connection.execute(_SQL["select_boots"], (current, BOOTS_MAX))
            ]

    # -- inside --------------------------------------------------------------------------------

    def _last_seq(self) -> int:
        return int(self._connection.execute(_SQL["select_last_seq"]).get)

    def _used_pages(self) -> int:
        return int(self._connection.execute(_SQL["select_pages"]).get)

    def _usable_pages(self, used: int, spare: int) -> int:
        """Return the budget, or what the disk has for it if that is less."""
        left_bytes = spare + self._ballast.disk_free_bytes()
        return min(self._pages_max, used + left_bytes // PAGE_BYTES)

    def _changing(self, sql: str, bindings: tuple[object, ...]) -> int:
        def change(connection: apsw.Connection) -> int:
            connection.execute(sql, bindings)
            return connection.changes()

        return self._make_room(change)

    def _make_room(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do in one transaction what makes room in the end; on a full disk give the ballast up."""
        try:
            with self._writing as connection:
                return work(connection)
        except OutboxFull:
            self._is_nearly_full = True
            if not self._ballast.release():
                raise
        with self._writing as connection:
            done = work(connection)
        self._empty_wal()
        return done

    def _empty_wal(self) -> None:
        with translated(self._path):
            empty_wal(self._connection)
