"""Which statements name a table of people, and which modules take their rows: known ones alone.

What the calls of the API read is watched while they run (tests/integration/test_people_reads.py);
here it is every other way to the tables, such as a new command.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.people import OF_PEOPLE

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("rekam", "producers", "stream_processors", "projections")
ADVICE: Final = (
    "Who reads of whom is recorded before anything is read: go through `account_for` "
    "(projections/api/access.py; rekam/cli/refold.py for a command), then say here why it may"
)
ACCOUNTS: Final = "calls account_for before it answers"

STATEMENTS: Final = {
    "projections/access/queries_read.sql": (
        "who read of whom: for the person, who is accounted for, and for who audits the readers",
        {"find_accesses", "list_accesses"},
    ),
    "projections/cohort/queries_read.sql": (
        "entries of lists: for calls that account for whom they name, and for signed sums",
        {"list_entries"},
    ),
    "projections/digest_queries.sql": (
        "whole tables, of which hashes and sums leave",
        {
            *("read_person", "read_person_access", "read_cohort_entry", "read_duplicate_case"),
            "read_ledger_segment",
        },
    ),
    "projections/duplicate/queries_read.sql": (
        "cases by ids of their own; the call that asks for one accounts for its person",
        {"list_cases", "count_cases", "count_pairs", "find_case"},
    ),
    "projections/person/queries_read.sql": (
        "one person: for calls that account for them",
        {"find_person", "find_niks"},
    ),
    "projections/store.py": (
        "takes out cells that have come to nothing, and returns none",
        {"DELETE FROM {} WHERE ctid = ANY ($1::text[]::tid[])"},
    ),
    "projections/store_queries.sql": (
        "the fold locks what it is about to write, and looks up the segments that it judges",
        {
            *("make_person", "lock_person", "write_person", "write_person_and_nik"),
            *("make_person_access", "lock_person_access", "write_person_access"),
            *("make_cohort_entry", "lock_cohort_entry", "write_cohort_entry"),
            *("find_overlaps", "list_segments_of", "list_segments_of_boots", "list_segments_at"),
            *("write_segments", "add_duplicate_case"),
        },
    ),
    "stream_processors/refold_queries.sql": (
        "where the segments lie that are judged again; who names people is accounted for",
        {
            *("read_facts_of_person", "read_facts_of_person_access", "read_facts_of_cohort_entry"),
            *("count_told_of_person", "count_told_of_person_access", "count_told_of_cohort_entry"),
            *("list_people", "list_segments", "read_contents"),
        },
    ),
}
"""Statements that name a table of people, by file: why they may, and which they are."""

TAKERS: Final = {
    "projections/access/reads.py": "for calls of the API, which account for people",
    "projections/api/cohort_calls.py": ACCOUNTS,
    "projections/api/duplicate_calls.py": ACCOUNTS,
    "projections/api/people_calls.py": ACCOUNTS,
    "projections/cohort/reads.py": "for calls of the API, which account for people",
    "projections/digest.py": "hashes rows; shows the keys of those that differ",
    "projections/duplicate/reads.py": "for calls of the API, which account for people",
    "projections/person/reads.py": "for calls of the API, which account for people",
    "projections/store.py": "the store that the fold writes",
    "rekam/cli/refold.py": ACCOUNTS,
    "stream_processors/folder.py": "the fold, which shows nobody what it judges",
    "stream_processors/receipts.py": "notes in the store's statements whose receipts are due",
    "stream_processors/refold.py": "judges segments again, and shows how many",
    "stream_processors/replay/audit.py": "shows digests, and the keys of rows that differ",
    "stream_processors/replay/knowledge.py": "shows sums, and the keys of cells that differ",
    "stream_processors/replay/projection_commands.py": "shows digests",
    "stream_processors/replay/shadow.py": "shows digests, and the keys of rows that differ",
}
"""Modules that have those statements, or take what others do with them, and why they may."""


def names_people(sql: str) -> bool:
    """Tell whether a statement names a table of people, or shows whom segments touch."""
    sql = re.sub(r"--.*", "", sql).lower()
    if not re.search(r"\b(select|from|join|returning|copy)\b", sql):
        return False
    named = rf"\b({'|'.join(OF_PEOPLE)}|contents)\b"
    all_columns = r"\bselect\s+\*[^()]*\bfrom\s+ledger_segment\b|\w\.\*.*\bledger_segment\b"
    return bool(re.search(named, sql) or re.search(all_columns, sql, re.DOTALL))


def names_any_table(sql: str) -> bool:
    """Tell whether a statement names a table that only the running program knows."""
    return bool(re.search(r"\b(FROM|JOIN)\s*(\{|%|$)", sql))


def statements_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the statements of an SQL file by name; of a file without names, by their text."""
    preamble, *parts = re.split(r"^-- name: (.*)$", path.read_text(), flags=re.MULTILINE)
    yield from ((text.strip(), text) for text in preamble.split(";"))
    yield from zip(parts[::2], parts[1::2], strict=True)


def texts_of(path: Path) -> Iterator[str]:
    """Yield the texts of a module that are no docstrings; what is filled in is {}."""
    tree = ast.parse(path.read_text())
    passed_over = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            passed_over.update(node.values)
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
            )
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node not in passed_over
        ):
            yield node.value


def sources(suffix: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of the packages by their names from the root."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob(f"*{suffix}")):
            yield path.relative_to(ROOT).as_posix(), path


def loaded_by(tree: ast.Module) -> Iterator[str]:
    """Yield the SQL files that a module loads."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name("load_queries"),
                args=[ast.Constant(value=str(package)), *names],
            ):
                name = ast.literal_eval(names[0]) if names else "queries.sql"
                yield f"{package.replace('.', '/')}/{name}"


def imported_by(tree: ast.Module) -> Iterator[str]:
    """Yield what a module imports, by full names; no types, which are forms of answers."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                for name in names:
                    if not name.name[0].isupper() or name.name in ("QUERIES", "PostgresStore"):
                        yield f"{module}.{name.name}"


def takers() -> set[str]:
    """Return the modules that load a file with statements of people, or import what one has."""
    trees = {name: ast.parse(path.read_text()) for name, path in sources(".py")}
    having = {name for name, tree in trees.items() if STATEMENTS.keys() & set(loaded_by(tree))}
    modules = [name.removesuffix(".py").replace("/", ".") for name in having]
    return having | {
        name
        for name, tree in trees.items()
        if any(
            imported == module or imported.startswith(f"{module}.")
            for imported in imported_by(tree)
            for module in modules
        )
    }


def test_only_known_statements_name_a_table_of_people() -> None:
    found = {
        (file, name)
        for file, path in sources(".sql")
        for name, statement in statements_of(path)
        if names_people(statement)
    }
    found |= {
        (file, text)
        for file, path in sources(".py")
        for text in texts_of(path)
        if names_people(text) or names_any_table(text)
    }
    known = {(file, name) for file, (_, names) in STATEMENTS.items() for name in names}
    assert not found - known, f"{sorted(found - known)} read people. {ADVICE}"
    assert not known - found, f"{sorted(known - found)} are gone: take them out of STATEMENTS"


def test_only_known_modules_take_what_the_statements_of_people_give() -> None:
    found = takers()
    assert not found - TAKERS.keys(), f"{sorted(found - TAKERS.keys())} read people. {ADVICE}"
    assert not TAKERS.keys() - found, f"{sorted(TAKERS.keys() - found)} do not: take them out"


@pytest.mark.parametrize("file", [file for file, why in TAKERS.items() if why == ACCOUNTS])
def test_a_module_that_is_said_to_account_for_people_calls_it(file: str) -> None:
    called = {
        node.func.id
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert called & {"account_for", "account_for_person"}


@pytest.mark.parametrize(
    ("sql", "is_found"),
    [
        ("SELECT facts FROM person WHERE key = $1", True),
        ("select facts from public.person", True),
        ('SELECT facts FROM "person"', True),
        ("SELECT 1 FROM producer AS one, cohort_entry AS other", True),
        ("WITH gone AS (DELETE FROM person_access RETURNING key) SELECT key FROM gone", True),
        ("COPY duplicate_case TO STDOUT", True),
        ("FROM person", True),
        ("SELECT contents FROM ledger_segment", True),
        ("SELECT * FROM ledger_segment", True),
        ("SELECT stored.* FROM ledger_segment AS stored", True),
        ("SELECT count(*), first FROM ledger_segment", False),
        ("SELECT people FROM coverage_cell -- of a person", False),
        ("TRUNCATE person", False),
        ("SELECT caller FROM access_cell WHERE person_count > 1", False),
    ],
)
def test_a_statement_of_people_is_known_in_any_form(sql: str, *, is_found: bool) -> None:
    assert names_people(sql) == is_found


@pytest.mark.parametrize(
    ("module", "is_found"),
    [
        ('f"SELECT facts FROM {table}"', True),
        ('"SELECT facts FROM %s" % table', True),
        ('"SELECT facts FROM " + table', True),
        ('f"{caller} read from {place}"', False),
    ],
)
def test_a_statement_on_a_table_that_is_filled_in_is_found(
    module: str, *, is_found: bool, tmp_path: Path
) -> None:
    path = tmp_path / "reads.py"
    path.write_text(f"statement = {module}\n")
    assert any(names_any_table(text) for text in texts_of(path)) == is_found


def test_a_docstring_is_no_statement(tmp_path: Path) -> None:
    path = tmp_path / "reads.py"
    path.write_text('"""SELECT facts FROM person."""\n')
    assert not list(texts_of(path))
