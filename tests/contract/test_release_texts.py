"""Every reason why something does not count says what would release it, and no other does."""

import re
from pathlib import Path
from typing import Final

from projections.quarantine.reasons import LIFTED_AT_START, REASONS_IN_ITSELF, RELEASES_WHEN

PAGE: Final = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
SECTIONS: Final = ("Why a record is refused", "Why an event is refused", "Why something is held")
NEVER_FOLDED: Final = frozenset(("too_many_events", "not_an_event"))
"""Told by who seals or appends: no record of the log is refused for them."""


def documented(section: str) -> set[str]:
    """Return the codes of a section's table."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([a-z0-9_]+)` \|", text, re.MULTILINE))


def test_every_reason_of_the_page_says_what_would_release_it() -> None:
    reasons = set[str]().union(*map(documented, SECTIONS))
    assert set(RELEASES_WHEN) == reasons - NEVER_FOLDED


def test_each_text_is_a_sentence() -> None:
    for text in RELEASES_WHEN.values():
        assert text[0].isupper(), text
        assert text.endswith("."), text


def test_what_is_lifted_at_start_is_held() -> None:
    assert set(LIFTED_AT_START) < documented("Why something is held")


def test_what_an_event_is_refused_for_in_itself_is_documented_as_such() -> None:
    events = documented("Why an event is refused") | documented("Why something is held")
    assert events > REASONS_IN_ITSELF
