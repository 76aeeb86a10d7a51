"""What is remembered of one name of a cohort's list."""

from typing import Final

import msgspec

from projections.facts import Fact


class Listed(msgspec.Struct, frozen=True, array_like=True, tag=0, gc=False):
    """The name stands in the list; `person` is its token when the list gave a NIK."""

    cohort: str
    entry: int
    person: bytes | None
    code: str | None


class Resolved(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A source says what became of the name."""

    cohort: str
    entry: int
    bucket: str
    source: str


EntryData = Listed | Resolved
EntryFact = Fact[EntryData]

decode_facts: Final = msgspec.msgpack.Decoder(list[Fact[EntryData]]).decode


def entry_key(cohort: str, entry: int) -> bytes:
    """Return the entity key of an entry."""
    return f"{cohort}/{entry}".encode()
