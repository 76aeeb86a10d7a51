"""Rows of cells from what offices bring: CSV, XLSX, SQL tuples. Nothing is judged here yet.

The form is told by the content: a workbook is a ZIP, SQL has the file name's suffix, all else is
CSV. Spaces are made plain (also the non-breaking ones that web pages leave behind).
"""

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from producers.office.sql_tuples import SqlFault, SqlTuple, sql_tuples
from rekam.domain.errors import Misconfigured, Rejected

TABLE_BYTES_MAX: Final = 64 * 1024 * 1024
UNPACKED_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Of a workbook, which is compressed."""
ROWS_MAX: Final = 1_000_000
CELLS_MAX: Final = 8_000_000
"""Of one sheet, empty ones between others counted."""
FAULTS_SHOWN_MAX: Final = 20
_TOO_MANY_CELLS: Final = (
    f"a sheet of more than {CELLS_MAX} cells or {ROWS_MAX} rows, those between a cell far off and "
    "the others counted; remove such a cell, or split the sheet"
)
_SHEET_NAME: Final = re.compile(r"/worksheets/[^/]+\.xml$", re.IGNORECASE)
_FILLED_CELL: Final = re.compile(
    rb"""<(?:\w+:)?c\s(?:[^<>]*?\s)?r\s*=\s*["']([A-Za-z]{1,20})([0-9]{1,20})["'][^<>]*(?<!/)>(?!</)"""
)
"""The place of a cell that holds something; those that are only coloured do not count."""
_ERROR_CELL: Final = re.compile(rb"""(<(?:\w+:)?c\s(?:[^<>]*?\s)?t\s*=\s*["'])e(?=["'])""")
"""A cell whose formula has failed, up to its type."""
_CELL_TAG_BYTES: Final = 512
_READ_BYTES: Final = 1024 * 1024
_OLD_WORKBOOK: Final = b"\xd0\xcf\x11\xe0"
"""XLS, and XLSX that is encrypted."""
FORMULA_ERRORS: Final = frozenset(
    (
        *("#BLOCKED!", "#CALC!", "#DIV/0!", "#FIELD!", "#GETTING_DATA", "#N/A", "#NAME?", "#NULL!"),
        *("#NUM!", "#REF!", "#SPILL!", "#VALUE!"),
    )
)
"""What a spreadsheet shows, and writes as CSV, where a formula has failed."""
_CALC_ERROR: Final = re.compile(r"Err:\d{3}", re.ASCII)
"""What LibreOffice shows for errors that have no such name."""
DELIMITERS: Final = (",", ";", "\t")


class Unusable:
    """A time, a duration or a truth of a workbook: a fault of a column that is wanted."""


UNUSABLE: Final = Unusable()

Cell = str | int | float | date | datetime | Unusable | None
"""A text with plain spaces, a number or a date of a workbook, or nothing."""


class TableRejected(Rejected):
    """A table has bad rows; nothing of it was taken. `faults` has all of them, without values."""

    code = "table_rejected"

    def __init__(self, *, path: Path, faults: Sequence[str], kept: Path | None = None) -> None:
        shown = "; ".join(faults[:FAULTS_SHOWN_MAX])
        more = len(faults) - FAULTS_SHOWN_MAX
        rest = f"; and {more} more ({len(faults)} in all)" if more > 0 else ""
        where = ". `--faults PATH` writes them all to a file" if more > 0 else ""
        if kept is not None:
            where = f". {kept} has them all"
        super().__init__(
            f"{path}: {shown}{rest}. Nothing was published: correct these rows and run it again"
            f"{where}"
        )
        self.path = path
        self.faults = tuple(faults)

    def kept_in(self, file: Path) -> "TableRejected":
        """Return the same, saying which file has all faults."""
        return TableRejected(path=self.path, faults=self.faults, kept=file)


@dataclass(frozen=True, slots=True)
class Line:
    """One row as the file has it, or what is wrong with its form."""

    label: str
    """How a person finds it: `row 7` as a spreadsheet counts, `line 7, tuple 5` in SQL."""
    cells: tuple[Cell, ...] = ()
    fault: str | None = None

    @property
    def is_empty(self) -> bool:
        """Tell whether no cell holds anything."""
        return self.fault is None and all(cell in (None, "") for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Sheet:
    """One reading of a file: a sheet of a workbook, or a text by one delimiter."""

    lines: tuple[Line, ...]
    is_a_guess: bool = False
    """Of several guesses, the one that finds the most columns is right; sheets stand for sure."""


def read_sheets(path: Path) -> list[Sheet]:
    """Return the readings that a file allows; the one with the wanted header is meant.

    Raises Misconfigured when it cannot be read, TableRejected when it is no table.
    """
    raw = _raw(path)
    if raw.startswith(_OLD_WORKBOOK):
        raise TableRejected(
            path=path,
            faults=["is an old workbook, or one with a password; save it as XLSX without one"],
        )
    if raw.startswith(b"PK"):
        return _workbook(path, raw)
    text = _text(path, raw)
    if path.suffix.lower() == ".sql":
        return [_sql(path, text)]
    return [
        Sheet(tuple(_csv(path, text, delimiter)), is_a_guess=True)
        for delimiter in _delimiters(text)
    ]


def plain(text: str) -> str:
    """Return a text with single plain spaces and none around it."""
    return " ".join(text.split())


def is_formula_error(cell: Cell) -> bool:
    """Tell whether a formula has failed in a cell."""
    return isinstance(cell, str) and (cell in FORMULA_ERRORS or bool(_CALC_ERROR.fullmatch(cell)))


def _raw(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(TABLE_BYTES_MAX + 1)
    except OSError as error:
        raise Misconfigured([f"{path} cannot be read ({error.strerror})"]) from error
    if len(raw) > TABLE_BYTES_MAX:
        raise TableRejected(path=path, faults=[f"more than {TABLE_BYTES_MAX} bytes; split it"])
    return raw


def _text(path: Path, raw: bytes) -> str:
    # Spreadsheets put a byte order mark first; their "Unicode text" is UTF-16.
    encoding = "utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    if encoding == "utf-8-sig" and b"\0" in raw[:2]:
        fault = "is UTF-16 without its mark; save the table as CSV UTF-8, or as XLSX"
        raise TableRejected(path=path, faults=[fault])
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        raise TableRejected(
            path=path, faults=[f"row {row}: is not UTF-8; save the table as CSV UTF-8, or as XLSX"]
        ) from error


# CSV ----------------------------------------------------------------------------------------------


def _delimiters(text: str) -> list[str]:
    """Return the delimiters that occur, a comma if none does; the likeliest first."""
    head = text[:4096]
    found = sorted(
        (delimiter for delimiter in DELIMITERS if delimiter in head),
        key=lambda delimiter: -head.count(delimiter),
    )
    return found or [","]


def _csv(path: Path, text: str, delimiter: str) -> Iterator[Line]:
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    try:
        for number, cells in enumerate(table, start=1):
            if number > ROWS_MAX:
                raise TableRejected(path=path, faults=[f"more than {ROWS_MAX} rows; split it"])
            yield Line(f"row {number}", tuple(plain(cell) for cell in cells))
    except csv.Error as error:
        yield Line(f"row {number + 1}", fault=f"is not CSV ({error})")


# SQL ----------------------------------------------------------------------------------------------


def _sql(path: Path, text: str) -> Sheet:
    found = list(islice(sql_tuples(text), ROWS_MAX + 1))
    if len(found) > ROWS_MAX:
        raise TableRejected(path=path, faults=[f"more than {ROWS_MAX} rows; split it"])
    named = next((one for one in found if isinstance(one, SqlTuple) and one.columns), None)
    header = None if named is None else named.columns
    # It stands before all tuples: what stands above a header is taken for a heading.
    lines = [] if named is None else [Line(f"line {named.line}", named.columns or ())]
    lines += [_sql_line(one, header) for one in found]
    return Sheet(tuple(lines))


def _sql_line(found: SqlTuple | SqlFault, header: tuple[str, ...] | None) -> Line:
    """Return a tuple by the columns that the first statement names which names any."""
    tuple_of = "" if found.number is None else f", tuple {found.number}"
    label = f"line {found.line}{tuple_of}"
    if isinstance(found, SqlFault):
        return Line(label, fault=found.fault)
    if (values := _ordered(found, header)) is None:
        return Line(label, fault="its statement names other columns than the first one")
    return Line(label, tuple(None if value is None else plain(value) for value in values))


def _ordered(found: SqlTuple, header: tuple[str, ...] | None) -> Sequence[str | None] | None:
    """Return the values in the order of the header; None when they are of other columns."""
    if found.columns == header:
        return found.values
    if header is None or found.columns is None or len(found.values) != len(found.columns):
        return None
    by_column = dict(zip(found.columns, found.values, strict=True))
    if by_column.keys() != set(header):
        return None
    return [by_column[column] for column in header]


# XLSX ---------------------------------------------------------------------------------------------


def _workbook(path: Path, raw: bytes) -> list[Sheet]:
    from python_calamine import CalamineError, CalamineWorkbook  # not in the device's extra

    if parts := _require_bounded(path, raw):
        raw = _with_errors_as_texts(raw, parts)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(raw))
        sheets: list[Sheet] = []
        for name in book.sheet_names:
            sheet = book.get_sheet_by_name(name)
            if sheet.height > ROWS_MAX or sheet.total_height * sheet.total_width > CELLS_MAX:
                raise TableRejected(
                    path=path,
                    faults=[_TOO_MANY_CELLS],
                )
            lines = (
                _sheet_line(number, cells)
                for number, cells in enumerate(sheet.to_python(skip_empty_area=False), start=1)
            )
            sheets.append(Sheet(tuple(lines)))
    except CalamineError as error:
        # The library's message may show a cell: its kind is told, and what to do.
        raise TableRejected(
            path=path,
            faults=[f"is no workbook that can be read ({type(error).__name__}); save it as XLSX"],
        ) from None
    return sheets


def _require_bounded(path: Path, raw: bytes) -> set[str]:
    """Check what a workbook comes to before the library makes room for all of it.

    Returns the parts of the archive in which a formula has failed.
    """
    failed: set[str] = set()
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
            _require_xlsx(path, archive.namelist())
            if sum(entry.file_size for entry in entries) > UNPACKED_BYTES_MAX:
                raise TableRejected(path=path, faults=["its sheets are too large; split it"])
            for entry in entries:
                if _SHEET_NAME.search(entry.filename) and _scan(path, archive, entry):
                    failed.add(entry.filename)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise TableRejected(
            path=path, faults=["is no whole workbook; copy or save it again"]
        ) from error
    return failed


def _require_xlsx(path: Path, parts: Sequence[str]) -> None:
    """Refuse other workbooks: of them the library shows failed formulas as empty cells."""
    if not any(part.lower().startswith("xl/") for part in parts) or "xl/workbook.bin" in parts:
        fault = "is no XLSX (ODS or XLSB, perhaps); save it as XLSX"
        raise TableRejected(path=path, faults=[fault])


def _with_errors_as_texts(raw: bytes, parts: Container[str]) -> bytes:
    """Return a workbook that holds `#REF!` and its like as texts: the library shows nothing."""
    written = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(raw)) as archive,
        zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as copy,
    ):
        for entry in archive.infolist():
            content = archive.read(entry)
            if entry.filename in parts:
                content = _ERROR_CELL.sub(rb"\1str", content)
            copy.writestr(entry.filename, content)
    return written.getvalue()


def _scan(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Check that no cell lies far off, and return whether a formula has failed.

    One cell in the last corner would make 17 thousand million of them.
    """
    rows, letters, has_errors, rest = 1, {b"A"}, False, b""
    with archive.open(entry) as sheet:
        while read := sheet.read(_READ_BYTES):
            text = rest + read
            found = _FILLED_CELL.findall(text)
            rows = max(rows, *(int(row) for _, row in found)) if found else rows
            letters |= {column for column, _ in found}
            has_errors = has_errors or _ERROR_CELL.search(text) is not None
            rest = text[-_CELL_TAG_BYTES:]
    width = max(map(_column_number, letters))
    if rows > ROWS_MAX or rows * width > CELLS_MAX:
        raise TableRejected(path=path, faults=[_TOO_MANY_CELLS])
    return has_errors


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - ord("A") + 1
    return number


def _sheet_line(number: int, values: Sequence[object]) -> Line:
    cells: list[Cell] = []
    for value in values:
        match value:
            case str():
                cells.append(plain(value))
            case bool() | time() | timedelta():
                cells.append(UNUSABLE)
            case int() | float() | date():
                cells.append(value)
            case _:
                cells.append(None)
    return Line(f"row {number}", tuple(cells))
