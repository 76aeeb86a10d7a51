"""What is remembered of one name of a cohort's list."""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec
from msgspec import structs

from projections.facts import Fact


class Listed(msgspec.Struct, frozen=True, array_like=True, tag=0, gc=False):
    """The name stands in the list; `person` is its token when the list gave a NIK."""

    cohort: str
    entry: int
    person: bytes | None
    code: str | None
    version: str | None = None
    """None: it stands in every version."""


class Resolved(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A source says what became of the name."""

    cohort: str
    entry: int
    bucket: str
    source: str
    version: str | None = None
    """None: it is said of the number in every version."""


EntryData = Listed | Resolved
EntryFact = Fact[EntryData]

decode_facts: Final = msgspec.msgpack.Decoder(list[Fact[EntryData]]).decode


def entry_key(cohort: str, entry: int) -> bytes:
    """Return the entity key of an entry."""
    return f"{cohort}/{entry}".encode()


def without_people(facts: Sequence[EntryFact], erased: Collection[bytes]) -> Sequence[EntryFact]:
    """Return the facts of an entry without the tokens of people who were erased."""
    return [
        structs.replace(fact, data=structs.replace(fact.data, person=None))
        if isinstance(fact.data, Listed) and fact.data.person in erased
        else fact
        for fact in facts
    ]


def entry_keys(cohort: str) -> tuple[bytes, bytes]:
    """Return the first key that an entry of a list can have, and the first one after all of them.

    Another list's keys may lie between: its id may go on with a slash.
    """
    return f"{cohort}/".encode(), f"{cohort}0".encode()  # "0" follows "/"
