"""Status lists: what the centre showed of people, and when."""

from collections.abc import Callable, Hashable
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


_OBSERVED: Final = "observed at"
_COLUMNS: Final = (
    Column("nik", ("nik", "no ktp", "nomor induk kependudukan", "id number"), columns.nik),
    Column("status", ("status", "status siak", "kode status", "status rekam"), columns.label),
    Column(
        "observed_at",
        (_OBSERVED, "tanggal", "tanggal status", "waktu", "tgl", "date", "per tanggal"),
        columns.moment,
    ),
)


def read_statuses(
    path: Path,
    *,
    is_possible: Callable[[datetime], str | None] = lambda _: None,
    instant: Callable[[datetime], Hashable] = lambda moment: moment,
) -> Table[StatusRow]:
    """Return what the centre showed; of one person at one moment it shows one status.

    `is_possible` returns what is wrong with a moment, `instant` what is the same of all that mean
    one: some have a zone, the others the office's. Raises TableRejected with every bad row.
    """
    return read_table(
        path,
        StatusRow,
        _COLUMNS,
        rule=lambda row: columns.of_column(_OBSERVED, is_possible(row.observed_at)),
        distinct=lambda row: (row.nik, instant(row.observed_at)),
    )
