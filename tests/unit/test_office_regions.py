"""Region files as they are handed around, and names that mean one region, several or none."""

from pathlib import Path

import pytest

from producers.office.denominators import DenominatorRow, read_denominators
from producers.office.grid import TableRejected
from producers.office.regions import RegionNames, RegionRow, orphans, read_regions
from tests.support.workbooks import write_workbook

DUMP = r"""/*
 note : Kode Wilayah; it's (not) data, 'quoted'
*/
DROP TABLE IF EXISTS wilayah;
CREATE TABLE IF NOT EXISTS wilayah (
    kode varchar(13) NOT NULL,
    nama varchar(255) NOT NULL,
    PRIMARY KEY (kode)
);
-- Provinsi ACEH; ('99','nothing')
INSERT INTO wilayah (kode, nama)
VALUES
('11','Aceh'),
( '11.01' ,  "KAB.  ACEH   SELATAN" ),
("11.01.01","Bakongan"),('11.01.01.2001','Sawang Ba''u'),
('11.01.01.2002' , 'Sawang Ba\'u'),
("11.01.01.2003",'Lawe "Besar"');
INSERT INTO `wilayah`(`nama`,`kode`) VALUES ('Kluet Utara','11.01.02');
"""
EXPECTED = [
    ("11", "Aceh"),
    ("11.01", "KAB. ACEH SELATAN"),
    ("11.01.01", "Bakongan"),
    ("11.01.01.2001", "Sawang Ba'u"),
    ("11.01.01.2002", "Sawang Ba'u"),
    ("11.01.01.2003", 'Lawe "Besar"'),
]


def told(path: Path) -> list[tuple[str, str]]:
    return [(row.kode, row.nama) for row in read_regions(path).rows]


def faults(path: Path) -> tuple[str, ...]:
    with pytest.raises(TableRejected) as caught:
        read_regions(path)
    return caught.value.faults


@pytest.fixture
def sql(tmp_path: Path) -> Path:
    return tmp_path / "wilayah.sql"


def test_sql_tuples_are_read_with_either_quote_and_uneven_spaces(sql: Path) -> None:
    sql.write_text(DUMP.rpartition("INSERT")[0])
    assert told(sql) == EXPECTED


def test_bare_tuples_are_read_too(sql: Path) -> None:
    sql.write_text("('11','Aceh'),\n(\"11.01\" , 'Aceh Selatan')")
    assert told(sql) == [("11", "Aceh"), ("11.01", "Aceh Selatan")]


def test_columns_of_an_insert_may_stand_in_another_order(sql: Path) -> None:
    sql.write_text("INSERT INTO w (nama, id, kode) VALUES ('Aceh', 7, 11);")
    assert told(sql) == [("11", "Aceh")]


def test_inserts_of_two_orders_are_brought_into_one(sql: Path) -> None:
    sql.write_text(DUMP)
    assert told(sql) == [*EXPECTED, ("11.01.02", "Kluet Utara")]


def test_an_insert_of_other_columns_is_refused_by_line(sql: Path) -> None:
    sql.write_text(f"{DUMP}\nINSERT INTO pulau (kode, luas) VALUES ('11.01', 'x');")
    (fault,) = faults(sql)
    assert fault == "line 20, tuple 8: its statement names other columns than the first one"


def test_every_bad_tuple_is_named_by_its_line(sql: Path) -> None:
    sql.write_text(
        "INSERT INTO wilayah (kode,nama) VALUES\n('11','Aceh'),\n('11.1','x'),\n"
        "('11.02',NULL),\n('11.03',now()),\n('11','Aceh'),\n('11','Atjeh'),\n('11.04','a','b');\n"
    )
    assert [fault.partition(":")[0] for fault in faults(sql)] == [
        "line 3, tuple 2",
        "line 4, tuple 3",
        "line 5, tuple 4",
        "line 8, tuple 7",
        "line 6, tuple 5",
        "line 7, tuple 6",
    ]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("INSERT INTO w (kode,nama) VALUES ('11', upper('Aceh'));", "a tuple of something else"),
        ("INSERT INTO w VALUES ('11','Aceh');", "its statement names other columns"),
        ("('11','Aceh');", "its statement names other columns"),
    ],
)
def test_a_bad_tuple_before_the_first_good_one_is_no_heading(sql: Path, bad: str, why: str) -> None:
    sql.write_text(f"{bad}\nINSERT INTO w (kode,nama) VALUES ('11.01','Aceh Selatan');")
    (fault,) = faults(sql)
    assert fault.startswith(f"line 1, tuple 1: {why}")


@pytest.mark.parametrize(
    "text",
    ["('11','Aceh", "('11','Aceh'", "('11')", "SELECT 1;", "INSERT INTO w SELECT 1;", "'; x"],
)
def test_sql_without_whole_tuples_is_a_fault_and_no_crash(sql: Path, text: str) -> None:
    sql.write_text(text)
    assert faults(sql)


INSERT = "INSERT INTO w (kode,nama) VALUES ('64.08','KUTIM');\n"
NO_SEMICOLON = "an INSERT inside another statement; a semicolon is missing before it"
CUT = "begins with no word; INSERT is missing, or the file is cut"


@pytest.mark.parametrize(
    ("lost", "why"),
    [
        ("SET DEFINE OFF\nInsert into W (KODE,NAMA) values ('64','KALTIM');", NO_SEMICOLON),
        ("USE wilayah\nINSERT w (kode,nama) VALUES ('64','KALTIM');", NO_SEMICOLON),
        ("CREATE TABLE w (kode text, nama text)\nREPLACE INTO w VALUES ('64','X');", NO_SEMICOLON),
        (";GO\nINSERT IGNORE INTO w (kode,nama) VALUES ('64','KALTIM');", NO_SEMICOLON),
        ("GRANT INSERT ON w TO x\nINSERT INTO w VALUES ('64','KALTIM');", NO_SEMICOLON),
        ("INSERT INTO w SELECT * FROM v\nINSERT INTO w VALUES ('64','KALTIM');", NO_SEMICOLON),
        ("WITH\nv AS (SELECT 1) INSERT INTO w VALUES ('64','KALTIM');", NO_SEMICOLON),
        (
            "CREATE TRIGGER t AFTER INSERT ON w CALL f()\nINSERT INTO w VALUES ('64','KALTIM');",
            NO_SEMICOLON,
        ),
        ("\n,('64','KALTIM');", CUT),
        ("\nKALTIM'),('64.09','PASER');", "is no SQL; a quote is missing before it, perhaps"),
        ("DROP TABLE v\n('64','KALTIM'),\n('64.09','PASER');", "tuples inside another statement"),
        ("\nVALUES ('64','KALTIM'), ('64.09','PASER');", "tuples inside another statement"),
        ("\n'64','KALTIM'),('64.09','PASER');", CUT),
        (
            "\nCOPY public.w (kode, nama) FROM stdin;\n64\tKAL'TIM; x\n\\.\n",
            "a COPY block, which is not read; dump with --inserts",
        ),
    ],
)
def test_no_row_is_lost_in_what_is_passed_over(sql: Path, lost: str, why: str) -> None:
    sql.write_text(f"{INSERT}{lost}\n{INSERT.replace('64.08', '64.72')}")
    (fault,) = faults(sql)
    assert fault == f"line {3 if lost.count(chr(10)) else 2}: {why}"


def test_statements_that_only_speak_of_inserting_are_passed_over(sql: Path) -> None:
    lines = (
        "SET client_encoding = 'UTF8';\nCREATE OR REPLACE VIEW v AS SELECT 1;\n"
        "UPDATE w SET nama = REPLACE(nama, 'VALUES', 'x');\nGRANT SELECT, INSERT ON w TO x;\n"
        "CREATE TABLE v (a decimal(10,2), b enum('x','y'), PRIMARY KEY (a, b), KEY (b));\n"
        "DELETE FROM w WHERE kode IN ('1','2');\n"
        "CREATE TRIGGER t AFTER INSERT ON w FOR EACH ROW INSERT INTO l VALUES (NEW.kode, 1);\n"
        "ALTER TABLE w OWNER TO x;\n"
    )
    sql.write_text(lines + INSERT)
    assert told(sql) == [("64.08", "KUTIM")]


def test_what_pg_dump_tells_psql_alone_is_a_comment(sql: Path) -> None:
    lines = "--\n\n\\restrict aB3'x;\n\nSET x = 1;\n"
    sql.write_text(f"{lines}{INSERT}\n\\unrestrict aB3'x\n")
    assert told(sql) == [("64.08", "KUTIM")]


def test_a_file_of_two_columns_needs_no_header(tmp_path: Path) -> None:
    path = tmp_path / "base.csv"
    path.write_text('11,ACEH\n11.01,KAB. ACEH SELATAN\n1101012001,"Keude, Bakongan"\n')
    assert told(path) == [
        ("11", "ACEH"),
        ("11.01", "KAB. ACEH SELATAN"),
        ("11.01.01.2001", "Keude, Bakongan"),
    ]


def test_a_workbook_of_regions_is_read(tmp_path: Path) -> None:
    path = write_workbook(
        tmp_path / "wilayah.xlsx", [["Kode Wilayah", "Nama Wilayah"], [6408, "KUTAI TIMUR"]]
    )
    assert told(path) == [("64.08", "KUTAI TIMUR")]


def test_a_code_with_two_names_is_a_contradiction(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("kode,nama\n64.08,Kutai Timur\n6408,Kutai Timur\n64.08,Kutai\n")
    assert faults(path) == (
        "row 3: says again what row 2 says",
        "row 4: contradicts what row 2 says",
    )


def test_a_national_file_of_83_thousand_desa_is_read(tmp_path: Path) -> None:
    path = tmp_path / "wilayah.sql"
    tuples = ",\n".join(
        f"('{11 + n // 6000}.{n // 200 % 30:02}.{n // 20 % 10:02}.{2001 + n % 20}','Ba''u {n}')"
        for n in range(83_000)
    )
    path.write_text(f"INSERT INTO wilayah (kode, nama) VALUES\n{tuples};\n")
    rows = read_regions(path).rows
    assert len(rows) == 83_000
    assert rows[-1] == RegionRow("24.24.09.2020", "Ba'u 82999")


def test_a_region_without_the_one_above_it_is_told() -> None:
    assert orphans(["64", "64.08", "64.08.01", "64.08.01.2001", "64.08.02.2001", "64.09.01"]) == [
        "64.08.02.2001",
        "64.09.01",
    ]


# Names ----------------------------------------------------------------------------------------

TREE = RegionNames.of(
    {
        "64.08": "Kutai Timur",
        "64.08.01": "Muara Ancalong",
        "64.08.05": "Sangkulirang",
        "64.08.05.2001": "Benua Baru",
        "64.08.09": "Bengalon",
        "64.08.09.2004": "Bengalon",  # one of six that bear their kecamatan's name
        "64.08.15.2002": "Bumi Rapak",
        "64.08.18.2002": "Bumi  RAPAK",
    }
)


def denominators(folder: Path, text: str) -> list[DenominatorRow]:
    path = folder / "wajib.csv"
    path.write_text(text)
    return list(read_denominators(path, names=TREE).rows)


def test_a_name_of_one_desa_is_taken_whatever_its_case_and_spaces(tmp_path: Path) -> None:
    assert denominators(tmp_path, "desa,wajib\n benua  BARU ,5\n") == [
        DenominatorRow("64.08.05.2001", 5)
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Bengalon", "fits 2 codes (64.08.09, 64.08.09.2004)"),
        ("Bumi Rapak", "fits 2 codes (64.08.15.2002, 64.08.18.2002)"),
        ("Muara Ancalong", "is 64.08.01, which is no desa"),
        ("Atlantis", "is no name of the tree"),
    ],
)
def test_a_name_that_does_not_mean_one_desa_is_refused(
    tmp_path: Path, name: str, reason: str
) -> None:
    with pytest.raises(TableRejected) as caught:
        denominators(tmp_path, f"desa,wajib\n{name},5\n")
    (fault,) = caught.value.faults
    assert fault.startswith("row 2: name of the desa")
    assert reason in fault


def test_a_kecamatan_beside_the_name_tells_which_desa_is_meant(tmp_path: Path) -> None:
    assert denominators(tmp_path, "kecamatan,nama desa,wajib\nBengalon,Bengalon,5\n") == [
        DenominatorRow("64.08.09.2004", 5)
    ]


@pytest.mark.parametrize(
    ("kecamatan", "name", "reason"),
    [
        ("Kec. Sangkulirang", "Benua Baru", "the kecamatan beside it is no name of the tree"),
        ("Muara Ancalong", "Benua Baru", "is no desa of that kecamatan, but of 64.08.05"),
        ("Sangkulirang", "Bengalon", "is no desa of that kecamatan, but of 64.08.09"),
        ("Sangkulirang", "Bumi Rapak", "is no desa of that kecamatan, but of 64.08.15, 64.08.18"),
        ("Sangkulirang", "Muara Ancalong", "is 64.08.01, which is no desa there"),
        ("Sangkulirang", "Atlantis", "is no name of the tree"),
    ],
)
def test_a_kecamatan_that_does_not_fit_its_desa_is_named_as_the_reason(
    tmp_path: Path, kecamatan: str, name: str, reason: str
) -> None:
    with pytest.raises(TableRejected) as caught:
        denominators(tmp_path, f"kecamatan,nama desa,wajib\n{kecamatan},{name},5\n")
    assert caught.value.faults == (f"row 2: name of the desa: {reason}",)


def test_a_desa_by_code_and_again_by_name_is_named_twice(tmp_path: Path) -> None:
    with pytest.raises(TableRejected) as caught:
        denominators(tmp_path, "desa,wajib\n64.08.05.2001,5\nBenua Baru,5\n")
    assert caught.value.faults == ("row 3: names the desa of row 2 again",)


def test_a_code_is_believed_before_a_name(tmp_path: Path) -> None:
    assert denominators(tmp_path, "kode,nama,wajib\n64.08.05.2001,Bengalon,5\n") == [
        DenominatorRow("64.08.05.2001", 5)
    ]


def test_tuples_have_the_numbers_that_a_person_counts(sql: Path) -> None:
    """Also behind those that cannot be read."""
    sql.write_text("INSERT INTO w (kode,nama) VALUES\n('11','Aceh'),\n(1+1,'x'),\n('1','y');")
    first, second = faults(sql)
    assert first.startswith("line 3, tuple 2: a tuple of something else")
    assert second.startswith("line 4, tuple 3: column kode")


@pytest.mark.parametrize(
    ("written", "is_meant"),
    [
        ("SANGATTA  utara", True),
        ("Sangatta-Utara", False),
        ("Sangatta (Utara)", False),
        ("Sangatta Útara", False),
    ],
)
def test_only_case_and_spaces_of_a_name_may_differ(written: str, *, is_meant: bool) -> None:
    names = RegionNames.of({"64.08.01.2001": "Sangatta Utara"})
    assert (names.desa(written) is not None) == is_meant
