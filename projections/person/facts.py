"""What is remembered of a person: recordings, withdrawals, the centre's observations."""

from typing import Final

import msgspec

from projections.facts import Fact


class Captured(msgspec.Struct, frozen=True, array_like=True, tag=0, gc=False):
    """A recording was made."""

    recording: str
    domicile: str
    place: str
    mode: str


class Withdrawn(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A recording was declared void: of whichever producer, because ids are producers' own."""

    recording: str


class Observed(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """The centre showed a status."""

    status: str
    observed_ms: int
    source: str


class Suket(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """A letter in place of the card was issued."""

    number: str
    issued_ms: int
    status: str


class Erasure(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """The person is to be erased."""

    order: str


class ListedIn(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """An entry of a list names the person: the other half of the entry's own fact.

    So that an erasure finds the entry, and the entry finds an erasure.
    """

    entry: bytes
    """Key of the entry (projections/cohort/facts.py)."""


class CaseResolved(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Somebody looked into a case of duplicates (projections/duplicate)."""

    kind: str
    outcome: str
    recordings: tuple[str, ...]
    """Event ids of the recordings that were looked at: producer/epoch/seq."""
    resolved_ms: int


class WithdrawnOf(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """The recording of one producer was declared void."""

    recording: str
    producer: str


PersonData = (
    Captured | Withdrawn | Observed | Suket | Erasure | ListedIn | CaseResolved | WithdrawnOf
)
PersonFact = Fact[PersonData]

decode_facts: Final = msgspec.msgpack.Decoder(list[Fact[PersonData]]).decode
