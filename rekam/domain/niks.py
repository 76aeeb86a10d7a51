"""What looks like a NIK. Texts are shown in tables, answers and messages; a NIK never is."""

import re
from typing import Final

NIK_DIGITS: Final = 16
_NIK: Final = re.compile(r"(?<![0-9])[0-9]{16}(?![0-9])", re.ASCII)


def holds_nik(text: str) -> bool:
    """Tell whether sixteen digits, and no more, stand in a row somewhere in a text."""
    return _NIK.search(text) is not None
