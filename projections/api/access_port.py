"""The port through which the read API accounts for its reading of people.

Implemented by a producer (`producers/office/access_desk.py`), which this package may not know.
"""

from collections.abc import Sequence
from typing import Protocol

from rekam.domain.events import AccessRecord


class AccessRecorder(Protocol):
    """Keeps records of who reads of whom, on their way to the log. Safe for concurrent calls."""

    async def record(self, accesses: Sequence[AccessRecord]) -> None:
        """Keep all or none; when this returns they survive power loss and will reach the log.

        Raises a RekamError when they cannot be kept: then nothing may be answered.
        """
        ...
