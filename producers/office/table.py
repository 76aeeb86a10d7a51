"""Tables that offices bring, as typed rows. A bad row is named by number, column and rule alone.

The header row is found by its titles, so that a heading may stand above it and columns in any
order; columns that nobody asked for are passed over and counted.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec

from producers.office.columns import BadCell, Column, title
from producers.office.grid import (
    UNUSABLE,
    Line,
    Sheet,
    TableRejected,
    is_formula_error,
    read_sheets,
)

HEADER_LINES_MAX: Final = 20
"""Among the first so many lines that are not empty, one must be the header."""

RowT = TypeVar("RowT", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Table(Generic[RowT]):
    """Every row of a file, in its order."""

    rows: tuple[RowT, ...]
    labels: tuple[str, ...]
    """How a person finds each row."""
    columns_passed_over: int = 0


@dataclass(frozen=True, slots=True)
class _Header:
    """Where the header stands, and which column fills which field."""

    line: int
    """Index of the line; -1: the file has none, its columns are the wanted ones in order."""
    places: Mapping[str, int]
    width: int
    passed_over: int = 0


def read_table(
    path: Path,
    row_type: type[RowT],
    columns: Sequence[Column],
    *,
    rule: Callable[[RowT], str | None] = lambda _: None,
    distinct: Callable[[RowT], Hashable] | None = None,
    one_of: Sequence[str] = (),
    is_header_needed: bool = True,
) -> Table[RowT]:
    """Return every row as a `row_type`; empty cells are missing values, empty rows are left out.

    A header has all required columns, and a column of one of the fields in `one_of`, if there are.
    `rule` returns what is wrong with a row, without its values. With `distinct`, no two rows may
    share its result: one that says the same again is a fault, and so is one that contradicts.
    Raises TableRejected with every bad row.
    """
    sheet, header = _chosen(path, columns, one_of, is_header_needed=is_header_needed)
    faults: list[str] = []
    rows: list[RowT] = []
    labels: list[str] = []
    for line in sheet.lines[header.line + 1 :]:
        if line.is_empty:
            continue
        if line.fault is not None:
            faults.append(f"{line.label}: {line.fault}")
            continue
        values, wrong = _values(line, columns, header)
        if not wrong:
            row = row_type(**values)
            if (fault := rule(row)) is None:
                rows.append(row)
                labels.append(line.label)
                continue
            wrong = [fault]
        faults.append(f"{line.label}: {', '.join(wrong)}")
    if distinct is not None:
        faults += _repeated(rows, labels, distinct)
    if not faults and not rows:
        faults.append("it has a header and no rows")
    if faults:
        raise TableRejected(path=path, faults=faults)
    return Table(tuple(rows), tuple(labels), header.passed_over)


def _chosen(
    path: Path, columns: Sequence[Column], one_of: Sequence[str], *, is_header_needed: bool
) -> tuple[Sheet, _Header]:
    """Return the one reading of the file that has the header. Raises TableRejected."""
    sheets = read_sheets(path)
    faults: list[str] = []
    found: list[tuple[Sheet, _Header]] = []
    for sheet in sheets:
        header = _header(sheet, columns, one_of)
        if isinstance(header, str):
            faults.append(header)
        elif header is not None:
            found.append((sheet, header))
    if not found and not faults and not is_header_needed:
        found = [
            (sheet, header)
            for sheet in sheets
            if (header := _without_title(sheet, columns)) is not None
        ]
    if len(found) == 1 or (found and found[0][0].is_a_guess):
        return max(found, key=lambda one: len(one[1].places))
    if found:
        faults = [f"{len(found)} sheets have the wanted columns; leave one in the file"]
    elif not faults:
        faults = _form_faults(sheets) or [f"it has no header row; {_wanted(columns, one_of)}"]
    raise TableRejected(path=path, faults=faults)


def _header(sheet: Sheet, columns: Sequence[Column], one_of: Sequence[str]) -> _Header | str | None:
    """Return the header of a sheet, what is wrong with it, or None when there is none."""
    by_title = {name: column for column in columns for name in column.titles}
    looked_at = 0
    for index, line in enumerate(sheet.lines):
        if line.is_empty or line.fault is not None:
            continue
        places: dict[str, int] = {}
        twice: list[str] = []
        passed_over = 0
        for place, cell in enumerate(line.cells):
            column = by_title.get(title(cell)) if isinstance(cell, str) else None
            if column is None:
                passed_over += cell not in (None, "")
            elif places.setdefault(column.field, place) != place:
                twice.append(column.titles[0])
        has_all = all(column.field in places for column in columns if column.is_required)
        if has_all and (not one_of or not places.keys().isdisjoint(one_of)):
            if twice:
                return f"{line.label}: two columns are {', '.join(twice)}; leave one of each"
            width = max(place + 1 for place, cell in enumerate(line.cells) if cell)
            return _Header(index, places, width, passed_over)
        looked_at += 1
        if looked_at == HEADER_LINES_MAX:
            return None
    return None


def _without_title(sheet: Sheet, columns: Sequence[Column]) -> _Header | None:
    """Return the order of the wanted columns when the first line already reads as a row."""
    wanted = [column for column in columns if column.is_required]
    places = {column.field: place for place, column in enumerate(wanted)}
    header = _Header(-1, places, len(wanted))
    first = next((line for line in sheet.lines if not line.is_empty), None)
    if first is None or first.fault is not None or len(first.cells) != len(wanted):
        return None
    _, wrong = _values(first, wanted, header)
    return None if wrong else header


def _values(
    line: Line, columns: Sequence[Column], header: _Header
) -> tuple[dict[str, object], list[str]]:
    """Return the values of a row by field, and what is wrong with it."""
    values: dict[str, object] = {}
    wrong: list[str] = []
    for column in columns:
        place = header.places.get(column.field)
        cell = line.cells[place] if place is not None and place < len(line.cells) else None
        if cell in (None, ""):
            if column.is_required:
                wrong.append(f"column {column.titles[0]}: is empty")
            continue
        if is_formula_error(cell):
            wrong.append(f"column {column.titles[0]}: holds {cell}, the error of a formula")
            continue
        if cell is UNUSABLE:
            wrong.append(f"column {column.titles[0]}: holds a time or a truth")
            continue
        try:
            values[column.field] = column.parse(cell)
        except BadCell as error:
            wrong.append(f"column {column.titles[0]}: {error}")
    if any(cell not in (None, "") for cell in line.cells[header.width :]):
        wrong.append(f"{len(line.cells)} cells; the header has {header.width}")
    return values, wrong


def _repeated(
    rows: Sequence[RowT], labels: Sequence[str], distinct: Callable[[RowT], Hashable]
) -> list[str]:
    seen: dict[Hashable, int] = {}
    faults: list[str] = []
    for index, row in enumerate(rows):
        first = seen.setdefault(distinct(row), index)
        if first != index:
            says = "says again what" if row == rows[first] else "contradicts what"
            faults.append(f"{labels[index]}: {says} {labels[first]} says")
    return faults


def _form_faults(sheets: Sequence[Sheet]) -> list[str]:
    """Return what is wrong with the form of a file that has one reading, such as a lost quote."""
    return [
        f"{line.label}: {line.fault}"
        for sheet in sheets[:1]
        for line in sheet.lines
        if line.fault is not None
    ]


def _wanted(columns: Sequence[Column], one_of: Sequence[str]) -> str:
    needed = ", ".join(column.titles[0] for column in columns if column.is_required)
    either = ", ".join(column.titles[0] for column in columns if column.field in one_of)
    more = ", ".join(
        column.titles[0]
        for column in columns
        if not column.is_required and column.field not in one_of
    )
    return (
        f"wanted the columns {needed}"
        + (f" and one of {either}" if either else "")
        + (f"; it may also have {more}" if more else "")
    )
