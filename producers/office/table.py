"""Tables that offices bring: CSV with a header row. A bad row is named by number and rule alone."""

import csv
import io
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from rekam.domain.errors import Misconfigured, Rejected

TABLE_BYTES_MAX: Final = 64 * 1024 * 1024
ROWS_MAX: Final = 1_000_000
FAULTS_SHOWN_MAX: Final = 20

RowT = TypeVar("RowT", bound=msgspec.Struct)


class TableRejected(Rejected):
    """A table has bad rows; nothing of it was taken. `faults` has all of them, without values."""

    code = "table_rejected"

    def __init__(self, *, path: Path, faults: Sequence[str]) -> None:
        shown = "; ".join(faults[:FAULTS_SHOWN_MAX])
        more = len(faults) - FAULTS_SHOWN_MAX
        rest = f"; and {more} more" if more > 0 else ""
        super().__init__(
            f"{path}: {shown}{rest}. Nothing was published: correct these rows and run it again"
        )
        self.faults = tuple(faults)


def read_table(
    path: Path,
    row_type: type[RowT],
    *,
    distinct: Callable[[RowT], Hashable] | None = None,
    rule: Callable[[RowT], str | None] = lambda _: None,
) -> list[RowT]:
    """Return every row as a `row_type`, whose fields are the columns; the header is row 1.

    Comma or semicolon, UTF-8. An empty cell is a missing value; empty rows are left out. With
    `distinct`, two rows may not share its result; `rule` returns what is wrong with a row, without
    its values. Raises TableRejected with every bad row.
    """
    faults: list[str] = []
    rows: list[RowT] = []
    seen: dict[Hashable, int] = {}
    for number, row in _rows(path, row_type):
        if isinstance(row, str):
            faults.append(f"row {number}: {row}")
            continue
        if (fault := rule(row)) is not None:
            faults.append(f"row {number}: {fault}")
        key = distinct(row) if distinct is not None else number
        if seen.setdefault(key, number) != number:
            faults.append(f"row {number}: says again what row {seen[key]} says")
        rows.append(row)
    if not faults and not rows:
        faults.append("it has a header and no rows")
    if faults:
        raise TableRejected(path=path, faults=faults)
    return rows


def _rows(path: Path, row_type: type[RowT]) -> Iterator[tuple[int, RowT | str]]:
    """Yield each row below the header, or what is wrong with it, with its number."""
    text = _text(path)
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    try:
        columns = _columns(path, next(table, []), row_type)
        for number, cells in enumerate(table, start=2):
            if number > ROWS_MAX + 1:
                raise TableRejected(path=path, faults=[f"more than {ROWS_MAX} rows; split it"])
            if any(cell.strip() for cell in cells):
                yield number, _row(cells, columns, row_type)
    except csv.Error as error:
        yield number + 1, f"is not CSV ({error})"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(TABLE_BYTES_MAX + 1)
    except OSError as error:
        raise Misconfigured([f"{path} cannot be read ({error.strerror})"]) from error
    if len(raw) > TABLE_BYTES_MAX:
        raise TableRejected(path=path, faults=[f"more than {TABLE_BYTES_MAX} bytes; split it"])
    try:
        return raw.decode("utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        raise TableRejected(path=path, faults=[f"row {row}: is not UTF-8"]) from error


def _columns(path: Path, header: list[str], row_type: type[RowT]) -> list[str]:
    found = [name.strip().lower() for name in header]
    fields = msgspec.structs.fields(row_type)
    missing = [field.name for field in fields if field.required and field.name not in found]
    known = {field.name for field in fields}
    strange = sum(name not in known for name in found)
    wanted = ",".join(field.name for field in fields)
    if missing or strange or len(set(found)) != len(found):
        raise TableRejected(
            path=path,
            faults=[
                (
                    f"row 1: missing {', '.join(missing) or 'nothing'}, {strange} columns unknown; "
                    f"wanted the header {wanted}"
                )
            ],
        )
    return found


def _row(cells: list[str], columns: list[str], row_type: type[RowT]) -> RowT | str:
    if len(cells) != len(columns):
        return f"{len(cells)} cells; the header has {len(columns)}"
    given = {name: cell.strip() for name, cell in zip(columns, cells, strict=True) if cell.strip()}
    try:
        return msgspec.convert(given, row_type, strict=False)
    except msgspec.ValidationError as error:
        return str(error)  # msgspec names rule and field, never the value of a text or number
