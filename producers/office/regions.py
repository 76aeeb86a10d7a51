"""Region files: codes and names, and which region a name means."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from producers.office import columns
from producers.office.columns import Column
from producers.office.table import Table, read_table

REGENCY_CODE_LENGTH: Final = 5
KECAMATAN_CODE_LENGTH: Final = 8
_PARENTS: Final = {13: KECAMATAN_CODE_LENGTH, 8: REGENCY_CODE_LENGTH}
"""A desa needs its kecamatan in the file, a kecamatan its regency."""
CODES_SHOWN_MAX: Final = 5


class RegionRow(msgspec.Struct, frozen=True):
    """A region."""

    kode: str
    nama: str


class RecodedRow(msgspec.Struct, frozen=True):
    """A place that has another code from this tree on."""

    lama: str
    baru: str


_COLUMNS: Final = (
    Column("kode", ("kode", "kode wilayah", "code", "region code"), columns.code),
    Column("nama", ("nama", "nama wilayah", "name", "region name", "wilayah"), columns.text),
)
_RECODED: Final = (
    Column("lama", ("lama", "kode lama", "old", "old code"), columns.code),
    Column("baru", ("baru", "kode baru", "new", "new code"), columns.code),
)


def read_regions(path: Path) -> Table[RegionRow]:
    """Return the regions of a file: CSV or XLSX with a header, CSV of two columns, SQL tuples.

    Raises TableRejected with every bad row.
    """
    return read_table(
        path, RegionRow, _COLUMNS, distinct=lambda row: row.kode, is_header_needed=False
    )


def read_recoded(path: Path) -> Table[RecodedRow]:
    """Return the codes that changed. Raises TableRejected with every bad row."""
    return read_table(
        path,
        RecodedRow,
        _RECODED,
        distinct=lambda row: row.lama,
        rule=lambda row: "is re-coded to itself" if row.lama == row.baru else None,
    )


def orphans(codes: Iterable[str]) -> list[str]:
    """Return the codes whose kecamatan or regency is not among them: reports lack its name."""
    known = set(codes)
    return sorted(
        code for code in known if len(code) in _PARENTS and code[: _PARENTS[len(code)]] not in known
    )


@dataclass(frozen=True, slots=True)
class RegionNames:
    """A tree's regions by name. A name that fits several codes means none of them."""

    codes: Mapping[str, Sequence[str]]
    """Codes by name, in the form of `_name`."""

    @classmethod
    def of(cls, names: Mapping[str, str]) -> "RegionNames":
        """Return the names of a tree, given by code."""
        codes: defaultdict[str, list[str]] = defaultdict(list)
        for code, name in sorted(names.items()):
            codes[_name(name)].append(code)
        return cls(codes)

    def lacks(self, codes: Iterable[str]) -> list[str]:
        """Return the codes that the tree does not have, in their order."""
        known = {code for fitting in self.codes.values() for code in fitting}
        return [code for code in codes if code not in known]

    def desa(self, name: str, *, kecamatan: str | None = None) -> str | None:
        """Return the one code that a name means, or None when it means none or several.

        Six desa bear the name of their kecamatan: without a kecamatan beside it, that name is
        both, and a table of desa may hold a line for the whole kecamatan.
        """
        fitting = list(self.codes.get(_name(name), ()))
        if kecamatan is not None:
            above = set(self.codes.get(_name(kecamatan), ()))
            fitting = [code for code in fitting if code[:KECAMATAN_CODE_LENGTH] in above]
            fitting = [code for code in fitting if len(code) == columns.DESA_CODE_LENGTH]
        if len(fitting) != 1 or len(fitting[0]) != columns.DESA_CODE_LENGTH:
            return None
        return fitting[0]

    def explain(self, name: str, *, kecamatan: str | None = None) -> str:
        """Say why a name means no single desa, by codes alone."""
        fitting = self.codes.get(_name(name), ())
        if not fitting:
            return "is no name of the tree"
        of_desa = [code for code in fitting if len(code) == columns.DESA_CODE_LENGTH]
        if kecamatan is not None and of_desa:
            above = self.codes.get(_name(kecamatan), ())
            if not above:
                return "the kecamatan beside it is no name of the tree"
            real = sorted({code[:KECAMATAN_CODE_LENGTH] for code in of_desa})
            if set(real).isdisjoint(above):
                return f"is no desa of that kecamatan, but of {_shown(real)}"
            fitting = [code for code in of_desa if code[:KECAMATAN_CODE_LENGTH] in above]
        if len(fitting) == 1:
            return f"is {fitting[0]}, which is no desa there"
        return f"fits {len(fitting)} codes ({_shown(fitting)}); write the code"


def _shown(codes: Sequence[str]) -> str:
    more = len(codes) - CODES_SHOWN_MAX
    return ", ".join(codes[:CODES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def _name(name: str) -> str:
    """Return a name without what may differ in writing: case and uneven spaces, nothing else."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
