"""Columns of offices' tables: the titles they go by, and how a cell becomes a value.

A cell that does not fit is refused with its reason, never mended by a guess. No reason shows the
cell: it may be a NIK or a name.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from producers.office.grid import Cell
from rekam.domain.clocks import AHEAD_MS_MAX
from rekam.domain.niks import NIK_DIGITS, holds_nik, holds_spaced_nik

LABEL_CHARACTERS_MAX: Final = 64
TEXT_CHARACTERS_MAX: Final = 200
EXACT_MAX: Final = 2**53
"""Above it, a number of a workbook may stand for several whole numbers."""
COUNT_DIGITS_MAX: Final = 15
YEAR_MIN: Final = 2000
"""Before it nobody was recorded: a year of two digits, or an empty date of a spreadsheet."""
HOUR_MS: Final = 3_600_000

_AS_TEXT: Final = "format the column as text and enter it again"
_FLOAT: Final = re.compile(r"[-+]?\d+([.,]\d+)?[eE][-+]?\d+|\d{11,}[.,]\d+", re.ASCII)
_CODE: Final = re.compile(r"\d\d(\.\d\d(\.\d\d(\.\d{4})?)?)?", re.ASCII)
_CODE_DIGITS: Final = {2: (2,), 4: (2, 2), 6: (2, 2, 2), 10: (2, 2, 2, 4)}
_GROUPED: Final = re.compile(r"\d{1,3}([.,]\d{3})+", re.ASCII)
_WHOLE: Final = re.compile(rf"(\d{{1,{COUNT_DIGITS_MAX}}})([.,]0)?", re.ASCII)
_DAY_FIRST: Final = re.compile(
    r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})(?:[ T](\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?)?", re.ASCII
)
DESA_CODE_LENGTH: Final = 13


class BadCell(Exception):  # noqa: N818 - the reader names the row and the column
    """A cell cannot be used; says why, without the cell."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the field it fills, the titles it goes by, and how its cells are read."""

    field: str
    titles: tuple[str, ...]
    """In the form of `title`; the first one is shown to people."""
    parse: Callable[[Cell], object]
    is_required: bool = True
    """Its title must be there, and so must every cell."""


def title(cell: Cell) -> str:
    """Return a column's title without case, punctuation and uneven spaces."""
    text = unicodedata.normalize("NFKC", str(cell or "")).casefold()
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text).split())


# How cells are read -------------------------------------------------------------------------------


def text(cell: Cell) -> str:
    """Return a name or a remark."""
    return _text(cell, TEXT_CHARACTERS_MAX)


def label(cell: Cell) -> str:
    """Return a code or another short text; whole numbers become their digits."""
    return _text(cell, LABEL_CHARACTERS_MAX)


def letter_number(cell: Cell) -> str:
    """Return a letter's own number, whose parts may have sixteen digits between them."""
    return _text(cell, LABEL_CHARACTERS_MAX, is_nik_in=holds_nik)


def nik(cell: Cell) -> str:
    """Return the sixteen digits of a NIK.

    Spreadsheets keep fifteen digits of a number and put a zero for the sixteenth. So a number that
    ends in a zero is refused: nobody can know which digit stood there.
    """
    if isinstance(cell, float | int):
        whole = _integer(cell)
        if whole is None or whole >= EXACT_MAX or not whole % 10:
            raise BadCell(f"digits are lost: it is stored as a number; {_AS_TEXT}")
        digits = str(whole)
    elif isinstance(cell, str):
        digits = cell.removeprefix("'")
        if _FLOAT.fullmatch(digits):
            raise BadCell(f"digits are lost: it was turned into a number; {_AS_TEXT}")
    else:
        raise BadCell(f"is a date, wanted a NIK of {NIK_DIGITS} digits; {_AS_TEXT}")
    if not (digits.isascii() and digits.isdigit() and len(digits) == NIK_DIGITS):
        raise BadCell(f"wanted a NIK of {NIK_DIGITS} digits")
    return digits


def count(cell: Cell) -> int:
    """Return a whole number, 0 or more."""
    if isinstance(cell, float | int):
        whole = _integer(cell)
        if whole is None or not 0 <= whole < EXACT_MAX:
            raise BadCell("wanted a whole number, 0 or more")
        return whole
    written = str(cell)
    if _GROUPED.fullmatch(written):
        raise BadCell("has a separator that may mean thousands or parts; write digits alone")
    if (match := _WHOLE.fullmatch(written)) is None:
        raise BadCell("wanted a whole number, 0 or more")
    return int(match[1])


def code(cell: Cell) -> str:
    """Return a Kemendagri code with its dots, which the file may leave out."""
    if isinstance(cell, float | int):
        whole = _integer(cell)
        if whole is None:
            raise BadCell(f"is a broken number: a zero at its end may be lost; {_AS_TEXT}")
        written = str(whole)
    elif isinstance(cell, str):
        written = cell.removeprefix("'")
    else:
        raise BadCell(f"was turned into a date; {_AS_TEXT}")
    if written.isascii() and written.isdigit() and len(written) in _CODE_DIGITS:
        parts, place = [], 0
        for length in _CODE_DIGITS[len(written)]:
            parts.append(written[place : place + length])
            place += length
        return ".".join(parts)
    if not _CODE.fullmatch(written):
        raise BadCell("wanted a Kemendagri code, such as 64.08 or 64.08.04.2001")
    return written


def desa_code(cell: Cell) -> str:
    """Return the code of a desa or kelurahan."""
    found = code(cell)
    if len(found) != DESA_CODE_LENGTH:
        raise BadCell("wanted the code of a desa, such as 64.08.04.2001")
    return found


def moment(cell: Cell) -> datetime:
    """Return a date and time: ISO 8601, or with the day first as offices write it.

    Without a zone it is the office's, which the caller knows.
    """
    found = _any_moment(cell)
    if found.year < YEAR_MIN:
        raise BadCell(f"lies before the year {YEAR_MIN}; correct the row")
    return found


def _any_moment(cell: Cell) -> datetime:
    wanted = "wanted ISO 8601 such as 2018-03-31T14:00, or 31/03/2018 14:00"
    match cell:
        case datetime():
            return cell
        case date():
            return datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001 - the office's zone
        case str():
            return _moment(cell, wanted)
        case _:
            raise BadCell(f"is a number, {wanted}")


def _moment(written: str, wanted: str) -> datetime:
    try:
        if match := _DAY_FIRST.fullmatch(written):
            day, month, year, hour, minute, second = (int(part or 0) for part in match.groups())
            return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - as above
        return datetime.fromisoformat(written)
    except ValueError as error:
        raise BadCell(wanted) from error


def _text(
    cell: Cell, characters_max: int, *, is_nik_in: Callable[[str], bool] = holds_spaced_nik
) -> str:
    if isinstance(cell, float | int):
        whole = _integer(cell)
        if whole is None or abs(whole) >= EXACT_MAX:
            raise BadCell(f"is a broken number, wanted a text; {_AS_TEXT}")
        written = str(whole)
    elif isinstance(cell, str):
        written = cell
    else:
        raise BadCell(f"is a date, wanted a text; {_AS_TEXT}")
    if len(written) > characters_max:
        raise BadCell(f"has {len(written)} characters; wanted {characters_max} at most")
    if not written.isprintable():
        raise BadCell("has characters that cannot be shown")
    if is_nik_in(written):
        raise BadCell("holds a NIK, and this column is shown; look whether columns were mixed up")
    return written


def _integer(number: float) -> int | None:
    """Return a whole number that a workbook stored as a broken one."""
    try:
        whole = int(number)
    except (OverflowError, ValueError):
        return None  # infinite, or no number
    return whole if whole == number else None


def of_column(name: str, fault: str | None) -> str | None:
    """Say of which column a fault is."""
    return None if fault is None else f"column {name}: {fault}"


def not_ahead(*, now_ms: int, ms: Callable[[datetime], int]) -> Callable[[datetime], str | None]:
    """Return what is wrong with a moment that lies later than now, by `ms` of it.

    As much later is let through as every fold takes from any clock: what is stated now is received
    later, so what passes is never set aside as something from the future.
    """

    def fault(moment: datetime) -> str | None:
        try:
            stated_ms = ms(moment)
        except OverflowError:
            return "lies outside the years 1 to 9999 in UTC"
        if stated_ms <= now_ms + AHEAD_MS_MAX:
            return None
        return (
            f"lies more than {AHEAD_MS_MAX // HOUR_MS} hours after the clock of this machine; "
            "correct the row, or the clock"
        )

    return fault
