"""What JSON from outside may not do, judged the same way by every process.

The JSON library bounds nesting by the Python stack of whoever calls it, keeps U+0000, and shows a
value in one of its messages. A verdict must depend on the bytes alone (replay = live), a table
cannot keep U+0000, and an error never shows a value (it may be a NIK).
"""

import re

import msgspec

DEPTH_MAX = 32
"""Levels of arrays and objects; the deepest known type has 4."""

_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:u0000|.)", re.DOTALL)


def nests_too_deeply(text: bytes) -> bool:
    """Tell whether arrays and objects stand in each other more than DEPTH_MAX levels deep.

    Depends on the bytes alone, also when they are no JSON. Linear in their number.
    """
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        opener = text[match.start()]
        if opener in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                return True
        elif opener in b"]}":
            depth -= 1
    return False


def holds_nul(text: bytes) -> bool:
    """Tell whether a string of this JSON text holds U+0000, which PostgreSQL cannot keep."""
    # JSON allows it only as an escape; the first test is all that usual text costs.
    return b"\\" in text and b"\\u0000" in _ESCAPE.findall(text)


def is_unknown_field(error: Exception) -> bool:
    """Tell whether the only thing known to be wrong is a field that this version lacks."""
    text = str(error)
    return isinstance(error, msgspec.ValidationError) and text.startswith(
        ("Object contains unknown field", "Expected `array` of at most length")
    )


def explain(error: Exception) -> str:
    """Return what the JSON library found wrong, and where, without any value of the input."""
    text = str(error)
    if is_unknown_field(error):
        return "a field that this version does not know"
    if not isinstance(error, msgspec.ValidationError):
        return "not a JSON object in UTF-8"
    if text.startswith("Invalid enum value"):
        return f"a value outside of the list - at {text.rpartition(' - at ')[2]}"
    return text
