"""Prove the published figures: replay the log and compare with the live tables, row by row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from projections.digest import (
    Difference,
    differences,
    digests_of,
    live_digests,
    projection_digests,
)
from projections.rules import Rules
from projections.store import QUERIES
from rekam.domain.keys import VerifyKey
from rekam.runtime.kafka import OPEN_NETWORK
from rekam.runtime.settings import KafkaSecurity
from stream_processors.intake import Opener
from stream_processors.replay.rebuild import rebuild
from stream_processors.replay.source import read_log


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a replay up to the live positions gave, beside what the live tables hold."""

    positions: Mapping[int, int]
    settings: str
    """Names every setting that can change an answer."""
    live: Mapping[str, str]
    """Digest by projection."""
    replayed: Mapping[str, str]
    differences: tuple[Difference, ...]

    @property
    def is_equal(self) -> bool:
        """Tell whether the replay proves the live tables."""
        return not self.differences and self.live == self.replayed


async def compare(
    connection: Any,
    bootstrap: str,
    topic: str,
    *,
    rules: Rules,
    root: VerifyKey,
    opener: Opener,
    security: KafkaSecurity = OPEN_NETWORK,
    report: Callable[[int, int], None] = lambda _done, _all: None,
) -> Comparison:
    """Replay the log up to where the live tables are, and compare.

    The live side is one snapshot, so the processor may go on meanwhile. `report` gets records
    folded and records in all.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        positions = dict(await connection.fetch(QUERIES["list_positions"], topic))
        live = await live_digests(connection)
    records = sum(positions.values())
    store = await rebuild(
        read_log(bootstrap, topic, positions, security=security),
        rules=rules,
        root=root,
        opener=opener,
        report=lambda done: report(done, records),
    )
    replayed = digests_of(store.tables())
    return Comparison(
        positions=positions,
        settings=opener.settings_id,
        live=projection_digests(live),
        replayed=projection_digests(replayed),
        differences=tuple(differences(live, replayed)),
    )
