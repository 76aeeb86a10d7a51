"""Status lists: what the centre showed of people, and when."""

from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from producers.office import columns
from producers.office.columns import Column
from producers.office.table import Table, read_table


class StatusRow(msgspec.Struct, frozen=True):
    """What the centre showed. `observed_at` without a zone is the office's."""

    nik: str
    status: str
    observed_at: datetime


_COLUMNS: Final = (
    Column("nik", ("nik", "no ktp", "nomor induk kependudukan", "id number"), columns.nik),
    Column("status", ("status", "status siak", "kode status", "status rekam"), columns.label),
    Column(
        "observed_at",
        ("observed at", "tanggal", "tanggal status", "waktu", "tgl", "date", "per tanggal"),
        columns.moment,
    ),
)


def read_statuses(path: Path) -> Table[StatusRow]:
    """Return what the centre showed; of one person at one moment it shows one status.

    Raises TableRejected with every bad row.
    """
    return read_table(path, StatusRow, _COLUMNS, distinct=lambda row: (row.nik, row.observed_at))
