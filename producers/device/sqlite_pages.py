"""Rows of a damaged SQLite file, page by page, without the trees that lead to them.

Every leaf page is looked at, in its latest committed form: that of the write-ahead log if it is
there and its checksum holds. So a row is found though the header, the schema or an inner page is
destroyed. Whether a row is whole is the caller's question; what cannot be a row is passed over.
Source: https://sqlite.org/fileformat2.html
"""

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from producers.device.outbox_file import PAGE_BYTES, wal_of

Value = int | bytes | str | None

TABLE_LEAF: Final = 13
INDEX_LEAF: Final = 10
ROW_BYTES_MAX: Final = 1024 * 1024
"""No row of an outbox is longer: a length beyond it is damage."""

_FILE_HEADER_BYTES: Final = 100
_PAGE_HEADER_BYTES: Final = 8
_WAL_HEADER: Final = struct.Struct(">8I")
_FRAME_HEADER: Final = struct.Struct(">6I")
_WAL_MAGIC: Final = 0x377F0682
_INTEGER_BYTES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a row begins."""

    page: int
    offset: int
    is_table: bool


class Pages:
    """A damaged file and its write-ahead log, open for reading; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open the files; nothing of them is changed, and SQLite is not asked."""
        self._file: BinaryIO = path.open("rb")
        self._wal: BinaryIO | None = None
        self._newer: dict[int, int] = {}
        wal = wal_of(path)
        if wal.exists():
            self._wal = wal.open("rb")
            self._newer = _committed_frames(self._wal)
        size = path.stat().st_size
        self.count = max(-(-size // PAGE_BYTES), *self._newer, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._wal is not None:
            self._wal.close()

    def cells(self) -> Iterator[Cell]:
        """Yield where rows begin, in the order of the pages."""
        for number in range(1, self.count + 1):
            page = self._page(number)
            start = _FILE_HEADER_BYTES if number == 1 else 0
            if len(page) < PAGE_BYTES or page[start] not in {TABLE_LEAF, INDEX_LEAF}:
                continue
            (count,) = struct.unpack_from(">H", page, start + 3)
            pointers = start + _PAGE_HEADER_BYTES
            if pointers + 2 * count > PAGE_BYTES:
                continue
            for offset in struct.unpack_from(f">{count}H", page, pointers):
                yield Cell(number, offset, page[start] == TABLE_LEAF)

    def row(self, cell: Cell) -> tuple[Value, ...] | None:
        """Return the values of a row; None when there is no row. A table's row has its key first.

        The key stands in the place of the NULL that SQLite stores for it.
        """
        try:
            return self._row(cell)
        except (IndexError, ValueError, struct.error, OSError):
            # Bytes that only look like a row, or a sector that cannot be read: that is the damage.
            return None

    def _row(self, cell: Cell) -> tuple[Value, ...]:
        page = self._page(cell.page)
        size, offset = _varint(page, cell.offset)
        if not 0 < size <= ROW_BYTES_MAX:
            raise ValueError(size)
        key = None
        if cell.is_table:
            key, offset = _varint(page, offset)
        payload = self._payload(page, offset, size, is_table=cell.is_table)
        values = _values(payload)
        return (key, *values[1:]) if cell.is_table and values and values[0] is None else values

    def _payload(self, page: bytes, offset: int, size: int, *, is_table: bool) -> bytes:
        """Return a row's bytes, collected from the pages over which it flows."""
        local_max = PAGE_BYTES - 35 if is_table else (PAGE_BYTES - 12) * 64 // 255 - 23
        local = size
        if size > local_max:
            local_min = (PAGE_BYTES - 12) * 32 // 255 - 23
            wanted = local_min + (size - local_min) % (PAGE_BYTES - 4)
            local = wanted if wanted <= local_max else local_min
        parts = [page[offset : offset + local]]
        if len(parts[0]) < local:
            raise ValueError(offset)
        missing = size - local
        if missing:
            (following,) = struct.unpack_from(">I", page, offset + local)
        while missing:
            page = self._page(following)
            (following,) = struct.unpack_from(">I", page)
            parts.append(page[4 : 4 + min(missing, PAGE_BYTES - 4)])
            missing -= len(parts[-1])
            if not parts[-1]:
                raise ValueError(following)
        return b"".join(parts)

    def _page(self, number: int) -> bytes:
        if not 1 <= number <= self.count:
            raise ValueError(number)
        try:
            if number in self._newer and self._wal is not None:
                self._wal.seek(self._newer[number])
                return self._wal.read(PAGE_BYTES)
            self._file.seek((number - 1) * PAGE_BYTES)
            return self._file.read(PAGE_BYTES)
        except OSError:
            return b""


def _committed_frames(wal: BinaryIO) -> dict[int, int]:
    """Return where in the log the latest committed form of each page stands.

    A frame's checksum goes on from the one before; because each frame stores its own, a destroyed
    frame costs itself and not, as when SQLite reads the log, all that follow.
    """
    header = wal.read(_WAL_HEADER.size)
    if len(header) < _WAL_HEADER.size:
        return {}
    magic, _, _, _, *salts, first, second = _WAL_HEADER.unpack(header)
    is_big = bool(magic & 1) if magic >> 1 == _WAL_MAGIC >> 1 else sys.byteorder == "big"
    before = (first, second)
    committed: dict[int, int] = {}
    pending: dict[int, int] = {}
    while True:
        position = wal.tell() + _FRAME_HEADER.size
        frame = wal.read(_FRAME_HEADER.size + PAGE_BYTES)
        if len(frame) < _FRAME_HEADER.size + PAGE_BYTES:
            return committed
        number, size, *frame_salts, first, second = _FRAME_HEADER.unpack_from(frame)
        found = _checksum(frame[:8] + frame[_FRAME_HEADER.size :], before=before, is_big=is_big)
        before = (first, second)
        if frame_salts != salts:
            # What an earlier use of the log left behind.
            return committed
        if found != before:
            continue
        pending[number] = position
        if size:
            committed |= pending
            pending = {}


def _checksum(data: bytes, *, before: tuple[int, int], is_big: bool) -> tuple[int, int]:
    one, two = before
    words = struct.unpack(f"{'>' if is_big else '<'}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & 0xFFFFFFFF
        two = (two + odd + one) & 0xFFFFFFFF
    return one, two


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[offset + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 - its high bit says that more follow
            return value, offset + index + 1
    return value << 8 | data[offset + 8], offset + 9


def _values(payload: bytes) -> tuple[Value, ...]:
    header_size, offset = _varint(payload, 0)
    at = header_size
    values: list[Value] = []
    while offset < header_size:
        kind, offset = _varint(payload, offset)
        if kind == 0:
            values.append(None)
        elif kind in {8, 9}:
            values.append(kind - 8)
        elif kind in _INTEGER_BYTES:
            end = at + _INTEGER_BYTES[kind]
            values.append(int.from_bytes(payload[at:end], "big", signed=True))
            at = end
        elif kind >= 12:  # noqa: PLR2004 - SQLite's number for an empty blob
            end = at + (kind - 12) // 2
            if end > len(payload):
                raise ValueError(kind)
            text = payload[at:end]
            values.append(text.decode("utf-8") if kind % 2 else text)
            at = end
        else:
            raise ValueError(kind)
    return tuple(values)
