"""Denominator files: wajib KTP per desa, told by code, or by a name that means one desa."""

from collections.abc import Hashable
from pathlib import Path
from typing import Final

import msgspec

from producers.office import columns
from producers.office.columns import Column
from producers.office.grid import Cell, TableRejected
from producers.office.regions import RegionNames
from producers.office.table import Table, read_table


class DenominatorRow(msgspec.Struct, frozen=True):
    """How many of a desa must hold a card."""

    desa: str
    wajib: int


class _Given(msgspec.Struct, frozen=True):
    """A row as it stands in the file."""

    wajib: int
    kode: str | None = None
    desa: str | None = None
    """A code or a name: offices title either so."""
    nama: str | None = None
    kecamatan: str | None = None

    @property
    def code(self) -> str | None:
        """Return the code, when the row has one."""
        if self.kode is None and self.desa is not None and not _is_name(self.desa):
            return self.desa
        return self.kode

    @property
    def name(self) -> str | None:
        """Return the name, when the row has one."""
        return self.nama or (None if self.code == self.desa else self.desa)


def _desa(cell: Cell) -> str:
    """Return a code with its dots, or a name."""
    if isinstance(cell, str) and _is_name(cell):
        return columns.text(cell)
    return columns.desa_code(cell)


def _is_name(text: str) -> bool:
    return any(character.isalpha() for character in text)


_COLUMNS: Final = (
    Column(
        "kode",
        ("kode", "kode desa", "kode wilayah", "code", "village code", "kode desa kelurahan"),
        columns.desa_code,
        is_required=False,
    ),
    Column(
        "desa",
        ("desa", "desa kelurahan", "desa kel", "kelurahan", "village"),
        _desa,
        is_required=False,
    ),
    Column(
        "nama",
        ("nama", "nama desa", "nama desa kelurahan", "name"),
        columns.text,
        is_required=False,
    ),
    Column(
        "kecamatan",
        ("kecamatan", "nama kecamatan", "district"),
        columns.text,
        is_required=False,
    ),
    Column(
        "wajib",
        ("wajib", "wajib ktp", "jumlah wajib ktp", "wajib e ktp", "wajib ktp el", "eligible"),
        columns.count,
    ),
)


def read_denominators(path: Path, *, names: RegionNames | None = None) -> Table[DenominatorRow]:
    """Return wajib KTP per desa.

    A row without a code is told by its name, which `names` must know and which must mean one desa.
    Raises TableRejected with every bad row.
    """
    given = read_table(
        path,
        _Given,
        _COLUMNS,
        distinct=_place,
        rule=lambda row: _fault(row, names),
        one_of=("kode", "desa", "nama"),
    )
    rows = tuple(DenominatorRow(_code(row, names), row.wajib) for row in given.rows)
    faults = _twice(rows, given.labels)
    if faults:
        raise TableRejected(path=path, faults=faults)
    return Table(rows, given.labels, given.columns_passed_over)


def _place(row: _Given) -> Hashable:
    return row.code or (row.kecamatan, row.name)


def _fault(row: _Given, names: RegionNames | None) -> str | None:
    if row.code is not None:
        return None
    if row.name is None:
        return "has neither a code nor a name of a desa"
    if names is None:
        return "has no code, and there is no tree to look its name up in; give --regions"
    if names.desa(row.name, kecamatan=row.kecamatan) is None:
        return f"name of the desa: {names.explain(row.name, kecamatan=row.kecamatan)}"
    return None


def _code(row: _Given, names: RegionNames | None) -> str:
    if row.code is not None:
        return row.code
    assert names is not None  # noqa: S101 - `_fault` saw to it
    code = names.desa(row.name or "", kecamatan=row.kecamatan)
    assert code is not None  # noqa: S101 - as above
    return code


def _twice(rows: tuple[DenominatorRow, ...], labels: tuple[str, ...]) -> list[str]:
    """Return the rows that name, one by code and one by name, a desa that was named before."""
    seen: dict[str, int] = {}
    return [
        f"{labels[index]}: names the desa of {labels[seen[row.desa]]} again"
        for index, row in enumerate(rows)
        if seen.setdefault(row.desa, index) != index
    ]
