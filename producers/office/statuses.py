"""Status lists: what the centre showed of people, and when."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from producers.office import columns
from producers.office.columns import Column
from producers.office.table import Table, read_table
from rekam.domain.clocks import AHEAD_MS_MAX


class StatusRow(msgspec.Struct, frozen=True):
    """What the centre showed. `observed_at` without a zone is the office's."""

    nik: str
    status: str
    observed_at: datetime


HOUR_MS: Final = 3_600_000
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
    path: Path, *, rule: Callable[[StatusRow], str | None] = lambda _: None
) -> Table[StatusRow]:
    """Return what the centre showed; of one person at one moment it shows one status.

    `rule` returns what is wrong with a row. Raises TableRejected with every bad row.
    """
    return read_table(
        path,
        StatusRow,
        _COLUMNS,
        rule=rule,
        distinct=lambda row: (row.nik, row.observed_at),
    )


def not_ahead(*, now_ms: int, ms: Callable[[datetime], int]) -> Callable[[StatusRow], str | None]:
    """Return the rule that nothing was observed later than now, by `ms` of a row's moment.

    As much later is let through as every fold takes from any clock: what is stated now is received
    later, so an observation that passes is never set aside as one from the future.
    """

    def fault(row: StatusRow) -> str | None:
        try:
            observed_ms = ms(row.observed_at)
        except OverflowError:
            return f"column {_OBSERVED}: lies outside the years 1 to 9999 in UTC"
        if observed_ms <= now_ms + AHEAD_MS_MAX:
            return None
        return (
            f"column {_OBSERVED}: lies more than {AHEAD_MS_MAX // HOUR_MS} hours after the clock "
            "of this machine; correct the row, or the clock"
        )

    return fault
