"""docs/errors.md names every code that a user can meet, and none that nobody can."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from producers.gateway.problems import CATALOGUE as GATEWAY_CATALOGUE
from projections.api.problems import CATALOGUE as API_CATALOGUE
from projections.facts import VERDICT_REASONS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "errors.md").read_text()
CATALOGUE: Final = {*API_CATALOGUE, *GATEWAY_CATALOGUE}
PACKAGES: Final = ("rekam", "projections", "stream_processors", "producers")

REASON_PLACE: Final = {
    "SegmentRejected": 0,
    "EventRejected": 0,
    "Held": 0,
    "Reason": 0,
    "Waiting": 2,
    "Refused": 2,
    "ReceiptRejected": 0,
    "SnapshotRejected": 0,
}
"""Which argument of these calls is a reason code."""


def trees() -> Iterator[ast.Module]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ast.parse(path.read_bytes())


def error_codes() -> set[str]:
    """Return the code of each RekamError subclass, however far from the root."""
    classes = [
        node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    ]
    family, codes = {"RekamError"}, set[str]()
    while True:
        found = {
            node.name
            for node in classes
            if any(isinstance(base, ast.Name) and base.id in family for base in node.bases)
        }
        if found <= family:
            break
        family |= found
    for node in classes:
        if node.name in family - {"RekamError"}:
            codes |= {code for code in map(_code, node.body) if code is not None}
    return codes


def _code(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
            return code
        case ast.AnnAssign(target=ast.Name(id="code"), value=ast.Constant(value=str(code))):
            return code
        case _:
            return None


def reason_codes() -> set[str]:
    """Return every literal that is passed as a reason, and those of the verdicts."""
    found = {reason for reason, _ in VERDICT_REASONS.values()}
    for tree in trees():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id=name), args=arguments) if name in REASON_PLACE:
                    reason = arguments[REASON_PLACE[name] : REASON_PLACE[name] + 1]
                    match reason:
                        case [ast.Constant(value=str(code))]:
                            found.add(code)
                case _:
                    pass
    return found


def documented() -> set[str]:
    """Return the codes in the first column of the page's tables."""
    return set(re.findall(r"^\| `([a-z0-9_]+)` \|", PAGE, re.MULTILINE))


def test_every_code_is_documented() -> None:
    assert error_codes() | reason_codes() | set(CATALOGUE) <= documented()


def test_no_code_is_documented_that_does_not_exist() -> None:
    assert documented() <= error_codes() | reason_codes() | set(CATALOGUE)


def test_every_row_tells_a_cause_and_a_remedy() -> None:
    for row in re.findall(r"^\| `.*$", PAGE, re.MULTILINE):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 3, row
        assert all(cells), row


def test_the_scan_sees_what_it_should() -> None:
    assert {"misconfigured", "outbox_full", "corrupt"} <= error_codes()
    assert {"signature_invalid", "unknown_type", "unknown_producer", "revoked"} <= reason_codes()
