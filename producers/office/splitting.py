"""A publication that is larger than an event becomes one event a regency.

Every regency has its own latest version of tree and denominator, so the parts hold together
without each other. Each is a version of its own, `VERSION/64.08`: one version is one event, and
stating it again replaces it.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from producers.office.regions import REGENCY_CODE_LENGTH
from rekam.domain.errors import Rejected
from rekam.domain.events import Event, EventData, encode
from rekam.domain.segment import EVENT_BYTES_MAX

FACT_BYTES_MAX: Final = EVENT_BYTES_MAX - 512
"""Of an event line; clocks and boot session, which are not known yet, need the rest."""
_CHECK: Final = "Nothing was published: look whether its codes are right, or leave rows out"

RowT = TypeVar("RowT")


def split_by_regency(
    version: str,
    rows: Sequence[RowT],
    *,
    code_of: Callable[[RowT], str],
    rows_max: int,
    build: Callable[[str, Sequence[RowT]], EventData],
) -> list[EventData]:
    """Return one event of all rows when it fits, or one a regency; a province's own row is one.

    `build` makes an event of a version and its rows, and raises Misconfigured when it cannot.
    Raises Rejected when a regency alone is too large; the largest one has 900 regions.
    """
    if len(rows) <= rows_max:
        whole = build(version, rows)
        if _bytes(whole) <= FACT_BYTES_MAX:
            return [whole]
    parts: defaultdict[str, list[RowT]] = defaultdict(list)
    for row in rows:
        parts[code_of(row)[:REGENCY_CODE_LENGTH]].append(row)
    found: list[EventData] = []
    for part, of_part in sorted(parts.items()):
        if len(of_part) > rows_max:
            raise Rejected(f"{part}: {len(of_part)} rows; an event holds {rows_max}. {_CHECK}")
        fact = build(f"{version}/{part}", of_part)
        if (size := _bytes(fact)) > FACT_BYTES_MAX:
            raise Rejected(f"{part}: {size} bytes; an event holds {FACT_BYTES_MAX}. {_CHECK}")
        found.append(fact)
    return found


def _bytes(fact: EventData) -> int:
    return len(encode(Event(0, 0, "", fact)))
