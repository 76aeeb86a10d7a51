"""What is remembered of the reading of one person: who, by which call, and why."""

from typing import Final

import msgspec

from projections.facts import Fact

REASON_UNTOLD: Final = ""
"""Stands for a reason that is not kept: of who was erased, or known by a token alone."""


class Accessed(msgspec.Struct, frozen=True, array_like=True, tag=0, gc=False):
    """Somebody read what is known of the person."""

    caller: str
    call: str
    reason: str


class Forgotten(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """The person is to be erased; other than the person's own row says so."""

    order: str


AccessData = Accessed | Forgotten
AccessFact = Fact[AccessData]

decode_facts: Final = msgspec.msgpack.Decoder(list[Fact[AccessData]]).decode
