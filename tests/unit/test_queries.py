"""Named queries: read as written, or refused with the file's name."""

import pytest

from rekam.domain.errors import Corrupt
from rekam.runtime.queries import parse_queries

SOURCE = "projections.sample/queries.sql"

SAMPLE = """-- Reads of the sample.

-- name: count_rows
-- One number.
SELECT count(*)
FROM sample;

-- name: list_all_rows
SELECT * FROM sample WHERE note = '-- name: not this';
"""


def test_each_query_has_its_text_without_the_semicolon() -> None:
    queries = parse_queries(SAMPLE, source=SOURCE)
    assert list(queries) == ["count_rows", "list_all_rows"]
    assert queries["count_rows"] == "-- One number.\nSELECT count(*)\nFROM sample"
    assert queries["list_all_rows"].endswith("'-- name: not this'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1;\n-- name: count_rows\nSELECT 1", "SQL before the first name"),
        ("-- name: Count\nSELECT 1", "Write it as verb_noun"),
        ("-- name: count_rows\nSELECT 1;\n-- name: count_rows\nSELECT 2;", "two queries"),
        ("-- name: count_rows\n-- nothing\n", "has no statement"),
    ],
)
def test_malformed_file_is_refused_with_its_name(text: str, message: str) -> None:
    with pytest.raises(Corrupt, match=message) as caught:
        parse_queries(text, source=SOURCE)
    assert str(caught.value).startswith(SOURCE)


def test_file_without_queries_gives_none() -> None:
    assert parse_queries("-- Nothing yet.\n", source=SOURCE) == {}
