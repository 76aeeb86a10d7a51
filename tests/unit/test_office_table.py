"""Tables of offices: every bad row is named by number and rule, none is half applied."""

from pathlib import Path

import pytest

from producers.office.commands import CohortRow, DenominatorRow, StatusRow
from producers.office.table import FAULTS_SHOWN_MAX, TableRejected, read_table
from rekam.domain.errors import Misconfigured

NIK = "6408080101700001"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def faults(path: Path) -> tuple[str, ...]:
    with pytest.raises(TableRejected) as caught:
        read_table(path, DenominatorRow, distinct=lambda row: row.desa)
    return caught.value.faults


def test_rows_come_in_their_order_with_either_delimiter(table: Path) -> None:
    for text in (
        "desa,wajib\n64.08.01.2001,5\n64.08.01.2002,7\n",
        "\ufeffDESA;wajib\r\n64.08.01.2001;5\r\n\r\n64.08.01.2002;7\r\n",
    ):
        table.write_text(text, encoding="utf-8")
        rows = read_table(table, DenominatorRow)
        assert [(row.desa, row.wajib) for row in rows] == [
            ("64.08.01.2001", 5),
            ("64.08.01.2002", 7),
        ]


def test_every_bad_row_is_named_by_its_number(table: Path) -> None:
    table.write_text("desa,wajib\n64.08.01.2001,5\nx,5\n64.08.01.2003,-1\n64.08.01.2004,many\n1\n")
    found = faults(table)
    assert [fault.partition(":")[0] for fault in found] == ["row 3", "row 4", "row 5", "row 6"]
    assert "$.desa" in found[0]
    assert "$.wajib" in found[1]
    assert "cells" in found[3]


def test_a_desa_named_twice_is_a_fault(table: Path) -> None:
    table.write_text("desa,wajib\n64.08.01.2001,5\n64.08.01.2001,6\n")
    assert faults(table) == ("row 3: says again what row 2 says",)


@pytest.mark.parametrize(
    "text",
    ["", "desa\n1\n", "desa,wajib,nama\n", "desa,desa\n", "wajib,desa,desa\n", "desa,wajib\n"],
)
def test_a_wrong_header_or_an_empty_table_is_a_fault(table: Path, text: str) -> None:
    table.write_text(text)
    assert len(faults(table)) == 1


def test_a_table_that_is_not_text_is_a_fault_at_its_row(table: Path) -> None:
    table.write_bytes(b"desa,wajib\n64.08.01.2001,5\n\xff\xfe,1\n")
    assert faults(table) == ("row 3: is not UTF-8",)


def test_broken_quotes_and_nul_are_faults_and_no_crash(table: Path) -> None:
    for raw in (b'desa,wajib\n"64.08.01.2001"x,5\n', b'desa,wajib\n"64', b"desa,wajib\n\x00,1\n"):
        table.write_bytes(raw)
        assert len(faults(table)) == 1


def test_no_message_holds_a_nik(table: Path) -> None:
    table.write_text(f"nik,status,observed_at\n{NIK}9,PROCESSING,2018-01-01\n{NIK},,2018-01-01\n")
    with pytest.raises(TableRejected) as caught:
        read_table(table, StatusRow)
    assert len(caught.value.faults) == 2
    assert NIK not in str(caught.value)


def test_an_empty_cell_is_a_missing_value(table: Path) -> None:
    table.write_text(f"entry,nik,code,bucket\n1,,,\n2,{NIK},11,tercetak\n")
    first, second = read_table(table, CohortRow)
    assert (first.nik, first.code, first.bucket) == (None, None, None)
    assert (second.nik, second.bucket) == (NIK, "tercetak")


def test_only_the_first_faults_are_shown_and_all_are_counted(table: Path) -> None:
    table.write_text("desa,wajib\n" + "x,1\n" * (FAULTS_SHOWN_MAX + 5))
    with pytest.raises(TableRejected, match="and 5 more") as caught:
        read_table(table, DenominatorRow)
    assert len(caught.value.faults) == FAULTS_SHOWN_MAX + 5


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"none\.csv"):
        read_table(tmp_path / "none.csv", DenominatorRow)
