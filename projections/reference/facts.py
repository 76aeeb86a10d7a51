"""What offices publish: region trees, denominators, heads of lists. One entity a version."""

from datetime import date
from typing import Final

import msgspec

from projections.facts import Fact
from rekam.domain.events import Denominator, Region


class Tree(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """A region tree."""

    version: str
    valid_from: date
    regions: tuple[Region, ...]
    mapping: dict[str, str]


class Denominators(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Wajib KTP per desa."""

    version: str
    basis: str
    valid_from: date
    rows: tuple[Denominator, ...]


class CohortHead(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A list was handed over."""

    cohort: str
    version: str
    title: str
    source: str
    entries: int


ReferenceData = Tree | Denominators | CohortHead
ReferenceFact = Fact[ReferenceData]

decode_facts: Final = msgspec.msgpack.Decoder(list[Fact[ReferenceData]]).decode


def reference_key(kind: str, version: str) -> bytes:
    """Return the entity key of a published version."""
    return f"{kind}/{version}".encode()
