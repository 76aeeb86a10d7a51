"""A history in which desa go to a new regency, and another one records without publishing."""

import random
from collections.abc import Sequence
from datetime import date
from typing import Final

from rekam.domain import events
from rekam.domain.ids import Epoch, ProducerId
from rekam.domain.keys import SigningKey
from rekam.domain.log import LogRecord
from tests.support.history import (
    DAY_MS,
    DESA,
    PARTITIONS,
    REGISTRAR,
    REGISTRAR_KEY,
    START_MS,
    Life,
    anchored,
    captured,
)

NEW_REGENCY: Final = "64.12"
NEW_DESA: Final = ("64.12.01.2001", "64.12.01.2002", "64.12.02.1001")
SILENT_DESA: Final = "64.13.01.2001"
"""Of a regency that mostly publishes nothing."""
MOVES: Final = {
    DESA[0]: NEW_DESA[0],
    DESA[1]: NEW_DESA[1],
    "64.08.04": "64.12.01",
    "64.08.12": "64.12.02",
    NEW_DESA[2]: DESA[2],
}


def with_regency_split(records: Sequence[LogRecord], seed: int) -> list[LogRecord]:
    """Return the history with a new regency in it; what was there keeps its place and time.

    What is added is in a partition of its own, known on the days of the records beside it.
    """
    choose = random.Random(seed)
    registrar = Life(REGISTRAR, REGISTRAR_KEY, kind="registrar", epoch=Epoch(7))
    device = Life(ProducerId("dev-n"), SigningKey.from_seed(bytes([51]) * 32))
    said: list[tuple[Life, tuple[events.EventData, ...]]] = [
        (registrar, (device.enrolment(),)),
        (device, (anchored("boot-1"),)),
    ]
    for number in range(choose.randrange(2, 6)):
        word = choose.choice((_tree, _tree, _denominators, _denominators, _recording))
        life = device if word is _recording else registrar
        said.append((life, (word(choose, number),)))
    days = sorted(choose.choices([record.append_ms for record in records], k=len(said)))
    added = [
        LogRecord(
            PARTITIONS,
            offset,
            append_ms,
            life.seal(*[life.event(one, wall_ms=_day(choose)) for one in data]),
        )
        for offset, (append_ms, (life, data)) in enumerate(zip(days, said, strict=True))
    ]
    return [*records, *added]


def _day(choose: random.Random) -> int:
    return START_MS + choose.randrange(40) * DAY_MS


def _first_day(choose: random.Random) -> date:
    return date(2017, choose.choice((1, 7, 8)), 1)


def _tree(choose: random.Random, number: int) -> events.EventData:
    desa = choose.sample(NEW_DESA, k=choose.randrange(1, 3))
    codes = [NEW_REGENCY, *desa, *choose.choice(((), (), (SILENT_DESA,)))]
    return events.TreePublished(
        version=f"n{number}",
        valid_from=_first_day(choose),
        regions=tuple(events.Region(code, f"n{number} {code}") for code in codes),
        mapping=dict(choose.sample(sorted(MOVES.items()), k=choose.randrange(1, 4))),
    )


def _denominators(choose: random.Random, number: int) -> events.EventData:
    desa = choose.sample((*DESA, *NEW_DESA), k=choose.randrange(1, 5))
    return events.DenominatorPublished(
        version=f"m{number}",
        basis="DKB-1",
        valid_from=_first_day(choose),
        rows=tuple(events.Denominator(code, choose.randrange(6)) for code in desa),
    )


def _recording(choose: random.Random, number: int) -> events.EventData:
    desa = choose.choice((*NEW_DESA, SILENT_DESA, SILENT_DESA))
    return captured(choose.randrange(20, 23), f"n-{number}", desa)
