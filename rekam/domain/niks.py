"""What looks like a NIK. Texts are shown in tables, answers and messages; a NIK never is."""

import re
from typing import Final

NIK_DIGITS: Final = 16
_NIK: Final = re.compile(r"(?<![0-9])[0-9]{16}(?![0-9])", re.ASCII)
_SPACED: Final = re.compile(r"(?<![0-9])[0-9](?:[ ._-]*[0-9]){15}(?![0-9])", re.ASCII)


def holds_nik(text: str) -> bool:
    """Tell whether sixteen digits, and no more, stand in a row somewhere in a text."""
    return _NIK.search(text) is not None


def holds_spaced_nik(text: str) -> bool:
    """Tell the same when spaces, dots, hyphens and underscores between digits do not count."""
    return _SPACED.search(text) is not None
