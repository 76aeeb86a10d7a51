"""Lists of people, such as the election commission's, and what became of their entries."""

import re
from pathlib import Path
from typing import Final

import msgspec

from producers.office import columns
from producers.office.columns import Column
from producers.office.grid import Cell
from producers.office.table import Table, read_table
from rekam.domain.buckets import RESERVED


class EntryRow(msgspec.Struct, frozen=True):
    """A name of a list by its number, and what became of it if that is known."""

    entry: int
    nik: str | None = None
    code: str | None = None
    bucket: str | None = None


class ResolvedRow(msgspec.Struct, frozen=True):
    """What became of one name of a list."""

    entry: int
    bucket: str


_BETWEEN_WORDS: Final = re.compile(r"[\s_-]+")


def _bucket(cell: Cell) -> str:
    """Return a bucket; without a word in the cell, nothing is said of the entry.

    Sources that mean the same must spell it the same, or entries are disputed that are not.
    """
    found = _BETWEEN_WORDS.sub("_", columns.label(cell).casefold()).strip("_")
    if not found:
        raise columns.BadCell("wanted a word")
    if found in RESERVED:
        raise columns.BadCell(f"no source can say {found}: leave it empty, or the row out")
    return found


_ENTRY: Final = Column(
    "entry", ("entry", "no", "nomor", "no urut", "nomor urut", "number"), columns.count
)
_BUCKET_TITLES: Final = ("bucket", "hasil", "hasil verifikasi", "kelompok", "result")

_LISTED: Final = (
    _ENTRY,
    Column(
        "nik",
        ("nik", "no ktp", "nomor induk kependudukan", "id number"),
        columns.nik,
        is_required=False,
    ),
    Column("code", ("code", "kode", "kode kpu", "kpu code"), columns.label, is_required=False),
    Column("bucket", _BUCKET_TITLES, _bucket, is_required=False),
)
_RESOLVED: Final = (_ENTRY, Column("bucket", _BUCKET_TITLES, _bucket))


def read_list(path: Path) -> Table[EntryRow]:
    """Return the entries of a list; two of them may name one person, as such lists do.

    Raises TableRejected with every bad row.
    """
    return read_table(path, EntryRow, _LISTED, distinct=lambda row: row.entry)


def read_resolutions(path: Path) -> Table[ResolvedRow]:
    """Return what a source says of a list's entries. Raises TableRejected with every bad row."""
    return read_table(path, ResolvedRow, _RESOLVED, distinct=lambda row: row.entry)


def entries_of_one_person(entries: Table[EntryRow]) -> list[int]:
    """Return the numbers of entries whose NIK an entry before them has."""
    seen: set[str] = set()
    repeated: list[int] = []
    for row in entries.rows:
        if row.nik is not None:
            if row.nik in seen:
                repeated.append(row.entry)
            seen.add(row.nik)
    return repeated
