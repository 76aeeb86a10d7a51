"""The written documents hang together: links lead somewhere, decisions and words are in order."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS: Final = sorted((ROOT / "docs" / "adr").glob("*.md"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_of_code_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    for path in re.findall(
        r"`((?:rekam|projections|stream_processors|tests|docs)/[\w./-]+)`", text
    ):
        assert (ROOT / path).exists() or "NNNN" in path, path


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=name)
def test_a_decision_has_its_number_and_its_four_parts(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {int(page.name[:4])}. ")
    for part in ("## Context", "## Decision", "## Consequences", "## Rejected"):
        assert part in text


def test_the_glossary_defines_each_word_once() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    words = [row.lower() for row in re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)]
    heads = {"word", "---", "bahasa indonesia"}
    defined = [word for row in words if row not in heads for word in row.split(", ")]
    assert sorted(defined) == sorted(set(defined))


def test_the_license_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
