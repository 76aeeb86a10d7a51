"""Files of offices: any bytes are read or refused, and what was written is what is read."""

import csv
import io
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.office.denominators import read_denominators
from producers.office.grid import TableRejected, is_formula_error
from producers.office.lists import read_list
from producers.office.regions import read_regions
from producers.office.statuses import read_statuses
from rekam.domain.niks import holds_spaced_nik

READERS: tuple[Callable[[Path], object], ...] = (
    read_denominators,
    read_list,
    read_regions,
    read_statuses,
)
NIK = re.compile(r"\d{12,}")
names = st.text(
    st.characters(categories=("L", "Nd", "P", "Zs"), exclude_characters="\u2028\u2029"), max_size=40
).map(lambda text: " ".join(text.split()))
regions = st.dictionaries(
    st.integers(0, 9999).map(lambda n: f"64.08.{n // 100:02}.{2000 + n % 100}"),
    names.filter(lambda name: name and not (is_formula_error(name) or holds_spaced_nik(name))),
    min_size=1,
    max_size=20,
)
pieces = st.sampled_from(
    [
        *("kode", "nama", "nik", "status", "tanggal", "entry", "desa", "wajib", "bucket"),
        *(",", ";", "\t", "\n", "\r\n", '"', "'", "(", ")", "\\", "--", "/*", "*/", "\0", "\ufeff"),
        *(
            "INSERT INTO w (kode, nama) VALUES ",
            "64.08.04.2001",
            "6408042001",
            "6.408E+15",
            "1.234",
        ),
        *(
            "6408080101700001",
            "6408080101700001.0",
            "2018-03-31",
            "31/03/2018",
            "\xa0",
            "é",
            "NULL",
        ),
    ]
)


def read(reader: Callable[[Path], object], raw: bytes, suffix: str) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{suffix}"
        path.write_bytes(raw)
        return reader(path)


def refusal(reader: Callable[[Path], object], raw: bytes, suffix: str) -> tuple[str, ...]:
    """Return why a file is refused, nothing when it is read; any other error is a failure."""
    try:
        read(reader, raw, suffix)
    except TableRejected as error:
        return error.faults
    return ()


@pytest.mark.parametrize("suffix", [".csv", ".sql"])
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: str(reader.__name__))
@given(text=st.lists(pieces, max_size=40).map("".join))
@settings(max_examples=120, deadline=None)
def test_any_text_is_read_or_refused_and_no_refusal_shows_a_nik(
    reader: Callable[[Path], object], suffix: str, text: str
) -> None:
    assert not any(NIK.search(fault) for fault in refusal(reader, text.encode(), suffix))


@pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"\xff\xfe", b"\xef\xbb\xbf"])
@given(raw=st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_read_or_refused(start: bytes, raw: bytes) -> None:
    for suffix in (".csv", ".sql", ".xlsx"):
        refusal(read_regions, start + raw, suffix)


@given(told=regions, quote=st.sampled_from("'\""), is_doubled=st.booleans(), spaces=st.text(" \n"))
@settings(max_examples=200, deadline=None)
def test_sql_texts_come_back_as_they_were(
    told: dict[str, str], quote: str, spaces: str, *, is_doubled: bool
) -> None:
    def quoted(text: str) -> str:
        escaped = text.replace("\\", "\\\\")
        escaped = escaped.replace(quote, quote * 2 if is_doubled else f"\\{quote}")
        return f"{quote}{escaped}{quote}"

    tuples = ",".join(
        f"({spaces}{quoted(code)}{spaces},{spaces}{quoted(name)}{spaces}){spaces}"
        for code, name in told.items()
    )
    found = read(read_regions, f"INSERT INTO w(kode,nama)VALUES{tuples};".encode(), ".sql")
    assert {row.kode: row.nama for row in found.rows} == told  # type: ignore[attr-defined]


@given(told=regions, delimiter=st.sampled_from(",;\t"), mark=st.sampled_from(("", "\ufeff")))
@settings(max_examples=200, deadline=None)
def test_csv_texts_come_back_as_they_were(told: dict[str, str], delimiter: str, mark: str) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([("Nama", "KODE"), *((name, code) for code, name in told.items())])
    found = read(read_regions, (mark + text.getvalue()).encode(), ".csv")
    assert {row.kode: row.nama for row in found.rows} == told  # type: ignore[attr-defined]
