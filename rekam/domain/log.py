"""Log records as the folds see them: position, append time, bytes, route, and nothing else.

The route of arrival stands in a header of the record, written by whoever appends it. Like the
append time it is signed by nobody: it explains a figure and never makes one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

ArrivalRoute = Literal["kafka", "gateway", "relay", "usb"]
"""By which way a record came to the log, as its last carrier says: `kafka`, appended by who sealed
it; `gateway`, handed to a gateway by who sealed it; `relay` and `usb`, a relay or a stick held it
and then it was appended, by a gateway or not. Of several that held it the last one is told."""

ROUTE_HEADER: Final = "rekam-route"
"""Header of a record with its route, in ASCII."""

ROUTE_UNTOLD: Final = ""
"""Route of a record that does not tell one of them: appended by earlier software, or by others."""

_ROUTES: Final[Mapping[bytes | None, ArrivalRoute]] = {
    b"kafka": "kafka",
    b"gateway": "gateway",
    b"relay": "relay",
    b"usb": "usb",
}


def route_headers(route: ArrivalRoute) -> list[tuple[str, bytes]]:
    """Return the headers of a record that is appended by this route."""
    return [(ROUTE_HEADER, route.encode("ascii"))]


def route_told(headers: Iterable[tuple[str, bytes | None]]) -> ArrivalRoute | Literal[""]:
    """Return the route that a record's headers tell; of several the first one.

    ROUTE_UNTOLD without such a header, and with one that is none of the known. Never raises.
    """
    for name, value in headers:
        if name == ROUTE_HEADER:
            return _ROUTES.get(value, ROUTE_UNTOLD)
    return ROUTE_UNTOLD


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of a topic. `append_ms` is the broker's append time, the only *received at*."""

    partition: int
    offset: int
    append_ms: int
    value: bytes
    route: str = ROUTE_UNTOLD
    """An ArrivalRoute, or ROUTE_UNTOLD."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records of one partition, at least one, in offset order."""

    topic: str
    partition: int
    records: tuple[LogRecord, ...]

    @property
    def first_offset(self) -> int:
        """Return the offset of the first record."""
        return self.records[0].offset

    @property
    def next_offset(self) -> int:
        """Return the offset that follows the last record."""
        return self.records[-1].offset + 1
