"""Letters in place of a card (suket): to whom which one was issued, when, and at which status."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from producers.office import columns
from producers.office.columns import Column
from producers.office.table import Table, read_table


class SuketRow(msgspec.Struct, frozen=True):
    """One letter. `issued_at` without a zone is the office's."""

    nik: str
    number: str
    issued_at: datetime
    status: str


_ISSUED: Final = "issued at"
_COLUMNS: Final = (
    Column("nik", ("nik", "no ktp", "nomor induk kependudukan", "id number"), columns.nik),
    Column(
        "number",
        ("number", "nomor", "nomor suket", "no suket", "nomor surat"),
        columns.letter_number,
    ),
    Column(
        "issued_at",
        (_ISSUED, "tanggal", "tanggal terbit", "tgl", "tgl terbit", "date"),
        columns.moment,
    ),
    Column("status", ("status", "status siak", "kode status", "status rekam"), columns.label),
)


def read_sukets(
    path: Path, *, is_possible: Callable[[datetime], str | None] = lambda _: None
) -> Table[SuketRow]:
    """Return the letters; a number is given once.

    `is_possible` returns what is wrong with a moment. Raises TableRejected with every bad row.
    """
    return read_table(
        path,
        SuketRow,
        _COLUMNS,
        rule=lambda row: columns.of_column(_ISSUED, is_possible(row.issued_at)),
        distinct=lambda row: row.number,
    )
