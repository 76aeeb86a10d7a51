"""Tables of offices: every bad row is named by number, column and rule; none is half applied."""

import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest

from producers.office.denominators import DenominatorRow, read_denominators
from producers.office.grid import FAULTS_SHOWN_MAX, TableRejected
from producers.office.lists import EntryRow, entries_of_one_person, read_list, read_resolutions
from producers.office.statuses import read_statuses
from producers.office.sukets import read_sukets
from rekam.domain.errors import Misconfigured
from tests.support.workbooks import CellValue, Failed, write_workbook

NIK = "6408080101700001"
SOME = [DenominatorRow("64.08.01.2001", 5), DenominatorRow("64.08.01.2002", 7)]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "table.xlsx"


def faults(path: Path, read: Callable[[Path], object] = read_denominators) -> tuple[str, ...]:
    with pytest.raises(TableRejected) as caught:
        read(path)
    return caught.value.faults


@pytest.mark.parametrize(
    "raw",
    [
        b"desa,wajib\n64.08.01.2001,5\n64.08.01.2002,7\n",
        b"\xef\xbb\xbfDESA;wajib\r\n64.08.01.2001;5\r\n\r\n64.08.01.2002;7\r\n",
        b"Kode Desa\tWajib-KTP\n6408012001\t5\n6408012002\t7.0\n",
        "desa,wajib\n\xa064.08.01.2001,5\n64.08.01.2002\xa0,7\n".encode(),
        "kode;wajib ktp\n64.08.01.2001;5\n64.08.01.2002;7\n".encode("utf-16"),
        (
            b"Rekap wajib KTP,,,\nKabupaten Kutai Timur,,,\n\nNo.,KODE,Nama Desa,Wajib  KTP\n"
            b"1,64.08.01.2001,Kelinjau Hulu,5\n2,64.08.01.2002,Kelinjau Hilir,7\n"
        ),
    ],
)
def test_a_header_is_found_by_its_titles_in_whatever_form(table: Path, raw: bytes) -> None:
    table.write_bytes(raw)
    assert list(read_denominators(table).rows) == SOME


def test_a_heading_above_the_figures_is_no_header(book: Path) -> None:
    """It says of what they are; a header says of where as well."""
    rows: list[list[CellValue]] = [["WAJIB KTP"], [None, "Eligible"]]
    rows += [["Desa/Kel.", "Wajib KTP"], ["64.08.01.2001", 5], ["64.08.01.2002", 7]]
    assert list(read_denominators(write_workbook(book, rows)).rows) == SOME
    rows[2][0] = "KELURAHAN"
    assert list(read_denominators(write_workbook(book, rows)).rows) == SOME
    rows[2][0] = "tempat"
    (fault,) = faults(write_workbook(book, rows))
    assert fault == (
        "it has no header row; wanted the columns wajib and one of kode, desa, nama; "
        "it may also have kecamatan"
    )


def test_columns_that_nobody_asked_for_are_counted(table: Path) -> None:
    table.write_text("no,kode,wajib,catatan\n1,64.08.01.2001,5,baik\n")
    assert read_denominators(table).columns_passed_over == 2


def test_a_workbook_is_read_as_people_see_it(book: Path) -> None:
    write_workbook(
        book,
        [
            ["Rekap"],
            [],
            ["Kode Desa", "Wajib KTP", "Per"],
            ["64.08.01.2001", 5, date(2018, 3, 31)],
            [],
            [6408012002, 7.0],
        ],
    )
    read = read_denominators(book)
    assert list(read.rows) == SOME
    assert read.labels == ("row 4", "row 6")


def test_every_bad_row_of_a_workbook_is_named_as_the_spreadsheet_counts(book: Path) -> None:
    write_workbook(
        book,
        [
            ["kode", "wajib"],
            ["64.08.01.2001", 5.5],
            [],
            [64.1, 5],
            [date(2010, 1, 11), 5],
            ["64.08.01.2002", True],
            ["64.08.01.2003", "banyak"],
            [None, 9],
        ],
    )
    found = faults(book)
    assert [fault.partition(":")[0] for fault in found] == [f"row {n}" for n in (2, 4, 5, 6, 7, 8)]
    assert "column wajib: wanted a whole number" in found[0]
    assert "a zero at its end may be lost" in found[1]
    assert "was turned into a date" in found[2]
    assert found[3] == "row 6: column wajib: holds a time or a truth"
    assert "neither a code nor a name" in found[5]


def test_a_time_or_a_truth_is_nothing_in_a_column_that_nobody_asked_for(book: Path) -> None:
    """Recapitulations have a column of ticked boxes, or of when somebody looked."""
    rows: list[list[CellValue]] = [["rekap", True], ["kode", "wajib", "sudah dicek"]]
    rows += [["64.08.01.2001", 5, True], ["64.08.01.2002", 7, False]]
    read = read_denominators(write_workbook(book, rows))
    assert list(read.rows) == SOME
    assert read.columns_passed_over == 1


@pytest.mark.parametrize("form", ["xlsx", "csv"])
def test_a_formula_that_failed_is_named_and_no_empty_cell(tmp_path: Path, form: str) -> None:
    """An entry whose number could not be looked up would be one without a NIK."""
    rows: list[list[CellValue]] = [
        ["nomor", "nik", "catatan"],
        [1, NIK, "baik"],
        [2, Failed("#N/A"), None],
        [3, None, Failed("#DIV/0!")],
        [Failed("#REF!"), NIK, None],
        [5, Failed("Err:502"), None],
    ]
    path = tmp_path / f"daftar.{form}"
    if form == "xlsx":
        # Of another sheet, errors are nobody's business.
        write_workbook(path, [[Failed("#NUM!")]], rows)
    else:
        lines = (",".join("" if cell is None else str(cell) for cell in row) for row in rows)
        path.write_text("\n".join(lines))
    assert faults(path, read_list) == (
        "row 3: column nik: holds #N/A, the error of a formula",
        "row 5: column entry: holds #REF!, the error of a formula",
        "row 6: column nik: holds Err:502, the error of a formula",
    )
    rows[2][1], rows[4][0] = None, 4
    rows.pop()
    write_workbook(book := tmp_path / "mended.xlsx", [[Failed("#NUM!")]], rows)
    assert [row.nik for row in read_list(book).rows] == [NIK, None, None, NIK]


def test_of_several_sheets_the_one_with_the_header_is_meant(book: Path) -> None:
    rows: list[list[CellValue]] = [["kode", "wajib"], ["64.08.01.2001", 5], ["64.08.01.2002", 7]]
    write_workbook(book, [["catatan"], ["periksa lagi"]], rows)
    assert list(read_denominators(book).rows) == SOME
    write_workbook(book, rows, rows)
    assert faults(book) == ("2 sheets have the wanted columns; leave one in the file",)


@pytest.mark.parametrize("raw", [b"PK\x03\x04", b"PK\x03\x04" + bytes(200)])
def test_half_a_workbook_is_a_fault_and_no_crash(book: Path, raw: bytes) -> None:
    book.write_bytes(raw)
    assert len(faults(book)) == 1


def test_an_old_or_protected_workbook_is_told_to_be_saved_anew(book: Path) -> None:
    book.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    (fault,) = faults(book)
    assert "save it as XLSX without one" in fault


@pytest.mark.parametrize(
    ("cell", "is_taken"),
    [
        ('<c r="XFD1048576"><v>1</v></c>', False),
        ("<c s='1' r='A1000001' t=\"n\"><v>1</v></c>", False),
        ('<c r="ZZZZZZZ99999999999"><v>1</v></c>', False),
        ('<c r="XFD1048576" s="1"/>', True),
    ],
)
def test_a_cell_far_off_is_a_fault_and_takes_no_memory(
    book: Path, cell: str, *, is_taken: bool
) -> None:
    """The library makes room for all cells between: 550 GB of a sheet's last corner."""
    write_workbook(book, [["kode", "wajib"], ["64.08.01.2001", 5], ["64.08.01.2002", 7]])
    with zipfile.ZipFile(book) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(book, "w") as archive:
        for name, part in parts.items():
            far = f"<row>{cell}</row></sheetData>".encode()
            archive.writestr(name, part.replace(b"</sheetData>", far))
    if is_taken:
        assert list(read_denominators(book).rows) == SOME
        return
    (fault,) = faults(book)
    assert "remove such a cell" in fault


def test_a_zip_that_is_no_workbook_is_a_fault(book: Path) -> None:
    with zipfile.ZipFile(book, "w") as archive:
        archive.writestr("photo.txt", "x")
    (fault,) = faults(book)
    assert "save it as XLSX" in fault


@pytest.mark.parametrize("part", ["content.xml", "xl/workbook.bin"])
def test_a_workbook_of_another_form_is_told_to_be_saved_anew(book: Path, part: str) -> None:
    """The library reads ODS and XLSB, and makes empty cells of their failed formulas."""
    with zipfile.ZipFile(book, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr(part, "x")
    assert faults(book) == ("is no XLSX (ODS or XLSB, perhaps); save it as XLSX",)


def test_every_bad_row_is_named_by_its_number(table: Path) -> None:
    table.write_text(
        "desa,wajib\n64.08.01.2001,5\n64.08,5\n64.08.01.2003,-1\n64.08.01.2004,many\n1\n"
    )
    found = faults(table)
    assert [fault.partition(":")[0] for fault in found] == ["row 3", "row 4", "row 5", "row 6"]
    assert "column desa: wanted the code of a desa" in found[0]
    assert "column wajib" in found[1]
    assert "column desa" in found[3]
    assert "column wajib: is empty" in found[3]


def test_a_cell_beyond_the_header_is_a_fault(table: Path) -> None:
    table.write_text("desa,wajib\n64.08.01.2001,5,7\n")
    assert faults(table) == ("row 2: 3 cells; the header has 2",)


def test_a_desa_named_twice_is_a_fault_that_says_which_kind(table: Path) -> None:
    table.write_text("desa,wajib\n64.08.01.2001,5\n64.08.01.2001,6\n6408012001,5\n")
    assert faults(table) == (
        "row 3: contradicts what row 2 says",
        "row 4: says again what row 2 says",
    )


@pytest.mark.parametrize(
    "count", ["1.234", "1,234", "12.345.678", "5.5", "1e3", "٣", "", "5 orang"]
)
def test_a_number_that_may_mean_several_things_is_refused(table: Path, count: str) -> None:
    table.write_text(f"desa;wajib\n64.08.01.2001;{count}\n")
    assert len(faults(table)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "desa\n1\n",
        "desa,wajib,nama\n",
        "desa,desa\n",
        "wajib,desa,desa\n",
        "desa,wajib\n",
        "64.08.01.2001,5\n",
    ],
)
def test_a_wrong_header_or_an_empty_table_is_a_fault(table: Path, text: str) -> None:
    table.write_text(text)
    assert len(faults(table)) == 1


def test_a_table_that_is_not_text_is_a_fault_at_its_row(table: Path) -> None:
    table.write_bytes(b"desa,wajib\n64.08.01.2001,5\n\xff\xfe,1\n")
    assert faults(table) == ("row 3: is not UTF-8; save the table as CSV UTF-8, or as XLSX",)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_named(table: Path, encoding: str) -> None:
    table.write_bytes("desa,wajib\n64.08.01.2001,5\n".encode(encoding))
    assert faults(table)[0].startswith("is UTF-16 without its mark; save the table as CSV UTF-8")


def test_broken_quotes_and_nul_are_faults_and_no_crash(table: Path) -> None:
    for raw in (b'desa,wajib\n"64.08.01.2001"x,5\n', b'desa,wajib\n"64', b"desa,wajib\n\x00,1\n"):
        table.write_bytes(raw)
        assert len(faults(table)) == 1


@pytest.mark.parametrize(
    ("nik", "reason"),
    [
        (f"{NIK}9", "16 digits"),
        ("", "is empty"),
        (f"{NIK}.0", "digits are lost"),
        ("6.408E+15", "digits are lost"),
        ("6,40808010170E+15", "digits are lost"),
        ("640808010170000O", "16 digits"),
    ],
)
def test_a_nik_that_cannot_be_one_is_refused_and_never_shown(
    table: Path, nik: str, reason: str
) -> None:
    table.write_text(f'nik;status;observed_at\n"{nik}";PROCESSING;2018-01-01\n')
    with pytest.raises(TableRejected) as caught:
        read_statuses(table)
    assert reason in str(caught.value)
    assert "row 2: column nik" in str(caught.value)
    assert not nik or nik not in str(caught.value)


def test_a_nik_that_a_spreadsheet_made_a_number_is_refused_when_a_digit_may_be_lost(
    book: Path,
) -> None:
    """Spreadsheets keep fifteen digits; above 2**53 even other programs do not keep sixteen."""
    day = date(2018, 1, 1)
    rows: list[list[CellValue]] = [["NIK", "Status", "Tanggal"]]
    rows += [[6408080101700000, "PROCESSING", day], [9108080101700001, "PROCESSING", day]]
    rows += [[6.408e15, "PROCESSING", day]]
    found = faults(write_workbook(book, rows), read_statuses)
    assert len(found) == 3
    assert all("column nik: digits are lost" in fault for fault in found)
    write_workbook(book, [rows[0], [int(NIK), "PROCESSING", day]])
    assert read_statuses(book).rows[0].nik == NIK


@pytest.mark.parametrize(
    "text",
    ["2018-03-31 14:00", "2018-03-31T14:00", "31/03/2018 14:00", "31-3-2018 14.00"],
)
def test_moments_are_read_with_the_day_first(table: Path, text: str) -> None:
    table.write_text(f"nik,status,tanggal\n{NIK},PROCESSING,{text}\n")
    (row,) = read_statuses(table).rows
    assert row.observed_at == datetime(2018, 3, 31, 14)  # noqa: DTZ001 - the office's zone


@pytest.mark.parametrize("text", ["03/31/2018", "31.03.2018 x", "43190", "besok"])
def test_a_moment_that_is_none_is_refused(table: Path, text: str) -> None:
    table.write_text(f"nik,status,observed_at\n{NIK},PROCESSING,{text}\n")
    (fault,) = faults(table, read_statuses)
    assert "column observed at" in fault


def test_two_statuses_of_one_moment_contradict_each_other(table: Path) -> None:
    table.write_text(
        f"nik,status,observed_at\n{NIK},PROCESSING,2018-01-01\n{NIK},CARD_PRINTED,01/01/2018\n"
    )
    assert faults(table, read_statuses) == ("row 3: contradicts what row 2 says",)


@pytest.mark.parametrize(
    "text", ["0018-03-31", "1970-01-01", "31/12/1999", "0001-01-01T00:00+14:00"]
)
def test_a_year_before_any_record_is_refused(table: Path, text: str) -> None:
    table.write_text(f"nik,status,tgl\n{NIK},SENT,{text}\n")
    assert faults(table, read_statuses) == (
        "row 2: column observed at: lies before the year 2000; correct the row",
    )


def test_an_empty_cell_is_a_missing_value(table: Path) -> None:
    table.write_text(f"no,nik,kode kpu,hasil\n1,,,\n2,{NIK},11,tercetak\n3,{NIK},U,\n")
    read = read_list(table)
    assert read.rows == (
        EntryRow(1),
        EntryRow(2, nik=NIK, code="11", bucket="tercetak"),
        EntryRow(3, nik=NIK, code="U"),
    )
    assert entries_of_one_person(read) == [3]


def test_a_list_in_a_workbook_has_numbers_for_codes(book: Path) -> None:
    """The commission's code 11 is typed as a number, as everything is that looks like one."""
    write_workbook(
        book,
        [
            ["DAFTAR PEMILIH LAPAS BONTANG"],
            ["No", "NIK", "Nama", "Kode KPU", "Hasil Verifikasi"],
            [1, NIK, "A", 11, "belum_rekam"],
            [2, None, "B", "U", None],
        ],
    )
    read = read_list(book)
    assert read.rows == (
        EntryRow(1, nik=NIK, code="11", bucket="belum_rekam"),
        EntryRow(2, code="U"),
    )
    assert read.columns_passed_over == 1


def test_a_bucket_is_one_word_however_people_type_it(table: Path) -> None:
    """Who found a person outweighs `tidak_ditemukan`, which must be known by its spelling."""
    table.write_text("no,hasil\n1,Tidak ditemukan\n2,TIDAK-DITEMUKAN\n3,tidak _ Ditemukan\n")
    assert {row.bucket for row in read_resolutions(table).rows} == {"tidak_ditemukan"}
    table.write_text("no,hasil\n1,Unlisted\n2,-\n")
    assert faults(table, read_resolutions) == (
        "row 2: column bucket: no source can say unlisted: leave it empty, or the row out",
        "row 3: column bucket: wanted a word",
    )


@pytest.mark.parametrize(
    "nik", ["6408 0801 0170 0001", "64.08.08.010170.0001", "1 640808-0101700001"]
)
@pytest.mark.parametrize("column", ["kode", "hasil"])
def test_a_nik_that_is_written_in_groups_is_refused_where_it_would_be_shown(
    table: Path, nik: str, column: str
) -> None:
    table.write_text(f"no,{column}\n1,{nik}\n")
    title = {"kode": "code", "hasil": "bucket"}[column]
    (fault,) = faults(table, read_list)
    assert fault.startswith(f"row 2: column {title}: holds a NIK, and this column is shown")
    assert nik not in fault


def test_codes_dates_and_numbers_of_letters_are_no_nik(table: Path) -> None:
    table.write_text("no,kode\n1,64.08.04.2001 31-12\n2,U-2018.03.31/17\n")
    assert len(read_list(table).rows) == 2
    table.write_text(f"nik,status,nomor,tgl\n{NIK},X,0001.474.4.2018.03.31,2018-04-01\n")
    assert len(read_sukets(table).rows) == 1


def test_a_resolution_needs_its_bucket(table: Path) -> None:
    table.write_text("entry,bucket\n1,\n2,tidak ditemukan\n")
    assert faults(table, read_resolutions) == ("row 2: column bucket: is empty",)


def test_only_the_first_faults_are_shown_and_all_are_counted(table: Path) -> None:
    table.write_text("desa,wajib\n" + "1,1\n" * (FAULTS_SHOWN_MAX + 5))
    with pytest.raises(TableRejected, match="and 5 more") as caught:
        read_denominators(table)
    assert len(caught.value.faults) == FAULTS_SHOWN_MAX + 5


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"none\.csv"):
        read_denominators(tmp_path / "none.csv")
