"""What remains of a person who was erased: what sums and later events need, and no name for it.

An order erases for ever and whenever it comes: before, between or after the events of its person.
So what remains is a pure function of the set of facts, and reducing twice is reducing once.

What remains is kept under the token, as everybody's: there late events of the person and another
worker meet it under one lock. It holds on which day, in which desa and by which producer somebody
was recorded, and how the centre's word changed, because cells are sums of that and a clock that is
anchored late must still find it. It does not hold the NIK, the recordings' and letters' own numbers
(a keyed hash lets a late withdrawal find its recording), or the lists that name the person.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import structs

from projections.facts import known_order
from projections.person.facts import (
    Captured,
    Erasure,
    ListedIn,
    PersonData,
    PersonFact,
    Suket,
    Withdrawn,
    WithdrawnOf,
)
from projections.rules import Rules

HIDDEN: Final = "\0"
"""Begins what was hashed already: no text of an event holds it (rekam/domain/events.py)."""
HASH_BYTES: Final = 16


def order_of(facts: Iterable[PersonFact]) -> tuple[str, int] | None:
    """Return the order by which the person was erased, the earliest known, and since when, in ms.

    It stands also where another segment holds its seq: what was erased cannot be had back, so it
    must not depend on which of the two arrived first. Only the registrar's orders become facts.
    """
    orders = [fact for fact in facts if type(fact.data) is Erasure]
    if not orders:
        return None
    first = min(orders, key=known_order)
    assert isinstance(first.data, Erasure)  # noqa: S101 - chosen so
    return first.data.order, first.known_ms


def forget(token: bytes, facts: Sequence[PersonFact], rules: Rules) -> Sequence[PersonFact]:
    """Return what remains, if an erasure was ordered; otherwise the very same facts.

    Contributions of both are equal (tests/property/test_erasure_laws.py).
    """
    for fact in facts:
        if type(fact.data) is Erasure:
            break
    else:  # nearly everyone
        return facts
    return [
        structs.replace(fact, data=_hidden(fact.data, token, rules))
        for fact in facts
        if type(fact.data) is not ListedIn
    ]


def lists_naming(facts: Iterable[PersonFact]) -> list[bytes]:
    """Return the keys of the list entries that name the person, whether they count or not."""
    return [fact.data.entry for fact in facts if isinstance(fact.data, ListedIn)]


def _hidden(data: PersonData, token: bytes, rules: Rules) -> PersonData:
    match data:
        case Captured():
            return structs.replace(data, recording=_hash(data.recording, token, rules))
        case Withdrawn() | WithdrawnOf():
            return structs.replace(data, recording=_hash(data.recording, token, rules))
        case Suket():
            return structs.replace(data, number=_hash(data.number, token, rules))
        case _:
            return data


def _hash(text: str, token: bytes, rules: Rules) -> str:
    if text.startswith(HIDDEN):
        return text
    hashed = hashlib.blake2b(
        token + text.encode(), key=rules.person_key, digest_size=HASH_BYTES, person=b"rekam.erased"
    )
    return HIDDEN + hashed.hexdigest()
